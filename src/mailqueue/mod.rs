//! The mail queue port: what waits in an MTA's queue.
//!
//! [`Showq`] reads Postfix's own socket, which costs least; [`Command`] runs `postqueue -j` or whatever prints
//! the same, which is how the queues of other hosts and instances are read; [`Watch`] hears of messages that leave.
//!
//! # What every engine holds to
//!
//! - A scan shows every message that was in the queue from before its begin to after its end, at least once,
//!   but for those that the MTA moved meanwhile.
//! - It is [`Scan::complete`], or it is an error: a list that breaks off must not be taken for a short one.

mod command;
mod showq;
mod watch;

pub use command::{Command, CommandOptions};
pub use showq::{Showq, ShowqOptions};
pub use watch::{Watch, WatchOptions};

use crate::wire::listed::Listed;

/// What a scan came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    pub messages: u64,
    /// Parts that could not be read. The rest counts.
    pub unread: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum MailQueueError {
    /// Nobody is there, or we may not.
    #[error("{place}: {why}")]
    Unreachable { place: String, why: String },
    /// It began and did not end as it should.
    #[error("{place}: the list broke off: {why}")]
    BrokenOff { place: String, why: String },
}

pub trait MailQueue: Send + Sync + 'static {
    /// Shows every message. Blocks; for a thread that may.
    fn scan(&self, each: &mut dyn FnMut(&mut Listed)) -> Result<Scan, MailQueueError>;
}

/// Tells of messages that have left, where the system lets us see that.
pub trait Departures: Send + 'static {
    /// Waits until something has happened, and shows the queue ids whose files are gone; `false` when there will
    /// be no more. Returns now and then even if nothing has.
    fn wait(&mut self, each: &mut dyn FnMut(&str)) -> bool;
}

/// The first of two that can be reached.
pub struct Either<A, B>(pub A, pub B);

impl<A: MailQueue, B: MailQueue> MailQueue for Either<A, B> {
    fn scan(&self, each: &mut dyn FnMut(&mut Listed)) -> Result<Scan, MailQueueError> {
        match self.0.scan(each) {
            Err(MailQueueError::Unreachable { place, why }) => self
                .1
                .scan(each)
                .map_err(|error| MailQueueError::Unreachable { place, why: format!("{why}; and {error}") }),
            scanned => scanned,
        }
    }
}
