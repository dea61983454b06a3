//! The mail store port: measuring what a mailbox holds, and hearing of changes.

pub mod doveadm;
pub mod imap;
pub mod maildir;
pub mod remote;
mod reported;

pub use self::reported::ReportedStore;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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

/// A store whose mailboxes lie at paths. Paths are those that the configuration leads to, whatever links are
/// on the way.
pub trait Paths: MailStore {
    /// Where the mailbox of an account lies.
    fn root(&self, mailbox: &MailboxRef) -> Result<String, MailStoreError>;

    /// The address of the account whose mailbox would lie at `root`, where paths alone tell; `None` if there can be
    /// none at this path.
    fn address(&self, root: &str) -> Option<String>;

    /// Whether [`address`](Paths::address) can tell at all. If not, the accounts must be asked for their paths.
    fn tells_addresses(&self) -> bool;

    /// How many levels the path of every mailbox has, where that is fixed.
    fn levels(&self) -> Option<usize>;

    /// The folder at `path`, which is `root` or below it, with `/` between levels; `None` if that is no folder.
    fn folder(&self, root: &str, path: &[u8]) -> Option<String>;
}

/// What was seen in a store that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Messages came to the folder at this path, or went from it.
    Folder(Vec<u8>),
    /// The directory at this path came or went: a folder, a mailbox, or what lies above mailboxes. One that was just
    /// `created` is empty.
    Directory { path: Vec<u8>, created: bool },
    /// From some moment on, changes were not told.
    Missed,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    #[error("{0}")]
    NotPermitted(String),
    /// The system, or this file system, does not know how.
    #[error("{0}")]
    NotPossible(String),
    /// What worked no longer does.
    #[error("{0}")]
    Broken(String),
    /// It was told to stop before it had begun, or in the middle of finding out what it had missed.
    #[error("it was told to stop")]
    Stopped,
}

/// Says whether to stop. Asked again and again by what may take long.
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// Tells of changes, by whomever they are made. Only those that are made on this machine are seen.
pub trait Watch: Send {
    /// By which means, in a word.
    fn by(&self) -> &'static str;

    /// Waits for changes, for as long as `patience`, and adds them to `changes`. True where nothing more is waiting
    /// to be told.
    fn next(&mut self, patience: Duration, changes: &mut Vec<Change>) -> Result<bool, WatchError>;
}
