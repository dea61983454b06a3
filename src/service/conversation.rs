//! The session of a protocol of requests and replies, in order: the bytes of one connection, and the thread that
//! reads, answers and writes them within its limits.
//!
//! [`Conversation`] is the session without its socket, so that tests and fuzzers can cut up the bytes as they
//! like; [`converse`] puts it on a connection. Neither allocates once a connection is open.

use std::fmt::Display;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::listener::Connection;
use super::paced::{Pace, Paced, Stalled};
use crate::telemetry::events;

/// Replies are written once this many bytes have gathered, or when there is no more to answer.
const WRITE_AT: usize = 16 * 1024;

/// What is spoken on a connection.
pub trait Protocol {
    /// Why bytes are no request.
    type Invalid: Display;

    /// No request is longer: `answer` refuses it before it is complete.
    const REQUEST_LIMIT: usize;

    /// Answers the request at the beginning of `input`, appends the reply and says how long the request was;
    /// `None`: more bytes are needed.
    fn answer(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Option<usize>, Self::Invalid>;
}

/// The bytes of one connection.
pub struct Conversation<P> {
    protocol: P,
    input: Box<[u8]>,
    /// What has been read and not been answered is `input[begin..end]`.
    begin: usize,
    end: usize,
    output: Vec<u8>,
}

impl<P: Protocol> Conversation<P> {
    pub fn new(protocol: P) -> Conversation<P> {
        let input = vec![0; P::REQUEST_LIMIT].into();
        Conversation { protocol, input, begin: 0, end: 0, output: Vec::with_capacity(WRITE_AT + 1024) }
    }

    /// Where the next bytes are to be put. Never empty while [`Conversation::answer`] said that it needs more:
    /// a request that fills the buffer is refused as too long.
    pub fn space(&mut self) -> &mut [u8] {
        if self.begin > 0 {
            self.input.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        &mut self.input[self.end..]
    }

    /// Says that `count` bytes have been put into the space.
    pub fn received(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.input.len());
    }

    /// Whether a part of a request has been read.
    pub fn within_request(&self) -> bool {
        self.end > self.begin
    }

    /// Answers one request; `false` if none is complete.
    pub fn answer(&mut self) -> Result<bool, P::Invalid> {
        let Some(length) = self.protocol.answer(&self.input[self.begin..self.end], &mut self.output)? else {
            return Ok(false);
        };
        self.begin += length;
        Ok(true)
    }

    /// The replies that have not been written.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    pub fn written(&mut self) {
        self.output.clear();
    }
}

/// What is counted of the connections of a service.
pub struct Tally<'a> {
    /// Those that are open.
    pub open: &'a Gauge,
    /// Those that were closed for what they sent, or for how slowly.
    pub garbage: &'a Counter,
}

#[derive(Debug, thiserror::Error)]
enum Broken<I> {
    #[error("{0}")]
    Garbage(I),
    #[error("{0}")]
    Stalled(#[from] Stalled),
    #[error("the client hung up within a request")]
    HalfRequest,
}

/// Talks until the end, which is counted and logged; `service` is its name in the log.
pub fn converse<P: Protocol>(service: &str, connection: &Connection, pace: Pace, protocol: P, tally: Tally) {
    let _open = Counted::new(tally.open);
    let peer = &connection.peer;
    match talk(connection, pace, Conversation::new(protocol)) {
        Ok(()) => {}
        Err(Broken::Stalled(Stalled::Idle)) => events::idle(service, peer),
        Err(Broken::Stalled(Stalled::Io(error))) => events::client_lost(service, peer, &error),
        Err(reason @ Broken::HalfRequest) => events::client_lost(service, peer, &reason),
        Err(reason @ (Broken::Garbage(_) | Broken::Stalled(_))) => {
            tally.garbage.inc();
            events::garbage(service, peer, &reason);
        }
    }
}

/// Counts in a gauge for as long as it lives, a panic included.
struct Counted<'a>(&'a Gauge);

impl Counted<'_> {
    fn new(gauge: &Gauge) -> Counted<'_> {
        gauge.inc();
        Counted(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn talk<P: Protocol>(connection: &Connection, pace: Pace, mut said: Conversation<P>) -> Result<(), Broken<P::Invalid>> {
    let mut paced = Paced::new(&connection.stream, pace).map_err(Stalled::from)?;
    loop {
        let within = said.within_request();
        let count = paced.read(said.space(), within)?;
        if count == 0 {
            return match within && !connection.stopping() {
                true => Err(Broken::HalfRequest),
                false => Ok(()),
            };
        }
        said.received(count);
        let answered = answer_all(&mut said, &mut paced);
        // What came before the garbage was sound and has its replies.
        if !said.output().is_empty() {
            paced.write(said.output())?;
            said.written();
        }
        answered?;
        if connection.stopping() {
            return Ok(());
        }
    }
}

fn answer_all<P: Protocol>(said: &mut Conversation<P>, paced: &mut Paced) -> Result<(), Broken<P::Invalid>> {
    while said.answer().map_err(Broken::Garbage)? {
        paced.completed();
        if said.output().len() >= WRITE_AT {
            paced.write(said.output())?;
            said.written();
        }
    }
    Ok(())
}
