//! What the entries of the directory have led to, by id, and in which full load each was last named.
//!
//! Accounts are a pointer each, for there are millions of them; what more is known of one stands in its seat.

use std::sync::Arc;

use hashbrown::{HashMap, HashTable};

use crate::account::{EntryId, GroupEntry};
use crate::service::account::Account;
use crate::service::domain::Domain;
use crate::service::snapshot::Key;

#[derive(Clone)]
pub enum What {
    Account(Arc<Account>),
    Domain(Arc<Domain>),
    Group(Arc<GroupEntry>),
}

impl What {
    /// Under which the entry is kept.
    pub fn key(&self, id: EntryId) -> Key {
        match self {
            What::Account(account) => Key::account(&account.address, id),
            What::Domain(_) | What::Group(_) => Key::other(id),
        }
    }

    pub fn dn(&self) -> Box<str> {
        match self {
            What::Account(account) => account.lock().dn.clone(),
            What::Domain(domain) => domain.lock().entry.as_ref().map(|(_, dn)| dn.clone()).unwrap_or_default(),
            What::Group(group) => group.dn.clone(),
        }
    }
}

#[derive(Default)]
pub struct Known {
    accounts: HashTable<Arc<Account>>,
    others: HashMap<EntryId, (What, u32)>,
}

impl Known {
    pub fn find(&self, id: EntryId) -> Option<What> {
        match self.accounts.find(spread(id), |account| account.id == id) {
            Some(account) => Some(What::Account(account.clone())),
            None => self.others.get(&id).map(|(what, _)| what.clone()),
        }
    }

    /// Takes note that the full load `load` has named an entry.
    pub fn name(&mut self, id: EntryId, load: u32) {
        if let Some(account) = self.accounts.find(spread(id), |account| account.id == id) {
            account.lock().named = load;
        } else if let Some((_, named)) = self.others.get_mut(&id) {
            *named = load;
        }
    }

    pub fn put(&mut self, id: EntryId, what: What, load: u32) {
        let What::Account(account) = what else {
            self.remove_account(id);
            self.others.insert(id, (what, load));
            return;
        };
        account.lock().named = load;
        match self.accounts.find_mut(spread(id), |known| known.id == id) {
            Some(known) => *known = account,
            None => {
                self.others.remove(&id);
                self.accounts.insert_unique(spread(id), account, |account| spread(account.id));
            }
        }
    }

    pub fn remove(&mut self, id: EntryId) -> Option<What> {
        let account = self.remove_account(id).map(What::Account);
        account.or_else(|| self.others.remove(&id).map(|(what, _)| what))
    }

    fn remove_account(&mut self, id: EntryId) -> Option<Arc<Account>> {
        let found = self.accounts.find_entry(spread(id), |account| account.id == id).ok();
        found.map(|account| account.remove().0)
    }

    /// What `load` has not named, of those whose DN `concerns` it.
    pub fn unnamed(&self, load: u32, concerns: impl Fn(&str) -> bool) -> Vec<EntryId> {
        let accounts = self.accounts.iter().filter(|account| {
            let seat = account.lock();
            seat.named != load && concerns(&seat.dn)
        });
        let others = self.others.iter().filter(|(_, (what, named))| *named != load && concerns(&what.dn()));
        accounts.map(|account| account.id).chain(others.map(|(id, _)| *id)).collect()
    }

    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.iter()
    }

    pub fn groups(&self) -> impl Iterator<Item = &Arc<GroupEntry>> {
        self.others.values().filter_map(|(what, _)| match what {
            What::Group(group) => Some(group),
            _ => None,
        })
    }
}

/// Servers number entries by the clock, so the bits of one id are much like those of the next, and those that
/// differ are not the ones that a table looks at. What is left of a hundred thousand equal hashes is a
/// hundred thousand comparisons for each.
fn spread(id: EntryId) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let folded = (id.0 as u64) ^ ((id.0 >> 64) as u64).rotate_left(32);
    let mixed = (folded ^ (folded >> 32)).wrapping_mul(ODD);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_that_count_by_the_clock_are_spread() {
        // As slapadd makes them (RFC 4122 section 4.1.2): the time's low part leads, clock and node are the same.
        let ids = (0..4096_u128).map(|n| EntryId(((0x1234_0000 + n) << 96) | 0x5b1e_1040_9f7a_0123_4567_89ab));
        let hashes: Vec<u64> = ids.map(spread).collect();
        let low: HashSet<u64> = hashes.iter().map(|hash| hash % 4096).collect();
        let top: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        assert!(low.len() > 2300 && top.len() > 120, "{} and {}", low.len(), top.len());
    }
}
