//! Accounts that have gone from the directory. What the ledger knows of one stays there for `keep_gone`, for entries
//! come back: a search base is mended, a mistake undone. After that it is forgotten.
//!
//! An account that goes leaves a mark on a shelf of its own. A look at the marks, now and then, shows whose time is up;
//! the mark of one that has come back goes away then as well, so that coming back costs nothing. How long an account
//! has been gone is counted by a clock that nobody sets, and only while the directory can be reached: an outage, a
//! machine that was off and a wall clock that was years ahead make nobody older. Only this task lets accounts in and
//! out, and it waits until what it forgets is forgotten for good, so nobody comes back in the middle of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Sync;
use crate::ledger::{Batch, Ledger, LedgerError, MAX_OPS, Op, Shelf};
use crate::quota::Moment;
use crate::service::accounting::Accounting;
use crate::service::clock::Clock;
use crate::service::outbox::{self, Subject};
use crate::service::{over_flag, stored};
use crate::telemetry::events;

/// Looks at the marks are a thirtieth of `keep_gone` apart, within these bounds.
const SELDOM: Duration = Duration::from_secs(600);
const OFTEN: Duration = Duration::from_millis(100);

/// Beside the jobs: how long the directory could be reached in all, as far as it matters to anybody.
const COUNTED: &[u8] = b"gone";

/// What is stored of an account that has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    at: Moment,
    /// What was counted by then.
    counted: Duration,
}

pub(super) struct Gone {
    counted: Duration,
    /// Up to where the running of the clock has been counted; `None` while the directory cannot be reached.
    up_to: Option<Duration>,
    next_look: Instant,
    looking: Option<JoinHandle<Result<Found, LedgerError>>>,
    due: Vec<Box<str>>,
    /// Somebody is gone, as far as is known.
    any: bool,
}

pub(super) enum Turn {
    Look,
    Looked(Found),
}

/// What a look at the marks has shown.
#[derive(Default)]
pub(super) struct Found {
    marks: usize,
    /// Whose time is up, and who is back.
    due: Vec<Box<str>>,
}

impl Gone {
    pub fn load(ledger: &dyn Ledger) -> Gone {
        let counted = ledger.shelf_get(Shelf::Jobs, COUNTED).unwrap_or_else(|error| {
            events::ledger_failed(&error);
            None
        });
        let counted = counted.and_then(|value| stored::read(&value)).unwrap_or_default();
        Gone { counted, up_to: None, next_look: Instant::now(), looking: None, due: Vec::new(), any: false }
    }

    /// Counts up to now, and from now on.
    pub fn count(&mut self, clock: &dyn Clock) {
        let ran = clock.ran();
        match self.up_to.replace(ran) {
            Some(up_to) => self.counted = self.counted.saturating_add(ran.saturating_sub(up_to)),
            None => self.next_look = Instant::now(),
        }
    }

    pub fn stop_counting(&mut self, clock: &dyn Clock) {
        self.counted_by_now(clock);
        self.up_to = None;
    }

    fn counted_by_now(&mut self, clock: &dyn Clock) -> Duration {
        if self.up_to.is_some() {
            self.count(clock);
        }
        self.counted
    }

    pub fn is_any_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// What there is to do next, when it is time.
    pub async fn turn(&mut self) -> Turn {
        let Some(looking) = &mut self.looking else {
            tokio::time::sleep_until(self.next_look).await;
            return Turn::Look;
        };
        let looked = looking.await.unwrap_or_else(|died| Err(LedgerError::Read(died.to_string())));
        self.looking = None;
        Turn::Looked(looked.unwrap_or_else(|error| {
            events::ledger_failed(&error);
            Found::default()
        }))
    }
}

impl Sync {
    pub(super) fn mark_gone(&mut self, address: &str) {
        let mark = Mark { at: self.accounting.clock.now(), counted: self.gone.counted_by_now(&*self.accounting.clock) };
        self.gone.any = true;
        self.accounting.metrics.gone.inc();
        self.snapshot.write(Op::Put {
            shelf: Shelf::Gone,
            key: address.as_bytes().into(),
            value: stored::write(&mark),
        });
    }

    /// After a first load: marks whatever the ledger knows of accounts that are not there.
    pub(super) fn mark_unclaimed(&mut self) {
        let (mut unclaimed, book) = (Vec::new(), self.accounting.book.clone());
        let read = self.accounting.ledger.read_all(&mut |address, _| {
            if book.account(address).is_none() {
                unclaimed.push(address.into());
            }
        });
        match read {
            Ok(()) => self.mark_found(unclaimed),
            Err(error) => events::ledger_failed(&error),
        }
    }

    /// Marks accounts that are found to be gone, unless they have a mark already. They may have gone while the
    /// daemon was down, or under a release that made no marks; they count as gone from now on.
    pub(super) fn mark_found(&mut self, unclaimed: Vec<Box<str>>) {
        if unclaimed.is_empty() {
            return;
        }
        let mut marked = hashbrown::HashSet::new();
        let read = self.accounting.ledger.shelf_all(Shelf::Gone, &mut |key, _| marked.extend([Box::<[u8]>::from(key)]));
        if let Err(error) = read {
            events::ledger_failed(&error);
            return;
        }
        let unmarked = unclaimed.iter().filter(|address| !marked.contains(address.as_bytes()));
        let found = unmarked.map(|address| self.mark_gone(address)).count();
        if found > 0 {
            events::gone_found(found);
        }
    }

    /// Has what was counted stored, where that matters to anybody.
    pub(super) fn keep_count(&mut self) {
        let counted = self.gone.counted_by_now(&*self.accounting.clock);
        if self.gone.any {
            let value = stored::write(&counted);
            self.snapshot.write(Op::Put { shelf: Shelf::Jobs, key: COUNTED.into(), value });
        }
    }

    /// Begins a look at the marks, unless the directory is away.
    pub(super) async fn look_who_is_gone(&mut self) {
        let keep = self.accounting.settings.load().keep_gone;
        self.gone.next_look = Instant::now() + keep.map_or(SELDOM, |keep| (keep / 30).clamp(OFTEN, SELDOM));
        if self.gone.up_to.is_none() || !self.accounting.loaded() {
            return;
        }
        self.keep_count();
        self.flush().await;
        let (accounting, counted) = (self.accounting.clone(), self.gone.counted);
        self.gone.looking = Some(tokio::task::spawn_blocking(move || {
            let mut found = Found::default();
            accounting.ledger.shelf_all(Shelf::Gone, &mut |key, mark| {
                found.marks += 1;
                let (Ok(address), Some(mark)) = (str::from_utf8(key), stored::read(mark)) else { return };
                if is_over(mark, keep, counted) || accounting.book.account(address).is_some() {
                    found.due.push(address.into());
                }
            })?;
            Ok(found)
        }));
    }

    /// A whole look and all that follows from it, which [`Sync::run`] does piece by piece.
    pub async fn forget_who_is_due(&mut self) {
        self.look_who_is_gone().await;
        if self.gone.looking.is_some()
            && let Turn::Looked(found) = self.gone.turn().await
        {
            self.found_gone(found);
        }
        while self.gone.is_any_due() {
            self.forget_some().await;
        }
    }

    pub(super) fn found_gone(&mut self, found: Found) {
        self.accounting.metrics.gone.set(i64::try_from(found.marks).unwrap_or(i64::MAX));
        (self.gone.any, self.gone.due) = (found.marks > 0, found.due);
    }

    /// Forgets some of those who are due.
    pub(super) async fn forget_some(&mut self) {
        let some = self.gone.due.split_off(self.gone.due.len().saturating_sub(MAX_OPS / EACH));
        if let Err(error) = self.forget(some).await {
            events::ledger_failed(&error);
            // The next look finds them again.
            self.gone.due.clear();
        }
    }

    async fn forget(&mut self, some: Vec<Box<str>>) -> Result<(), LedgerError> {
        let (accounting, keep) = (self.accounting.clone(), self.accounting.settings.load().keep_gone);
        // What is not durable yet cannot be read, and a mark may have been renewed since the look.
        self.flush().await;
        accounting.ledger.submit(Batch::new()).durable().await?;
        let (mut batch, mut forgotten, mut back) = (Batch::new(), Vec::new(), 0);
        for address in some {
            let mark = accounting.ledger.shelf_get(Shelf::Gone, address.as_bytes())?;
            let Some(mark) = mark.and_then(|value| stored::read(&value)) else { continue };
            if accounting.book.account(&address).is_some() {
                batch.push(unmark(&address));
                back += 1;
            } else if self.gone.up_to.is_some() && is_over(mark, keep, self.gone.counted) {
                forget(&accounting, &address, &mut batch);
                forgotten.push((address, mark.at));
            }
        }
        accounting.submit(batch).durable().await?;
        for (address, since) in &forgotten {
            events::forgotten(address, *since);
        }
        accounting.metrics.forgotten.inc_by(forgotten.len() as u64);
        accounting.metrics.gone.dec_by(forgotten.len() as i64 + back);
        Ok(())
    }
}

fn is_over(mark: Mark, keep: Option<Duration>, counted: Duration) -> bool {
    keep.is_some_and(|keep| counted.saturating_sub(mark.counted) >= keep)
}

/// The operations that [`forget`] takes.
const EACH: usize = 7;

/// Forgets all that is stored under an account's name. What is on its way elsewhere, such as a notice that waits for a
/// mail server, is not the account's any more.
fn forget(accounting: &Accounting, address: &str, batch: &mut Batch) {
    let begun = batch.len();
    batch.push(Op::Forget { account: address.into() });
    batch.push(Op::Remove { shelf: Shelf::Types, key: address.as_bytes().into() });
    accounting.notices.forget(address, batch);
    accounting.raised.forget(address, batch);
    // The outbox itself drops the wishes of those who are gone, unless it has not come to it.
    batch.push(outbox::remove(&Subject::Account(address.into())));
    batch.push(outbox::remove(&over_flag::subject(address)));
    batch.push(unmark(address));
    debug_assert!(batch.len() - begun <= EACH);
}

fn unmark(address: &str) -> Op {
    Op::Remove { shelf: Shelf::Gone, key: address.as_bytes().into() }
}
