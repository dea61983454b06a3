//! Export and import.

use std::fs;
use std::path::Path;

use mailquotad::ledger::export::{ExportError, Extent, export, export_to, import, import_from};
use mailquotad::ledger::{LedgerError, MemoryLedger, SledLedger};

use super::failing_ledger::FailingLedger;
use super::*;

fn filled() -> MemoryLedger {
    let ledger = MemoryLedger::new();
    for n in 0..250 {
        let name = format!("user{n}@example.org");
        submit(&ledger, vec![deltas(&name, "INBOX", n * 10, 1, None), measured(&name, 1, cells(n as u64 % 60), 9)]);
    }
    submit(&ledger, vec![standing("user3@example.org", Level::Blocked, 77)]);
    submit(&ledger, vec![put(Shelf::Outbox, b"\0\xff", b"\n\""), put(Shelf::Types, b"x", &[7; 9000])]);
    ledger
}

#[test]
fn an_export_fills_an_empty_ledger_of_another_engine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.jsonl");
    let from = filled();
    let extent = Extent { accounts: 250, values: 2 };
    assert_eq!(export(&from, &path).unwrap(), extent);
    let to = SledLedger::open(&folder.path().join("ledger")).unwrap();
    assert_eq!(import(&to, &path).unwrap(), extent);
    assert_eq!(contents(&to), contents(&from));
    assert!(matches!(import(&to, &path), Err(ExportError::NotEmpty)));
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["export.jsonl", "ledger"], "nothing is left beside the export");
}

/// More than the queue of an engine takes at once: what a site with many folders keeps of its types.
#[test]
fn large_values_are_imported_as_fast_as_they_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.jsonl");
    let from = MemoryLedger::new();
    for n in 0..80_u8 {
        submit(&from, vec![put(Shelf::Types, &[n], &vec![n; 1 << 20])]);
    }
    export(&from, &path).unwrap();
    let to = SledLedger::open(&folder.path().join("ledger")).unwrap();
    assert_eq!(import(&to, &path).unwrap(), Extent { accounts: 0, values: 80 });
    assert!(contents(&to) == contents(&from), "every value is there as it was");
}

#[test]
fn an_export_goes_through_a_pipe() {
    let from = filled();
    let (read, write) = std::io::pipe().unwrap();
    let to = MemoryLedger::new();
    std::thread::scope(|scope| {
        let name = Path::new("a pipe");
        let written = scope.spawn(|| export_to(&from, write, name).unwrap());
        let pipe = fs::File::from(std::os::fd::OwnedFd::from(read));
        assert_eq!(import_from(&to, pipe, name).unwrap(), written.join().unwrap());
    });
    assert_eq!(contents(&to), contents(&from));
}

#[test]
fn nothing_is_imported_from_a_file_that_is_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.jsonl");
    export(&filled(), &path).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let without_one = [&lines[..7], &lines[8..]].concat().join("\n");
    for (text, said) in [
        (String::new(), "its end is missing"),
        (lines[..100].join("\n"), "its end is missing"),
        (whole[..whole.len() / 2].to_owned(), ":"),
        (without_one, "should hold 250 accounts"),
        (lines[1..].join("\n"), "not the beginning"),
        (format!("{whole}{whole}"), "more behind the end"),
        (whole.replacen("\"form\":1", "\"form\":2", 1), "form 2"),
        (whole.replacen("revision", "revisoin", 1), "jsonl:2: "),
        (whole.replacen("\"key\":\"AP8=\"", "\"key\":\"?\"", 1), "Invalid symbol"),
    ] {
        fs::write(&path, text).unwrap();
        let ledger = MemoryLedger::new();
        let refused = import(&ledger, &path).unwrap_err();
        assert!(matches!(refused, ExportError::Unusable { .. }), "{refused:?}");
        assert!(refused.to_string().contains(said), "{refused}");
        assert_eq!(contents(&ledger), Contents { accounts: vec![], shelves: vec![] });
    }
}

#[test]
fn a_failed_write_ends_the_import_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.jsonl");
    export(&filled(), &path).unwrap();
    let full = FailingLedger::new(MemoryLedger::new(), |batch| batch == 1);
    let failed = import(&full, &path).unwrap_err();
    assert!(matches!(&failed, ExportError::Ledger(LedgerError::Write(why)) if why.contains("no space")), "{failed:?}");
}

#[test]
fn a_failed_export_leaves_the_former_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.jsonl");
    fs::write(&path, "former").unwrap();
    fs::create_dir(folder.path().join("export.jsonl.new")).unwrap();
    let failed = export(&filled(), &path).unwrap_err();
    assert!(failed.to_string().contains("export.jsonl: "), "{failed}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "former");
}
