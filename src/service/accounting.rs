//! The one place where usage, limits and standings change.
//!
//! Every change takes the account's lock, computes sums and standings anew from the cells, hands one
//! batch to the ledger (usage, standing and the wish to write a status together) and lets go. The
//! batch is submitted under the lock, so the ledger sees changes in the order in which memory does.
//! Memory moves at once; the receipt tells the caller when the change is safe. If the ledger cannot
//! write, verdicts go on from memory and the change is not acknowledged.
//!
//! What follows from a change is here, the changes of usage themselves are in [`usage`].

mod usage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::account::{Account, Filled, Seat};
use super::book::Book;
use super::clock::Clock;
use super::domain::{Domain, DomainState};
use super::keys::Keys;
use super::notify::{self, Notices};
use super::outbox::{self, Subject};
use super::over_flag;
use super::pool::Pool;
use super::roots::Roots;
use super::settings::{Blocks, Settings, StatusMode};
use super::stored;
use super::tally::Tally;
use super::timers::Timers;
use super::warnings::{self, Raised};
use crate::account::Status;
use crate::ledger::{Batch, Ledger, LedgerError, MAX_OPS, Op, Outcome, Receipt, Shelf};
use crate::quota::{Level, Limits, Moment, Standing};
use crate::telemetry::events;
use crate::telemetry::metrics::Metrics;

pub use self::usage::{ChangeError, Overtaken};

pub struct Accounting {
    pub book: Arc<Book>,
    pub ledger: Arc<dyn Ledger>,
    pub settings: Arc<ArcSwap<Settings>>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub timers: Timers,
    /// What was told by mail, and what is to be.
    pub notices: Notices,
    /// Warnings that are to be carried out.
    pub raised: Raised,
    /// Told whenever a wish to write a status has been handed to the ledger.
    pub wishes: tokio::sync::Notify,
    /// How many accounts and domains stand where.
    pub accounts_at: Tally,
    pub domains_at: Tally,
    /// How domains stood when the daemon last ran, until they are known again.
    domains_stood: Mutex<HashMap<Box<str>, Standing>>,
    keys: Keys,
    names: Mutex<Pool<str>>,
    loaded: AtomicBool,
    settled: AtomicBool,
    completed: tokio::sync::Notify,
    /// The ledger's errors when accounts and domains were last settled.
    account_errors: AtomicU64,
    domain_errors: AtomicU64,
}

impl Accounting {
    pub fn new(
        ledger: Arc<dyn Ledger>,
        settings: Arc<ArcSwap<Settings>>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Accounting {
        Accounting {
            book: Arc::default(),
            settings,
            clock,
            metrics,
            timers: Timers::default(),
            notices: Notices::load(&*ledger).unwrap_or_else(|error| {
                events::ledger_failed(&error);
                Notices::default()
            }),
            raised: Raised::load(&*ledger).unwrap_or_else(|error| {
                events::ledger_failed(&error);
                Raised::default()
            }),
            domains_stood: Mutex::new(domains_stood(&*ledger).unwrap_or_else(|error| {
                events::ledger_failed(&error);
                HashMap::new()
            })),
            ledger,
            wishes: tokio::sync::Notify::new(),
            accounts_at: Tally::default(),
            domains_at: Tally::default(),
            keys: Keys::default(),
            names: Mutex::default(),
            loaded: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            completed: tokio::sync::Notify::new(),
            account_errors: AtomicU64::new(0),
            domain_errors: AtomicU64::new(0),
        }
    }

    /// Whether the directory has been read as a whole. Until then sums are kept but no standing moves:
    /// a limit that has not been read yet must not block anybody, nor a missing one free anybody.
    pub fn loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Whether everybody has been settled since then.
    pub fn settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// The directory is complete: from now on standings move. Settles everything once.
    ///
    /// Standings move first, because a change that came in between would otherwise settle nobody: whoever has been
    /// settled already would stand wrong until the next time. A change settles its account by itself, just as well.
    pub fn load_complete(&self) {
        if !self.loaded.swap(true, Ordering::AcqRel) {
            let missed = self.missed(&self.account_errors);
            self.book.for_each_account_at_once(|account| self.settle_anew(account, missed));
            self.settle_domains();
            self.forget_domains();
            warnings::caught_up(self);
            self.settled.store(true, Ordering::Release);
            self.completed.notify_waiters();
        }
    }

    /// The domain of that name. One that is new to memory stands as it stood when the daemon last ran.
    pub fn domain(&self, name: &str) -> Arc<Domain> {
        let (domain, made) = self.book.domain_or_new(name);
        if made && let Some(standing) = self.domains_stood.lock().remove(name) {
            domain.lock().standing = standing;
        }
        domain
    }

    /// Forgets how domains stood that there are no more.
    fn forget_domains(&self) {
        let gone: Vec<_> = self.domains_stood.lock().drain().map(|(name, _)| name).collect();
        for some in gone.chunks(MAX_OPS) {
            drop(self.submit(some.iter().map(|name| standing_of_domain(name, Standing::UNDER)).collect()));
        }
    }

    /// Returns when the directory has been read as a whole and everybody has been settled.
    pub async fn load_completed(&self) {
        let completed = self.completed.notified();
        tokio::pin!(completed);
        completed.as_mut().enable();
        if !self.settled() {
            completed.await;
        }
    }

    /// Brings every account up to date with the clock. If the ledger has failed meanwhile and writes again,
    /// standings, wishes and the memory of notices that it may have missed are stored anew.
    pub fn settle_accounts(&self) {
        let missed = self.missed(&self.account_errors);
        self.book.for_each_account(|account| self.settle_anew(account, missed));
    }

    /// Brings one account up to date, and stores all about it of which the ledger may have `missed` a part.
    fn settle_anew(&self, account: &Arc<Account>, missed: bool) {
        drop(self.settle(account));
        if !missed {
            return;
        }
        let seat = account.lock();
        let (address, standings) = (account.address.clone(), seat.standings_kept());
        let subject = Subject::Account(address.clone());
        let wish = outbox::wish_of(&seat).map(|wish| outbox::put(&subject, &wish));
        let flag = over_flag::wish_of(self, &seat, &self.settings.load());
        let flag = flag.map(|wish| outbox::put(&over_flag::subject(&account.address), &wish));
        let standings =
            (seat.wished.is_some() || !standings.is_empty()).then_some(Op::Standings { account: address, standings });
        drop(self.submit(standings.into_iter().chain(wish).chain(flag).chain(self.told_again(&subject)).collect()));
    }

    /// The same for every domain.
    pub fn settle_domains(&self) {
        let missed = self.missed(&self.domain_errors);
        for domain in self.book.domains() {
            drop(self.settle_domain(&domain));
            if !missed {
                continue;
            }
            let state = domain.lock();
            let subject = Subject::Domain(domain.name.clone());
            let wish = outbox::wish_of_domain(&state).map(|wish| outbox::put(&subject, &wish));
            let standing = (state.wished.is_some() || state.standing != Standing::UNDER)
                .then(|| standing_of_domain(&domain.name, state.standing));
            drop(self.submit(standing.into_iter().chain(wish).chain(self.told_again(&subject)).collect()));
        }
    }

    /// The memory of what was told of a subject, where the ledger has another one.
    fn told_again(&self, subject: &Subject) -> Option<Op> {
        self.notices.restored(subject, &*self.ledger).unwrap_or_else(|error| {
            events::ledger_failed(&error);
            None
        })
    }

    /// Whether the ledger has refused something since this was asked last, and is well again.
    fn missed(&self, seen: &AtomicU64) -> bool {
        let health = self.ledger.health();
        health.trouble.is_none() && seen.swap(health.errors, Ordering::AcqRel) != health.errors
    }

    /// Brings sums, standing and wish of an account up to date: after its limits or status changed, or
    /// when time has passed.
    pub fn settle(&self, account: &Arc<Account>) -> Receipt {
        self.with_seat(account, |_, _| {})
    }

    /// The same for a domain.
    pub fn settle_domain(&self, domain: &Arc<Domain>) -> Receipt {
        let mut batch = Batch::new();
        let mut state = domain.lock();
        self.advance_domain(domain, &mut state, self.clock.now(), &mut batch);
        self.submit(batch)
    }

    /// Gives an account new limits; its cells fall into the new buckets at once.
    pub fn limit(&self, account: &Arc<Account>, limits: Arc<Limits>, roots: Option<Roots>) -> Receipt {
        self.with_seat(account, |seat, _| {
            if *seat.limits == *limits && roots.is_none() && seat.roots().is_none() {
                return;
            }
            let kept = seat.standings_kept();
            seat.set_roots(roots);
            let before = std::mem::replace(&mut seat.limits, limits);
            seat.stand(&kept);
            seat.domain.lock().commit(Some(&before), Some(&seat.limits));
        })
    }

    /// Runs `change` under the lock of the account and then draws all conclusions.
    pub fn with_seat(&self, account: &Arc<Account>, change: impl FnOnce(&mut Seat, &mut Batch)) -> Receipt {
        let now = self.clock.now();
        let mut batch = Batch::new();
        let mut seat = account.lock();
        let (before, counted) = (seat.total(), seat.cells.total().messages);
        let stood = (seat.heard != 0).then(|| warnings::measured(&seat));
        change(&mut seat, &mut batch);
        let grown = seat.cells.total().messages.saturating_sub(counted);
        seat.arrived(grown);
        self.advance(account, &mut seat, now, &mut batch);
        // An account that has just come in has not crossed anything.
        if let Some(stood) = stood.filter(|_| self.loaded() && !seat.gone) {
            let (settings, told) = (self.settings.load(), (&self.notices, now));
            match self.settled() {
                true => self.raised.account(&account.address, &seat, stood, &settings, told, &mut batch),
                // Who is settled first, or changes first, makes up for the time in which the daemon was down.
                false => self.raised.catch_up(&account.address, &seat, &settings, told, &mut batch),
            }
        }
        let after = seat.total();
        let domain = seat.domain.clone();
        let mut state = domain.lock();
        if before != after {
            state.held.replace(before, after);
        }
        self.advance_domain(&domain, &mut state, now, &mut batch);
        self.submit(batch)
    }

    pub(super) fn submit(&self, batch: Batch) -> Receipt {
        if batch.is_empty() {
            return Receipt::ready(Outcome::Applied);
        }
        let wishes = batch.iter().any(|op| matches!(op, Op::Put { shelf: Shelf::Outbox, .. }));
        let (notices, due) = (notify::queue::in_batch(&batch), warnings::in_batch(&batch));
        let receipt = self.ledger.submit(batch);
        self.notices.stored(notices);
        self.raised.stored(due);
        if wishes {
            self.wishes.notify_one();
        }
        receipt
    }

    fn advance(&self, account: &Arc<Account>, seat: &mut Seat, now: Moment, batch: &mut Batch) {
        let settings = self.settings.load();
        let sums = seat.sums();
        let standings: SmallVec<[Standing; 4]> = seat.filled().map(|one| one.standing).collect();
        let joined = |(used, standing)| Filled { used, standing };
        if seat.gone || !self.loaded() {
            seat.fill(sums.into_iter().zip(standings).map(joined));
            if seat.gone {
                self.accounts_at.moved(std::mem::take(&mut seat.counted), Level::Under);
            }
            return;
        }
        let grace = settings.grace();
        let level = self.level(seat, &settings);
        let before = standings.iter().copied();
        let next: SmallVec<[Standing; 4]> = seat
            .limits
            .buckets()
            .iter()
            .zip(&sums)
            .zip(before)
            .map(|((bucket, sum), standing)| standing.next(*sum, bucket.limit, grace, now))
            .collect();
        let changed = next != standings;
        seat.fill(sums.into_iter().zip(next).map(joined));
        if seat.advance_roots(grace, now) | changed {
            batch.push(Op::Standings { account: account.address.clone(), standings: seat.standings_kept() });
        }
        let risen = self.level(seat, &settings);
        if risen != level {
            let standing = seat.filled().map(|one| one.standing).find(|standing| standing.level == risen);
            let since = standing.and_then(|standing| standing.since);
            events::standing_changed(&account.address, &"account", level, risen, since, seat.total());
        }
        let further_due = seat.roots().and_then(|roots| roots.due(grace));
        let own_due = seat.filled().filter_map(|one| one.standing.due(grace));
        if let Some(due) = own_due.chain(further_due).min() {
            self.timers.at(due, Subject::Account(account.address.clone()));
        }
        self.accounts_at.moved(std::mem::replace(&mut seat.counted, risen), risen);
        self.notices.account(&account.address, seat, &settings, now, batch, &self.timers);
        let wanted = wanted(seat.mail_status, risen, &settings);
        if wanted != seat.wished {
            seat.wished = wanted;
            batch.push(outbox::put_or_remove(&Subject::Account(account.address.clone()), outbox::wish_of(seat)));
        }
        self.flag(account, seat, &settings, risen == level, batch);
    }

    /// Wishes the over-quota flag right where it is wrong. Where it is so although the account stands as it
    /// `stood`, it has drifted.
    fn flag(&self, account: &Account, seat: &mut Seat, settings: &Settings, stood: bool, batch: &mut Batch) {
        let wish = over_flag::wish_of(self, seat, settings);
        if wish.is_some() == seat.flag_wished {
            return;
        }
        seat.flag_wished = wish.is_some();
        if let Some(wish) = wish.as_ref().filter(|_| stood) {
            events::flag_drifted(&account.address, wish.from.as_deref(), wish.to.as_deref());
            self.metrics.flag_drift.inc();
        }
        batch.push(outbox::put_or_remove(&over_flag::subject(&account.address), wish));
    }

    fn advance_domain(&self, domain: &Domain, state: &mut DomainState, now: Moment, batch: &mut Batch) {
        if !self.loaded() {
            return;
        }
        let settings = self.settings.load();
        let grace = settings.policy.domain_grace;
        let before = state.standing;
        state.standing = before.next(state.held.usage(), state.limit, grace, now);
        if state.standing != before {
            batch.push(standing_of_domain(&domain.name, state.standing));
        }
        if state.standing.level != before.level {
            let (from, to) = (before.level, state.standing.level);
            events::standing_changed(&domain.name, &"domain", from, to, state.standing.since, state.held.usage());
        }
        if let Some(due) = state.standing.due(grace) {
            self.timers.at(due, Subject::Domain(domain.name.clone()));
        }
        let level = state.standing.level;
        self.domains_at.moved(std::mem::replace(&mut state.counted, level), level);
        self.notices.domain(&domain.name, state, &settings, now, batch, &self.timers);
        let wanted = wanted(state.mail_status, level, &settings);
        if wanted != state.wished && state.entry.is_some() {
            state.wished = wanted;
            batch.push(outbox::put_or_remove(&Subject::Domain(domain.name.clone()), outbox::wish_of_domain(state)));
        }
    }

    /// The level of the account as a whole.
    pub fn level(&self, seat: &Seat, settings: &Settings) -> Level {
        match settings.blocks {
            Blocks::DefaultBucket => seat.standing(0).level,
            Blocks::AnyBucket => seat.filled().map(|one| one.standing.level).max().unwrap_or_default(),
        }
    }
}

/// The status that the directory should be given, if it has not got it: only `active` and
/// `overquota` are ever taken away or given.
fn wanted(status: Status, level: Level, settings: &Settings) -> Option<Status> {
    let over = settings.policy.enforce
        && match settings.status {
            StatusMode::AfterGrace => level == Level::Blocked,
            StatusMode::AtOnce => level >= Level::Over,
            StatusMode::Never => return None,
        };
    match (status, over) {
        (Status::Active, true) => Some(Status::OverQuota),
        (Status::OverQuota, false) => Some(Status::Active),
        _ => None,
    }
}

fn standing_of_domain(name: &str, standing: Standing) -> Op {
    let (shelf, key) = (Shelf::Domains, name.as_bytes().into());
    match standing == Standing::UNDER {
        true => Op::Remove { shelf, key },
        false => Op::Put { shelf, key, value: stored::write(&standing) },
    }
}

fn domains_stood(ledger: &dyn Ledger) -> Result<HashMap<Box<str>, Standing>, LedgerError> {
    let mut stood = HashMap::new();
    ledger.shelf_all(Shelf::Domains, &mut |name, standing| {
        if let (Ok(name), Some(standing)) = (str::from_utf8(name), stored::read(standing)) {
            stood.insert(name.into(), standing);
        }
    })?;
    Ok(stood)
}
