//! Random operations on sled and on the reference, side by side, with the ledger closed and opened again in
//! between: the same answers and the same contents.

use mailquotad::ledger::{Batch, Ledger, MemoryLedger, Op, Record, Shelf, SledLedger};
use mailquotad::quota::{Level, Moment};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Batches handed in at once, so that the engine may write them together.
    Burst(Vec<Batch>),
    Reopen,
}

fn account() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "aa", "b", "ü@example.org", ""]).prop_map(str::to_owned)
}

fn op() -> impl Strategy<Value = Op> {
    let folder = prop::sample::select(vec!["INBOX", "inbox", "Archive/2025"]);
    let shelf = prop::sample::select(Shelf::ALL.to_vec());
    let key = vec(prop::sample::select(vec![0u8, 7, 255]), 0..3);
    let number = prop_oneof![0u64..9, Just(u64::MAX)];
    prop_oneof![
        6 => (account(), folder, -50i64..100, -2i64..5, prop::option::weighted(0.4, 0u128..30))
            .prop_map(|(account, folder, bytes, messages, key)| deltas(&account, folder, bytes, messages, key)),
        3 => (account(), 0u64..6, 0u64..60, number.clone())
            .prop_map(|(account, based_on, count, at)| measured(&account, based_on, cells(count), at)),
        1 => (account(), number.clone()).prop_map(|(account, since)| standing(&account, Level::Warned, since)),
        1 => account().prop_map(|account| forget(&account)),
        1 => (account(), number, 0u64..3).prop_map(|(account, revision, count)| {
            let record = Record { revision, cells: cells(count), measured: Some(Moment(1)), standings: Vec::new() };
            Op::Restore { account: account.as_str().into(), record }
        }),
        3 => (shelf.clone(), key.clone(), prop_oneof![0usize..20, 4000usize..20_000])
            .prop_map(|(shelf, key, length)| put(shelf, &key, &vec![length as u8; length])),
        1 => (shelf, key).prop_map(|(shelf, key)| remove(shelf, &key)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(vec(op(), 0..6), 1..6).prop_map(Step::Burst),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn sled_does_what_the_reference_does(steps in vec(step(), 1..20)) {
        let folder = tempfile::tempdir().unwrap();
        let model = MemoryLedger::new();
        let mut ledger = SledLedger::open(folder.path()).unwrap();
        for step in steps {
            match step {
                Step::Burst(batches) => {
                    let receipts: Vec<_> = batches.iter().map(|batch| ledger.submit(batch.clone())).collect();
                    for (batch, receipt) in batches.into_iter().zip(receipts) {
                        prop_assert_eq!(receipt.wait().unwrap(), submit(&model, batch.clone()), "{:?}", batch);
                    }
                }
                Step::Reopen => {
                    ledger.close().unwrap();
                    drop(ledger);
                    ledger = SledLedger::open(folder.path()).unwrap();
                }
            }
            prop_assert_eq!(contents(&ledger), contents(&model));
        }
        // The engine never syncs the files that it puts long rows into: there must be none.
        prop_assert_eq!(std::fs::read_dir(folder.path().join("blobs")).unwrap().count(), 0);
    }
}
