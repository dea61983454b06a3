//! Changes of what an account holds: reported, measured, or moved with a folder.

use std::sync::Arc;

use super::Accounting;
use crate::ledger::{Batch, LedgerError, Op, Outcome, Receipt, Revision};
use crate::quota::{CellKey, Cells, Delta, Moment};
use crate::service::account::{Account, Seat};

/// A measurement came too late: the account has changed or gone since it began.
#[derive(Debug, PartialEq, Eq)]
pub struct Overtaken;

/// Why a change of usage does not count.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Since the caller found it.
    #[error("the account has gone from the directory")]
    Gone,
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Accounting {
    /// Adds changes to an account. A `key` that was seen before makes a repetition harmless.
    pub async fn change(
        &self,
        account: &Arc<Account>,
        deltas: Vec<(CellKey, Delta)>,
        key: Option<u128>,
    ) -> Result<Outcome, ChangeError> {
        let _turn = match key {
            Some(key) => Some(self.keys.turn(key).await),
            None => None,
        };
        if let Some(key) = key
            && self.ledger.seen(key)?
        {
            return Ok(Outcome::Duplicate);
        }
        let mut gone = false;
        let receipt = self.with_seat(account, |seat, batch| {
            gone = seat.gone;
            if gone {
                return;
            }
            for (cell, delta) in &deltas {
                seat.cells.change(cell, *delta);
            }
            seat.cells = self.sharing(std::mem::take(&mut seat.cells));
            seat.revision += 1;
            batch.push(Op::Deltas { account: account.address.clone(), deltas, key });
        });
        if gone {
            return Err(ChangeError::Gone);
        }
        Ok(receipt.durable().await?)
    }

    /// Puts a measurement in the place of all cells, if nothing has changed since `based_on`.
    pub fn measured(
        &self,
        account: &Arc<Account>,
        based_on: Revision,
        cells: Cells,
        at: Moment,
    ) -> Result<Receipt, Overtaken> {
        let mut overtaken = false;
        let receipt = self.with_seat(account, |seat, batch| {
            if seat.revision != based_on || seat.gone {
                overtaken = true;
                return;
            }
            seat.cells = self.sharing(cells.clone());
            seat.revision += 1;
            seat.set_measured(Some(at));
            batch.push(Op::Measured { account: account.address.clone(), based_on, cells, at });
        });
        if overtaken { Err(Overtaken) } else { Ok(receipt) }
    }

    /// Puts what was found in some folders in the place of their cells, if nothing has changed since
    /// `based_on`. Cells that stay as they are are not stored again, unless the ledger is `behind` memory.
    /// `Overtaken` is also an account that was never measured as a whole: some of its folders would pass for all
    /// of them.
    pub fn measured_folders(
        &self,
        account: &Arc<Account>,
        based_on: Revision,
        folders: &[Box<str>],
        found: &Cells,
        behind: bool,
    ) -> Result<Receipt, Overtaken> {
        let mut overtaken = false;
        let receipt = self.with_seat(account, |seat, batch| {
            overtaken = seat.revision != based_on || seat.gone || seat.measured().is_none();
            if overtaken {
                return;
            }
            let mut cells = seat.cells.clone();
            folders.iter().for_each(|folder| cells.replace_folder(folder, found));
            if behind || cells != seat.cells {
                self.replace(account, seat, cells, batch);
            }
        });
        if overtaken { Err(Overtaken) } else { Ok(receipt) }
    }

    /// Takes the cells of a renamed folder, and of those below it, to their new names, in one batch. The next
    /// measurement is still what counts: this only keeps mail from vanishing from its bucket until then.
    pub fn renamed(&self, account: &Arc<Account>, from: &str, to: &str) -> Receipt {
        self.with_seat(account, |seat, batch| {
            if !seat.gone && seat.measured().is_some() {
                let cells = seat.cells.renamed(from, to);
                if cells != seat.cells {
                    self.replace(account, seat, cells, batch);
                }
            }
        })
    }

    /// Other cells for an account that was measured as a whole before.
    fn replace(&self, account: &Account, seat: &mut Seat, cells: Cells, batch: &mut Batch) {
        if let Some(at) = seat.measured() {
            let (account, based_on) = (account.address.clone(), seat.revision);
            batch.push(Op::Measured { account, based_on, cells: cells.clone(), at });
            seat.cells = self.sharing(cells);
            seat.revision += 1;
        }
    }

    /// Stores an account's cells as they are now, where the ledger says that it is at revision `present`: it has missed
    /// something, or has forgotten an earlier account of that name, whose revisions do not come back.
    pub fn stored_anew(&self, account: &Arc<Account>, present: Revision) -> Receipt {
        self.with_seat(account, |seat, batch| {
            if !seat.gone {
                seat.revision = present;
                self.replace(account, seat, seat.cells.clone(), batch);
            }
        })
    }

    /// The same cells with one copy of every name: a million mailboxes have a handful of folder names.
    pub fn sharing(&self, mut cells: Cells) -> Cells {
        let mut names = self.names.lock();
        cells.share_names(|name| names.share_arc(name));
        cells
    }
}
