//! Takes what the directory says into memory, change by change, in one task.
//!
//! A bad quota value costs nobody anything: the account keeps its last good limits, and the reason is
//! kept where `check` and the metrics find it.

mod accounts;
mod domains;
mod gone;
mod keeping;
mod known;

use std::sync::Arc;

use hashbrown::HashMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::gone::{Gone, Turn};
use self::known::{Known, What};
use super::account::{Account, Specs};
use super::accounting::Accounting;
use super::book::Target;
use super::hints::Hints;
use super::outbox::{self, Subject};
use super::over_flag;
use super::pool::Pool;
use super::snapshot::{Kept, Snapshot};
use super::status::DirectoryStatus;
use crate::account::{Entry, EntryId, GroupEntry, Member, Single, domain_of};
use crate::directory::Change;
use crate::quota::spec::Measure;
use crate::quota::{Limit, Limits, Moment, Spec};
use crate::telemetry::events;
use crate::wire::dn;

pub struct Sync {
    accounting: Arc<Accounting>,
    status: Arc<DirectoryStatus>,
    hints: Hints,
    known: Known,
    load: u32,
    begun: Moment,
    specs: Pool<Specs>,
    limits: Pool<Limits>,
    /// Entries that cannot be read: where each is, and in which full load it was last named.
    bad: HashMap<EntryId, (Box<str>, u32)>,
    /// Entries whose address another one has taken over, by that address, the latest last. Few, for it is a mistake.
    displaced: HashMap<Box<str>, Vec<EntryId>>,
    snapshot: Snapshot,
    gone: Gone,
    /// Accounts of the first load that the snapshot does not have yet.
    unwritten: Vec<EntryId>,
}

/// Changes that are taken in one go: what they write shares a batch.
const AT_ONCE: usize = 500;

impl Sync {
    pub fn new(accounting: Arc<Accounting>, status: Arc<DirectoryStatus>, hints: Hints) -> Sync {
        Sync {
            snapshot: Snapshot::off(accounting.ledger.clone()),
            gone: Gone::load(&*accounting.ledger),
            accounting,
            status,
            hints,
            known: Known::default(),
            load: 0,
            begun: Moment::default(),
            specs: Pool::default(),
            limits: Pool::default(),
            bad: HashMap::new(),
            displaced: HashMap::new(),
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
        self.flush().await;
        loop {
            let (unwritten, due) = (!self.unwritten.is_empty(), self.gone.is_any_due());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                received = changes.recv_many(&mut taken, AT_ONCE) => match received {
                    0 => break,
                    _ => self.apply_all(taken.drain(..)).await,
                },
                Ok(()) = reloaded.changed() => self.limits_anew(),
                turn = self.gone.turn() => match turn {
                    Turn::Look => self.look_who_is_gone().await,
                    Turn::Looked(found) => self.found_gone(found),
                },
                () = std::future::ready(()), if unwritten => {
                    self.fill();
                    self.flush().await;
                }
                () = std::future::ready(()), if due => self.forget_some().await,
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
                self.gone.stop_counting(&*self.accounting.clock);
                self.status.lost(why, self.accounting.clock.now());
            }
        }
    }

    fn present(&mut self, id: EntryId) {
        let load = self.load;
        self.known.name(id, load);
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
            self.snapshot.mended(id);
        }
    }

    fn reached(&mut self, token: Vec<u8>) {
        if self.heard() {
            events::directory_back();
        }
        if !self.accounting.loaded() {
            self.loaded();
        }
        self.begin_filling();
        self.snapshot.reached(token, self.accounting.clock.now());
    }

    /// The directory has been reached; whether it had been lost.
    fn heard(&mut self) -> bool {
        self.gone.count(&*self.accounting.clock);
        self.status.heard(self.accounting.clock.now())
    }

    fn entry(&mut self, entry: Entry) {
        let id = entry.id();
        self.mended(id);
        self.accounting.metrics.directory_changes.inc();
        let before = self.known.find(id);
        let what = match entry {
            Entry::Account(entry) => What::Account(self.account(entry, before.as_ref())),
            Entry::Domain(entry) => What::Domain(self.domain(entry)),
            Entry::Group(entry) => What::Group(self.group(entry)),
        };
        if let Some(before) = before.filter(|before| !same_place(before, &what)) {
            if before.key(id) != what.key(id) {
                self.snapshot.remove(before.key(id));
            }
            self.leave(before);
        }
        self.known.put(id, what, self.load);
    }

    fn gone(&mut self, id: EntryId) {
        if let Some(what) = self.known.remove(id) {
            self.accounting.metrics.directory_changes.inc();
            self.snapshot.remove(what.key(id));
            self.leave(what);
        }
        self.mended(id);
    }

    /// What was not named, anywhere or below `base`, is gone.
    fn complete(&mut self, base: Option<&str>) {
        let load = self.load;
        let base = base.map(dn::normal);
        let is_below = |dn: &str| base.as_ref().is_none_or(|base| dn::lies_below(&dn::normal(dn), base));
        let unnamed = self.known.unnamed(load, is_below);
        let bad = self.bad.iter().filter(|(_, (dn, named))| *named != load && is_below(dn));
        let gone: Vec<EntryId> = unnamed.into_iter().chain(bad.map(|(id, _)| *id)).collect();
        gone.into_iter().for_each(|id| self.gone(id));
        if base.is_none() {
            self.loaded();
            self.heard();
        }
    }

    fn loaded(&mut self) {
        let first = !self.accounting.loaded();
        self.accounting.load_complete();
        let accounts = self.accounting.book.accounts();
        let took = self.accounting.clock.now().since(self.begun);
        events::directory_loaded(accounts, self.accounting.book.domains().len(), took);
        if first {
            self.mark_unclaimed();
            self.accounting.book.for_each_account(|account| {
                let mut seat = account.lock();
                if seat.measured().is_none() {
                    self.hints.soon(account, &mut seat);
                }
            });
        }
    }

    fn group(&mut self, entry: GroupEntry) -> Arc<GroupEntry> {
        let group = Arc::new(entry);
        self.keep(group.id, |_| Kept::Group(GroupEntry::clone(&group)));
        let book = &self.accounting.book;
        if group.members.iter().any(|member| matches!(member, Member::Dn(_))) && book.want_dns() {
            book.for_each_account(|account| book.put_dn(&account.lock().dn, &Target::Account(account.clone())));
            for group in self.known.groups() {
                book.put_dn(&group.dn, &Target::Group(group.clone()));
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
                self.reinstate(&account);
                let taken_over = account.lock().gone;
                self.withdraw(&account);
                if !taken_over {
                    self.void_wishes(&account);
                    self.mark_gone(&account.address);
                }
                // Not within `withdraw`: an account that is taken over joins the same domain next.
                self.accounting.book.drop_if_empty(domain_of(&account.address));
            }
            What::Domain(domain) => {
                let mut state = domain.lock();
                self.status.problem(state.problem.is_some(), false);
                (state.entry, state.limit, state.problem) = (None, Limit::NONE, None);
                (state.inet_status, state.mail_status) = Default::default();
                (state.specs, state.user_specs) = (None, None);
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

    /// An account that has gone, and whose address nobody else has, has no status to write.
    fn void_wishes(&self, account: &Account) {
        let mut seat = account.lock();
        let status = seat.wished.take().map(|_| outbox::remove(&Subject::Account(account.address.clone())));
        let flag = std::mem::take(&mut seat.flag_wished).then(|| outbox::remove(&over_flag::subject(&account.address)));
        drop(self.accounting.submit(status.into_iter().chain(flag).collect()));
    }
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
