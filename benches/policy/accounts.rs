//! The daemon's own verdict over as many accounts as a large site has, put together as `serve` does it but with the
//! ledger in memory: no request ever reaches the ledger.

use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use mailquotad::account::{AccountEntry, DomainEntry, Entry, EntryId, Status};
use mailquotad::config::{Config, Variables};
use mailquotad::directory::Change;
use mailquotad::ledger::MemoryLedger;
use mailquotad::quota::{CellKey, Cells, Moment, Usage};
use mailquotad::service::accounting::Accounting;
use mailquotad::service::admission::Admission;
use mailquotad::service::clock::SystemClock;
use mailquotad::service::measuring;
use mailquotad::service::sync::Sync;
use mailquotad::telemetry::metrics::Metrics;

/// As a site begins with: every default in force.
const CONFIG: &str = include_str!("../../config/mailquotad.toml");

const LIMIT: &str = "100M";
const FULL: Usage = Usage { bytes: 100 << 20, messages: 2000 };
const HALF: Usage = Usage { bytes: 50 << 20, messages: 1000 };

/// `count` accounts, of which every third is over its quota.
pub fn admission(count: u32, metrics: Arc<Metrics>) -> anyhow::Result<Admission> {
    let config = Config::read("config/mailquotad.toml", CONFIG, &Variables::new())?;
    let settings = Arc::new(ArcSwap::from_pointee(config.settings()));
    let ledger = Arc::new(MemoryLedger::new());
    let accounting = Arc::new(Accounting::new(ledger, settings, Arc::new(SystemClock), metrics.clone()));
    // Nobody measures here: the hints go nowhere, as while the daemon stops.
    let (hints, _) = measuring::hints();
    let mut sync = Sync::new(accounting.clone(), Arc::default(), hints.clone());
    sync.apply(Change::Begin);
    sync.apply(Change::Entry(Entry::Domain(domain())));
    for number in 0..count {
        sync.apply(Change::Entry(Entry::Account(account(number))));
    }
    sync.apply(Change::Complete);
    let inbox = CellKey::new("INBOX", None);
    for number in 0..count {
        let account = accounting.book.account(&address(number)).context("an account is not where it was put")?;
        let mut cells = Cells::default();
        cells.set(&inbox, if number % 3 == 0 { FULL } else { HALF });
        let revision = account.lock().revision;
        let measured = accounting.measured(&account, revision, cells, Moment(1));
        measured.ok().context("an account changed while nobody changed it")?;
    }
    Ok(Admission::new(accounting, hints, metrics))
}

fn address(number: u32) -> String {
    format!("user{number:07}@example.org")
}

fn account(number: u32) -> AccountEntry {
    AccountEntry {
        id: EntryId(u128::from(number) + 1),
        dn: format!("uid=user{number:07},ou=people,dc=example,dc=org").into(),
        address: address(number).into(),
        alternates: Vec::new(),
        forwards: Vec::new(),
        inet_status: Status::Active,
        mail_status: Status::Active,
        quota: Ok(Some(LIMIT.into())),
        messages: Ok(None),
        rules: Vec::new(),
        attributes: Default::default(),
    }
}

fn domain() -> DomainEntry {
    DomainEntry {
        id: EntryId(0),
        dn: "dc=example,dc=org".into(),
        name: "example.org".into(),
        inet_status: Status::Active,
        mail_status: Status::Active,
        quota: Ok(None),
        messages: Ok(None),
        user_quota: Ok(None),
        user_messages: Ok(None),
    }
}
