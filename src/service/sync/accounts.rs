//! Accounts: their entries into seats, with limits, roots and links.

use std::sync::Arc;

use super::keeping::entry_of;
use super::known::What;
use super::{Sync, read};
use crate::account::{AccountEntry, domain_of};
use crate::ledger::{Ledger, Record};
use crate::quota::rule::Rule;
use crate::quota::spec::Measure;
use crate::quota::{Limits, Usage};
use crate::service::account::{Account, Links, Seat, Specs};
use crate::service::book::Target;
use crate::service::domain::Domain;
use crate::service::roots::Roots;
use crate::service::settings::Settings;
use crate::telemetry::events;

impl Sync {
    pub(super) fn account(&mut self, entry: AccountEntry, before: Option<&What>) -> Arc<Account> {
        let settings = self.accounting.settings.load_full();
        let kept = match before {
            // Of two entries with one address, the one that was told last has it.
            Some(What::Account(account)) if account.address == entry.address && !account.lock().gone => {
                Some(account.clone())
            }
            _ => None,
        };
        let last_good = kept.as_ref().map(|account| account.lock().specs.clone());
        let (specs, problem) = self.read_specs(&entry, last_good, &settings);
        if let Some(problem) = &problem {
            events::value_bad(&entry.address, problem);
        }
        let id = entry.id;
        if let Some(account) = &kept
            && is_as_before(&mut account.lock(), &entry, &specs, problem.as_deref())
        {
            return account.clone();
        }
        let account = self.seat(entry, kept, specs, problem, None);
        self.keep_account(id, &account);
        account
    }

    /// Brings an account, new or `kept` from before, up to its entry.
    pub(super) fn seat(
        &mut self,
        entry: AccountEntry,
        kept: Option<Arc<Account>>,
        specs: Arc<Specs>,
        problem: Option<Box<str>>,
        record: Option<Record>,
    ) -> Arc<Account> {
        let settings = self.accounting.settings.load_full();
        let domain = self.accounting.domain(domain_of(&entry.address));
        let (limits, roots) = self.resolve(&specs, &domain, &settings);
        let had_problem = kept.as_ref().is_some_and(|account| account.lock().problem().is_some());
        self.status.problem(had_problem, problem.is_some());
        let terms = Terms { specs, limits, roots, problem };
        match kept {
            Some(account) => {
                self.renew(&account, entry, terms);
                account
            }
            None => self.new_account(entry, domain, terms, record),
        }
    }

    /// Brings an account that was known before up to its entry.
    fn renew(&mut self, account: &Arc<Account>, entry: AccountEntry, terms: Terms) {
        let book = self.accounting.book.clone();
        let links = Links { alternates: entry.alternates, forwards: entry.forwards, rules: entry.rules };
        let (old_links, old_dn) = {
            let seat = account.lock();
            (seat.links().clone(), seat.dn.clone())
        };
        let target = Target::Account(account.clone());
        if old_dn != entry.dn {
            book.remove_dn(&old_dn);
        }
        book.put_dn(&entry.dn, &target);
        drop(self.accounting.limit(account, terms.limits, terms.roots));
        let mut moved = false;
        drop(self.accounting.with_seat(account, |seat, _| {
            if seat.dn != entry.dn {
                // A wish is made out to a DN.
                seat.wished = None;
                seat.flag_wished = false;
            }
            seat.dn = entry.dn;
            seat.heard = seat.heard.wrapping_add(1);
            (seat.inet_status, seat.mail_status) = (entry.inet_status, entry.mail_status);
            seat.specs = terms.specs;
            seat.set_problem(terms.problem);
            moved = *seat.attributes() != entry.attributes;
            seat.set_attributes(entry.attributes);
            seat.set_links(links.clone());
        }));
        if moved {
            book.moved();
        }
        for gone in old_links.alternates.iter().filter(|old| !links.alternates.contains(old)) {
            book.remove_other(gone, &target);
        }
        for alternate in &links.alternates {
            book.put_other(alternate, target.clone());
        }
    }

    /// A new account with what the ledger, or an entry that had the same address, knows of it. `record` is
    /// what the ledger knows, where it has been asked already.
    fn new_account(
        &mut self,
        entry: AccountEntry,
        domain: Arc<Domain>,
        terms: Terms,
        record: Option<Record>,
    ) -> Arc<Account> {
        let book = self.accounting.book.clone();
        let record = match book.account(&entry.address) {
            Some(old) => {
                let record = {
                    let seat = old.lock();
                    Record {
                        revision: seat.revision,
                        cells: seat.cells.clone(),
                        measured: seat.measured(),
                        standings: seat.standings_kept(),
                    }
                };
                self.withdraw(&old);
                if old.id != entry.id {
                    self.displaced.entry(entry.address.clone()).or_default().push(old.id);
                }
                record
            }
            None => record.unwrap_or_else(|| stored(&*self.accounting.ledger, &entry.address)),
        };
        let mut seat = Seat::new(&entry.dn, domain.clone(), terms.specs, terms.limits.clone());
        (seat.inet_status, seat.mail_status) = (entry.inet_status, entry.mail_status);
        (seat.revision, seat.heard) = (record.revision, 1);
        seat.set_measured(record.measured);
        seat.cells = self.accounting.sharing(record.cells);
        seat.set_problem(terms.problem);
        let has_attributes = !entry.attributes.is_empty();
        seat.set_attributes(entry.attributes);
        seat.set_links(Links { alternates: entry.alternates.clone(), forwards: entry.forwards, rules: entry.rules });
        seat.set_roots(terms.roots);
        seat.stand(&record.standings);
        let total = seat.total();
        let account = Arc::new(Account::new(entry.address, entry.id, seat));
        {
            let mut state = domain.lock();
            state.join(&account);
            state.commit(None, Some(&terms.limits));
            state.held.replace(Usage::ZERO, total);
        }
        book.put_account(account.clone());
        let target = Target::Account(account.clone());
        book.put_dn(&entry.dn, &target);
        for alternate in &entry.alternates {
            book.put_other(alternate, target.clone());
        }
        if has_attributes {
            book.moved();
        }
        // Until the load is complete no standing moves, and at its end all do at once.
        if self.accounting.loaded() {
            drop(self.accounting.settle(&account));
            if record.measured.is_none() {
                self.hints.soon(&account, &mut account.lock());
            }
        }
        account
    }

    /// The specs of an entry, or the last good ones and the reason.
    pub(super) fn read_specs(
        &mut self,
        entry: &AccountEntry,
        last_good: Option<Arc<Specs>>,
        settings: &Settings,
    ) -> (Arc<Specs>, Option<Box<str>>) {
        let bytes = read(&entry.quota, "mailQuota", Measure::Bytes(settings.units));
        let messages = read(&entry.messages, "mailMsgQuota", Measure::Messages);
        let rules = entry.rules.iter().try_for_each(|rule| match Rule::parse(rule) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("quota rule `{rule}`: {error}")),
        });
        match (bytes, messages, rules) {
            (Ok(bytes), Ok(messages), Ok(())) => {
                let rules = entry.rules.iter().cloned().collect();
                (self.specs.share(Specs { bytes, messages, rules }), None)
            }
            (bytes, messages, rules) => {
                let why: Vec<_> = [bytes.err(), messages.err(), rules.err()].into_iter().flatten().collect();
                (last_good.unwrap_or_else(|| self.specs.share(Specs::absent())), Some(why.join("; ").into()))
            }
        }
    }

    /// The limits that specs come to with the defaults filled in, and the roots where there is more to it.
    pub(super) fn resolve(
        &mut self,
        specs: &Specs,
        domain: &Domain,
        settings: &Settings,
    ) -> (Arc<Limits>, Option<Roots>) {
        let defaults = domain.lock().defaults.clone().unwrap_or_else(|| settings.defaults.clone());
        let limits = Limits::new(&specs.bytes, &specs.messages, &defaults, settings.zero).only(settings.kinds);
        let rules: Vec<Rule> = specs.rules.iter().filter_map(|rule| Rule::parse(rule).ok()).collect();
        match Roots::new(&settings.roots, &rules) {
            Some(roots) => (self.limits.share(roots.limits(&limits)), Some(roots)),
            None => (self.limits.share(limits), None),
        }
    }

    /// An account leaves: if it had taken its address from another entry that is there still, that one has it again.
    pub(super) fn reinstate(&mut self, account: &Account) {
        let Some(mut displaced) = self.displaced.remove(&account.address) else { return };
        displaced.retain(|id| *id != account.id);
        if !account.lock().gone {
            let before = std::iter::from_fn(|| displaced.pop()).find_map(|id| match self.known.find(id) {
                Some(What::Account(before)) if before.address == account.address => Some(before),
                _ => None,
            });
            if let Some(before) = before {
                let named = before.lock().named;
                let (entry, problem) = entry_of(&before);
                let specs = before.lock().specs.clone();
                let again = self.seat(entry, None, specs, problem, None);
                // Nobody takes anything over: this one goes.
                self.known.put(before.id, What::Account(again), named);
                displaced.retain(|id| *id != before.id);
            }
        }
        match displaced.is_empty() {
            true => drop(self.displaced.remove(&account.address)),
            false => drop(self.displaced.insert(account.address.clone(), displaced)),
        }
    }

    /// Takes an account out of memory. What the ledger has of it stays there: should the entry come
    /// back, so do its usage and its clock.
    pub(super) fn withdraw(&mut self, account: &Arc<Account>) {
        let book = &self.accounting.book;
        // An entry whose address another one has taken over was withdrawn then.
        if account.lock().gone {
            return;
        }
        let mut links = Links::default();
        drop(self.accounting.with_seat(account, |seat, _| {
            seat.gone = true;
            self.status.problem(seat.problem().is_some(), false);
            seat.cells = Default::default();
            links = seat.links().clone();
        }));
        let target = Target::Account(account.clone());
        links.alternates.iter().for_each(|alternate| book.remove_other(alternate, &target));
        let (domain, limits) = {
            let seat = account.lock();
            book.remove_dn(&seat.dn);
            (seat.domain.clone(), seat.limits.clone())
        };
        {
            let mut state = domain.lock();
            state.leave(account);
            state.commit(Some(&limits), None);
        }
        book.remove_account(account);
    }
}

/// What an entry comes to.
struct Terms {
    specs: Arc<Specs>,
    limits: Arc<Limits>,
    roots: Option<Roots>,
    problem: Option<Box<str>>,
}

/// What the ledger has of an account; nothing where it cannot be read.
fn stored(ledger: &dyn Ledger, address: &str) -> Record {
    let record = ledger.read(address).unwrap_or_else(|error| {
        events::ledger_failed(&error);
        None
    });
    record.unwrap_or_default()
}

/// Whether an entry says nothing that the account does not know.
fn is_as_before(seat: &mut Seat, entry: &AccountEntry, specs: &Specs, problem: Option<&str>) -> bool {
    seat.heard = seat.heard.wrapping_add(1);
    let ahead = std::mem::take(&mut seat.ahead);
    let links = seat.links();
    !ahead
        && seat.dn == entry.dn
        && (seat.inet_status, seat.mail_status) == (entry.inet_status, entry.mail_status)
        && *seat.specs == *specs
        && seat.problem() == problem
        && links.alternates == entry.alternates
        && links.forwards == entry.forwards
        && links.rules == entry.rules
        && *seat.attributes() == entry.attributes
}
