//! The ledger port: what must survive a crash.
//!
//! A ledger holds one [`Record`] an account and, on named [`Shelf`]s, small values that the service
//! reads and writes as a whole. Writes come in [`Batch`]es: a batch is applied whole or not at all, in the
//! order of submission, and its [`Receipt`] resolves when the batch would survive a power cut. Many
//! batches share one sync.
//!
//! Nothing in this port is bound to one machine: deltas are relative and carry an idempotency key, absolute
//! values carry the revision that they are based on, so several daemons may share an engine.
//!
//! Engines: [`MemoryLedger`] is the reference that every other is compared with; [`SledLedger`] is the
//! one that lasts. [`export`] writes either to a plain file and reads it back.
//!
//! # What every engine holds to
//!
//! - The operations of a batch see the batch's own earlier ones.
//! - **Reads show nothing that a power cut could take back**: a value is visible once it is durable, not
//!   before. A batch whose receipt is an error is not visible.
//! - **Revisions never come back.** Forgetting an account does not start its numbers again: a new record
//!   goes on above the highest revision ever forgotten, so that a measurement begun before cannot be
//!   taken for one begun after.
//! - **Idempotency keys** are compared with those of earlier batches, not within a batch: one key may stand
//!   on all the operations of one request. The latest [`KEYS_KEPT`] of them are remembered. A duplicate is
//!   noticed before a conflict is.
//! - A batch holds at most [`MAX_OPS`] operations, a name at most [`MAX_NAME`] bytes and a value at most
//!   [`MAX_VALUE`] bytes; other batches are refused whole with [`LedgerError::Write`].

mod atomic;
pub mod export;
mod memory;
mod sled;

pub use self::memory::MemoryLedger;
pub use self::sled::{SledLedger, SledOptions};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::quota::{CellKey, Cells, Delta, Moment, Standing};

/// Grows by one with every change of an account's cells.
pub type Revision = u64;

/// How many idempotency keys are remembered, the latest ones. Three quarters of an hour of steady traffic at
/// 100 keyed batches a second, in about 15 MB of memory: longer than any client retries.
pub const KEYS_KEPT: usize = 1 << 18;

/// The most operations of a batch. Larger ones make the engine's memory jump by hundreds of megabytes.
pub const MAX_OPS: usize = 1000;

/// The most bytes of an account's name or of a key on a shelf.
pub const MAX_NAME: usize = 400;

/// The most bytes of a value on a shelf.
pub const MAX_VALUE: usize = 4 << 20;

/// All that is kept of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub revision: Revision,
    pub cells: Cells,
    /// When the mailbox was last measured as a whole; `None` if it never was.
    pub measured: Option<Moment>,
    /// One for each bucket that does not stand `under`, by the bucket's printed name.
    pub standings: Vec<(Box<str>, Standing)>,
}

/// A group of named values. An engine keeps them apart and does not look into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Shelf {
    /// Standings of domains, by name.
    Domains,
    /// Directory writes that are still to be done.
    Outbox,
    /// The directory as last seen.
    Directory,
    /// When scheduled jobs last ran, until when the mail store was watched, and for how long the directory.
    Jobs,
    /// What the types of messages were found to be, by account.
    Types,
    /// Notices to send and those sent; warnings to carry out, and who has reached which.
    Notices,
    /// Accounts that have gone from the directory, by name.
    Gone,
}

impl Shelf {
    pub const ALL: [Shelf; 7] =
        [Shelf::Domains, Shelf::Outbox, Shelf::Directory, Shelf::Jobs, Shelf::Types, Shelf::Notices, Shelf::Gone];
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Adds changes to the cells of an account. With a `key` that was seen before, the whole batch is
    /// answered as [`Outcome::Duplicate`] and nothing is applied.
    Deltas {
        account: Box<str>,
        deltas: Vec<(CellKey, Delta)>,
        key: Option<u128>,
    },
    /// Puts a measurement in the place of all cells. If the account is no longer at revision
    /// `based_on`, the whole batch is answered as [`Outcome::Conflict`] and nothing is applied.
    Measured {
        account: Box<str>,
        based_on: Revision,
        cells: Cells,
        at: Moment,
    },
    /// Sets the standings of an account; its revision stays.
    Standings {
        account: Box<str>,
        standings: Vec<(Box<str>, Standing)>,
    },
    /// Forgets an account.
    Forget {
        account: Box<str>,
    },
    /// Puts a whole record in place, as read from an export. Its revision is kept unless the ledger has
    /// already gone past it.
    Restore {
        account: Box<str>,
        record: Record,
    },
    Put {
        shelf: Shelf,
        key: Box<[u8]>,
        value: Vec<u8>,
    },
    Remove {
        shelf: Shelf,
        key: Box<[u8]>,
    },
}

pub type Batch = Vec<Op>;

/// Why an engine refuses a batch whatever it holds: one of the limits above.
fn beyond_limits(batch: &[Op]) -> Option<LedgerError> {
    if batch.len() > MAX_OPS {
        let why = format!("a batch of {} operations; at most {MAX_OPS} are accepted", batch.len());
        return Some(LedgerError::Write(why));
    }
    batch.iter().find_map(|op| {
        let (name, value) = match op {
            Op::Deltas { account, .. }
            | Op::Measured { account, .. }
            | Op::Standings { account, .. }
            | Op::Forget { account }
            | Op::Restore { account, .. } => (account.as_bytes(), 0),
            Op::Put { key, value, .. } => (&**key, value.len()),
            Op::Remove { key, .. } => (&**key, 0),
        };
        let shown = || String::from_utf8_lossy(&name[..name.len().min(60)]).into_owned();
        if name.len() > MAX_NAME {
            let why = format!("the name {:?}… has {} bytes; at most {MAX_NAME} are accepted", shown(), name.len());
            return Some(LedgerError::Write(why));
        }
        let why = || format!("the value of {:?} has {value} bytes; at most {MAX_VALUE} are accepted", shown());
        (value > MAX_VALUE).then(|| LedgerError::Write(why()))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// An idempotency key of the batch was seen before: it has been applied already.
    Duplicate,
    /// A measurement was based on an older revision; this is the present one.
    Conflict {
        present: Revision,
    },
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// The batch is not stored; a later one may fare better (disk full, I/O error).
    #[error("the ledger cannot write: {0}")]
    Write(String),
    #[error("the ledger cannot read: {0}")]
    Read(String),
    /// Somebody else has the ledger open.
    #[error("the ledger at {path} is in use by another process; is mailquotad running? (see `mailquotad doctor`)")]
    Locked { path: String },
    /// What is stored cannot be trusted; the message says what to do.
    #[error(
        "the ledger at {path} is damaged ({why}); restore the newest export, or move the folder away and rebuild it with `mailquotad resync --all`"
    )]
    Damaged { path: String, why: String },
    /// Written by a later release.
    #[error(
        "the ledger at {path} holds records of version {found}, this release knows up to {known}; use the newer release"
    )]
    TooNew { path: String, found: u8, known: u8 },
}

/// How the engine does, in numbers since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub batches: u64,
    pub operations: u64,
    pub errors: u64,
    /// Why the last write failed; `None` once a write has gone through again.
    pub trouble: Option<String>,
}

/// Resolves when the batch is durable, or was refused as a whole.
pub struct Receipt(State);

enum State {
    Ready(Outcome),
    Waiting(oneshot::Receiver<Result<Outcome, LedgerError>>),
}

impl Receipt {
    /// For a caller that had nothing to store.
    pub fn ready(outcome: Outcome) -> Receipt {
        Receipt(State::Ready(outcome))
    }

    /// For an engine, which answers at the other end.
    pub fn waiting(answer: oneshot::Receiver<Result<Outcome, LedgerError>>) -> Receipt {
        Receipt(State::Waiting(answer))
    }

    pub async fn durable(self) -> Result<Outcome, LedgerError> {
        match self.0 {
            State::Ready(outcome) => Ok(outcome),
            State::Waiting(answer) => answer.await.unwrap_or_else(|_| Err(closed())),
        }
    }

    /// For callers outside of the async runtime.
    pub fn wait(self) -> Result<Outcome, LedgerError> {
        match self.0 {
            State::Ready(outcome) => Ok(outcome),
            State::Waiting(answer) => answer.blocking_recv().unwrap_or_else(|_| Err(closed())),
        }
    }
}

fn closed() -> LedgerError {
    LedgerError::Write("the ledger was closed".into())
}

pub trait Ledger: Send + Sync + 'static {
    /// Hands a batch in. Batches are applied in the order of submission.
    fn submit(&self, batch: Batch) -> Receipt;

    /// Whether a batch with this idempotency key has been applied.
    fn seen(&self, key: u128) -> Result<bool, LedgerError>;

    fn read(&self, account: &str) -> Result<Option<Record>, LedgerError>;

    /// Every account, in the order of the bytes of the names.
    fn read_all(&self, each: &mut dyn FnMut(&str, Record)) -> Result<(), LedgerError>;

    fn shelf_get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Every value of a shelf, in the order of the keys.
    fn shelf_all(&self, shelf: Shelf, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), LedgerError>;

    fn health(&self) -> Health;

    /// Finishes what was submitted and closes; later batches are refused.
    fn close(&self) -> Result<(), LedgerError>;
}
