//! Measures mailboxes: on request, after deliveries, and once when an account is new.
//!
//! A measurement is absolute and heals whatever was missed. It is stored only if it is complete and
//! nothing changed the account while it ran.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::account::{Account, Seat};
use super::accounting::{Accounting, Overtaken};
use crate::ledger::{Batch, LedgerError, Op, Outcome, Shelf};
use crate::mailstore::{MailStore, MailStoreError, Measurement};
use crate::quota::{Moment, Usage};
use crate::telemetry::events;
use crate::telemetry::metrics::Scan;

/// An account that keeps changing is tried this often before it is left to a later measurement.
const TRIES: usize = 5;

pub struct Measuring {
    accounting: Arc<Accounting>,
    store: Arc<dyn MailStore>,
    /// How many mailboxes are read at once.
    readers: Arc<Semaphore>,
}

#[derive(Debug)]
pub struct Measured {
    pub before: Usage,
    pub after: Usage,
    pub files: u64,
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
        Measuring { accounting, store, readers: Arc::new(Semaphore::new(readers.max(1))) }
    }

    /// Measures one mailbox and returns when the result is safe in the ledger.
    pub async fn measure(&self, account: &Arc<Account>) -> Result<Measured, MeasureError> {
        let begun = tokio::time::Instant::now();
        let metrics = &self.accounting.metrics;
        let measured = self.try_to_measure(account).await;
        match &measured {
            Ok(found) => {
                metrics.scan(Scan::Complete);
                metrics.scanned_files.inc_by(found.files);
                events::scanned(&account.address, found.after, found.files, begun.elapsed());
            }
            Err(MeasureError::Incomplete(_)) => metrics.scan(Scan::Incomplete),
            Err(_) => metrics.scan(Scan::Failed),
        }
        measured
    }

    async fn try_to_measure(&self, account: &Arc<Account>) -> Result<Measured, MeasureError> {
        let before = account.lock().total();
        for _ in 0..TRIES {
            let based_on = {
                let mut seat = account.lock();
                seat.hinted = false;
                seat.revision
            };
            let found = self.read(account).await?;
            if !found.problems.is_empty() {
                return Err(MeasureError::Incomplete(found.problems));
            }
            let (after, files) = (found.cells.total(), found.files);
            let at = self.accounting.clock.now();
            match self.accounting.measured(account, based_on, found.cells, at) {
                Ok(receipt) => {
                    if let Outcome::Conflict { present } = receipt.durable().await? {
                        account.lock().revision = present;
                        continue;
                    }
                    self.remember(account, found.memory).await?;
                    return Ok(Measured { before, after, files });
                }
                Err(Overtaken) if account.lock().gone => return Err(MeasureError::Busy),
                Err(Overtaken) => {}
            }
        }
        Err(MeasureError::Busy)
    }

    async fn read(&self, account: &Arc<Account>) -> Result<Measurement, MeasureError> {
        let turn = self.readers.clone().acquire_owned().await;
        let (store, mailbox) = (self.store.clone(), account.mailbox());
        let memory = self.accounting.ledger.shelf_get(Shelf::Types, account.address.as_bytes())?.unwrap_or_default();
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            store.measure(&mailbox, &memory).map(|found| (found.memory != memory, found))
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

    /// Measures what was hinted at until `stop`: `delay` after the hint, and again with growing pauses
    /// while accepted messages have not shown up.
    pub async fn follow_hints(self: Arc<Self>, mut hinted: HintsTaken, delay: Duration, stop: CancellationToken) {
        let mut queue: BTreeMap<(tokio::time::Instant, u64), (Arc<Account>, Duration)> = BTreeMap::new();
        let mut running = tokio::task::JoinSet::new();
        let mut number = 0;
        loop {
            let next = queue.first_key_value().map(|((at, _), _)| *at);
            tokio::select! {
                () = stop.cancelled() => return,
                Some(account) = hinted.0.recv() => {
                    number += 1;
                    // What has never been measured has no delivery to wait for.
                    let wait = if account.lock().measured.is_none() { Duration::ZERO } else { delay };
                    queue.insert((tokio::time::Instant::now() + wait, number), (account, delay));
                }
                () = sleep_until(next), if running.len() < AT_ONCE => {
                    let Some((_, (account, pause))) = queue.pop_first() else { continue };
                    let measuring = self.clone();
                    running.spawn(async move {
                        let more = measuring.follow_up(&account).await;
                        (account, pause, more)
                    });
                }
                Some(done) = running.join_next() => {
                    if let Ok((account, pause, true)) = done {
                        number += 1;
                        let pause = (pause * 2).min(LONGEST_PAUSE);
                        queue.insert((tokio::time::Instant::now() + pause, number), (account, pause));
                    }
                }
            }
        }
    }

    /// Whether the account should be looked at again.
    async fn follow_up(&self, account: &Arc<Account>) -> bool {
        if let Err(error) = self.measure(account).await {
            events::scan_incomplete(&account.address, &error);
        }
        let mut seat = account.lock();
        let waiting = !seat.gone && seat.reserved(self.accounting.clock.now()) != Usage::ZERO;
        let more = waiting && !seat.hinted;
        seat.hinted |= more;
        more
    }
}

const AT_ONCE: usize = 64;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

async fn sleep_until(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Tells the measurer that a mailbox has probably changed. Cheap enough for the hot path: an account
/// that is on the list already costs nothing.
#[derive(Clone)]
pub struct Hints(mpsc::UnboundedSender<Arc<Account>>);

pub struct HintsTaken(mpsc::UnboundedReceiver<Arc<Account>>);

pub fn hints() -> (Hints, HintsTaken) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Hints(sender), HintsTaken(receiver))
}

impl Hints {
    /// At most one hint an account waits at a time, which is what bounds the list.
    pub fn soon(&self, account: &Arc<Account>, seat: &mut Seat) {
        if !seat.hinted {
            // No receiver is left only while the daemon stops.
            seat.hinted = self.0.send(account.clone()).is_ok();
        }
    }
}

/// When each mailbox was measured last, for `check` and the jobs.
pub fn stale(account: &Account, before: Moment) -> bool {
    account.lock().measured.is_none_or(|measured| measured < before)
}
