//! Types of messages: read once, kept, and counted into the right bucket.

mod maildir;

use std::fs;

use maildir::{Spool, ann};
use mailquotad::mailstore::MailStore;
use mailquotad::mailstore::maildir::MaildirStore;
use mailquotad::quota::bucket::Zero;
use mailquotad::quota::spec::Measure;
use mailquotad::quota::{CellKey, Limits, Spec, Units, Usage};
use mailquotad::wire::content_type::TypeTable;

const VOICE: &str = "Subject: ring\nContent-Type: multipart/voice-message; version=2.0;\n boundary=x\n\nbody\n";
const AUDIO: &str = "content-type: AUDIO/wav\r\n\r\nbody\r\n";
const TEXT: &str = "Subject: hello\n\nContent-Type: audio/wav\n";

fn table(patterns: &[&str]) -> TypeTable {
    TypeTable::new([("voice", patterns)]).unwrap()
}

fn spool() -> Spool {
    let mut spool = Spool::new();
    spool.options.types = table(&["multipart/voice-message", "audio/*"]);
    spool.folder(".Archive.2025");
    spool
}

fn write(spool: &Spool, path: &str, text: &str) {
    fs::write(spool.root().join(path), text).unwrap();
}

/// Bytes and messages of type voice, and of none, over all folders.
fn split(store: &MaildirStore, memory: &mut Vec<u8>) -> (Usage, Usage) {
    let found = store.measure(&ann(), memory).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    *memory = found.memory;
    let of = |kind: Option<&str>| {
        found.cells.iter().filter(|(key, _)| key.kind.as_deref() == kind).map(|(_, usage)| usage).sum::<Usage>()
    };
    (of(Some("voice")), of(None))
}

#[test]
fn a_voice_message_in_an_archive_counts_to_its_type() {
    let spool = spool();
    write(&spool, ".Archive.2025/cur/1,S=100:2,S", VOICE);
    write(&spool, ".Archive.2025/cur/2,S=200:2,S", TEXT);
    write(&spool, "new/3,S=400", AUDIO);
    write(&spool, "cur/4,S=800:2,", TEXT);
    let cells = spool.measure().cells;
    assert_eq!(cells.get(&CellKey::new("Archive/2025", Some("voice"))), Usage::new(100, 1));
    let quota = Spec::parse("2G;#voice%20M;Archive%100M", Measure::Bytes(Units::default())).unwrap();
    let limits = Limits::new(&quota, &Spec::parse("-1", Measure::Messages).unwrap(), &Limits::default(), Zero::NoMail);
    let sums = limits.sums(&cells);
    let sum = |folder, kind| sums[limits.bucket_of(folder, kind)];
    assert_eq!(sum("INBOX", Some("voice")), Usage::new(500, 2));
    assert_eq!(sum("Archive/2025", None), Usage::new(200, 1));
    assert_eq!(sum("INBOX", None), Usage::new(800, 1));
}

#[test]
fn a_message_is_read_once_whatever_becomes_of_it() {
    let spool = spool();
    let store = spool.store();
    write(&spool, "new/1,S=100", VOICE);
    write(&spool, "new/2,S=200", TEXT);
    let mut memory = Vec::new();
    let before = (Usage::new(100, 1), Usage::new(200, 1));
    assert_eq!(split(&store, &mut memory), before);
    // Were it read again, the types would change places.
    write(&spool, "new/1,S=100", TEXT);
    write(&spool, "new/2,S=200", VOICE);
    assert_eq!(split(&store, &mut memory), before);
    let root = spool.root();
    for (from, to) in [
        ("new/1,S=100", "cur/1,S=100:2,"),
        ("cur/1,S=100:2,", "cur/1,S=100:2,FS"),
        ("cur/1,S=100:2,FS", ".Archive.2025/cur/1,S=100:2,FS"),
        ("new/2,S=200", "cur/2,S=200:2,S"),
    ] {
        fs::rename(root.join(from), root.join(to)).unwrap();
        assert_eq!(split(&store, &mut memory), before, "{to}");
    }
    // Without the memory they are read.
    assert_eq!(split(&store, &mut Vec::new()), (Usage::new(200, 1), Usage::new(100, 1)));
}

#[test]
fn one_name_for_two_messages_is_no_confusion() {
    let spool = spool();
    write(&spool, "cur/1:2,", VOICE);
    write(&spool, ".Archive.2025/cur/1:2,", TEXT);
    let found = split(&spool.store(), &mut Vec::new());
    assert_eq!(found, (Usage::new(VOICE.len() as u64, 1), Usage::new(TEXT.len() as u64, 1)));
}

#[test]
fn expunged_messages_are_forgotten_and_others_are_not() {
    let spool = spool();
    let store = spool.store();
    for n in 0..50 {
        write(&spool, &format!("cur/{n},S=1:2,"), if n % 2 == 0 { VOICE } else { TEXT });
    }
    let mut memory = Vec::new();
    split(&store, &mut memory);
    let full = memory.len();
    (0..49).for_each(|n| fs::remove_file(spool.root().join(format!("cur/{n},S=1:2,"))).unwrap());
    assert_eq!(split(&store, &mut memory), (Usage::ZERO, Usage::new(1, 1)));
    assert!(memory.len() < full / 10, "{} of {full}", memory.len());
    // One folder's measurement must not forget the messages of the others.
    write(&spool, ".Archive.2025/cur/100,S=1:2,", VOICE);
    memory = store.measure_folder(&ann(), "Archive/2025", &memory).unwrap().memory;
    write(&spool, "cur/49,S=1:2,", VOICE);
    write(&spool, ".Archive.2025/cur/100,S=1:2,", TEXT);
    assert_eq!(split(&store, &mut memory), (Usage::new(1, 1), Usage::new(1, 1)));
}

#[test]
fn an_unreadable_folder_forgets_nothing() {
    let spool = spool();
    let store = spool.store();
    write(&spool, ".Archive.2025/cur/1,S=1:2,", VOICE);
    let mut memory = Vec::new();
    split(&store, &mut memory);
    let folder = spool.root().join(".Archive.2025");
    fs::rename(folder.join("cur"), folder.join("away")).unwrap();
    fs::write(folder.join("cur"), "").unwrap();
    let found = store.measure(&ann(), &memory).unwrap();
    assert_eq!(found.problems.len(), 1);
    fs::remove_file(folder.join("cur")).unwrap();
    fs::rename(folder.join("away"), folder.join("cur")).unwrap();
    write(&spool, ".Archive.2025/cur/1,S=1:2,", TEXT);
    memory = found.memory;
    assert_eq!(split(&store, &mut memory), (Usage::new(1, 1), Usage::ZERO));
}

#[test]
fn other_types_and_a_damaged_memory_mean_reading_again() {
    let mut spool = spool();
    write(&spool, "cur/1,S=1:2,", VOICE);
    let mut memory = Vec::new();
    split(&spool.store(), &mut memory);
    for damaged in [&memory[..5], &memory[..memory.len() - 3], &[0xff; 40][..], &[][..]] {
        assert_eq!(split(&spool.store(), &mut damaged.to_vec()), (Usage::new(1, 1), Usage::ZERO));
    }
    spool.options.types = table(&["audio/*"]);
    assert_eq!(split(&spool.store(), &mut memory.clone()), (Usage::ZERO, Usage::new(1, 1)));
    spool.options.types = TypeTable::default();
    assert_eq!(split(&spool.store(), &mut memory), (Usage::ZERO, Usage::new(1, 1)));
    assert_eq!(memory, Vec::<u8>::new());
}

#[test]
fn a_head_of_many_reads_is_read_to_its_end() {
    let spool = spool();
    let received = "Received: from a.example by b.example; Mon, 1 Jan 2024 00:00:00 +0000\n".repeat(1000);
    write(&spool, "cur/1,S=1:2,", &format!("{received}{VOICE}"));
    assert_eq!(split(&spool.store(), &mut Vec::new()), (Usage::new(1, 1), Usage::ZERO));
}

/// The memory of a process is a regular file that opens and cannot be read from its start.
#[test]
fn without_types_no_message_is_read_and_with_them_one_that_cannot_be_is_a_problem() {
    let mut spool = spool();
    std::os::unix::fs::symlink("/proc/self/mem", spool.root().join("cur/1,S=5:2,")).unwrap();
    write(&spool, "cur/2,S=1:2,", VOICE);
    let found = spool.measure();
    assert_eq!(found.problems, ["INBOX: cur: Input/output error (os error 5)"]);
    assert_eq!(found.cells.get(&CellKey::new("INBOX", Some("voice"))), Usage::new(1, 1));
    spool.options.types = TypeTable::default();
    assert_eq!(split(&spool.store(), &mut Vec::new()), (Usage::ZERO, Usage::new(6, 2)));
}
