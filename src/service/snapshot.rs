//! The directory as last seen, kept in the ledger: what a restart answers from before, or without, the
//! directory itself.
//!
//! An entry is one value. Accounts lie in the order of their addresses, as the ledger's own records do: a start goes
//! through both side by side, where a look-up of each record would read most of the pages of the ledger many times
//! over. The place up to which the directory was followed stands beside them, in
//! the batch of the last changes that it covers or in a later one, so that it never promises more than is
//! there. The first load is not written as it comes, for the disk would hold it up: what is in memory at its end is
//! written afterwards, piece by piece, and only then is there a place to go on from.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::stored;
use crate::account::{AccountEntry, DomainEntry, EntryId, GroupEntry};
use crate::ledger::{Batch, Ledger, LedgerError, Op, Receipt, Shelf};
use crate::quota::Moment;
use crate::telemetry::events;

/// Operations of a batch: what the ledger writes best.
pub const BATCH: usize = 500;

/// Batches that may be on their way to the disk.
const UNDER_WAY: usize = 8;

/// An entry as it is kept. Quotas are the last good ones, in binary units whatever the site's are.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kept {
    Account {
        entry: AccountEntry,
        /// Why the directory's own quota is not in force.
        problem: Option<Box<str>>,
    },
    Domain {
        entry: DomainEntry,
        /// The last one without a bad value, where this one has some.
        good: Option<Box<DomainEntry>>,
    },
    Group(GroupEntry),
    /// An entry that could not be read, besides what is kept of it from before.
    Bad {
        dn: Box<str>,
        why: Box<str>,
    },
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub token: Vec<u8>,
    /// When everything kept was known to be current.
    pub at: Moment,
}

const PLACE: &[u8] = b"p";

/// Under which key an entry is kept. They are read in the order of the keys: domains come before accounts, whose
/// limits depend on them.
///
/// ```text
/// b<id>             an entry that cannot be read
/// e<id>             a domain or a group
/// f<address>\0<id>  an account
/// p                 the place
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Key(Box<[u8]>);

impl Key {
    pub fn account(address: &str, id: EntryId) -> Key {
        Key([b"f", address.as_bytes(), b"\0", &id.0.to_be_bytes()].concat().into())
    }

    /// Of a domain or a group.
    pub fn other(id: EntryId) -> Key {
        Key([&b"e"[..], &id.0.to_be_bytes()].concat().into())
    }

    fn bad(id: EntryId) -> Key {
        Key([&b"b"[..], &id.0.to_be_bytes()].concat().into())
    }

    fn of(id: EntryId, kept: &Kept) -> Key {
        match kept {
            Kept::Account { entry, .. } => Key::account(&entry.address, id),
            Kept::Domain { .. } | Kept::Group(_) => Key::other(id),
            Kept::Bad { .. } => Key::bad(id),
        }
    }
}

fn id_of(key: &[u8]) -> Option<EntryId> {
    key.last_chunk().map(|id| EntryId(u128::from_be_bytes(*id)))
}

/// Whether what is kept is all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Nothing is kept: the directory is a file, and as near as the ledger.
    Off,
    /// No load has been completed yet; accounts are not written as they come.
    None,
    /// The first load is being written down.
    Filling,
    Whole,
    /// A batch was lost: nothing may be gone on from any more.
    Torn,
}

pub struct Snapshot {
    ledger: Arc<dyn Ledger>,
    ops: Batch,
    under_way: VecDeque<Receipt>,
    extent: Extent,
    place: Option<Place>,
}

impl Snapshot {
    /// One that keeps nothing of the directory, and hands on what else is to be written.
    pub fn off(ledger: Arc<dyn Ledger>) -> Snapshot {
        Snapshot { ledger, ops: Batch::new(), under_way: VecDeque::new(), extent: Extent::Off, place: None }
    }

    pub fn new(ledger: Arc<dyn Ledger>) -> Snapshot {
        Snapshot { extent: Extent::None, ..Snapshot::off(ledger) }
    }

    /// Whether what is kept is the whole directory, as far as can be told before it has been read.
    pub fn has_place(&self) -> Result<bool, LedgerError> {
        Ok(self.keeps() && self.ledger.shelf_get(Shelf::Directory, PLACE)?.is_some())
    }

    /// Hands out everything that is kept, and the place to go on from, if what is kept is whole.
    pub fn restore(&mut self, mut each: impl FnMut(EntryId, Kept)) -> Result<Option<Place>, LedgerError> {
        let place = self.ledger.shelf_get(Shelf::Directory, PLACE)?.and_then(|value| stored::read(&value));
        let mut unreadable = Vec::new();
        self.ledger.shelf_all(Shelf::Directory, &mut |key, value| match (id_of(key), stored::read(value)) {
            (Some(id), Some(kept)) if *key == *Key::of(id, &kept).0 => each(id, kept),
            _ if key == PLACE => {}
            _ => unreadable.push(Key(key.into())),
        })?;
        // Another release may have written what this one cannot read: then the directory is read anew.
        let place = place.filter(|_| unreadable.is_empty());
        if !unreadable.is_empty() {
            // First of all, for without the rest it would promise too much.
            self.remove(Key(PLACE.into()));
            unreadable.into_iter().for_each(|key| self.remove(key));
        }
        if place.is_some() {
            self.extent = Extent::Whole;
        }
        Ok(place)
    }

    pub fn keeps(&self) -> bool {
        self.extent != Extent::Off
    }

    /// Whether accounts are written as they change.
    pub fn follows(&self) -> bool {
        !matches!(self.extent, Extent::Off | Extent::None)
    }

    /// The first load is complete, and is now written down; `filled` follows.
    pub fn fill(&mut self) {
        self.extent = Extent::Filling;
    }

    pub fn filled(&mut self) {
        if self.extent == Extent::Filling {
            self.extent = Extent::Whole;
        }
    }

    pub fn put(&mut self, id: EntryId, kept: &Kept) {
        let Key(key) = Key::of(id, kept);
        self.ops.push(Op::Put { shelf: Shelf::Directory, key, value: stored::write(kept) });
    }

    pub fn remove(&mut self, Key(key): Key) {
        if self.keeps() {
            self.ops.push(Op::Remove { shelf: Shelf::Directory, key });
        }
    }

    /// Has something else written, in order with what is kept.
    pub fn write(&mut self, op: Op) {
        self.ops.push(op);
    }

    pub fn mended(&mut self, id: EntryId) {
        self.remove(Key::bad(id));
    }

    /// What is kept of a domain or a group.
    pub fn get(&self, id: EntryId) -> Option<Kept> {
        let kept = self.ledger.shelf_get(Shelf::Directory, &Key::other(id).0);
        kept.ok().flatten().and_then(|value| stored::read(&value))
    }

    /// Everything told so far is covered by `token`.
    pub fn reached(&mut self, token: Vec<u8>, at: Moment) {
        self.place = self.keeps().then_some(Place { token, at });
    }

    /// Whether enough has gathered for a batch.
    pub fn is_full(&self) -> bool {
        self.ops.len() >= BATCH
    }

    /// Hands everything to the ledger, the place last. Waits while the ledger is far behind.
    pub async fn flush(&mut self) {
        if self.extent == Extent::Whole
            && let Some(place) = self.place.take()
        {
            let value = stored::write(&place);
            self.ops.push(Op::Put { shelf: Shelf::Directory, key: PLACE.into(), value });
        }
        while !self.ops.is_empty() {
            let mut ops = std::mem::take(&mut self.ops).into_iter();
            while ops.len() > 0 {
                let batch = ops.by_ref().take(BATCH).collect();
                while self.under_way.len() >= UNDER_WAY {
                    self.settle_oldest().await;
                }
                self.under_way.push_back(self.ledger.submit(batch));
            }
        }
    }

    /// Waits until all that was handed in is safe.
    pub async fn settled(&mut self) {
        while !self.under_way.is_empty() {
            self.settle_oldest().await;
        }
    }

    async fn settle_oldest(&mut self) {
        let Some(oldest) = self.under_way.pop_front() else { return };
        let Err(error) = oldest.durable().await else { return };
        events::ledger_failed(&error);
        if self.keeps() && self.extent != Extent::Torn {
            self.extent = Extent::Torn;
            // Later batches may get through, and must not stand beside a place that covers the lost one.
            self.ops.push(Op::Remove { shelf: Shelf::Directory, key: PLACE.into() });
        }
    }
}
