//! Measures mailboxes: on request, after deliveries, once when an account is new, and single folders that
//! were seen changing ([`hints`](super::hints)).
//!
//! A measurement is absolute and heals whatever was missed. It is stored only if it is complete and
//! nothing changed the account while it ran.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::account::Account;
use super::accounting::{Accounting, Overtaken};
use super::unixquota::UnixReading;
use crate::ledger::{Batch, LedgerError, Op, Outcome, Shelf};
use crate::mailstore::{MailStore, MailStoreError, MailboxRef, Measurement};
use crate::quota::{Cells, Usage};
use crate::telemetry::events;
use crate::telemetry::metrics::Scan;

/// An account that keeps changing is tried this often before it is left to a later measurement.
const TRIES: usize = 5;

pub struct Measuring {
    pub(super) accounting: Arc<Accounting>,
    store: Arc<dyn MailStore>,
    /// How many mailboxes are read at once.
    readers: Arc<Semaphore>,
    /// The same for single folders, apart: a change must not wait for `resync` to come round.
    folder_readers: Arc<Semaphore>,
    unix: Option<Arc<UnixReading>>,
}

#[derive(Debug)]
pub struct Measured {
    pub before: Usage,
    pub after: Usage,
    pub files: u64,
    /// How long the store was read for, without what storing the result took.
    pub reading: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Some folder could not be read; the old usage stays.
    #[error("incomplete: {}", .0.join("; "))]
    Incomplete(Vec<String>),
    #[error(transparent)]
    Store(#[from] MailStoreError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the mailbox kept changing while it was measured")]
    Busy,
    #[error("the reader of the mail store came to grief: {0}")]
    Fault(String),
}

impl Measuring {
    pub fn new(accounting: Arc<Accounting>, store: Arc<dyn MailStore>, readers: usize) -> Measuring {
        let semaphore = || Arc::new(Semaphore::new(readers.max(1)));
        Measuring { accounting, store, readers: semaphore(), folder_readers: semaphore(), unix: None }
    }

    /// Reads file-system quotas too, whenever a mailbox is measured.
    pub fn with_unix(self, unix: Option<Arc<UnixReading>>) -> Measuring {
        Measuring { unix, ..self }
    }

    /// Measures one mailbox and returns when the result is safe in the ledger.
    pub async fn measure(&self, account: &Arc<Account>) -> Result<Measured, MeasureError> {
        if let Some(unix) = &self.unix {
            unix.read(account).await;
        }
        let begun = tokio::time::Instant::now();
        let metrics = &self.accounting.metrics;
        let measured = self.try_to_measure(account, None).await;
        metrics.scan(outcome(&measured));
        if let Ok(found) = &measured {
            metrics.scanned_files.inc_by(found.files);
            events::scanned(&account.address, found.after, found.files, begun.elapsed());
        }
        measured
    }

    /// Which of these mailboxes may have changed since they were measured, or up to `margin` before.
    pub async fn changed(&self, accounts: Vec<Arc<Account>>, margin: Duration) -> Vec<Arc<Account>> {
        let store = self.store.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let changed = |account: &Arc<Account>| {
                let measured = account.lock().measured();
                measured.is_none_or(|at| store.changed_since(&account.mailbox(), at.before(margin)))
            };
            accounts.into_iter().filter(|account| store.measures() && changed(account)).collect()
        });
        looking.await.unwrap_or_default()
    }

    /// Measures some folders, without those below them, and leaves the cells of all others as they are. An
    /// account that has never been measured is measured as a whole. `before` and `after` are the whole
    /// account's.
    pub async fn measure_folders(
        &self,
        account: &Arc<Account>,
        folders: &[Box<str>],
    ) -> Result<Measured, MeasureError> {
        if account.lock().measured().is_none() {
            return self.measure(account).await;
        }
        let begun = tokio::time::Instant::now();
        let metrics = &self.accounting.metrics;
        let measured = self.try_to_measure(account, Some(folders)).await;
        metrics.folder_scan(outcome(&measured));
        if let Ok(found) = &measured {
            metrics.scanned_files.inc_by(found.files);
            events::folders_scanned(&account.address, folders.len(), found.after, found.files, begun.elapsed());
        }
        measured
    }

    /// The whole mailbox, or `only` some folders of it.
    async fn try_to_measure(
        &self,
        account: &Arc<Account>,
        only: Option<&[Box<str>]>,
    ) -> Result<Measured, MeasureError> {
        let before = account.lock().total();
        let (mut behind, mut reading) = (false, Duration::ZERO);
        if !self.store.measures() {
            account.lock().hinted = false;
            return Ok(Measured { before, after: before, files: 0, reading: Duration::ZERO });
        }
        for _ in 0..TRIES {
            let based_on = {
                let mut seat = account.lock();
                seat.hinted &= only.is_some();
                seat.revision
            };
            let begun = tokio::time::Instant::now();
            let found = self.read(account, only).await?;
            reading += begun.elapsed();
            if !found.problems.is_empty() {
                return Err(MeasureError::Incomplete(found.problems));
            }
            let files = found.files;
            let stored = match only {
                None => self.accounting.measured(account, based_on, found.cells, self.accounting.clock.now()),
                Some(folders) => self.accounting.measured_folders(account, based_on, folders, &found.cells, behind),
            };
            match stored {
                Ok(receipt) => {
                    let after = account.lock().total();
                    if let Outcome::Conflict { present } = receipt.durable().await? {
                        account.lock().revision = present;
                        behind = true;
                        continue;
                    }
                    self.remember(account, found.memory).await?;
                    return Ok(Measured { before, after, files, reading });
                }
                Err(Overtaken) if account.lock().gone => return Err(MeasureError::Busy),
                Err(Overtaken) => {}
            }
        }
        Err(MeasureError::Busy)
    }

    async fn read(&self, account: &Arc<Account>, only: Option<&[Box<str>]>) -> Result<Measurement, MeasureError> {
        let readers = if only.is_some() { &self.folder_readers } else { &self.readers };
        let turn = readers.clone().acquire_owned().await;
        let (store, mailbox) = (self.store.clone(), account.mailbox());
        let only = only.map(<[_]>::to_vec);
        let memory = self.accounting.ledger.shelf_get(Shelf::Types, account.address.as_bytes())?.unwrap_or_default();
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let found = match only {
                None => store.measure(&mailbox, &memory),
                Some(folders) => read_folders(&*store, &mailbox, &folders, &memory),
            };
            found.map(|found| (found.memory != memory, found))
        });
        let (changed, mut found) = reading.await.map_err(|fault| MeasureError::Fault(fault.to_string()))??;
        if !changed {
            found.memory.clear();
        }
        Ok(found)
    }

    /// Keeps the types that were found, where there is anything new to keep.
    async fn remember(&self, account: &Account, memory: Vec<u8>) -> Result<(), LedgerError> {
        if memory.is_empty() {
            return Ok(());
        }
        let key = account.address.as_bytes().into();
        let put = Op::Put { shelf: Shelf::Types, key, value: memory };
        self.accounting.ledger.submit(Batch::from([put])).durable().await.map(drop)
    }
}

/// What `folders` hold, as one measurement.
fn read_folders(
    store: &dyn MailStore,
    mailbox: &MailboxRef,
    folders: &[Box<str>],
    memory: &[u8],
) -> Result<Measurement, MailStoreError> {
    let mut all = Measurement { memory: memory.to_vec(), ..Measurement::default() };
    let mut usages = Vec::new();
    for folder in folders {
        let found = store.measure_folder(mailbox, folder, &all.memory)?;
        usages.extend(found.cells.iter().map(|(key, usage)| (key.clone(), usage)));
        all.files = all.files.saturating_add(found.files);
        all.problems.extend(found.problems);
        all.memory = found.memory;
    }
    all.cells = usages.into_iter().collect::<Cells>();
    Ok(all)
}

fn outcome(measured: &Result<Measured, MeasureError>) -> Scan {
    match measured {
        Ok(_) => Scan::Complete,
        Err(MeasureError::Incomplete(_)) => Scan::Incomplete,
        Err(_) => Scan::Failed,
    }
}
