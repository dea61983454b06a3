//! The ledger port: what must survive a crash.
//!
//! A ledger holds one [`Record`] an account and, on named [`Shelf`]s, small values that the service
//! reads and writes as a whole. Writes come in [`Batch`]es: a batch is applied whole or not at all, in the
//! order of submission, and its [`Receipt`] resolves when the batch would survive a power cut. Many
//! batches share one sync.
//!
//! Nothing in this port is bound to one machine: deltas are relative and carry an idempotency key, absolute
//! values carry the revision that they are based on, so several daemons may share an engine.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::quota::{CellKey, Cells, Delta, Moment, Standing};

/// Grows by one with every change of an account's cells.
pub type Revision = u64;

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
    /// When scheduled jobs last ran.
    Jobs,
    /// What the types of messages were found to be, by account.
    Types,
    /// Notices to send and those sent.
    Notices,
}

impl Shelf {
    pub const ALL: [Shelf; 6] =
        [Shelf::Domains, Shelf::Outbox, Shelf::Directory, Shelf::Jobs, Shelf::Types, Shelf::Notices];
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
pub struct Receipt(pub oneshot::Receiver<Result<Outcome, LedgerError>>);

impl Receipt {
    /// For a caller that had nothing to store.
    pub fn ready(outcome: Outcome) -> Receipt {
        let (sender, receiver) = oneshot::channel();
        // The receiver is right here.
        let _ = sender.send(Ok(outcome));
        Receipt(receiver)
    }

    pub async fn durable(self) -> Result<Outcome, LedgerError> {
        self.0.await.unwrap_or_else(|_| Err(LedgerError::Write("the ledger was closed".into())))
    }

    /// For callers outside of the async runtime.
    pub fn wait(self) -> Result<Outcome, LedgerError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(LedgerError::Write("the ledger was closed".into())))
    }
}

pub trait Ledger: Send + Sync + 'static {
    /// Hands a batch in. Batches are applied in the order of submission.
    fn submit(&self, batch: Batch) -> Receipt;

    /// Whether a batch with this idempotency key has been applied.
    fn seen(&self, key: u128) -> Result<bool, LedgerError>;

    fn read(&self, account: &str) -> Result<Option<Record>, LedgerError>;

    /// Every account, in no particular order.
    fn read_all(&self, each: &mut dyn FnMut(&str, Record)) -> Result<(), LedgerError>;

    fn shelf_get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Every value of a shelf, in the order of the keys.
    fn shelf_all(&self, shelf: Shelf, each: &mut dyn FnMut(&[u8], Vec<u8>)) -> Result<(), LedgerError>;

    fn health(&self) -> Health;

    /// Finishes what was submitted and closes; later batches are refused.
    fn close(&self) -> Result<(), LedgerError>;
}
