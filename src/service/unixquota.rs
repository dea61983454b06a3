//! Unix file-system quotas as further limits of an account: read in the background, kept beside the account, and
//! part of its verdict, in which the strictest limit decides.
//!
//! Only accounts of the domains that the site names are Unix users; nobody else's local part is ever looked up. A
//! reading is taken when the daemon starts, at every interval, and whenever the mailbox is measured: after a
//! delivery, for somebody who was refused, and by `resync`. One that could not be renewed counts until it is older
//! than `max_age`; then the file system has no opinion any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Seat};
use super::accounting::Accounting;
use super::settings::Settings;
use crate::ledger::Op;
use crate::quota::unix::{Counts, Reading};
use crate::quota::verdict::Filling;
use crate::quota::{Level, Limit, Moment, Standing, Usage};
use crate::telemetry::events;
use crate::telemetry::metrics::UnixRead;
use crate::unixquota::{Found, Kind, Problem, Readings, UnixQuotas};

/// How readings count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub counts: Counts,
    pub max_age: Duration,
}

/// What file systems said of an account.
#[derive(Default)]
pub struct Held {
    readings: Vec<HeldReading>,
    /// Standings that the ledger has kept, until there are readings to put them to.
    kept: Vec<(Box<str>, Standing)>,
}

struct HeldReading {
    found: Found,
    at: Moment,
    standing: Standing,
}

/// Names of kept standings begin so. A control character is in no bucket's and in no root's name.
const KEPT: &str = "unix\t";

fn kept_as(found: &Found) -> Box<str> {
    format!("{KEPT}{}\t{}", found.kind.as_str(), found.place).into()
}

impl Held {
    /// What the ledger has kept of an account; `None` if that is nothing of a file system.
    pub fn stand(kept: &[(Box<str>, Standing)]) -> Option<Held> {
        let kept: Vec<_> = kept.iter().filter(|(name, _)| name.starts_with(KEPT)).cloned().collect();
        (!kept.is_empty()).then(|| Held { readings: Vec::new(), kept })
    }

    pub fn is_nothing(&self) -> bool {
        self.readings.is_empty() && self.kept.is_empty()
    }

    pub fn standings_kept(&self) -> impl Iterator<Item = (Box<str>, Standing)> {
        let over = self.readings.iter().filter(|held| held.standing != Standing::UNDER);
        self.kept.iter().cloned().chain(over.map(|held| (kept_as(&held.found), held.standing)))
    }

    /// Takes over what was just read; whether a standing has changed. What has a problem keeps its last reading.
    fn renew(&mut self, readings: Readings, settings: &Settings, now: Moment) -> Vec<Moved> {
        let (counts, grace) = (settings.unix.counts, settings.grace());
        let unread = |held: &HeldReading| {
            let of = |problem: &Problem| problem.place.as_ref().is_none_or(|place| *place == held.found.place);
            readings.problems.iter().any(of) && !readings.found.iter().any(|found| same(found, &held.found))
        };
        let mut before = std::mem::take(&mut self.readings);
        let (stay, renewed): (Vec<_>, Vec<_>) = before.drain(..).partition(unread);
        let mut moved = Vec::new();
        self.readings = stay;
        for found in readings.found {
            let known = renewed.iter().find(|held| same(&held.found, &found)).map(|held| held.standing);
            let name = kept_as(&found);
            let kept = || self.kept.iter().find(|(kept, _)| *kept == name).map(|(_, standing)| *standing);
            let from = known.or_else(kept).unwrap_or_default();
            let standing = from.next(found.reading.used(), found.reading.limit(counts, now), grace, now);
            if standing != from {
                moved.push(Moved { of: show_place(&found), from, to: standing, used: found.reading.used() });
            }
            self.readings.push(HeldReading { found, at: now, standing });
        }
        if readings.problems.is_empty() {
            self.kept.clear();
        } else {
            let read: BTreeSet<_> = self.readings.iter().map(|held| kept_as(&held.found)).collect();
            self.kept.retain(|(name, _)| !read.contains(name));
        }
        moved
    }

    /// As roots of the verdict.
    pub fn fillings(&self, rules: Rules, reserved: Usage, now: Moment) -> impl Iterator<Item = Filling> {
        let current = self.readings.iter().filter(move |held| now.since(held.at) <= rules.max_age);
        current.map(move |held| Filling {
            reserved,
            standing: held.standing,
            ..held.found.reading.filling(rules.counts, now)
        })
    }

    /// For people.
    pub fn show(&self, rules: Rules, now: Moment) -> String {
        let shown = self.readings.iter().map(|held| show(held, rules, now)).collect::<Vec<_>>();
        if shown.is_empty() { "nothing has been read yet".into() } else { shown.join("; ") }
    }

    /// Name, usage, limit and standing of each.
    pub fn shown(&self, rules: Rules, now: Moment) -> impl Iterator<Item = (String, Usage, Limit, Standing)> {
        let limit = move |reading: &Reading| reading.limit(rules.counts, now);
        self.readings.iter().map(move |held| {
            let reading = &held.found.reading;
            (show_place(&held.found), reading.used(), limit(reading), held.standing)
        })
    }
}

struct Moved {
    of: String,
    from: Standing,
    to: Standing,
    used: Usage,
}

fn same(one: &Found, other: &Found) -> bool {
    one.kind == other.kind && one.place == other.place
}

fn show_place(found: &Found) -> String {
    match found.kind {
        Kind::User => format!("file system {}", found.place),
        Kind::Group => format!("file system {} (group)", found.place),
    }
}

fn show(held: &HeldReading, rules: Rules, now: Moment) -> String {
    let of = |used: u64, soft: u64, hard: u64, what: &str| match (soft, hard) {
        (0, 0) => format!("{used} {what}, unlimited"),
        (soft, 0) => format!("{used} {what}, soft limit {soft}"),
        (0, hard) => format!("{used} {what}, hard limit {hard}"),
        (soft, hard) => format!("{used} {what}, soft limit {soft}, hard limit {hard}"),
    };
    let Reading { bytes, files } = held.found.reading;
    let age = now.since(held.at);
    let too_old = if age > rules.max_age { ", too old to count" } else { "" };
    format!(
        "{}: {}; {}; read {} s ago{too_old}",
        show_place(&held.found),
        of(bytes.used, bytes.soft, bytes.hard, "bytes"),
        of(files.used, files.soft, files.hard, "files"),
        age.as_secs(),
    )
}

/// Who is a Unix user, and when he is looked up.
#[derive(Clone, Debug)]
pub struct Options {
    /// In lower case.
    pub domains: BTreeSet<Box<str>>,
    /// The attribute that holds the user's name; `None`: the local part of the address.
    pub user_attribute: Option<Box<str>>,
    pub interval: Duration,
    /// How long one account may take.
    pub timeout: Duration,
}

/// Accounts that are read side by side. A file server that hangs holds as many threads, and no more.
const AT_ONCE: usize = 4;

pub struct UnixReading {
    accounting: Arc<Accounting>,
    quotas: Arc<dyn UnixQuotas>,
    options: Options,
    readers: Arc<Semaphore>,
    /// Why file systems could not be read when they were last asked.
    troubles: Mutex<BTreeMap<Box<str>, String>>,
}

impl UnixReading {
    pub fn new(accounting: Arc<Accounting>, quotas: Arc<dyn UnixQuotas>, options: Options) -> UnixReading {
        let readers = Arc::new(Semaphore::new(AT_ONCE));
        UnixReading { accounting, quotas, options, readers, troubles: Mutex::default() }
    }

    /// The Unix user that an account is, if it is one.
    fn user(&self, account: &Account) -> Option<Box<str>> {
        let (local, domain) = account.address.rsplit_once('@')?;
        if !self.options.domains.contains(domain) {
            return None;
        }
        match &self.options.user_attribute {
            None => Some(local.into()),
            Some(name) => account.lock().attributes().get(&**name).cloned(),
        }
    }

    /// Reads what file systems say of the account, if it is a Unix user. Never called while somebody waits for a
    /// verdict.
    pub async fn read(&self, account: &Arc<Account>) {
        let Some(user) = self.user(account) else { return };
        let (quotas, readers) = (self.quotas.clone(), self.readers.clone());
        let reading = async {
            let turn = readers.acquire_owned().await;
            // The turn goes along: a read that hangs keeps it.
            let read = move || (quotas.read(&user), turn).0;
            tokio::task::spawn_blocking(read).await
        };
        let failed = |why: String| Readings { problems: vec![Problem { place: None, why }], ..Readings::default() };
        let readings = match tokio::time::timeout(self.options.timeout, reading).await {
            Ok(Ok(readings)) => readings,
            Ok(Err(fault)) => failed(fault.to_string()),
            Err(_) => failed(format!("no answer within {:?}", self.options.timeout)),
        };
        self.count(&readings);
        self.take(account, readings);
    }

    fn take(&self, account: &Arc<Account>, readings: Readings) {
        let settings = self.accounting.settings.load();
        let now = self.accounting.clock.now();
        let mut moved = Vec::new();
        drop(self.accounting.with_seat(account, |seat: &mut Seat, batch| {
            seat.change_unix(|held| moved = held.renew(readings, &settings, now));
            if !moved.is_empty() {
                batch.push(Op::Standings { account: account.address.clone(), standings: seat.standings_kept() });
            }
        }));
        for Moved { of, from, to, used } in moved {
            let (from, to, since): (Level, Level, _) = (from.level, to.level, to.since);
            if from != to {
                events::standing_changed(&account.address, &of, from, to, since, used);
            }
        }
    }

    /// Counts how it went, and says once that a file system cannot be read, and once that it can again.
    fn count(&self, readings: &Readings) {
        let metrics = &self.accounting.metrics;
        metrics.unix_read(match (readings.problems.is_empty(), readings.found.is_empty()) {
            (false, _) => UnixRead::Failed,
            (true, true) => UnixRead::None,
            (true, false) => UnixRead::Done,
        });
        let mut troubles = self.troubles.lock();
        let mut failing = BTreeSet::new();
        for Problem { place, why } in &readings.problems {
            let place = place.as_deref().unwrap_or("any");
            failing.insert(place);
            if troubles.get(place).is_none_or(|known| known != why) {
                events::unix_quota_failed(place, why);
                troubles.insert(place.into(), why.clone());
            }
        }
        // Whom the host does not know, no file system was asked about.
        troubles.retain(|place, _| {
            let back = readings.known && !failing.contains(&**place);
            if back {
                events::unix_quota_back(place);
            }
            !back
        });
    }

    /// Reads every Unix user, and again at each interval, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            self.accounting.load_completed().await;
            loop {
                let mut accounts = Vec::new();
                for domain in self.options.domains.iter().filter_map(|name| self.accounting.book.domain(name)) {
                    accounts.extend(domain.accounts());
                }
                let reads = futures_util::stream::iter(accounts);
                reads.for_each_concurrent(AT_ONCE, async |account| self.read(&account).await).await;
                tokio::time::sleep(self.options.interval).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }
}
