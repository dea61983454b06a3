//! The address book in memory: which address leads to which account or group, and the domains.
//!
//! Reads are many and come from the hot path; writes are few. The addresses are spread over shards, so
//! that a writer never stands in the way of more than one reader in [`SHARDS`], and only for one insertion.

use std::hash::BuildHasher;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::{HashMap, HashTable};
use parking_lot::RwLock;

use super::account::Account;
use super::domain::Domain;
use crate::account::GroupEntry;
use crate::wire::dn;

const SHARDS: usize = 256;

/// Where an address leads.
#[derive(Clone)]
pub enum Target {
    Account(Arc<Account>),
    Group(Arc<GroupEntry>),
}

#[derive(Default)]
struct Shard {
    /// Accounts by their own address, which is stored once, in the account.
    accounts: HashTable<Arc<Account>>,
    /// Alternate addresses and groups.
    others: HashMap<Box<str>, Target, foldhash::fast::FixedState>,
}

pub struct Book {
    shards: Box<[RwLock<Shard>]>,
    domains: RwLock<HashMap<Box<str>, Arc<Domain>, foldhash::fast::FixedState>>,
    /// By the hash of the normal form of the DN; filled only where a group names members by DN.
    dns: RwLock<Option<HashMap<u64, Target, foldhash::fast::FixedState>>>,
    /// Grows whenever an account is put in.
    version: AtomicU64,
}

impl Default for Book {
    fn default() -> Book {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Book { shards, domains: RwLock::default(), dns: RwLock::default(), version: AtomicU64::new(0) }
    }
}

/// The one hash of addresses. Its keys come from an admin's directory, not from strangers: a
/// look-up with a stranger's address never inserts, so a fixed seed does no harm.
pub(super) fn hash(address: &str) -> u64 {
    foldhash::fast::FixedState::with_seed(0).hash_one(address)
}

impl Book {
    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // The table inside uses the low and the topmost bits; take the shard from others.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    /// The account or group at exactly this address, which must be in lower case.
    pub fn find(&self, address: &str) -> Option<Target> {
        let hash = hash(address);
        let shard = self.shard(hash).read();
        if let Some(account) = shard.accounts.find(hash, |known| *known.address == *address) {
            return Some(Target::Account(account.clone()));
        }
        shard.others.get(address).cloned()
    }

    pub fn account(&self, address: &str) -> Option<Arc<Account>> {
        let hash = hash(address);
        self.shard(hash).read().accounts.find(hash, |known| *known.address == *address).cloned()
    }

    /// Puts an account in, in the place of one with the same address.
    pub fn put_account(&self, account: Arc<Account>) {
        let hash_of = hash(&account.address);
        let mut shard = self.shard(hash_of).write();
        let known = shard.accounts.find_entry(hash_of, |known| known.address == account.address);
        if let Ok(known) = known {
            known.remove();
        }
        shard.accounts.insert_unique(hash_of, account, |known| hash(&known.address));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Something that was computed from all accounts is out of date once this has moved on.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The place of an account's mail may have changed.
    pub fn moved(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Takes this very account out; another one that has taken over its address stays.
    pub fn remove_account(&self, account: &Arc<Account>) {
        let hash = hash(&account.address);
        let mut shard = self.shard(hash).write();
        if let Ok(known) = shard.accounts.find_entry(hash, |known| Arc::ptr_eq(known, account)) {
            known.remove();
        }
    }

    pub fn put_other(&self, address: &str, target: Target) {
        self.shard(hash(address)).write().others.insert(address.into(), target);
    }

    /// Takes an alternate address out if it still leads to `target`.
    pub fn remove_other(&self, address: &str, target: &Target) {
        let mut shard = self.shard(hash(address)).write();
        let same = |known: &Target| match (known, target) {
            (Target::Account(known), Target::Account(gone)) => Arc::ptr_eq(known, gone),
            (Target::Group(known), Target::Group(gone)) => known.id == gone.id,
            _ => false,
        };
        if shard.others.get(address).is_some_and(same) {
            shard.others.remove(address);
        }
    }

    pub fn domain(&self, name: &str) -> Option<Arc<Domain>> {
        self.domains.read().get(name).cloned()
    }

    /// The domain of that name, made now if there was none.
    pub fn domain_or_new(&self, name: &str) -> (Arc<Domain>, bool) {
        if let Some(domain) = self.domain(name) {
            return (domain, false);
        }
        let mut made = false;
        let new = || {
            made = true;
            Arc::new(Domain::new(name))
        };
        let domain = self.domains.write().entry(name.into()).or_insert_with(new).clone();
        (domain, made)
    }

    /// Forgets a domain that has neither an entry nor accounts.
    pub fn drop_if_empty(&self, name: &str) {
        let mut domains = self.domains.write();
        let empty = domains.get(name).is_some_and(|domain| {
            let state = domain.lock();
            state.entry.is_none() && state.accounts() == 0
        });
        if empty {
            domains.remove(name);
        }
    }

    pub fn domains(&self) -> Vec<Arc<Domain>> {
        let mut domains: Vec<_> = self.domains.read().values().cloned().collect();
        domains.sort_by(|a, b| a.name.cmp(&b.name));
        domains
    }

    /// Every account, a shard at a time, so that nobody waits for long.
    pub fn for_each_account(&self, mut each: impl FnMut(&Arc<Account>)) {
        for shard in &self.shards {
            let accounts: Vec<_> = shard.read().accounts.iter().cloned().collect();
            accounts.iter().for_each(&mut each);
        }
    }

    /// The same with all cores at once: for a start, when there is nobody yet to whom it would matter.
    pub fn for_each_account_at_once(&self, each: impl Fn(&Arc<Account>) + Sync) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(shard) = self.shards.get(next.fetch_add(1, Ordering::Relaxed)) {
                let accounts: Vec<_> = shard.read().accounts.iter().cloned().collect();
                accounts.iter().for_each(&each);
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    }

    pub fn accounts(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().accounts.len()).sum()
    }

    pub fn find_dn(&self, dn: &str) -> Option<Target> {
        self.dns.read().as_ref()?.get(&hash(&dn::normal(dn))).cloned()
    }

    /// From now on entries are found by DN too. Says whether that is new: then what is known already
    /// must be put in.
    pub fn want_dns(&self) -> bool {
        let mut dns = self.dns.write();
        let new = dns.is_none();
        dns.get_or_insert_default();
        new
    }

    pub fn put_dn(&self, dn: &str, target: &Target) {
        if let Some(dns) = self.dns.write().as_mut() {
            dns.insert(hash(&dn::normal(dn)), target.clone());
        }
    }

    pub fn remove_dn(&self, dn: &str) {
        if let Some(dns) = self.dns.write().as_mut() {
            dns.remove(&hash(&dn::normal(dn)));
        }
    }
}
