//! What every ledger engine does: the contract, the comparison of sled with the reference, the files.

mod contract;
mod export;
#[path = "../support/failing_ledger.rs"]
mod failing_ledger;
mod files;
mod model;

use mailquotad::ledger::{Batch, Ledger, Op, Outcome, Record, Shelf};
use mailquotad::quota::{CellKey, Cells, Delta, Level, Moment, Standing, Usage};

fn deltas(account: &str, folder: &str, bytes: i64, messages: i64, key: Option<u128>) -> Op {
    let deltas = vec![(CellKey::new(folder, None), Delta { bytes, messages })];
    Op::Deltas { account: account.into(), deltas, key }
}

fn measured(account: &str, based_on: u64, cells: Cells, at: u64) -> Op {
    Op::Measured { account: account.into(), based_on, cells, at: Moment(at) }
}

fn standing(account: &str, level: Level, since: u64) -> Op {
    let standings = vec![("default".into(), Standing { level, since: Some(Moment(since)) })];
    Op::Standings { account: account.into(), standings }
}

fn forget(account: &str) -> Op {
    Op::Forget { account: account.into() }
}

fn put(shelf: Shelf, key: &[u8], value: &[u8]) -> Op {
    Op::Put { shelf, key: key.into(), value: value.into() }
}

fn remove(shelf: Shelf, key: &[u8]) -> Op {
    Op::Remove { shelf, key: key.into() }
}

/// `count` cells of names so long that a few of them do not fit in one row.
fn cells(count: u64) -> Cells {
    let cell = |n| (CellKey::new(&format!("Archive/{n:0100}"), Some("voice")), Usage::new(n * 1000 + 1, n));
    (0..count).map(cell).collect()
}

fn submit(ledger: &dyn Ledger, batch: Batch) -> Outcome {
    ledger.submit(batch).wait().expect("the batch is durable")
}

fn record(ledger: &dyn Ledger, account: &str) -> Record {
    ledger.read(account).expect("readable").unwrap_or_else(|| panic!("no record of {account}"))
}

fn bytes(ledger: &dyn Ledger, account: &str) -> u64 {
    record(ledger, account).cells.total().bytes
}

/// Everything that readers can see.
#[derive(Debug, PartialEq)]
struct Contents {
    accounts: Vec<(String, Record)>,
    shelves: Vec<(Shelf, Vec<u8>, Vec<u8>)>,
}

fn contents(ledger: &dyn Ledger) -> Contents {
    let mut accounts = Vec::new();
    ledger.read_all(&mut |account, record| accounts.push((account.to_owned(), record))).expect("readable");
    accounts.sort_by(|a, b| a.0.cmp(&b.0));
    let mut shelves = Vec::new();
    for shelf in Shelf::ALL {
        ledger
            .shelf_all(shelf, &mut |key, value| shelves.push((shelf, key.to_vec(), value.to_vec())))
            .expect("readable");
    }
    Contents { accounts, shelves }
}
