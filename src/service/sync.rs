//! Takes what the directory says into memory, change by change, in one task.
//!
//! A bad quota value costs nobody anything: the account keeps its last good limits, and the reason is
//! kept where `check` and the metrics find it.

mod keeping;

use std::sync::Arc;

use hashbrown::{HashMap, HashTable};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Links, Seat, Specs};
use super::accounting::Accounting;
use super::book::Target;
use super::domain::Domain;
use super::measuring::Hints;
use super::outbox::{self, Subject};
use super::pool::Pool;
use super::settings::Settings;
use super::snapshot::{Kept, Snapshot};
use super::status::DirectoryStatus;
use crate::account::{AccountEntry, DomainEntry, Entry, EntryId, GroupEntry, Member, Single, domain_of};
use crate::directory::Change;
use crate::ledger::Record;
use crate::quota::spec::Measure;
use crate::quota::{Level, Limit, Limits, Moment, Spec};
use crate::telemetry::events;
use crate::wire::dn;

/// What entry ids lead to, and in which full load each was last named.
struct Known {
    id: EntryId,
    load: u32,
    what: What,
}

#[derive(Clone)]
enum What {
    Account(Arc<Account>),
    Domain(Arc<Domain>),
    Group(Arc<GroupEntry>),
}

pub struct Sync {
    accounting: Arc<Accounting>,
    status: Arc<DirectoryStatus>,
    hints: Hints,
    known: HashTable<Known>,
    load: u32,
    begun: Moment,
    specs: Pool<Specs>,
    limits: Pool<Limits>,
    /// Entries that cannot be read: where each is, and in which full load it was last named.
    bad: HashMap<EntryId, (Box<str>, u32)>,
    snapshot: Option<Snapshot>,
    /// Accounts of the first load that the snapshot does not have yet.
    unwritten: Vec<EntryId>,
}

/// Changes that are taken in one go: what they write shares a batch.
const AT_ONCE: usize = 500;

impl Sync {
    pub fn new(accounting: Arc<Accounting>, status: Arc<DirectoryStatus>, hints: Hints) -> Sync {
        Sync {
            accounting,
            status,
            hints,
            known: HashTable::new(),
            load: 0,
            begun: Moment::default(),
            specs: Pool::default(),
            limits: Pool::default(),
            bad: HashMap::new(),
            snapshot: None,
            unwritten: Vec::new(),
        }
    }

    /// Applies changes until `stop` or the end of the stream. A message on `reloaded` says that the
    /// settings have been replaced: limits are computed anew.
    pub async fn run(
        mut self,
        mut changes: mpsc::Receiver<Change>,
        mut reloaded: tokio::sync::watch::Receiver<()>,
        stop: CancellationToken,
    ) {
        let mut taken = Vec::with_capacity(AT_ONCE);
        loop {
            let unwritten = !self.unwritten.is_empty();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                received = changes.recv_many(&mut taken, AT_ONCE) => match received {
                    0 => break,
                    _ => self.apply_all(taken.drain(..)).await,
                },
                Ok(()) = reloaded.changed() => self.limits_anew(),
                () = std::future::ready(()), if unwritten => {
                    self.fill();
                    self.flush().await;
                }
            }
        }
        self.settle().await;
    }

    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Begin => {
                self.load = self.load.wrapping_add(1);
                self.begun = self.accounting.clock.now();
            }
            Change::Entry(entry) => self.entry(entry),
            Change::Present(id) => self.present(id),
            Change::Gone(id) => self.gone(id),
            Change::Complete => self.complete(None),
            Change::CompleteBelow(base) => self.complete(Some(&base)),
            Change::Reached { token } => self.reached(token),
            Change::Bad { id, dn, why } => {
                events::entry_bad(&dn, &why);
                self.present(id);
                self.bad(id, dn, why.into());
            }
            Change::Lost { why } => {
                events::directory_lost(&why);
                self.status.lost(why);
            }
        }
    }

    fn present(&mut self, id: EntryId) {
        let load = self.load;
        if let Some(known) = self.find(id) {
            known.load = load;
        }
        if let Some((_, named)) = self.bad.get_mut(&id) {
            *named = load;
        }
    }

    fn bad(&mut self, id: EntryId, dn: Box<str>, why: Box<str>) {
        self.keep(id, |_| Kept::Bad { dn: dn.clone(), why: why.clone() });
        self.status.bad(dn.clone(), why);
        self.bad.insert(id, (dn, self.load));
    }

    fn mended(&mut self, id: EntryId) {
        if let Some((dn, _)) = self.bad.remove(&id) {
            self.status.mended(&dn);
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.mended(id);
            }
        }
    }

    fn reached(&mut self, token: Vec<u8>) {
        let now = self.accounting.clock.now();
        if self.status.heard(now) {
            events::directory_back();
        }
        if !self.accounting.loaded() {
            self.loaded();
        }
        self.begin_filling();
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.reached(token, now);
        }
    }

    fn find(&mut self, id: EntryId) -> Option<&mut Known> {
        self.known.find_mut(spread(id), |known| known.id == id)
    }

    fn remember(&mut self, id: EntryId, what: What) {
        let load = self.load;
        match self.find(id) {
            Some(known) => (known.load, known.what) = (load, what),
            None => drop(self.known.insert_unique(spread(id), Known { id, load, what }, |known| spread(known.id))),
        }
    }

    fn entry(&mut self, entry: Entry) {
        let id = entry.id();
        self.mended(id);
        self.accounting.metrics.directory_changes.inc();
        let before = self.find(id).map(|known| known.what.clone());
        let what = match entry {
            Entry::Account(entry) => What::Account(self.account(entry, before.as_ref())),
            Entry::Domain(entry) => What::Domain(self.domain(entry)),
            Entry::Group(entry) => What::Group(self.group(entry)),
        };
        if let Some(before) = before.filter(|before| !same_place(before, &what)) {
            self.leave(before);
        }
        self.remember(id, what);
    }

    fn gone(&mut self, id: EntryId) {
        if let Ok(known) = self.known.find_entry(spread(id), |known| known.id == id) {
            let (known, _) = known.remove();
            self.accounting.metrics.directory_changes.inc();
            self.leave(known.what);
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.remove(id);
            }
        }
        self.mended(id);
    }

    /// What was not named, anywhere or below `base`, is gone.
    fn complete(&mut self, base: Option<&str>) {
        let load = self.load;
        let base = base.map(dn::normal);
        let is_below = |dn: &str| base.as_ref().is_none_or(|base| dn::lies_below(&dn::normal(dn), base));
        let unnamed = self.known.iter().filter(|known| known.load != load && is_below(&known.what.dn()));
        let bad = self.bad.iter().filter(|(_, (dn, named))| *named != load && is_below(dn));
        let gone: Vec<EntryId> = unnamed.map(|known| known.id).chain(bad.map(|(id, _)| *id)).collect();
        gone.into_iter().for_each(|id| self.gone(id));
        if base.is_none() {
            self.loaded();
            self.status.heard(self.accounting.clock.now());
        }
    }

    fn loaded(&mut self) {
        let first = !self.accounting.loaded();
        self.accounting.load_complete();
        let accounts = self.accounting.book.accounts();
        let took = self.accounting.clock.now().since(self.begun);
        events::directory_loaded(accounts, self.accounting.book.domains().len(), took);
        if first {
            self.accounting.book.for_each_account(|account| {
                let mut seat = account.lock();
                if seat.measured.is_none() {
                    self.hints.soon(account, &mut seat);
                }
            });
        }
    }

    fn account(&mut self, entry: AccountEntry, before: Option<&What>) -> Arc<Account> {
        let settings = self.accounting.settings.load_full();
        let kept = match before {
            Some(What::Account(account)) if account.address == entry.address => Some(account.clone()),
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
        let account = self.seat(entry, kept, specs, problem);
        self.keep_account(id, &account);
        account
    }

    /// Brings an account, new or `kept` from before, up to its entry.
    fn seat(
        &mut self,
        entry: AccountEntry,
        kept: Option<Arc<Account>>,
        specs: Arc<Specs>,
        problem: Option<Box<str>>,
    ) -> Arc<Account> {
        let book = self.accounting.book.clone();
        let settings = self.accounting.settings.load_full();
        let (domain, _) = book.domain_or_new(domain_of(&entry.address));
        let limits = self.resolve(&specs, &domain, &settings);
        let account = match kept {
            Some(account) => account,
            None => self.new_account(&entry, domain, specs.clone(), limits.clone()),
        };
        let links = Links { alternates: entry.alternates, forwards: entry.forwards, rules: entry.rules };
        let (old_links, old_dn) = {
            let seat = account.lock();
            self.status.problem(seat.problem.is_some(), problem.is_some());
            (seat.links.as_deref().cloned().unwrap_or_default(), seat.dn.clone())
        };
        let target = Target::Account(account.clone());
        if old_dn != entry.dn {
            book.remove_dn(&old_dn);
        }
        book.put_dn(&entry.dn, &target);
        drop(self.accounting.limit(&account, limits));
        drop(self.accounting.with_seat(&account, |seat, _| {
            if seat.dn != entry.dn {
                // A wish is made out to a DN.
                seat.wished = None;
            }
            seat.dn = entry.dn;
            seat.heard = seat.heard.wrapping_add(1);
            (seat.inet_status, seat.mail_status) = (entry.inet_status, entry.mail_status);
            (seat.specs, seat.problem) = (specs, problem);
            seat.attributes = Some(entry.attributes).filter(|some| !some.is_empty()).map(Box::new);
            seat.links = Some(links.clone()).filter(|some| *some != Links::default()).map(Box::new);
        }));
        for gone in old_links.alternates.iter().filter(|old| !links.alternates.contains(old)) {
            book.remove_other(gone, &target);
        }
        for alternate in &links.alternates {
            book.put_other(alternate, target.clone());
        }
        account
    }

    /// A new account with what the ledger, or an entry that had the same address, knows of it.
    fn new_account(
        &mut self,
        entry: &AccountEntry,
        domain: Arc<Domain>,
        specs: Arc<Specs>,
        limits: Arc<Limits>,
    ) -> Arc<Account> {
        let address = entry.address.clone();
        let taken_over = self.accounting.book.account(&address);
        let record = match &taken_over {
            Some(old) => {
                let seat = old.lock();
                Some(Record {
                    revision: seat.revision,
                    cells: seat.cells.clone(),
                    measured: seat.measured,
                    standings: seat.standings_kept(),
                })
            }
            None => self.accounting.ledger.read(&address).unwrap_or_else(|error| {
                events::ledger_failed(&error);
                None
            }),
        };
        if let Some(old) = taken_over {
            self.withdraw(&old);
        }
        let Record { revision, cells, measured, standings } = record.unwrap_or_default();
        let mut seat = Seat {
            dn: entry.dn.clone(),
            domain: domain.clone(),
            inet_status: entry.inet_status,
            mail_status: entry.mail_status,
            specs,
            limits: limits.clone(),
            problem: None,
            attributes: None,
            links: None,
            cells: Default::default(),
            revision,
            measured,
            sums: Default::default(),
            standings: Default::default(),
            on_their_way: None,
            hinted: false,
            wished: None,
            counted: Level::Under,
            gone: false,
            heard: 0,
            ahead: false,
        };
        seat.stand(&standings);
        let account = Arc::new(Account::new(address, entry.id, seat));
        {
            let mut state = domain.lock();
            state.join(&account);
            state.commit(None, Some(&limits));
        }
        drop(self.accounting.with_seat(&account, |seat, _| seat.cells = cells));
        if self.accounting.loaded() && measured.is_none() {
            self.hints.soon(&account, &mut account.lock());
        }
        self.accounting.book.put_account(account.clone());
        account
    }

    /// The specs of an entry, or the last good ones and the reason.
    fn read_specs(
        &mut self,
        entry: &AccountEntry,
        last_good: Option<Arc<Specs>>,
        settings: &Settings,
    ) -> (Arc<Specs>, Option<Box<str>>) {
        let bytes = read(&entry.quota, "mailQuota", Measure::Bytes(settings.units));
        let messages = read(&entry.messages, "mailMsgQuota", Measure::Messages);
        match (bytes, messages) {
            (Ok(bytes), Ok(messages)) => (self.specs.share(Specs { bytes, messages }), None),
            (bytes, messages) => {
                let why: Vec<_> = [bytes.err(), messages.err()].into_iter().flatten().collect();
                let absent = Specs { bytes: Spec::ABSENT, messages: Spec::ABSENT };
                (last_good.unwrap_or_else(|| self.specs.share(absent)), Some(why.join("; ").into()))
            }
        }
    }

    fn resolve(&mut self, specs: &Specs, domain: &Domain, settings: &Settings) -> Arc<Limits> {
        let defaults = domain.lock().defaults.clone().unwrap_or_else(|| settings.defaults.clone());
        self.limits.share(Limits::new(&specs.bytes, &specs.messages, &defaults, settings.zero))
    }

    fn domain(&mut self, entry: DomainEntry) -> Arc<Domain> {
        let whole = entry.clone();
        let settings = self.accounting.settings.load_full();
        let (domain, _) = self.accounting.book.domain_or_new(&entry.name);
        let mut problems = Vec::new();
        let bytes = Measure::Bytes(settings.units);
        let own = domain_specs(&entry.quota, &entry.messages, ["mailDomainDiskQuota", "mailDomainMsgQuota"], bytes);
        let users = domain_specs(&entry.user_quota, &entry.user_messages, ["mailQuota", "mailMsgQuota"], bytes);
        let mut state = domain.lock();
        match own {
            Ok(specs) if specs.bytes.named.is_empty() && specs.messages.named.is_empty() => {
                let limits = Limits::new(&specs.bytes, &specs.messages, &Limits::default(), settings.zero);
                state.limit = limits.buckets()[0].limit;
            }
            Ok(_) => problems.push("a domain's quota takes no folders and no types".to_owned()),
            Err(why) => problems.push(why),
        }
        let defaults_before = state.defaults.clone();
        match users {
            Ok(specs) if specs.bytes == Spec::ABSENT && specs.messages == Spec::ABSENT => state.defaults = None,
            Ok(specs) => {
                let limits = Limits::new(&specs.bytes, &specs.messages, &settings.defaults, settings.zero);
                state.defaults = Some(self.limits.share(limits));
            }
            Err(why) => problems.push(why),
        }
        if state.entry.as_ref().is_some_and(|(_, dn)| *dn != entry.dn) {
            state.wished = None;
        }
        state.entry = Some((entry.id, entry.dn));
        state.heard = state.heard.wrapping_add(1);
        (state.inet_status, state.mail_status) = (entry.inet_status, entry.mail_status);
        self.status.problem(state.problem.is_some(), !problems.is_empty());
        state.problem = (!problems.is_empty()).then(|| problems.join("; ").into());
        if let Some(problem) = &state.problem {
            events::value_bad(&domain.name, problem);
        }
        let defaults_changed = state.defaults != defaults_before;
        drop(state);
        if defaults_changed {
            self.limits_of_members(&domain);
        }
        drop(self.accounting.settle_domain(&domain));
        self.keep_domain(whole, problems.is_empty());
        domain
    }

    fn limits_of_members(&mut self, domain: &Arc<Domain>) {
        let settings = self.accounting.settings.load_full();
        for account in domain.accounts() {
            let specs = account.lock().specs.clone();
            let limits = self.resolve(&specs, domain, &settings);
            drop(self.accounting.limit(&account, limits));
        }
    }

    /// After a reload of the settings: units, defaults or the meaning of 0 may differ.
    fn limits_anew(&mut self) {
        for domain in self.accounting.book.domains() {
            self.limits_of_members(&domain);
        }
        self.accounting.settle_accounts();
        self.accounting.settle_domains();
    }

    fn group(&mut self, entry: GroupEntry) -> Arc<GroupEntry> {
        let group = Arc::new(entry);
        self.keep(group.id, |_| Kept::Group(GroupEntry::clone(&group)));
        let book = &self.accounting.book;
        if group.members.iter().any(|member| matches!(member, Member::Dn(_))) && book.want_dns() {
            book.for_each_account(|account| book.put_dn(&account.lock().dn, &Target::Account(account.clone())));
            for known in &self.known {
                if let What::Group(group) = &known.what {
                    book.put_dn(&group.dn, &Target::Group(group.clone()));
                }
            }
        }
        book.put_dn(&group.dn, &Target::Group(group.clone()));
        for address in std::iter::once(&group.address).chain(&group.alternates) {
            self.accounting.book.put_other(address, Target::Group(group.clone()));
        }
        group
    }

    fn leave(&mut self, what: What) {
        match what {
            What::Account(account) => {
                let subject = Subject::Account(account.address.clone());
                drop(self.accounting.with_seat(&account, |seat, batch| {
                    if seat.wished.take().is_some() {
                        batch.push(outbox::remove(&subject));
                    }
                }));
                self.withdraw(&account);
            }
            What::Domain(domain) => {
                let mut state = domain.lock();
                self.status.problem(state.problem.is_some(), false);
                (state.entry, state.limit, state.problem) = (None, Limit::NONE, None);
                (state.inet_status, state.mail_status) = Default::default();
                let had_defaults = state.defaults.take().is_some();
                drop(state);
                if had_defaults {
                    self.limits_of_members(&domain);
                }
                drop(self.accounting.settle_domain(&domain));
                self.accounting.book.drop_if_empty(&domain.name);
            }
            What::Group(group) => {
                let target = Target::Group(group.clone());
                self.accounting.book.remove_dn(&group.dn);
                for address in std::iter::once(&group.address).chain(&group.alternates) {
                    self.accounting.book.remove_other(address, &target);
                }
            }
        }
    }

    /// Takes an account out of memory. What the ledger has of it stays there: should the entry come
    /// back, so do its usage and its clock.
    fn withdraw(&mut self, account: &Arc<Account>) {
        let book = &self.accounting.book;
        let mut links = Links::default();
        drop(self.accounting.with_seat(account, |seat, _| {
            seat.gone = true;
            self.status.problem(seat.problem.take().is_some(), false);
            seat.cells = Default::default();
            links = seat.links.take().map(|links| *links).unwrap_or_default();
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
        book.drop_if_empty(&domain.name);
    }
}

impl What {
    fn dn(&self) -> Box<str> {
        match self {
            What::Account(account) => account.lock().dn.clone(),
            What::Domain(domain) => domain.lock().entry.as_ref().map(|(_, dn)| dn.clone()).unwrap_or_default(),
            What::Group(group) => group.dn.clone(),
        }
    }
}

/// Whether an entry says nothing that the account does not know.
fn is_as_before(seat: &mut Seat, entry: &AccountEntry, specs: &Specs, problem: Option<&str>) -> bool {
    seat.heard = seat.heard.wrapping_add(1);
    let ahead = std::mem::take(&mut seat.ahead);
    let links = seat.links.as_deref();
    let linked = |ours: fn(&Links) -> &Vec<Box<str>>, theirs: &[Box<str>]| links.map_or(&[][..], |l| ours(l)) == theirs;
    !ahead
        && seat.dn == entry.dn
        && (seat.inet_status, seat.mail_status) == (entry.inet_status, entry.mail_status)
        && *seat.specs == *specs
        && seat.problem.as_deref() == problem
        && linked(|links| &links.alternates, &entry.alternates)
        && linked(|links| &links.forwards, &entry.forwards)
        && linked(|links| &links.rules, &entry.rules)
        && seat.attributes.as_deref().map_or(entry.attributes.is_empty(), |known| *known == entry.attributes)
}

fn spread(id: EntryId) -> u64 {
    // Ids are UUIDs or hashes: any 64 bits of them are spread well enough.
    (id.0 as u64) ^ (id.0 >> 64) as u64
}

fn same_place(before: &What, after: &What) -> bool {
    match (before, after) {
        (What::Account(a), What::Account(b)) => Arc::ptr_eq(a, b),
        (What::Domain(a), What::Domain(b)) => Arc::ptr_eq(a, b),
        (What::Group(a), What::Group(b)) => a.address == b.address && a.alternates == b.alternates,
        _ => false,
    }
}

fn read(value: &Single, attribute: &str, measure: Measure) -> Result<Spec, String> {
    match value {
        Ok(None) => Ok(Spec::ABSENT),
        Ok(Some(text)) => Spec::parse(text, measure).map_err(|error| format!("{attribute} {error}")),
        Err(why) => Err(why.to_string()),
    }
}

fn domain_specs(bytes: &Single, messages: &Single, names: [&str; 2], measure: Measure) -> Result<Specs, String> {
    Ok(Specs { bytes: read(bytes, names[0], measure)?, messages: read(messages, names[1], Measure::Messages)? })
}
