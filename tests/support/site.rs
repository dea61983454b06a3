//! A site in memory: the real state, accounting and verdicts, on the memory ledger and without a directory
//! behind it. For tests and measurements of what lies between the adapters.
#![allow(dead_code, reason = "each of them uses another part")]

use std::sync::Arc;

use arc_swap::ArcSwap;
use mailquotad::account::{AccountEntry, DomainEntry, Entry, EntryId, Status};
use mailquotad::config::Config;
use mailquotad::directory::Change;
use mailquotad::ledger::{Ledger, MemoryLedger};
use mailquotad::quota::{CellKey, Cells, Moment, Usage};
use mailquotad::service::accounting::Accounting;
use mailquotad::service::admission::Admission;
use mailquotad::service::clock::SetClock;
use mailquotad::service::hints::{Hints, HintsTaken, hints};
use mailquotad::service::queue::Queues;
use mailquotad::service::status::DirectoryStatus;
use mailquotad::service::sync::Sync;
use mailquotad::telemetry::metrics::Metrics;

pub struct Site {
    pub accounting: Arc<Accounting>,
    pub sync: Sync,
    pub clock: Arc<SetClock>,
    pub hints: Hints,
    pub hinted: Option<HintsTaken>,
    pub metrics: Arc<Metrics>,
    pub directory: Arc<DirectoryStatus>,
}

impl Site {
    /// `settings` is TOML, put behind the least that a configuration needs.
    pub fn new(settings: &str) -> Site {
        Site::on(Arc::new(MemoryLedger::new()), settings)
    }

    pub fn on(ledger: Arc<dyn Ledger>, settings: &str) -> Site {
        let text = format!("[directory]\nkind = \"ldif\"\nfile = \"/nowhere\"\n{settings}");
        let config = Config::read("site.toml", &text, &Default::default()).unwrap_or_else(|error| panic!("{error}"));
        let clock = Arc::new(SetClock::default());
        let metrics = Arc::new(Metrics::default());
        let settings = Arc::new(ArcSwap::from_pointee(config.settings()));
        let accounting = Arc::new(Accounting::new(ledger, settings, clock.clone(), metrics.clone()));
        let (hints, hinted) = hints();
        let directory = Arc::new(DirectoryStatus::default());
        let sync = Sync::new(accounting.clone(), directory.clone(), hints.clone());
        Site { accounting, sync, clock, hints, hinted: Some(hinted), metrics, directory }
    }

    pub fn admission(&self) -> Arc<Admission> {
        Arc::new(Admission::new(self.accounting.clone(), self.hints.clone(), self.metrics.clone()))
    }

    /// Asked by a policy server that has the queue quotas of the settings as well. Nobody reads a queue: what is let pass
    /// counts until it is over.
    pub fn admission_with_queues(&self) -> Arc<Admission> {
        let queues = Queues::new(Vec::new(), self.metrics.clone());
        queues.install(self.accounting.settings.load().queue.quotas.clone());
        let admission = Admission::new(self.accounting.clone(), self.hints.clone(), self.metrics.clone());
        Arc::new(admission.with_queues(Arc::new(queues)))
    }

    /// Loads exactly these entries, as one complete load of the directory.
    pub fn load(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.sync.apply(Change::Begin);
        entries.into_iter().for_each(|entry| self.sync.apply(Change::Entry(entry)));
        self.sync.apply(Change::Complete);
    }

    /// Says that the INBOX of `address` holds so much.
    pub fn holds(&self, address: &str, bytes: u64, messages: u64) {
        let account = self.accounting.book.account(address).expect("an account that was loaded");
        let revision = account.lock().revision;
        let cells: Cells = [(CellKey::new("INBOX", None), Usage::new(bytes, messages))].into_iter().collect();
        let at = Moment(1);
        drop(self.accounting.measured(&account, revision, cells, at).expect("nothing else changes it"));
    }
}

pub fn account(number: u128, address: &str, quota: &str) -> Entry {
    Entry::Account(AccountEntry {
        id: EntryId(number),
        dn: format!("mail={address},o=site").into(),
        address: address.into(),
        alternates: Vec::new(),
        forwards: Vec::new(),
        inet_status: Status::Active,
        mail_status: Status::Active,
        quota: Ok((!quota.is_empty()).then(|| quota.into())),
        messages: Ok(None),
        rules: Vec::new(),
        attributes: Default::default(),
    })
}

pub fn domain(number: u128, name: &str, quota: &str) -> Entry {
    Entry::Domain(DomainEntry {
        id: EntryId(number),
        dn: format!("o={name}").into(),
        name: name.into(),
        inet_status: Status::Active,
        mail_status: Status::Active,
        quota: Ok((!quota.is_empty()).then(|| quota.into())),
        messages: Ok(None),
        user_quota: Ok(None),
        user_messages: Ok(None),
    })
}
