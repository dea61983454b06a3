//! The folder of a sled ledger: who may open it, and what happens when it is not as it was left.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mailquotad::ledger::{LedgerError, SledLedger};

use super::*;

fn batches() -> Vec<Batch> {
    let mut batches: Vec<Batch> = (0..40)
        .map(|n| {
            let name = format!("user{n}@example.org");
            vec![deltas(&name, "INBOX", 1000 + n, n, Some(n as u128)), standing(&name, Level::Over, 1_700_000_000_000)]
        })
        .collect();
    batches.push(vec![measured("many@example.org", 0, cells(60), 1_700_000_000_000)]);
    batches.push(vec![put(Shelf::Domains, b"example.org", b"over"), put(Shelf::Types, b"long", &[9; 5000])]);
    batches.push(vec![forget("user7@example.org")]);
    batches
}

/// A ledger that was filled and closed, in a folder of its own.
fn closed() -> (tempfile::TempDir, PathBuf, Contents) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let ledger = SledLedger::open(&path).unwrap();
    batches().into_iter().for_each(|batch| assert_eq!(submit(&ledger, batch), Outcome::Applied));
    let contents = contents(&ledger);
    ledger.close().unwrap();
    (folder, path, contents)
}

fn refused(path: &Path) -> LedgerError {
    SledLedger::open(path).err().unwrap_or_else(|| panic!("{} was opened", path.display()))
}

#[test]
fn the_folder_is_created_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lib/mailquotad/ledger");
    SledLedger::open(&path).unwrap().close().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_to_string(path.join("format")).unwrap(), "mailquotad ledger, format 1\n");
}

#[test]
fn a_ledger_in_use_is_not_opened_twice() {
    let (_folder, path, contents_before) = closed();
    let first = SledLedger::open(&path).unwrap();
    let second = refused(&path);
    assert!(matches!(second, LedgerError::Locked { .. }), "{second:?}");
    assert!(second.to_string().contains("is mailquotad running?"), "{second}");
    drop(first);
    assert_eq!(contents(&SledLedger::open(&path).unwrap()), contents_before);
}

/// As a program does that a killed daemon had been about to run.
#[test]
fn a_lock_that_is_let_go_of_in_a_moment_is_waited_for() {
    let (_folder, path, expected) = closed();
    let lock = OpenOptions::new().write(true).open(path.join("lock")).unwrap();
    lock.lock().unwrap();
    let mut holder = Command::new("sleep").arg("0.2").stdin(lock).spawn().unwrap();
    assert_eq!(contents(&SledLedger::open(&path).unwrap()), expected);
    holder.wait().unwrap();
}

#[test]
fn it_opens_again_as_it_was_many_times_over() {
    let (_folder, path, expected) = closed();
    for _ in 0..10 {
        let ledger = SledLedger::open(&path).unwrap();
        assert_eq!(contents(&ledger), expected);
        assert_eq!(submit(&ledger, vec![deltas("user1@example.org", "INBOX", 1, 1, Some(1))]), Outcome::Duplicate);
    }
}

#[test]
fn damage_is_refused_with_advice_and_nothing_is_emptied() {
    let overwrite = |path: &Path, at: u64, with: &[u8]| {
        let mut file = OpenOptions::new().write(true).open(path).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(with).unwrap();
    };
    type Damage<'a> = (&'a str, Box<dyn Fn(&Path) + 'a>);
    let damages: [Damage; 5] = [
        ("no data", Box::new(|path| fs::remove_file(path.join("db")).unwrap())),
        ("empty data", Box::new(|path| fs::write(path.join("db"), "").unwrap())),
        ("data of zeroes", Box::new(|path| overwrite(&path.join("db"), 0, &[0; 4096]))),
        ("a garbled beginning", Box::new(|path| overwrite(&path.join("db"), 0, &[0x5a; 4096]))),
        ("a format file of another program", Box::new(|path| fs::write(path.join("format"), "hello").unwrap())),
    ];
    for (what, damage) in damages {
        let (_folder, path, _) = closed();
        damage(&path);
        let error = refused(&path);
        assert!(matches!(error, LedgerError::Damaged { .. }), "{what}: {error:?}");
        assert!(error.to_string().contains("restore the newest export"), "{what}: {error}");
        assert!(matches!(refused(&path), LedgerError::Damaged { .. }), "{what}: the second time too");
    }
}

/// The engine itself takes most of these for the end of its log and would go on without what follows.
#[test]
fn eight_wrong_bytes_anywhere_in_the_data_are_noticed() {
    let (_folder, path, _) = closed();
    let whole = fs::read(path.join("db")).unwrap();
    for part in 0..24 {
        let folder = tempfile::tempdir().unwrap();
        for name in ["conf", "format", "reached"] {
            fs::copy(path.join(name), folder.path().join(name)).unwrap();
        }
        let mut bytes = whole.clone();
        let at = whole.len() * part / 24;
        bytes[at..].iter_mut().take(8).for_each(|byte| *byte ^= 0x55);
        fs::write(folder.path().join("db"), bytes).unwrap();
        let error = refused(folder.path());
        assert!(matches!(error, LedgerError::Damaged { .. }), "at {at}: {error:?}");
    }
}

#[test]
fn a_folder_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = sled::open(folder.path()).unwrap();
    other.insert("theirs", "value").unwrap();
    other.flush().unwrap();
    drop(other);
    let error = refused(folder.path());
    assert!(error.to_string().contains("data of another program"), "{error}");
}

#[test]
fn a_later_format_is_refused_by_its_number() {
    let (_folder, path, _) = closed();
    fs::write(path.join("format"), "mailquotad ledger, format 9\n").unwrap();
    let error = refused(&path);
    assert!(matches!(error, LedgerError::TooNew { found: 9, known: 1, .. }), "{error:?}");
    assert!(error.to_string().contains("use the newer release"), "{error}");
}

#[test]
fn a_creation_that_was_cut_short_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    drop(sled::open(folder.path()).unwrap());
    let ledger = SledLedger::open(folder.path()).unwrap();
    assert_eq!(submit(&ledger, vec![deltas("ada", "INBOX", 1, 1, None)]), Outcome::Applied);
    ledger.close().unwrap();
    fs::remove_file(folder.path().join("format")).unwrap();
    assert_eq!(bytes(&SledLedger::open(folder.path()).unwrap(), "ada"), 1);
}

/// The ledger as release 0.1.0 wrote it must open for ever. When the format grows, a fixture is added.
#[test]
fn the_ledger_of_the_first_release_opens() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["conf", "db", "format", "reached"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ledger-0.1.0").join(name);
        fs::copy(from, folder.path().join(name)).unwrap();
    }
    let ledger = SledLedger::open(folder.path()).unwrap();
    let (_other, _, expected) = closed();
    assert_eq!(contents(&ledger), expected);
    assert_eq!(submit(&ledger, vec![deltas("new", "INBOX", 1, 1, Some(39))]), Outcome::Duplicate);
    assert_eq!(submit(&ledger, vec![deltas("user7@example.org", "INBOX", 1, 1, Some(99))]), Outcome::Applied);
    assert_eq!(record(&ledger, "user7@example.org").revision, 2, "the highest forgotten revision is known");
}

/// What this release writes must read in the next one as it does here. With `BLESS=1` the folder is left, to become that
/// fixture: move it to tests/fixtures.
#[test]
fn what_is_written_now_reads_the_same_elsewhere() {
    let (written, path, expected) = closed();
    let folder = tempfile::tempdir().unwrap();
    for name in ["conf", "db", "format", "reached"] {
        fs::copy(path.join(name), folder.path().join(name)).unwrap();
    }
    assert_eq!(contents(&SledLedger::open(folder.path()).unwrap()), expected);
    if std::env::var_os("BLESS").is_some() {
        println!("{}", path.display());
        std::mem::forget(written);
    }
}
