//! The disk is full, for a while. A limit on the size of files stands in for it: the engine's writes fail half
//! way just as they do on a full disk, with another number for the reason.

use std::path::Path;

use mailquotad::ledger::{Batch, Ledger, LedgerError, Op, Outcome, Shelf, SledLedger};
use mailquotad::quota::{CellKey, Delta};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::wait::until;
use super::writer::{Writer, child};

#[test]
fn a_full_disk_loses_nothing_and_heals() {
    if let Some((ledger, notes)) = child() {
        return fill_the_disk(&ledger, &notes);
    }
    let folder = tempfile::tempdir().unwrap();
    // In units of 512 bytes. The signal that comes with the limit is ignored, as the error is enough.
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -S -f 6000; exec \"$0\" \"$@\""];
    let child = "full::a_full_disk_loses_nothing_and_heals";
    let mut child = Writer::command(&limited, child, &folder.path().join("ledger"), folder.path());
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(folder.path().join("healed").exists(), "the child came to its end");
}

const ACCOUNT: &str = "ada@example.org";

fn batch(number: u64) -> Batch {
    let deltas = vec![(CellKey::new("INBOX", None), Delta { bytes: 1, messages: 1 })];
    let value = vec![(number % 251) as u8; 3000];
    let key = (number % 300).to_be_bytes();
    vec![
        Op::Deltas { account: ACCOUNT.into(), deltas, key: Some(u128::from(number)) },
        Op::Put { shelf: Shelf::Types, key: key[..].into(), value },
    ]
}

/// What a reader must see when just the batches in `applied` were.
fn check(ledger: &SledLedger, applied: &[u64]) {
    let bytes = ledger.read(ACCOUNT).unwrap().map_or(0, |record| record.cells.total().bytes);
    assert_eq!(bytes, applied.len() as u64);
    for key in 0..300 {
        let last = applied.iter().rfind(|number| **number % 300 == key);
        let value = ledger.shelf_get(Shelf::Types, &key.to_be_bytes()).unwrap();
        assert!(value == last.map(|number| vec![(number % 251) as u8; 3000]), "{key}");
    }
}

fn fill_the_disk(path: &Path, notes: &Path) {
    let ledger = SledLedger::open(path).unwrap();
    let mut applied = Vec::new();
    let failed = loop {
        let number = applied.len() as u64;
        match ledger.submit(batch(number)).wait() {
            Ok(outcome) => assert_eq!(outcome, Outcome::Applied),
            Err(LedgerError::Write(_)) => break number,
            Err(other) => panic!("{other}"),
        }
        applied.push(number);
        assert!(number < 100_000, "the disk does not fill");
    };
    check(&ledger, &applied);
    assert!(ledger.health().trouble.is_some(), "whoever asks is told");
    let again = ledger.submit(batch(failed)).wait();
    assert!(matches!(again, Err(LedgerError::Write(_))), "{again:?}");
    check(&ledger, &applied);

    let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: maximum, maximum }).unwrap();
    // Tried again once in a while: until then the answer stays the same.
    let mut answer = ledger.submit(batch(failed + 1)).wait();
    until("the ledger writes again", || {
        if answer.is_err() {
            answer = ledger.submit(batch(failed + 1)).wait();
        }
        answer.is_ok()
    });
    assert_eq!(answer.unwrap(), Outcome::Applied);
    applied.push(failed + 1);
    check(&ledger, &applied);
    assert_eq!(ledger.health().trouble, None);
    // Its key was taken back with the batch that failed.
    assert_eq!(ledger.submit(batch(failed)).wait().unwrap(), Outcome::Applied);
    applied.push(failed);
    ledger.close().unwrap();
    drop(ledger);
    check(&SledLedger::open(path).unwrap(), &applied);
    std::fs::write(notes.join("healed"), "").unwrap();
}
