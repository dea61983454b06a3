//! Reading and writing under two limits: how long a connection may be idle between requests, and how long one
//! request may take from its first byte to its last, or its reply to be taken. Without the second, a client
//! that sends a byte a second would hold its thread for ever.
//!
//! The limits cost nothing where all goes well: the system keeps the idle limit, and the clock is read only
//! when a request comes in pieces.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use super::socket::Stream;

/// Both are at least a millisecond in force, for a socket takes 0 as no limit at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub idle: Duration,
    pub request: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum Stalled {
    #[error("no request within the idle limit")]
    Idle,
    #[error("the request was not complete within its time limit")]
    SlowRequest,
    #[error("the replies were not taken within the time limit")]
    SlowReader,
    #[error("{0}")]
    Io(#[from] io::Error),
}

pub struct Paced<'a> {
    stream: &'a Stream,
    pace: Pace,
    /// When the first piece of the request that is not complete yet was there.
    begun: Option<Instant>,
    /// Whether the socket's own limit is that of a request and not the idle one.
    hurried: bool,
}

impl<'a> Paced<'a> {
    pub fn new(stream: &'a Stream, pace: Pace) -> io::Result<Paced<'a>> {
        let least = Duration::from_millis(1);
        let pace = Pace { idle: pace.idle.max(least), request: pace.request.max(least) };
        stream.set_read_timeout(Some(pace.idle))?;
        stream.set_write_timeout(Some(pace.request))?;
        Ok(Paced { stream, pace, begun: None, hurried: false })
    }

    /// Reads what is there; 0 at the end. `within`: a part of a request has been read before.
    pub fn read(&mut self, buffer: &mut [u8], within: bool) -> Result<usize, Stalled> {
        loop {
            if within {
                let left = self.pace.request.saturating_sub(self.begun.get_or_insert_with(Instant::now).elapsed());
                if left.is_zero() {
                    return Err(Stalled::SlowRequest);
                }
                self.stream.set_read_timeout(Some(left))?;
                self.hurried = true;
            } else {
                self.begun = None;
                if std::mem::take(&mut self.hurried) {
                    self.stream.set_read_timeout(Some(self.pace.idle))?;
                }
            }
            match (&mut &*self.stream).read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if timed_out(&error) && within => return Err(Stalled::SlowRequest),
                Err(error) if timed_out(&error) => return Err(Stalled::Idle),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says that a request was complete: what has been read of the next one, if anything, begins a limit of its
    /// own. Otherwise a client that pipelines without a pause, so that every read ends within a request, would
    /// be taken for a slow one.
    pub fn completed(&mut self) {
        self.begun = None;
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Stalled> {
        let mut rest = bytes;
        let mut begun = None;
        while !rest.is_empty() {
            match (&mut &*self.stream).write(rest) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if timed_out(&error) => return Err(Stalled::SlowReader),
                Err(error) => return Err(error.into()),
            }
            // The system's limit is for each write. A reader that takes a byte at a time gets no more than two.
            if !rest.is_empty() && begun.get_or_insert_with(Instant::now).elapsed() >= self.pace.request {
                return Err(Stalled::SlowReader);
            }
        }
        Ok(())
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_split_request_is_under_its_own_limit_and_the_next_under_the_idle_limit_again() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let stream = Stream::Unix(near);
        let limit = || match &stream {
            Stream::Unix(stream) => stream.read_timeout().unwrap().unwrap(),
            Stream::Tcp(_) => Duration::MAX,
        };
        let pace = Pace { idle: Duration::from_secs(600), request: Duration::from_secs(300) };
        let mut paced = Paced::new(&stream, pace).unwrap();
        for (within, least, most) in [(false, 600, 600), (true, 0, 300), (true, 0, 300), (false, 600, 600)] {
            far.write_all(b"x").unwrap();
            assert_eq!(paced.read(&mut [0; 8], within).unwrap(), 1);
            assert!((Duration::from_secs(least)..=Duration::from_secs(most)).contains(&limit()), "{:?}", limit());
        }
    }

    #[test]
    fn the_next_request_has_its_own_limit_even_if_it_began_in_the_same_read() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let stream = Stream::Unix(near);
        let pace = Pace { idle: Duration::from_secs(600), request: Duration::from_secs(300) };
        let mut paced = Paced::new(&stream, pace).unwrap();
        far.write_all(b"xxx").unwrap();
        paced.read(&mut [0], true).unwrap();
        let first = paced.begun.unwrap();
        paced.read(&mut [0], true).unwrap();
        assert_eq!(paced.begun, Some(first));
        paced.completed();
        paced.read(&mut [0], true).unwrap();
        assert!(paced.begun.unwrap() > first);
    }

    #[test]
    fn no_limit_is_ever_taken_for_none_at_all() {
        let (near, _far) = UnixStream::pair().unwrap();
        let stream = Stream::Unix(near);
        let mut paced = Paced::new(&stream, Pace { idle: Duration::ZERO, request: Duration::ZERO }).unwrap();
        assert!(matches!(paced.read(&mut [0; 8], false), Err(Stalled::Idle)));
        assert!(matches!(paced.read(&mut [0; 8], true), Err(Stalled::SlowRequest)));
    }
}
