//! The service without sockets: the real accounting and admission over the memory ledger, fed with directory entries,
//! with a clock that stands where it is put.

#![allow(dead_code, reason = "each test uses its part of it")]

use std::sync::Arc;

use arc_swap::ArcSwap;
use mailquotad::account::{AccountEntry, DomainEntry, Entry, EntryId, Status};
use mailquotad::directory::Change;
use mailquotad::ledger::{Ledger, MemoryLedger};
use mailquotad::quota::{CellKey, Delta, Moment};
use mailquotad::service::accounting::Accounting;
use mailquotad::service::admission::Admission;
use mailquotad::service::clock::SetClock;
use mailquotad::service::measuring;
use mailquotad::service::policy::Answer;
use mailquotad::service::settings::Settings;
use mailquotad::service::socket::Peer;
use mailquotad::service::status::DirectoryStatus;
use mailquotad::service::sync::Sync;
use mailquotad::telemetry::metrics::Metrics;
use mailquotad::wire::policy::{Reply, Request, State};
use parking_lot::Mutex;

pub struct Organisation {
    pub accounting: Arc<Accounting>,
    pub admission: Admission,
    pub clock: Arc<SetClock>,
    sync: Mutex<Sync>,
    now: Mutex<Moment>,
}

impl Organisation {
    pub fn new(settings: Settings, now: Moment) -> Organisation {
        Organisation::on(Arc::new(MemoryLedger::default()), settings, now)
    }

    pub fn on(ledger: Arc<dyn Ledger>, settings: Settings, now: Moment) -> Organisation {
        let clock = Arc::new(SetClock::default());
        clock.set(now);
        let (metrics, settings) = (Arc::new(Metrics::default()), Arc::new(ArcSwap::from_pointee(settings)));
        let accounting = Arc::new(Accounting::new(ledger, settings, clock.clone(), metrics.clone()));
        let (hints, _) = measuring::hints();
        let mut sync = Sync::new(accounting.clone(), Arc::new(DirectoryStatus::default()), hints.clone());
        sync.apply(Change::Begin);
        sync.apply(Change::Complete);
        let admission = Admission::new(accounting.clone(), hints, metrics);
        Organisation { accounting, admission, clock, sync: Mutex::new(sync), now: Mutex::new(now) }
    }

    pub fn entry(&self, entry: Entry) {
        self.sync.lock().apply(Change::Entry(entry));
    }

    /// An account with that `mailQuota`.
    pub fn account(&self, address: &str, quota: &str) {
        self.entry(account(address, quota, Status::Active));
    }

    pub fn domain(&self, name: &str, quota: &str) {
        self.entry(Entry::Domain(DomainEntry {
            id: id(name),
            dn: format!("dc={name}").into(),
            name: name.into(),
            inet_status: Status::Active,
            mail_status: Status::Active,
            quota: Ok(Some(quota.into())),
            messages: Ok(None),
            user_quota: Ok(None),
            user_messages: Ok(None),
        }));
    }

    pub fn change(&self, address: &str, deltas: Vec<(CellKey, Delta)>) {
        let account = self.accounting.book.account(address).unwrap();
        drop(self.accounting.with_seat(&account, |seat, _| {
            for (cell, delta) in &deltas {
                seat.cells.change(cell, *delta);
            }
        }));
    }

    /// Lets time pass, and does what time does.
    pub fn pass(&self, millis: u64) {
        let mut now = self.now.lock();
        now.0 += millis;
        self.clock.set(*now);
        self.accounting.settle_accounts();
        self.accounting.settle_domains();
    }

    /// Carries the wish to write a status out, as the outbox and the directory do.
    pub fn settle_status(&self, address: &str) {
        let account = self.accounting.book.account(address).unwrap();
        drop(self.accounting.with_seat(&account, |seat, _| {
            if let Some(wished) = seat.wished {
                seat.mail_status = wished;
            }
        }));
    }

    /// Code and enhanced code of the answer at RCPT, or DUNNO.
    pub fn rcpt(&self, recipient: &str, size: u64) -> String {
        self.answer(&Request {
            state: State::Rcpt,
            recipient,
            size,
            sender: "x@elsewhere.example",
            ..Request::default()
        })
    }

    pub fn answer(&self, request: &Request<'_>) -> String {
        let mut output = Vec::new();
        let mut reply = Reply::new(&mut output);
        self.admission.answer(request, &Peer::Unix(None), &mut reply);
        reply.finish();
        let text = String::from_utf8(output).unwrap();
        let action = text.trim().strip_prefix("action=").unwrap();
        action.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }
}

pub fn id(name: &str) -> EntryId {
    let spread =
        |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    EntryId(name.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, spread))
}

pub fn account(address: &str, quota: &str, status: Status) -> Entry {
    Entry::Account(AccountEntry {
        id: id(address),
        dn: format!("uid={address}").into(),
        address: address.into(),
        alternates: Vec::new(),
        forwards: Vec::new(),
        inet_status: Status::Active,
        mail_status: status,
        quota: Ok(Some(quota.into())),
        messages: Ok(None),
        rules: Vec::new(),
        attributes: Default::default(),
    })
}
