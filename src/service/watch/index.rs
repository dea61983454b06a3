//! Whose mailbox lies at a path.
//!
//! Where the path itself tells the address (`/var/mail/%d/%n`), that is one look into the book, and nothing is kept
//! however many accounts there are. Else the paths of all accounts are hashed: about 20 bytes an account, made when a
//! path is not found and an account has come or moved since it was made last. Each step up from a path is one
//! look-up; what is found is compared with the account's own path.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::{HashSet, HashTable};

use crate::mailstore::{Change, Paths};
use crate::service::account::Account;
use crate::service::book::Book;

/// Changes at paths of nobody's that wait for the index to be made anew.
const MISSED: usize = 4096;

/// The index is made at most once in this time, and takes a tenth of the time at most.
const LEAST: Duration = Duration::from_millis(200);
const SHARE: u32 = 10;

pub struct Index {
    paths: Arc<dyn Paths>,
    book: Arc<Book>,
    roots: HashTable<(u64, Arc<Account>)>,
    /// Hashes of the directories above mailboxes.
    above: HashSet<u64>,
    version: u64,
    next: Instant,
    missed: Vec<Change>,
    lost: bool,
}

fn hash(path: &[u8]) -> u64 {
    foldhash::fast::FixedState::with_seed(1).hash_one(path)
}

/// A path and those above it, longest first, without `/` itself.
fn upwards(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let above = |path: &&[u8]| path.iter().rposition(|byte| *byte == b'/').filter(|at| *at > 0);
    std::iter::successors((!path.is_empty()).then_some(path), move |path| above(path).map(|at| &path[..at]))
}

impl Index {
    pub fn new(paths: Arc<dyn Paths>, book: Arc<Book>) -> Index {
        Index {
            paths,
            book,
            roots: HashTable::new(),
            above: HashSet::new(),
            version: u64::MAX,
            next: Instant::now(),
            missed: Vec::new(),
            lost: false,
        }
    }

    /// The account whose mailbox lies at `path` or above it, and the mailbox's own path.
    pub fn find(&self, path: &[u8]) -> Option<(Arc<Account>, String)> {
        let told = self.paths.tells_addresses();
        let levels = self.paths.levels();
        upwards(path).find_map(|root| {
            if levels.is_some_and(|levels| depth(root) != levels) {
                return None;
            }
            let text = std::str::from_utf8(root).ok()?;
            let account = match told {
                true => self.book.account(&self.paths.address(text)?)?,
                false => self.look_up(text)?,
            };
            Some((account, text.to_owned()))
        })
    }

    fn look_up(&self, root: &str) -> Option<Arc<Account>> {
        let hash = hash(root.as_bytes());
        let is_there = |account: &Account| {
            !account.lock().gone
                && self.paths.root(&account.mailbox()).is_ok_and(|known| known.trim_end_matches('/') == root)
        };
        self.roots
            .find(hash, |(known, account)| *known == hash && is_there(account))
            .map(|(_, account)| account.clone())
    }

    /// Whether mailboxes may lie below `path`.
    pub fn is_above(&self, path: &[u8]) -> bool {
        match self.paths.levels() {
            Some(levels) => depth(path) < levels,
            None => self.above.contains(&hash(path)),
        }
    }

    /// Keeps a change at a path of nobody's, in case that its account is new.
    pub fn missed(&mut self, change: Change) {
        if self.paths.tells_addresses() || self.version == self.book.version() {
            return;
        }
        match self.missed.len() < MISSED {
            true if self.missed.last() == Some(&change) => {}
            true => self.missed.push(change),
            false => self.lost = true,
        }
    }

    /// Whether a change was dropped that may have been somebody's. Asking forgets it.
    pub fn lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Makes the index anew, if that may help; returns what should be looked for again.
    pub fn refresh(&mut self) -> Vec<Change> {
        let version = self.book.version();
        if self.missed.is_empty() || version == self.version || Instant::now() < self.next {
            return Vec::new();
        }
        let begun = Instant::now();
        let mut accounts = Vec::with_capacity(self.book.accounts());
        self.book.for_each_account(|account| accounts.push(account.clone()));
        self.roots.clear();
        self.above.clear();
        for account in accounts {
            let Ok(root) = self.paths.root(&account.mailbox()) else { continue };
            let root = root.trim_end_matches('/').as_bytes();
            self.above.extend(upwards(root).skip(1).map(hash));
            let hash = hash(root);
            self.roots.insert_unique(hash, (hash, account), |(hash, _)| *hash);
        }
        self.version = version;
        self.next = Instant::now() + (begun.elapsed() * SHARE).max(LEAST);
        std::mem::take(&mut self.missed)
    }
}

fn depth(path: &[u8]) -> usize {
    path.iter().filter(|byte| **byte == b'/').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upwards_ends_below_the_root() {
        let all: Vec<&[u8]> = upwards(b"/a/bc/d").collect();
        assert_eq!(all, [&b"/a/bc/d"[..], b"/a/bc", b"/a"]);
        assert_eq!(upwards(b"").count(), 0);
    }
}
