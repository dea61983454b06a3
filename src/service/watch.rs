//! Follows the changes in the mail store: marks the folders that changed, and after a gap looks for the mailboxes
//! that changed in it.
//!
//! A gap is what nobody watched: before the daemon started, while the watch was broken, or more changes than the
//! kernel could keep. The *sweep* that follows looks at the change times of each mailbox's directories and has
//! those measured that changed since the gap began. How far watching had come is stored every few seconds, so
//! a restart looks no further back than it must; an account is never looked at for changes before its last
//! measurement.

mod index;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::index::Index;
use super::account::Account;
use super::accounting::Accounting;
use super::hints::Hints;
use super::stored;
use crate::ledger::{Batch, Op, Shelf};
use crate::mailstore::{Change, Paths, Stop, Watch, WatchError};
use crate::quota::Moment;
use crate::telemetry::events;

/// How often a stop is looked for, and whether the watched directories are still the same.
const PATIENCE: Duration = Duration::from_millis(500);

const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(3600);

/// How often it is stored how far watching has come.
const NOTE: Duration = Duration::from_secs(10);
const NOTED: &[u8] = b"watched";

/// What was seen this long before a stop may not have been measured yet, and clocks are coarse.
const SLACK: Duration = Duration::from_secs(60);

/// Opens the watch; with it comes why it is not the best there is.
pub type OpenWatch = dyn Fn(&Stop) -> Result<(Box<dyn Watch>, Option<String>), WatchError> + Send + Sync;

/// By which means the mail store is watched, for health and `doctor`.
#[derive(Default)]
pub struct WatchStatus(Mutex<Option<WatchState>>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WatchState {
    /// `None`: not now.
    pub by: Option<&'static str>,
    /// Why not, or not by better means.
    pub why: Option<String>,
}

impl WatchStatus {
    /// `None` where nothing is to be watched.
    pub fn state(&self) -> Option<WatchState> {
        self.0.lock().clone()
    }

    fn set(&self, by: Option<&'static str>, why: Option<String>) {
        *self.0.lock() = Some(WatchState { by, why });
    }
}

pub struct Watching {
    accounting: Arc<Accounting>,
    hints: Hints,
    paths: Arc<dyn Paths>,
    status: Arc<WatchStatus>,
    /// Gaps that have not been looked into to the end. While there are any, what was stored before them holds.
    gaps: AtomicUsize,
}

/// Mailboxes to be looked at.
enum Sweep {
    /// Those that changed since; where nothing is known, since they were measured.
    Since(Option<Moment>),
    /// Those below a path that was moved or removed.
    Below(Vec<u8>),
}

impl Watching {
    pub fn new(accounting: Arc<Accounting>, hints: Hints, paths: Arc<dyn Paths>, status: Arc<WatchStatus>) -> Watching {
        Watching { accounting, hints, paths, status, gaps: AtomicUsize::new(0) }
    }

    /// Watches until `stop`. Blocks.
    pub fn run(self, open: &OpenWatch, stop: &CancellationToken) {
        let (sweeps, waiting) = channel();
        std::thread::scope(|scope| {
            scope.spawn({
                let watching = &self;
                move || watching.sweep_on(&waiting, stop)
            });
            let mut since = self.noted();
            let (mut retry, mut first) = (FIRST_RETRY, true);
            let stopped: Stop = Arc::new({
                let stop = stop.clone();
                move || stop.is_cancelled()
            });
            self.status.set(None, Some("not begun yet".into()));
            while !stop.is_cancelled() {
                let error = match open(&stopped) {
                    Ok((watch, why)) => {
                        retry = FIRST_RETRY;
                        let by = watch.by();
                        events::watching(by, why.as_deref());
                        self.accounting.metrics.watching(by, true);
                        self.status.set(Some(by), why);
                        self.hints.watched(true);
                        // The watch is there first, so nothing falls between.
                        self.gap(&sweeps, Sweep::Since(since));
                        let (until, ended) = self.follow(watch, &sweeps, stop);
                        self.hints.watched(false);
                        self.accounting.metrics.watching(by, false);
                        since = Some(until);
                        match ended {
                            Ok(()) | Err(WatchError::Stopped) => return self.note(until),
                            Err(error) => error,
                        }
                    }
                    Err(WatchError::Stopped) => return,
                    Err(error) => {
                        // What changed while the daemon was down is found all the same.
                        if std::mem::take(&mut first) {
                            self.gap(&sweeps, Sweep::Since(since));
                        }
                        error
                    }
                };
                first = false;
                events::not_watching(&error, retry);
                self.status.set(None, Some(error.to_string()));
                wait(retry, stop);
                retry = (retry * 2).min(LONGEST_RETRY);
            }
        });
    }

    /// Until the stop or an error; with the moment up to which everything was told.
    fn follow(
        &self,
        mut watch: Box<dyn Watch>,
        sweeps: &Sender<Sweep>,
        stop: &CancellationToken,
    ) -> (Moment, Result<(), WatchError>) {
        let mut index = Index::new(self.paths.clone(), self.accounting.book.clone());
        let mut changes = Vec::new();
        let mut told = self.accounting.clock.now();
        let mut noted = Instant::now();
        while !stop.is_cancelled() {
            let asked = self.accounting.clock.now();
            let drained = match watch.next(PATIENCE, &mut changes) {
                Ok(drained) => drained,
                Err(error) => return (told, Err(error)),
            };
            changes.dedup();
            self.accounting.metrics.watch_changes.inc_by(changes.len() as u64);
            for change in changes.drain(..) {
                if change == Change::Missed {
                    events::watch_overflow();
                    self.accounting.metrics.watch_overflows.inc();
                    self.gap(sweeps, Sweep::Since(Some(told)));
                } else {
                    self.take(change, &mut index, sweeps);
                }
            }
            for change in index.refresh() {
                self.take(change, &mut index, sweeps);
            }
            if index.lost() {
                self.gap(sweeps, Sweep::Since(Some(told)));
            }
            if drained {
                told = asked;
            }
            if noted.elapsed() >= NOTE {
                noted = Instant::now();
                self.note(told);
            }
        }
        (told, Ok(()))
    }

    fn take(&self, change: Change, index: &mut Index, sweeps: &Sender<Sweep>) {
        let (path, created) = match &change {
            Change::Folder(path) => (path, true),
            Change::Directory { path, created } => (path, *created),
            Change::Missed => return,
        };
        let Some((account, root)) = index.find(path) else {
            match !created && index.is_above(path) {
                true => self.gap(sweeps, Sweep::Below(path.clone())),
                false => index.missed(change),
            }
            return;
        };
        let Some(folder) = self.paths.folder(&root, path) else { return };
        // With a directory, whatever lies below it came or went.
        match matches!(change, Change::Directory { .. }) && (!created || path.len() == root.len()) {
            true => self.hints.account(&account),
            false => self.hints.folder(&account, &folder),
        }
    }

    fn sweep_on(&self, waiting: &Receiver<Sweep>, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let Ok(first) = waiting.recv_timeout(PATIENCE) else { continue };
            // Before that nobody knows whose mailboxes there are.
            while !self.accounting.loaded() {
                if stop.is_cancelled() {
                    return;
                }
                wait(PATIENCE, stop);
            }
            // Several gaps are one: the earliest beginning counts for all of them.
            let mut since: Option<Option<Moment>> = None;
            let mut gaps = 0;
            for sweep in std::iter::once(first).chain(waiting.try_iter()) {
                gaps += 1;
                match sweep {
                    Sweep::Below(path) => self.sweep(stop, |account| {
                        let root = self.paths.root(&account.mailbox()).unwrap_or_default();
                        root.as_bytes().strip_prefix(&*path).is_some_and(|rest| rest.starts_with(b"/"))
                    }),
                    Sweep::Since(moment) => since = Some(since.map_or(moment, |earlier| earlier.min(moment))),
                }
            }
            if let Some(since) = since {
                self.sweep(stop, |account| self.changed(account, since));
            }
            if !stop.is_cancelled() {
                self.gaps.fetch_sub(gaps, Ordering::AcqRel);
            }
        }
    }

    fn gap(&self, sweeps: &Sender<Sweep>, sweep: Sweep) {
        self.gaps.fetch_add(1, Ordering::AcqRel);
        // The other end lives as long as we do.
        let _ = sweeps.send(sweep);
    }

    fn changed(&self, account: &Account, since: Option<Moment>) -> bool {
        // What was never measured is on another list.
        let Some(measured) = account.lock().measured() else { return false };
        let since = since.map_or(measured, |since| since.max(measured));
        self.paths.changed_since(&account.mailbox(), since.before(SLACK))
    }

    /// Has every account measured that `changed` picks.
    fn sweep(&self, stop: &CancellationToken, changed: impl Fn(&Account) -> bool) {
        let begun = Instant::now();
        let mut accounts = Vec::with_capacity(self.accounting.book.accounts());
        self.accounting.book.for_each_account(|account| accounts.push(account.clone()));
        let mut count = 0;
        for account in &accounts {
            if stop.is_cancelled() {
                return;
            }
            if changed(account) {
                count += 1;
                self.hints.account(account);
            }
        }
        events::watch_swept(accounts.len(), count, begun.elapsed());
    }

    fn noted(&self) -> Option<Moment> {
        stored::read(&self.accounting.ledger.shelf_get(Shelf::Jobs, NOTED).ok().flatten()?)
    }

    fn note(&self, told: Moment) {
        if self.gaps.load(Ordering::Acquire) > 0 {
            return;
        }
        let put = Op::Put { shelf: Shelf::Jobs, key: NOTED.into(), value: stored::write(&told) };
        drop(self.accounting.ledger.submit(Batch::from([put])));
    }
}

fn wait(time: Duration, stop: &CancellationToken) {
    let begun = Instant::now();
    while !stop.is_cancelled() && begun.elapsed() < time {
        std::thread::park_timeout(PATIENCE.min(time.saturating_sub(begun.elapsed())));
    }
}
