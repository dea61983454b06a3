//! Durable updates a second: through the whole engine, and by a bare sled loop that syncs by the same rule and
//! in groups of the same size. The two take turns in one run, so that a busy machine slows both alike.
//!
//! `cargo bench --bench ledger`; `BENCH=quick` makes it short. The goal is at least 0.8 of the bare loop. Then the
//! engine takes updates for ten minutes, to see that neither its files nor its memory grow with what has passed.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use figures::{keep, median, quick};
use mailquotad::ledger::{Ledger, Op, Receipt, Record, SledLedger};
use mailquotad::quota::{CellKey, Delta, Usage};

#[path = "support/figures.rs"]
mod figures;

const ACCOUNTS: u64 = 100_000;

const ROUND: Duration = Duration::from_millis(1500);

/// Ten of them, with a look at disk and memory after each.
const STRETCH: Duration = Duration::from_secs(60);
const QUICK_STRETCH: Duration = Duration::from_millis(300);
const STRETCHES: usize = 10;

/// Submitting threads, and batches of one update that each has under way.
const LOADS: [(u64, usize); 5] = [(1, 1), (8, 1), (64, 1), (1, 100), (8, 100)];

fn account(number: u64) -> String {
    // Far apart in the tree, as accounts that get mail are.
    format!("user{:06}@example.org", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % ACCOUNTS)
}

fn update(number: u64) -> Op {
    let deltas = vec![(CellKey::new("INBOX", None), Delta { bytes: 4711, messages: 1 })];
    Op::Deltas { account: account(number).into(), deltas, key: None }
}

fn fill(ledger: &SledLedger) {
    let numbers: Vec<u64> = (0..ACCOUNTS).collect();
    for some in numbers.chunks(500) {
        let restore = |number: &u64| {
            let cells = [(CellKey::new("INBOX", None), Usage::new(1 << 20, 100))].into_iter().collect();
            let record = Record { revision: 1, cells, ..Record::default() };
            Op::Restore { account: format!("user{number:06}@example.org").into(), record }
        };
        ledger.submit(some.iter().map(restore).collect()).wait().expect("durable");
    }
}

fn through_the_engine(ledger: &SledLedger, threads: u64, under_way: usize, round: Duration) -> f64 {
    let done = AtomicU64::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let done = &done;
            scope.spawn(move || {
                let mut receipts: VecDeque<Receipt> = VecDeque::new();
                for number in (thread..).step_by(threads as usize) {
                    if began.elapsed() >= round {
                        break;
                    }
                    receipts.push_back(ledger.submit(vec![update(number)]));
                    if receipts.len() >= under_way {
                        settle(receipts.drain(..1), done);
                    }
                }
                settle(receipts.drain(..), done);
            });
        }
    });
    done.into_inner() as f64 / began.elapsed().as_secs_f64()
}

fn settle(receipts: impl Iterator<Item = Receipt>, done: &AtomicU64) {
    for receipt in receipts {
        receipt.wait().expect("durable");
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads, changes and writes as little as an update can: two numbers under the same name.
fn bare_loop(db: &sled::Db, data: &File, group: u64, round: Duration) -> f64 {
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < round {
        let mut batch = sled::Batch::default();
        for _ in 0..group {
            let name = account(number);
            let old = db.get(&name).expect("readable").unwrap_or_default();
            let mut value = [0; 32];
            value[..old.len()].copy_from_slice(&old);
            value[0] = value[0].wrapping_add(1);
            batch.insert(name.as_bytes(), &value);
            number += 1;
        }
        db.apply_batch(batch).expect("written");
        db.flush().expect("written");
        data.sync_data().expect("synced");
    }
    number as f64 / began.elapsed().as_secs_f64()
}

fn fill_bare(db: &sled::Db) {
    let numbers: Vec<u64> = (0..ACCOUNTS).collect();
    for some in numbers.chunks(500) {
        let mut batch = sled::Batch::default();
        some.iter().for_each(|number| batch.insert(format!("user{number:06}@example.org").as_bytes(), &[7; 32]));
        db.apply_batch(batch).expect("written");
    }
    db.flush().expect("written");
}

/// Updates without a pause.
fn last(engine: &SledLedger, folder: &Path, stretch: Duration) -> Vec<serde_json::Value> {
    println!("\n{STRETCHES} stretches of {} s  updates  disk, bytes an account  memory, MB", stretch.as_secs_f64());
    let one = |number| {
        let updates = through_the_engine(engine, 8, 100, stretch) * stretch.as_secs_f64();
        let (disk, memory) = (size(folder) / ACCOUNTS, resident_megabytes());
        println!("{number:8} {updates:25.0} {disk:24} {memory:11}");
        serde_json::json!({ "seconds": stretch.as_secs_f64(), "updates": updates, "disk_bytes_an_account": disk, "memory_mb": memory })
    };
    (1..=STRETCHES).map(one).collect()
}

/// Of this process.
fn resident_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") / 1024
}

/// Of what lies in a folder, in bytes.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |data| data.len())).sum()
}

fn main() -> anyhow::Result<()> {
    let (rounds, round) = match (cfg!(debug_assertions), quick()) {
        // `cargo test --benches`: shows that it works, no more.
        (true, _) => (1, Duration::from_millis(20)),
        (false, true) => (3, Duration::from_millis(500)),
        (false, false) => (9, ROUND),
    };
    let folder = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).expect("a folder on a disk");
    let engine = SledLedger::open(&folder.path().join("ledger")).expect("the ledger opens");
    fill(&engine);
    let bare = folder.path().join("bare");
    let db = sled::Config::new().path(&bare).cache_capacity(128 << 20).flush_every_ms(None).open().expect("sled");
    let data = File::open(bare.join("db")).expect("its file");
    fill_bare(&db);
    println!("threads  under way  engine/s  bare loop/s  ratio  (medians of {rounds}, {ACCOUNTS} accounts)");
    let mut kept = Vec::new();
    for (threads, under_way) in LOADS {
        let group = (threads * under_way as u64).min(500);
        let mut figures = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            figures.0.push(through_the_engine(&engine, threads, under_way, round));
            figures.1.push(bare_loop(&db, &data, group, round));
        }
        // Of each round, for the disk changes its mind from one to the next.
        let ratio = median(figures.0.iter().zip(&figures.1).map(|(ours, theirs)| ours / theirs).collect());
        let (ours, theirs) = (median(figures.0), median(figures.1));
        kept.push(serde_json::json!({
            "threads": threads, "under_way": under_way, "engine": ours, "bare_loop": theirs, "ratio": ratio
        }));
        println!("{threads:7} {under_way:10} {ours:9.0} {theirs:12.0} {ratio:6.2}");
    }
    drop(db);
    let lasting = last(&engine, &folder.path().join("ledger"), if round < ROUND { QUICK_STRETCH } else { STRETCH });
    keep("ledger", &serde_json::json!({ "loads": kept, "stretches": lasting }))
}
