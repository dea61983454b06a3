//! What the child writes, and what a ledger must then hold.
//!
//! Thread `t` writes the batches (t, 0), (t, 1), … in order. Every batch leaves its number on a shelf, so the
//! numbers that a ledger has reached say exactly what all of it must be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mailquotad::ledger::{Batch, Ledger, Op, Outcome, Shelf};
use mailquotad::quota::{CellKey, Delta, Level, Moment, Standing, Usage};

pub const THREADS: u64 = 4;

fn deltas(account: String, bytes: u64, key: Option<u128>) -> Op {
    let delta = Delta { bytes: bytes.cast_signed(), messages: 1 };
    Op::Deltas { account: account.into(), deltas: vec![(CellKey::new("INBOX", None), delta)], key }
}

fn own(thread: u64, number: u64) -> String {
    format!("user{}@t{thread}.example.org", number % 50)
}

fn size(number: u64) -> u64 {
    number % 977 + 1
}

/// Now and then longer than a row, so that a value lies in several.
fn value(thread: u64, number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(16) { 9000 + number % 100 } else { number % 40 };
    vec![(number % 256) as u8 ^ thread as u8; length as usize]
}

pub fn batch(thread: u64, number: u64) -> Batch {
    let key = u128::from(thread) << 64 | u128::from(number);
    let standing = Standing { level: Level::Over, since: Some(Moment(number)) };
    vec![
        deltas(own(thread, number), size(number), Some(key)),
        deltas("all@example.org".into(), size(number), Some(key)),
        Op::Standings { account: own(thread, number).into(), standings: vec![("default".into(), standing)] },
        Op::Put { shelf: Shelf::Outbox, key: thread.to_be_bytes()[..].into(), value: value(thread, number) },
        Op::Put { shelf: Shelf::Jobs, key: thread.to_be_bytes()[..].into(), value: number.to_be_bytes().into() },
    ]
}

/// How many batches of a thread the ledger holds.
pub fn reached(ledger: &dyn Ledger, thread: u64) -> u64 {
    let last = ledger.shelf_get(Shelf::Jobs, &thread.to_be_bytes()).expect("readable");
    last.map_or(0, |last| u64::from_be_bytes(last.try_into().expect("a number")) + 1)
}

/// What a ledger must hold, brought forward as batches are found in it.
#[derive(Default)]
pub struct Expected {
    reached: BTreeMap<u64, u64>,
    accounts: BTreeMap<String, (u64, Usage, Option<u64>)>,
}

impl Expected {
    /// Compares all of `ledger` with what follows from the numbers that it has reached, which must not be
    /// lower than those acknowledged.
    pub fn check(&mut self, ledger: &dyn Ledger, acknowledged: &[u64]) {
        for thread in 0..THREADS {
            let reached = reached(ledger, thread);
            let acknowledged = acknowledged[thread as usize];
            assert!(reached >= acknowledged, "thread {thread}: {acknowledged} were acknowledged, {reached} are there");
            let before = self.reached.insert(thread, reached).unwrap_or(0);
            for number in before..reached {
                self.add(own(thread, number), number, Some(number));
                self.add("all@example.org".into(), number, None);
            }
            if reached > 0 {
                let stored = ledger.shelf_get(Shelf::Outbox, &thread.to_be_bytes()).expect("readable");
                assert!(
                    stored == Some(value(thread, reached - 1)),
                    "thread {thread}: the value of {reached} is another"
                );
            }
        }
        let mut found = BTreeMap::new();
        ledger
            .read_all(&mut |account, record| {
                let since = record.standings.first().and_then(|(_, standing)| standing.since);
                found.insert(account.to_owned(), (record.revision, record.cells.total(), since.map(|at| at.0)));
            })
            .expect("readable");
        assert!(found == self.accounts, "the accounts differ:\n{found:?}\n{:?}", self.accounts);
        for thread in 0..THREADS {
            if let Some(last) = reached(ledger, thread).checked_sub(1) {
                let again = ledger.submit(batch(thread, last)).wait();
                assert_eq!(again.ok(), Some(Outcome::Duplicate), "the key is there if its batch is");
            }
        }
    }

    fn add(&mut self, account: String, number: u64, since: Option<u64>) {
        let (revision, usage, standing) = self.accounts.entry(account).or_default();
        *revision += 1;
        *usage = *usage + Usage::new(size(number), 1);
        *standing = since.or(*standing);
    }
}

/// Where the child notes, outside of the ledger, how many batches of a thread were acknowledged.
pub fn notes(folder: &Path, thread: u64) -> PathBuf {
    folder.join(format!("acknowledged.{thread}"))
}

pub fn acknowledged(folder: &Path) -> Vec<u64> {
    let noted = |thread| {
        let notes = std::fs::read_to_string(notes(folder, thread)).unwrap_or_default();
        // A line whose end is missing was being written when the child ended.
        let last = notes.split_inclusive('\n').rfind(|line| line.ends_with('\n'));
        last.map_or(0, |line| line.trim_end().parse::<u64>().expect("a number") + 1)
    };
    (0..THREADS).map(noted).collect()
}

/// A number below `end` that is another in every run: crashes are to find moments that nobody thought of.
pub fn random(end: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(end) % end.max(1)
}
