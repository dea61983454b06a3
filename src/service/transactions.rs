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

/// Transactions remembered in each half of a shard. An smtpd process has one at a time, so all
/// shards together serve more than a hundred thousand processes.
const HALF: usize = 4096;
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
    /// The addresses themselves in lower case, where queue quotas want them.
    pub recipients: Vec<Box<str>>,
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
        if !shard.younger.contains_key(&key) {
            let known = shard.older.remove(&key).unwrap_or_default();
            if shard.younger.len() >= HALF {
                let shard = &mut *shard;
                std::mem::swap(&mut shard.younger, &mut shard.older);
                shard.younger.clear();
            }
            shard.younger.insert(key, known);
        }
        let transaction = shard.younger.entry(key).or_default();
        transaction.addresses += 1;
        transaction.others |= others;
        if let Some(recipient) = recipient.filter(|_| transaction.recipients.len() < MOST) {
            transaction.recipients.push(recipient.to_ascii_lowercase().into());
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
