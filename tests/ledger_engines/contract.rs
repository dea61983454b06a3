//! The contract of the port, run on every engine.

use mailquotad::ledger::{Ledger, LedgerError, MAX_NAME, MAX_OPS, MAX_VALUE, MemoryLedger, Op, Outcome};
use mailquotad::ledger::{Record, Shelf, SledLedger, SledOptions};
use mailquotad::quota::{Level, Moment, Usage};

use super::*;

const KEYS: usize = 8;

macro_rules! contract {
    ($($rule:ident)*) => {
        mod memory {
            $(#[test]
            fn $rule() {
                super::$rule(&super::MemoryLedger::with_keys_kept(super::KEYS));
            })*
        }

        mod sled {
            $(#[test]
            fn $rule() {
                let folder = tempfile::tempdir().unwrap();
                let options = super::SledOptions { keys_kept: super::KEYS, ..Default::default() };
                let ledger = super::SledLedger::open_with(&folder.path().join("ledger"), &options).unwrap();
                super::$rule(&ledger);
            })*
        }
    };
}

contract! {
    deltas_add_up
    a_key_is_applied_once
    one_key_may_stand_on_every_operation_of_a_batch
    the_oldest_keys_are_forgotten
    a_measurement_takes_the_place_of_all_cells
    a_measurement_based_on_an_older_revision_is_refused_whole
    a_batch_sees_its_own_operations
    a_duplicate_is_noticed_before_a_conflict
    standings_leave_the_revision
    revisions_do_not_come_back_after_an_account_was_forgotten
    a_restored_record_keeps_its_revision_unless_it_was_passed
    shelves_are_apart_and_in_order
    values_of_every_length_come_back
    records_of_many_folders_come_back
    reading_all_names_every_account_once_in_order
    what_is_past_the_limits_is_refused_whole
    an_empty_batch_is_applied
    batches_of_many_threads_are_all_applied
    work_is_counted
    a_closed_ledger_refuses
}

fn deltas_add_up(ledger: &dyn Ledger) {
    assert_eq!(ledger.read("ada").unwrap(), None);
    assert_eq!(submit(ledger, vec![deltas("ada", "INBOX", 100, 1, None)]), Outcome::Applied);
    assert_eq!(submit(ledger, vec![deltas("ada", "INBOX", -40, 0, None)]), Outcome::Applied);
    let record = record(ledger, "ada");
    assert_eq!((record.revision, record.cells.total()), (2, Usage::new(60, 1)));
    submit(ledger, vec![deltas("ada", "INBOX", -1000, -5, None)]);
    assert_eq!(bytes(ledger, "ada"), 0);
    assert_eq!(ledger.read("adam").unwrap(), None);
}

fn a_key_is_applied_once(ledger: &dyn Ledger) {
    assert_eq!(submit(ledger, vec![deltas("ada", "INBOX", 5, 1, Some(1))]), Outcome::Applied);
    let again = vec![put(Shelf::Jobs, b"x", b"y"), deltas("ada", "INBOX", 5, 1, Some(1))];
    assert_eq!(submit(ledger, again), Outcome::Duplicate);
    assert_eq!(bytes(ledger, "ada"), 5);
    assert_eq!(ledger.shelf_get(Shelf::Jobs, b"x").unwrap(), None);
    // Handed in together, they may lie in one write of the engine.
    let twice = [(); 2].map(|()| ledger.submit(vec![deltas("ada", "INBOX", 5, 1, Some(2))]));
    assert_eq!(twice.map(|receipt| receipt.wait().unwrap()), [Outcome::Applied, Outcome::Duplicate]);
    assert_eq!(bytes(ledger, "ada"), 10);
}

fn one_key_may_stand_on_every_operation_of_a_batch(ledger: &dyn Ledger) {
    let both = || vec![deltas("ada", "INBOX", 1, 1, Some(7)), deltas("bob", "INBOX", 2, 1, Some(7))];
    assert_eq!(submit(ledger, both()), Outcome::Applied);
    assert_eq!(submit(ledger, both()), Outcome::Duplicate);
    assert_eq!((bytes(ledger, "ada"), bytes(ledger, "bob")), (1, 2));
}

fn the_oldest_keys_are_forgotten(ledger: &dyn Ledger) {
    for key in 0..KEYS as u128 + 2 {
        assert_eq!(submit(ledger, vec![deltas("ada", "INBOX", 1, 0, Some(key))]), Outcome::Applied, "{key}");
    }
    let seen: Vec<bool> = (0..4).map(|key| ledger.seen(key).unwrap()).collect();
    assert_eq!(seen, [false, false, true, true]);
    assert_eq!(submit(ledger, vec![deltas("ada", "INBOX", 1, 0, Some(2))]), Outcome::Duplicate);
    assert_eq!(submit(ledger, vec![deltas("ada", "INBOX", 1, 0, Some(1))]), Outcome::Applied);
}

fn a_measurement_takes_the_place_of_all_cells(ledger: &dyn Ledger) {
    submit(ledger, vec![deltas("ada", "Old", 100, 1, None)]);
    assert_eq!(submit(ledger, vec![measured("ada", 1, cells(2), 99)]), Outcome::Applied);
    let expected = Record { revision: 2, cells: cells(2), measured: Some(Moment(99)), standings: Vec::new() };
    assert_eq!(record(ledger, "ada"), expected);
    assert_eq!(submit(ledger, vec![measured("new", 0, cells(1), 99)]), Outcome::Applied);
    assert_eq!(record(ledger, "new").revision, 1);
}

fn a_measurement_based_on_an_older_revision_is_refused_whole(ledger: &dyn Ledger) {
    submit(ledger, vec![deltas("ada", "INBOX", 1, 1, None)]);
    let before = contents(ledger);
    let batch = vec![
        deltas("bob", "INBOX", 1, 1, Some(4)),
        put(Shelf::Outbox, b"wish", b"overquota"),
        measured("ada", 0, cells(1), 9),
        forget("ada"),
    ];
    assert_eq!(submit(ledger, batch), Outcome::Conflict { present: 1 });
    assert_eq!(contents(ledger), before);
    assert_eq!(submit(ledger, vec![measured("nobody", 3, cells(1), 9)]), Outcome::Conflict { present: 0 });
    // The key of the refused batch was not used up.
    assert_eq!(submit(ledger, vec![deltas("bob", "INBOX", 1, 1, Some(4))]), Outcome::Applied);
}

fn a_batch_sees_its_own_operations(ledger: &dyn Ledger) {
    let raced = vec![deltas("ada", "INBOX", 1, 1, None), measured("ada", 0, cells(1), 9)];
    assert_eq!(submit(ledger, raced), Outcome::Conflict { present: 1 });
    let followed = vec![
        deltas("ada", "INBOX", 1, 1, None),
        measured("ada", 1, cells(1), 9),
        deltas("ada", "INBOX", 5, 1, None),
        put(Shelf::Jobs, b"k", b"1"),
        remove(Shelf::Jobs, b"k"),
        put(Shelf::Types, b"k", b"2"),
    ];
    assert_eq!(submit(ledger, followed), Outcome::Applied);
    assert_eq!((record(ledger, "ada").revision, bytes(ledger, "ada")), (3, 6));
    assert_eq!(ledger.shelf_get(Shelf::Jobs, b"k").unwrap(), None);
    let anew = vec![forget("ada"), measured("ada", 0, cells(2), 9)];
    assert_eq!(submit(ledger, anew), Outcome::Applied);
    assert_eq!(record(ledger, "ada").cells, cells(2));
    let after_restore = vec![
        Op::Restore { account: "ada".into(), record: Record { revision: 90, ..Record::default() } },
        measured("ada", 90, cells(1), 9),
    ];
    assert_eq!(submit(ledger, after_restore), Outcome::Applied);
}

fn a_duplicate_is_noticed_before_a_conflict(ledger: &dyn Ledger) {
    submit(ledger, vec![deltas("ada", "INBOX", 1, 1, Some(1))]);
    let both = vec![measured("ada", 77, cells(1), 9), deltas("ada", "INBOX", 1, 1, Some(1))];
    assert_eq!(submit(ledger, both), Outcome::Duplicate);
}

fn standings_leave_the_revision(ledger: &dyn Ledger) {
    submit(ledger, vec![deltas("ada", "INBOX", 1, 1, None), standing("ada", Level::Over, 12)]);
    let record = record(ledger, "ada");
    assert_eq!(record.revision, 1);
    assert_eq!((record.standings[0].1.level, record.standings[0].1.since), (Level::Over, Some(Moment(12))));
    submit(ledger, vec![Op::Standings { account: "ada".into(), standings: Vec::new() }]);
    assert_eq!(super::record(ledger, "ada").standings, []);
}

fn revisions_do_not_come_back_after_an_account_was_forgotten(ledger: &dyn Ledger) {
    for _ in 0..3 {
        submit(ledger, vec![deltas("ada", "INBOX", 1, 1, None)]);
    }
    submit(ledger, vec![forget("ada")]);
    assert_eq!(ledger.read("ada").unwrap(), None);
    submit(ledger, vec![deltas("ada", "INBOX", 1, 1, None)]);
    assert_eq!(record(ledger, "ada").revision, 4);
    assert_eq!(bytes(ledger, "ada"), 1);
    // A scan that began when the former account was at 1, 2 or 3.
    for old in 1..=3 {
        assert_eq!(submit(ledger, vec![measured("ada", old, cells(1), 9)]), Outcome::Conflict { present: 4 });
    }
}

fn a_restored_record_keeps_its_revision_unless_it_was_passed(ledger: &dyn Ledger) {
    let restore = |revision| {
        let record = Record { revision, cells: cells(3), measured: Some(Moment(5)), standings: Vec::new() };
        vec![Op::Restore { account: "ada".into(), record }]
    };
    submit(ledger, restore(40));
    assert_eq!((record(ledger, "ada").revision, record(ledger, "ada").cells), (40, cells(3)));
    submit(ledger, restore(7));
    assert_eq!(record(ledger, "ada").revision, 41);
}

fn shelves_are_apart_and_in_order(ledger: &dyn Ledger) {
    let keys: [&[u8]; 6] = [b"b", b"", b"ab", b"a\xff", b"\xff\xff", b"a"];
    let puts = |shelf| keys.iter().map(|key| put(shelf, key, &[&[shelf as u8], *key].concat())).collect();
    for shelf in Shelf::ALL {
        submit(ledger, puts(shelf));
    }
    submit(ledger, vec![remove(Shelf::Jobs, b"ab"), remove(Shelf::Jobs, b"never there")]);
    let mut sorted = keys;
    sorted.sort();
    for shelf in Shelf::ALL {
        let mut seen = Vec::new();
        ledger.shelf_all(shelf, &mut |key, value| seen.push((key.to_vec(), value.to_vec()))).unwrap();
        let left = sorted.iter().filter(|key| shelf != Shelf::Jobs || **key != b"ab");
        let expected: Vec<_> = left.map(|key| (key.to_vec(), [&[shelf as u8], *key].concat())).collect();
        assert_eq!(seen, expected, "{shelf:?}");
    }
}

fn values_of_every_length_come_back(ledger: &dyn Ledger) {
    for length in [0, 1, 4095, 4096, 4097, 8192, 100_000, MAX_VALUE, 5000, 12] {
        let value: Vec<u8> = (0..length).map(|at| (at % 253) as u8).collect();
        submit(ledger, vec![put(Shelf::Types, b"ada", &value), put(Shelf::Types, b"adam", b"other")]);
        assert!(ledger.shelf_get(Shelf::Types, b"ada").unwrap() == Some(value), "{length}");
        assert_eq!(ledger.shelf_get(Shelf::Types, b"adam").unwrap().as_deref(), Some(&b"other"[..]));
    }
    submit(ledger, vec![remove(Shelf::Types, b"ada")]);
    assert_eq!(contents(ledger).shelves.len(), 1);
}

fn records_of_many_folders_come_back(ledger: &dyn Ledger) {
    for (revision, count) in [500, 3, 2000, 0].into_iter().enumerate() {
        submit(ledger, vec![measured("ada", revision as u64, cells(count), 1)]);
        assert!(record(ledger, "ada").cells == cells(count), "{count}");
        assert_eq!(contents(ledger).accounts.len(), 1);
    }
}

fn reading_all_names_every_account_once_in_order(ledger: &dyn Ledger) {
    let mut names: Vec<String> = (0..1500).map(|n| format!("user{n}@example.org")).collect();
    names.extend(["user", "user1", "user1@", "USER1@example.org", "\u{fc}ser@example.org"].map(str::to_owned));
    for some in names.chunks(400) {
        submit(ledger, some.iter().map(|name| deltas(name, "INBOX", 1, 1, None)).collect());
    }
    let mut seen = Vec::new();
    // A reader may write: nothing is locked while it looks.
    ledger
        .read_all(&mut |account, _| {
            submit(ledger, vec![forget("nobody")]);
            seen.push(account.to_owned());
        })
        .unwrap();
    names.sort();
    assert_eq!(seen, names);
}

fn what_is_past_the_limits_is_refused_whole(ledger: &dyn Ledger) {
    let refused = |batch: Batch, said: &str| match ledger.submit(batch).wait() {
        Err(LedgerError::Write(why)) => assert!(why.contains(said), "{why}"),
        other => panic!("{other:?}"),
    };
    let one = deltas("ada", "INBOX", 1, 1, None);
    refused(vec![one.clone(); MAX_OPS + 1], "at most 1000");
    refused(vec![one.clone(), forget(&"x".repeat(MAX_NAME + 1))], "at most 400");
    refused(vec![one.clone(), put(Shelf::Jobs, &[b'x'; MAX_NAME + 1], b"")], "at most 400");
    refused(vec![one.clone(), put(Shelf::Jobs, b"big", &vec![0; MAX_VALUE + 1])], "at most 4194304");
    assert_eq!(contents(ledger), Contents { accounts: vec![], shelves: vec![] });
    assert_eq!(submit(ledger, vec![one; MAX_OPS]), Outcome::Applied);
    let longest = "ä".repeat(MAX_NAME / 2);
    assert_eq!(submit(ledger, vec![deltas(&longest, "INBOX", 1, 1, None)]), Outcome::Applied);
    assert_eq!((bytes(ledger, "ada"), bytes(ledger, &longest)), (MAX_OPS as u64, 1));
}

fn an_empty_batch_is_applied(ledger: &dyn Ledger) {
    assert_eq!(submit(ledger, Vec::new()), Outcome::Applied);
}

fn batches_of_many_threads_are_all_applied(ledger: &dyn Ledger) {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                let own = format!("user{thread}");
                let batch =
                    |_| ledger.submit(vec![deltas("all", "INBOX", 1, 1, None), deltas(&own, "INBOX", 1, 1, None)]);
                let receipts: Vec<_> = (0..100).map(batch).collect();
                assert!(receipts.into_iter().all(|receipt| receipt.wait().unwrap() == Outcome::Applied));
            });
        }
    });
    assert_eq!((bytes(ledger, "all"), record(ledger, "all").revision), (800, 800));
    assert!((0..8).all(|thread| bytes(ledger, &format!("user{thread}")) == 100));
}

fn work_is_counted(ledger: &dyn Ledger) {
    submit(ledger, vec![deltas("ada", "INBOX", 1, 1, None), forget("bob")]);
    submit(ledger, vec![deltas("ada", "INBOX", 1, 1, None)]);
    let health = ledger.health();
    assert_eq!((health.batches, health.operations, health.errors, health.trouble), (2, 3, 0, None));
}

fn a_closed_ledger_refuses(ledger: &dyn Ledger) {
    let last = ledger.submit(vec![deltas("ada", "INBOX", 1, 1, None)]);
    ledger.close().unwrap();
    assert_eq!(last.wait().unwrap(), Outcome::Applied);
    let late = ledger.submit(vec![deltas("ada", "INBOX", 1, 1, None)]).wait();
    assert!(matches!(late, Err(LedgerError::Write(_))), "{late:?}");
    ledger.close().unwrap();
}
