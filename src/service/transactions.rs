//! The recipients of mail transactions in progress, by Postfix's `instance`.
//!
//! At END-OF-MESSAGE Postfix names no recipient when there are several, so those that were let pass
//! at RCPT are remembered. Not every connection can be trusted to see both: Postfix opens one for each
//! distinct service entry, so the table is shared. It is bounded: the oldest transactions are forgotten.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::account::Account;

/// Transactions remembered in each half of a shard. An smtpd process has one at a time, so all shards together
/// serve more than thirty thousand processes; more room would cost every request a walk through cold memory.
const HALF: usize = 1024;
const SHARDS: usize = 32;

/// Accounts remembered of one message, as many as Postfix takes recipients (`smtpd_recipient_limit`). One with
/// more is never refused at its end for the sake of those.
const MOST: usize = 1000;

/// Who was let pass so far.
#[derive(Default)]
pub struct Transaction {
    pub accounts: SmallVec<[Arc<Account>; 2]>,
    /// Addresses let pass, those that are no account here included.
    pub addresses: u64,
    /// Some of them lead elsewhere: the message may not be refused for the sake of those here.
    pub others: bool,
    /// The addresses themselves, where queue quotas want them.
    pub recipients: Names,
}

/// Addresses in lower case, one behind the other. A first one of ordinary length needs no memory of its own.
#[derive(Default)]
pub struct Names {
    text: SmallVec<[u8; 64]>,
    count: usize,
}

/// Behind every address, in which it has no business.
const END: u8 = 0;

impl Names {
    pub fn add(&mut self, address: &str) {
        self.text.extend(address.bytes().filter(|byte| *byte != END).map(|byte| byte.to_ascii_lowercase()));
        self.text.push(END);
        self.count += 1;
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        // What was a text is one still: only ASCII letters have changed.
        std::str::from_utf8(&self.text).unwrap_or_default().split_terminator(char::from(END))
    }
}

/// Two generations: when the younger is full it becomes the older and what was older is dropped,
/// which forgets the oldest in bulk and never allocates once both tables are grown.
#[derive(Default)]
struct Shard {
    younger: HashMap<u64, Transaction, foldhash::fast::FixedState>,
    older: HashMap<u64, Transaction, foldhash::fast::FixedState>,
}

pub struct Transactions {
    shards: Box<[Mutex<Shard>]>,
    seed: foldhash::quality::RandomState,
}

impl Default for Transactions {
    fn default() -> Transactions {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Transactions { shards, seed: foldhash::quality::RandomState::default() }
    }
}

impl Transactions {
    /// `instance` is unique on one host only, so what tells the hosts apart goes into the key.
    pub fn key(&self, host: impl Hash, instance: &str) -> Option<u64> {
        (!instance.is_empty()).then(|| self.seed.hash_one((host, instance)))
    }

    fn shard(&self, key: u64) -> &Mutex<Shard> {
        &self.shards[key as usize % SHARDS]
    }

    /// Adds an address that was let pass and the accounts that it leads to.
    /// Its recipient is kept where `recipient` gives it.
    pub fn add(&self, key: u64, accounts: &[Arc<Account>], others: bool, recipient: Option<&str>) {
        let mut shard = self.shard(key).lock();
        let Shard { younger, older } = &mut *shard;
        if !younger.contains_key(&key) {
            // Before it might be dropped with the rest.
            let known = older.remove(&key).unwrap_or_default();
            if younger.len() >= HALF {
                std::mem::swap(younger, older);
                younger.clear();
            }
            younger.insert(key, known);
        }
        let transaction = younger.entry(key).or_default();
        transaction.addresses += 1;
        transaction.others |= others;
        if let Some(recipient) = recipient.filter(|_| transaction.recipients.count < MOST) {
            transaction.recipients.add(recipient);
        }
        for account in accounts {
            if transaction.accounts.len() >= MOST {
                transaction.others = true;
                break;
            }
            if !transaction.accounts.iter().any(|known| Arc::ptr_eq(known, account)) {
                transaction.accounts.push(account.clone());
            }
        }
    }

    /// Takes out a transaction that is now complete.
    pub fn take(&self, key: u64) -> Option<Transaction> {
        let mut shard = self.shard(key).lock();
        let found = shard.younger.remove(&key);
        found.or_else(|| shard.older.remove(&key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_in_lower_case_and_in_order() {
        let mut names = Names::default();
        assert_eq!(names.iter().count(), 0);
        for address in ["Anna@Example.ORG", "", "j\u{f6}rg@example.org", "evil\0x@example.org", &"x".repeat(300)] {
            names.add(address);
        }
        let expected = ["anna@example.org", "", "j\u{f6}rg@example.org", "evilx@example.org", &"x".repeat(300)];
        assert_eq!(names.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_oldest_are_forgotten_and_no_other() {
        for (others, addresses) in [(1, 2), (HALF - 1, 2), (HALF, 2), (2 * HALF - 1, 2), (2 * HALF, 1)] {
            let transactions = Transactions::default();
            transactions.add(0, &[], false, None);
            for other in 1..=others {
                transactions.add((other * SHARDS) as u64, &[], false, None);
            }
            transactions.add(0, &[], false, None);
            let found = transactions.take(0).map(|transaction| transaction.addresses);
            assert_eq!(found, Some(addresses), "{others} others");
        }
    }
}
