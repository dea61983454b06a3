//! The mail store port: measuring what a mailbox holds.

pub mod maildir;
mod reported;

pub use self::reported::ReportedStore;

use std::collections::BTreeMap;

use crate::quota::usage::canonical_folder;
use crate::quota::{Cells, Moment};

/// What an adapter needs to find a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxRef {
    pub address: Box<str>,
    /// Directory attributes that the path template may name.
    pub attributes: BTreeMap<Box<str>, Box<str>>,
}

/// What a message's type was found to be, kept from one scan to the next so that a message is
/// opened once at most. Opaque to everyone but the adapter that made it.
pub type TypeMemory = Vec<u8>;

/// What a measurement found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measurement {
    pub cells: Cells,
    pub files: u64,
    /// Why the measurement is incomplete, one line a folder; empty when it is complete. The numbers
    /// of an incomplete measurement are not to be stored.
    pub problems: Vec<String>,
    pub memory: TypeMemory,
}

#[derive(Debug, thiserror::Error)]
pub enum MailStoreError {
    /// The mailbox cannot be located: the path template needs something the account has not.
    #[error("{0}")]
    Unlocatable(String),
    #[error("{0}")]
    Unreadable(String),
}

/// Measures mailboxes. Calls block and may run side by side on many threads.
pub trait MailStore: Send + Sync + 'static {
    /// Whether mailboxes can be measured. Where not, usage is what is reported, and stays as it is.
    fn measures(&self) -> bool {
        true
    }

    /// Whether a mailbox may have changed at or after `since`, as cheaply as can be told; `true` in doubt.
    fn changed_since(&self, _mailbox: &MailboxRef, _since: Moment) -> bool {
        true
    }

    /// Measures a whole mailbox. One that does not exist yet is empty.
    fn measure(&self, mailbox: &MailboxRef, memory: &[u8]) -> Result<Measurement, MailStoreError>;

    /// Measures one folder, without those below it; one that does not exist is empty. The memory that
    /// comes back is still that of the whole mailbox. Stores that have no cheaper way measure it all.
    fn measure_folder(&self, mailbox: &MailboxRef, folder: &str, memory: &[u8]) -> Result<Measurement, MailStoreError> {
        let folder = canonical_folder(folder);
        let mut found = self.measure(mailbox, memory)?;
        let own = found.cells.iter().filter(|(key, _)| *key.folder == *folder);
        found.cells = own.map(|(key, usage)| (key.clone(), usage)).collect();
        found.files = found.cells.total().messages;
        Ok(found)
    }
}
