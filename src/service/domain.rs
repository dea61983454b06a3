//! One domain in memory: its limits, its defaults and the live sum of what its accounts hold.

use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};

use super::account::{Account, Specs};
use super::book::hash;
use crate::account::{EntryId, Status};
use crate::quota::verdict::Filling;
use crate::quota::{Level, Limit, Limits, Standing, Usage};

/// A domain. One that has accounts but no entry of its own exists here too, without limits.
///
/// Locks are taken in the order account, domain; never the other way round.
pub struct Domain {
    pub name: Box<str>,
    state: Mutex<DomainState>,
}

#[derive(Default)]
pub struct DomainState {
    pub entry: Option<(EntryId, Box<str>)>,
    pub inet_status: Status,
    pub mail_status: Status,
    /// What its entry says of the domain itself and of each of its accounts, where it says anything.
    pub specs: Option<Arc<Specs>>,
    pub user_specs: Option<Arc<Specs>>,
    /// What `specs` come to under the settings in force.
    pub limit: Limit,
    /// What its accounts have that say nothing themselves: `user_specs`, filled up with the site's defaults; `None` is
    /// the site's default.
    pub defaults: Option<Arc<Limits>>,
    pub problem: Option<Box<str>>,
    pub held: Held,
    /// The sum of the default buckets' byte limits, and how many accounts have none.
    pub committed: u128,
    pub uncommitted: u64,
    pub standing: Standing,
    pub wished: Option<Status>,
    /// Grows whenever the directory tells of the entry.
    pub heard: u32,
    /// The level that the tally of the metrics has it at.
    pub counted: Level,
    members: HashTable<Arc<Account>>,
}

/// The exact sum over all accounts: wide enough that nothing saturates, so that what was added can
/// always be taken away again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    bytes: u128,
    messages: u128,
}

impl Held {
    pub fn replace(&mut self, before: Usage, after: Usage) {
        let sum = |held: u128, before: u64, after: u64| (held + u128::from(after)).saturating_sub(u128::from(before));
        self.bytes = sum(self.bytes, before.bytes, after.bytes);
        self.messages = sum(self.messages, before.messages, after.messages);
    }

    pub fn usage(&self) -> Usage {
        let narrow = |held: u128| u64::try_from(held).unwrap_or(u64::MAX);
        Usage::new(narrow(self.bytes), narrow(self.messages))
    }
}

impl Domain {
    pub fn new(name: &str) -> Domain {
        Domain { name: name.into(), state: Mutex::default() }
    }

    pub fn lock(&self) -> MutexGuard<'_, DomainState> {
        self.state.lock()
    }

    /// A copy of the list, so that each account can be locked without holding the domain.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.lock().members.iter().cloned().collect()
    }
}

impl DomainState {
    pub fn filling(&self) -> Filling {
        Filling { limit: self.limit, used: self.held.usage(), standing: self.standing, ..Filling::default() }
    }

    pub fn accounts(&self) -> usize {
        self.members.len()
    }

    pub fn join(&mut self, account: &Arc<Account>) {
        self.members.insert_unique(hash(&account.address), account.clone(), |known| hash(&known.address));
    }

    pub fn leave(&mut self, account: &Account) {
        if let Ok(known) = self.members.find_entry(hash(&account.address), |known| std::ptr::eq(&**known, account)) {
            known.remove();
        }
    }

    /// Moves the account's share of the commitments from one set of limits to another.
    pub fn commit(&mut self, before: Option<&Limits>, after: Option<&Limits>) {
        let share = |limits: &Limits| limits.buckets()[0].limit.bytes;
        match before.map(share) {
            Some(Some(bytes)) => self.committed = self.committed.saturating_sub(u128::from(bytes)),
            Some(None) => self.uncommitted = self.uncommitted.saturating_sub(1),
            None => {}
        }
        match after.map(share) {
            Some(Some(bytes)) => self.committed += u128::from(bytes),
            Some(None) => self.uncommitted += 1,
            None => {}
        }
    }
}
