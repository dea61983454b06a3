//! The directory port: where limits and statuses come from and where statuses are written.
//!
//! An adapter feeds one stream of [`Change`]s into the service, a full load first. It owns everything
//! about its source (connections, retries, cookies, attribute names) and nothing about quotas.

pub mod entry;
pub mod ldap;
pub mod ldif;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::account::{Entry, EntryId, Writable};

/// What happened in the directory. Between `Begin` and `Complete` an adapter names every entry that
/// exists, as `Entry` or, where it knows that nothing changed, as `Present`; at `Complete` whatever was
/// not named is gone. Outside of such a load, changes stand for themselves. `Present` of an entry that was
/// never seen says nothing, and `Bad` names an entry as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Begin,
    Entry(Entry),
    Present(EntryId),
    Gone(EntryId),
    Complete,
    /// `Complete` for a part: what lies at or below this DN and was not named since `Begin` is gone.
    CompleteBelow(Box<str>),
    /// Everything that there is up to here is in; `token` lets a later start go on from this point.
    Reached {
        token: Vec<u8>,
    },
    /// An entry that could not be read: what it is and why. Its last good state stays in force.
    Bad {
        id: EntryId,
        dn: Box<str>,
        why: String,
    },
    /// The source cannot be reached. What is known stays in force.
    Lost {
        why: String,
    },
}

/// A change of one attribute that goes through only if the attribute still has the value that the
/// decision was based on. `None` is an absent attribute. Statuses compare in any case, and an absent one is
/// `active`. An attribute that has the value `to` already counts as written: the wish may have been carried
/// out just before a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub dn: Box<str>,
    pub attribute: Writable,
    pub from: Option<Box<str>>,
    pub to: Option<Box<str>>,
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |v: &Option<Box<str>>| v.as_deref().unwrap_or("(absent)").to_owned();
        write!(f, "{} of {}: {} -> {}", self.attribute, self.dn, value(&self.from), value(&self.to))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    Done,
    /// Somebody else has set another value; it was left alone.
    Overruled {
        found: Option<Box<str>>,
    },
    /// The entry is no longer there.
    NoEntry,
}

#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Worth another try later: the source is away or busy.
    #[error("{0}")]
    Away(String),
    /// Another try will fare no better until an admin acts: no rights, no such attribute.
    #[error("{0}")]
    Refused(String),
}

#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Sends changes until `stop`, through losses of the source. `token` is the last one that was
    /// stored, `None` for a first start. Fails only for what a retry cannot mend.
    async fn follow(
        &self,
        token: Option<Vec<u8>>,
        changes: mpsc::Sender<Change>,
        stop: CancellationToken,
    ) -> Result<(), DirectoryError>;

    /// The present value of an attribute, as it is spelled there.
    async fn read(&self, dn: &str, attribute: Writable) -> Result<Option<Box<str>>, DirectoryError>;

    /// Carries out `wish` as one step: compare and set.
    async fn write(&self, wish: &Wish) -> Result<Written, DirectoryError>;
}
