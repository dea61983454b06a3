//! A site in memory ([`super::site`]) that is filled, asked and let wait, step by step.
#![allow(dead_code, reason = "each test uses its part of it")]

use std::sync::Arc;

use mailquotad::account::Entry;
use mailquotad::directory::Change;
use mailquotad::quota::{CellKey, Delta, Moment};
use mailquotad::service::accounting::Accounting;
use mailquotad::service::admission::Admission;
use mailquotad::service::policy::Answer;
use mailquotad::service::socket::Peer;
use mailquotad::wire::policy::{Reply, Request, State};
use parking_lot::Mutex;

use super::site::{self, Site};

pub struct Organisation {
    pub accounting: Arc<Accounting>,
    pub admission: Arc<Admission>,
    site: Mutex<Site>,
    now: Mutex<Moment>,
}

impl Organisation {
    /// `settings` is TOML, as for [`Site::new`].
    pub fn new(settings: &str, now: Moment) -> Organisation {
        let mut site = Site::new(settings);
        site.clock.set(now);
        site.load([]);
        let (accounting, admission) = (site.accounting.clone(), site.admission());
        Organisation { accounting, admission, site: Mutex::new(site), now: Mutex::new(now) }
    }

    /// An account with that `mailQuota`; its DN is `mail=ADDRESS,o=site`.
    pub fn account(&self, address: &str, quota: &str) {
        let entry = site::account(u128::try_from(self.accounting.book.accounts()).unwrap() + 1, address, quota);
        self.entry(entry);
    }

    pub fn entry(&self, entry: Entry) {
        self.site.lock().sync.apply(Change::Entry(entry));
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
        self.site.lock().clock.set(*now);
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
