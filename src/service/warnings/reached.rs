//! Which thresholds an account has reached, kept over a restart: what has moved while the daemon was down, usage or limit,
//! shows in the difference. Only accounts at a threshold are kept, so these are few.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use parking_lot::RwLock;

use super::Rule;
use crate::ledger::{Batch, Ledger, LedgerError, Op, Shelf};
use crate::quota::warning::Measured;
use crate::service::stored;

/// The first byte of the keys, which share a shelf with the notices: of an account's thresholds, and of the list of those
/// that there were.
const ACCOUNT: u8 = b'r';
const RULES: &[u8] = b"R";

/// Rules are named by their thresholds as they stand in the configuration.
#[derive(Default)]
pub struct Reached {
    accounts: RwLock<HashMap<Box<str>, Vec<Box<str>>, foldhash::fast::FixedState>>,
    known: RwLock<HashSet<Box<str>>>,
}

impl Reached {
    pub fn load(ledger: &dyn Ledger) -> Result<Reached, LedgerError> {
        let reached = Reached::default();
        ledger.shelf_all(Shelf::Notices, &mut |key, value| match key.split_first() {
            Some((&ACCOUNT, address)) => {
                if let (Ok(address), Some(rules)) = (str::from_utf8(address), stored::read(value)) {
                    reached.accounts.write().insert(address.into(), rules);
                }
            }
            _ if key == RULES => {
                let rules: Vec<Box<str>> = stored::read(value).unwrap_or_default();
                reached.known.write().extend(rules);
            }
            _ => {}
        })?;
        Ok(reached)
    }

    pub fn is_empty(&self) -> bool {
        self.accounts.read().is_empty() && self.known.read().is_empty()
    }

    pub fn of(&self, address: &str) -> Vec<Box<str>> {
        self.accounts.read().get(address).cloned().unwrap_or_default()
    }

    /// Whether there was such a rule when all accounts were looked at last.
    pub fn knows(&self, when: &str) -> bool {
        self.known.read().contains(when)
    }

    /// Stores what an account has reached now, where that is something else than before.
    pub fn remember(&self, address: &str, rules: &[Arc<Rule>], now: Measured, batch: &mut Batch) {
        let mut reached: Vec<Box<str>> = Vec::new();
        for rule in rules.iter().filter(|rule| rule.warning.reached(now)) {
            if !reached.contains(&rule.when) {
                reached.push(rule.when.clone());
            }
        }
        let same = match self.accounts.read().get(address) {
            Some(before) => *before == reached,
            None => reached.is_empty(),
        };
        if same {
            return;
        }
        if reached.is_empty() {
            self.accounts.write().remove(address);
            batch.push(Op::Remove { shelf: Shelf::Notices, key: key(address) });
        } else {
            batch.push(Op::Put { shelf: Shelf::Notices, key: key(address), value: stored::write(&reached) });
            self.accounts.write().insert(address.into(), reached);
        }
    }

    pub fn forget(&self, address: &str, batch: &mut Batch) {
        self.accounts.write().remove(address);
        batch.push(Op::Remove { shelf: Shelf::Notices, key: key(address) });
    }

    /// Stores which rules there are, and forgets accounts that there are no more.
    pub fn know(&self, rules: &[Arc<Rule>], exists: impl Fn(&str) -> bool, batch: &mut Batch) {
        // The book is asked without our lock: whoever goes through it may be waiting for that.
        let kept: Vec<Box<str>> = self.accounts.read().keys().cloned().collect();
        for address in kept.into_iter().filter(|address| !exists(address)) {
            self.accounts.write().remove(&address);
            batch.push(Op::Remove { shelf: Shelf::Notices, key: key(&address) });
        }
        let present: HashSet<Box<str>> = rules.iter().map(|rule| rule.when.clone()).collect();
        let mut known = self.known.write();
        if *known == present {
            return;
        }
        let list: Vec<&Box<str>> = rules.iter().map(|rule| &rule.when).collect();
        batch.push(match rules.is_empty() {
            true => Op::Remove { shelf: Shelf::Notices, key: RULES.into() },
            false => Op::Put { shelf: Shelf::Notices, key: RULES.into(), value: stored::write(&list) },
        });
        *known = present;
    }
}

fn key(address: &str) -> Box<[u8]> {
    [&[ACCOUNT], address.as_bytes()].concat().into()
}
