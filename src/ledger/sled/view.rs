//! What readers see: the tree, less what is on its way to the disk.
//!
//! The engine shows a write as soon as it is in memory. A reader must not act on what a power cut could take
//! back, so before the writer changes rows it lays their old values here, and takes them away when the
//! change is synced. If it never is, because the disk is full, the old values stay in force until the
//! writer has put them back into the tree.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sled::{Db, IVec};

use super::rows::{self, Fault, Head};
use crate::ledger::{LedgerError, Record};

/// Old values by row; `None` where there was no such row.
pub type Held = BTreeMap<Vec<u8>, Option<IVec>>;

/// Rows are read in pieces of so many, so that a reader of all accounts neither copies the tree nor keeps
/// the writer waiting.
const PIECE: usize = 256;

pub struct View {
    /// `None` while the engine is being opened again, and after it was closed.
    pub db: Option<Db>,
    pub held: Held,
    /// Where the ledger lies, for messages.
    pub path: String,
}

/// A head row and what it is the head of.
pub struct Found {
    pub row: IVec,
    pub payload: IVec,
}

impl View {
    pub fn row(&self, row: &[u8]) -> Result<Option<IVec>, LedgerError> {
        match self.held.get(row) {
            Some(old) => Ok(old.clone()),
            None => self.tree(|db| db.get(row)),
        }
    }

    pub fn payload(&self, row: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.row(row)?.map(|head| self.join(row, head)).transpose()?.map(|payload| payload.to_vec()))
    }

    pub fn record(&self, account: &str) -> Result<Option<Record>, LedgerError> {
        let row = rows::account_row(account);
        self.row(&row)?.map(|head| self.record_of(&row, &head)).transpose()
    }

    /// The record under a head that has been read already.
    pub fn record_of(&self, row: &[u8], head: &[u8]) -> Result<Record, LedgerError> {
        let record = match rows::read_head(head) {
            Ok(Head::Whole(payload)) => rows::read_record(payload),
            _ => rows::read_record(&self.join(row, head.into())?),
        };
        record.map_err(|fault| self.fault(fault))
    }

    /// Up to [`PIECE`] heads whose rows begin with `prefix`, in order, from behind `after`. Fewer than
    /// asked for does not mean the end: an empty piece does.
    pub fn piece(&self, prefix: &[u8], after: Option<&[u8]>) -> Result<Vec<Found>, LedgerError> {
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let mut heads: Vec<(IVec, IVec)> = self.tree(|db| {
            let rows = db.range::<&[u8], _>((from, Bound::Unbounded)).take(PIECE);
            rows.take_while(|row| row.as_ref().map_or(true, |(row, _)| row.starts_with(prefix))).collect()
        })?;
        let last = heads.last().filter(|_| heads.len() == PIECE).map(|(row, _)| row.clone());
        let until = last.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let held = self.held.range::<[u8], _>((from, until));
        let mut held = held.take_while(|(row, _)| row.starts_with(prefix)).peekable();
        if held.peek().is_some() {
            let mut seen: BTreeMap<IVec, IVec> = heads.into_iter().collect();
            for (row, old) in held {
                match old {
                    Some(old) => drop(seen.insert(row.as_slice().into(), old.clone())),
                    None => drop(seen.remove(row.as_slice())),
                }
            }
            heads = seen.into_iter().collect();
        }
        if heads.is_empty()
            && let Some(last) = last
        {
            // The whole piece is yet to become durable: none of it is there for a reader.
            return self.piece(prefix, Some(&last));
        }
        heads.into_iter().map(|(row, head)| Ok(Found { payload: self.join(&row, head)?, row })).collect()
    }

    pub fn fault(&self, fault: Fault) -> LedgerError {
        let path = self.path.clone();
        match fault {
            Fault::TooNew(found) => LedgerError::TooNew { path, found, known: rows::FORMAT },
            Fault::Unreadable(why) => LedgerError::Damaged { path, why },
        }
    }

    /// The payload of `head`, which is a part of it where it is short: nothing is copied then.
    fn join(&self, row: &[u8], head: IVec) -> Result<IVec, LedgerError> {
        match rows::read_head(&head).map_err(|fault| self.fault(fault))? {
            Head::Whole(payload) => Ok(head.subslice(head.len() - payload.len(), payload.len())),
            Head::Parts(count) => {
                let mut payload = Vec::new();
                for index in 0..count {
                    let missing = || self.fault(Fault::Unreadable(format!("part {index} of {count} is missing")));
                    let part = self.row(&rows::part_row(index, row))?;
                    payload.extend_from_slice(&part.ok_or_else(missing)?);
                }
                Ok(payload.into())
            }
        }
    }

    /// The engine panics on some kinds of damage; a reader gets an error either way.
    fn tree<T>(&self, read: impl FnOnce(&Db) -> sled::Result<T>) -> Result<T, LedgerError> {
        let Some(db) = &self.db else {
            return Err(LedgerError::Read(format!("the ledger at {} is not open", self.path)));
        };
        match catch_unwind(AssertUnwindSafe(|| read(db))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error @ sled::Error::Corruption { .. })) => Err(self.fault(Fault::Unreadable(error.to_string()))),
            Ok(Err(error)) => Err(LedgerError::Read(error.to_string())),
            Err(panic) => Err(self.fault(Fault::Unreadable(super::open::said(&*panic)))),
        }
    }
}
