//! Postfix's showq socket.
//!
//! It is open to everybody, but lies in a folder that only the group `postdrop` may pass through.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::{MailQueue, MailQueueError, Scan};
use crate::wire::listed::Listed;
use crate::wire::showq::Reader;

#[derive(Clone, Debug)]
pub struct ShowqOptions {
    /// `public/showq` below Postfix's `queue_directory`.
    pub socket: PathBuf,
    /// How long showq may say nothing.
    pub timeout: Duration,
}

pub struct Showq(ShowqOptions);

impl Showq {
    pub fn new(options: ShowqOptions) -> Showq {
        Showq(options)
    }
}

impl MailQueue for Showq {
    fn scan(&self, each: &mut dyn FnMut(&mut Listed)) -> Result<Scan, MailQueueError> {
        let place = || self.0.socket.display().to_string();
        let unreachable =
            |error: std::io::Error| MailQueueError::Unreachable { place: place(), why: error.to_string() };
        let broken = |why: String| MailQueueError::BrokenOff { place: place(), why };
        let mut stream = UnixStream::connect(&self.0.socket).map_err(unreachable)?;
        stream.set_read_timeout(Some(self.0.timeout)).map_err(unreachable)?;
        let mut buffer = vec![0; 64 * 1024];
        let mut reader = Reader::default();
        let mut scan = Scan::default();
        let mut count = |message: &mut Listed| {
            scan.messages += 1;
            each(message);
        };
        loop {
            let length = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(error.to_string())),
            };
            reader.feed(&buffer[..length], &mut count).map_err(|invalid| broken(invalid.to_string()))?;
        }
        match reader.is_complete() {
            true => Ok(scan),
            false => Err(broken("it ends without its end".into())),
        }
    }
}
