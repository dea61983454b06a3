//! Working the lists off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Marked, Marks, Wanted};
use crate::quota::Usage;
use crate::service::account::Account;
use crate::service::measuring::{MeasureError, Measuring};
use crate::telemetry::events;

const AT_ONCE: usize = 64;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What keeps changing is read for a quarter of the time at most.
const REST: u32 = 3;

/// Accounts by the moment at which their turn comes; the number keeps equal moments apart.
struct Due<T> {
    queue: BTreeMap<(Instant, u64), T>,
    number: u64,
}

impl<T> Due<T> {
    fn new() -> Due<T> {
        Due { queue: BTreeMap::new(), number: 0 }
    }

    fn insert(&mut self, wait: Duration, item: T) {
        self.number += 1;
        self.queue.insert((Instant::now() + wait, self.number), item);
    }

    fn pop(&mut self) -> Option<T> {
        self.queue.pop_first().map(|(_, item)| item)
    }

    /// Returns when the first one's turn has come.
    fn next(&self) -> impl Future<Output = ()> + use<T> {
        let next = self.queue.first_key_value().map(|((at, _), _)| *at);
        async move {
            match next {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Measuring {
    /// `delay` after the hint, and again with growing pauses while accepted messages have not shown up.
    pub(super) async fn follow_deliveries(
        self: Arc<Self>,
        mut hinted: mpsc::UnboundedReceiver<Arc<Account>>,
        delay: Duration,
        watched: Arc<AtomicBool>,
        stop: CancellationToken,
    ) {
        let mut due: Due<(Arc<Account>, Duration)> = Due::new();
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                // A new site has millions that were never measured: they wait in the channel, where they are a
                // pointer each, and not for a delivery.
                Some(account) = hinted.recv(), if running.len() < AT_ONCE => {
                    match account.lock().measured() {
                        Some(_) => due.insert(delay, (account.clone(), delay)),
                        None => drop(running.spawn(self.clone().follow_up(account.clone(), delay))),
                    }
                }
                () = due.next(), if running.len() < AT_ONCE => {
                    let Some((account, pause)) = due.pop() else { continue };
                    if watched.load(Ordering::Relaxed) && self.has_arrived(&account) {
                        continue;
                    }
                    running.spawn(self.clone().follow_up(account, pause));
                }
                Some(done) = running.join_next() => {
                    if let Ok((account, pause, true)) = done {
                        let pause = (pause * 2).min(LONGEST_PAUSE);
                        due.insert(pause, (account, pause));
                    }
                }
            }
        }
    }

    /// Whether nothing is left to be looked for.
    fn has_arrived(&self, account: &Account) -> bool {
        let mut seat = account.lock();
        let arrived = seat.measured().is_some() && seat.reserved(self.accounting.clock.now()) == Usage::ZERO;
        seat.hinted &= !arrived;
        arrived
    }

    /// Also whether the account should be looked at again.
    async fn follow_up(self: Arc<Self>, account: Arc<Account>, pause: Duration) -> (Arc<Account>, Duration, bool) {
        if let Err(error) = self.measure(&account).await {
            events::scan_incomplete(&account.address, &error);
        }
        let more = {
            let mut seat = account.lock();
            let waiting = !seat.gone && seat.reserved(self.accounting.clock.now()) != Usage::ZERO;
            let more = waiting && !seat.hinted;
            seat.hinted |= more;
            more
        };
        (account, pause, more)
    }

    /// `delay` after the first mark, for which marks are gathered.
    pub(super) async fn follow_marks(
        self: Arc<Self>,
        mut marked: mpsc::UnboundedReceiver<Marked>,
        marks: Arc<Marks>,
        delay: Duration,
        stop: CancellationToken,
    ) {
        let mut due: Due<Arc<Account>> = Due::new();
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(Marked { account, pause }) = marked.recv() => {
                    due.insert(pause.map_or(delay, |pause| pause.max(delay)), account);
                }
                () = due.next(), if running.len() < AT_ONCE => {
                    let Some(account) = due.pop() else { continue };
                    running.spawn(self.clone().measure_marked(marks.clone(), account));
                }
                // Whoever dies lets go of the account on the way.
                Some(_) = running.join_next() => {}
            }
        }
    }

    async fn measure_marked(self: Arc<Self>, marks: Arc<Marks>, account: Arc<Account>) {
        let mut taken = marks.take(account);
        let begun = Instant::now();
        let account = &taken.account;
        let measured = match &taken.wanted {
            Wanted::Whole => self.measure(account).await,
            Wanted::Folders(folders) => self.measure_folders(account, folders).await,
        };
        // What counts is what the store had to read. A ledger that is slow to sync must not slow the next look down
        // threefold.
        let mut busy = begun.elapsed();
        match measured {
            Ok(measured) => busy = measured.reading,
            Err(_) if account.lock().gone => {}
            Err(MeasureError::Busy) => taken.put_back(),
            Err(error) => events::scan_incomplete(&account.address, &error),
        }
        taken.pause = (busy * REST).min(LONGEST_PAUSE);
    }
}
