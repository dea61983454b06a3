//! Which folders there are, what counts in them, and what size it has.

mod maildir;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use maildir::{Spool, ann, folders, rows};
use mailquotad::mailstore::MailStore;
use mailquotad::mailstore::maildir::{Layout, SizeKind};
use proptest::prelude::*;

#[test]
fn sizes_come_from_the_name_else_from_the_file() {
    for (name, size, physical, virtual_size) in [
        ("cur/1700000000.M1P2.host,S=1000,W=1100:2,S", 7, 1000, 1100),
        ("new/1700000000.M1P2.host,S=1000,W=1100", 7, 1000, 1100),
        ("cur/1700000000.M1P2.host,S=1000:2,", 7, 1000, 1000),
        ("cur/1700000000.M1P2.host,W=1100:2,", 7, 7, 1100),
        ("new/1700000000.V801I2M3.host", 7, 7, 7),
        ("cur/1700000000.V801I2M3.host:2,FS", 7, 7, 7),
        ("cur/a,S=12x:2,", 7, 7, 7),
        ("cur/a,S=:2,", 7, 7, 7),
        ("cur/a,S=99999999999999999999999:2,", 7, 7, 7),
        ("cur/a:2,S=5", 7, 7, 7),
        ("cur/a,S=0", 7, 0, 0),
        ("cur/a", 0, 0, 0),
    ] {
        let mut spool = Spool::new();
        spool.put(name, size);
        assert_eq!(spool.folders(), rows([("INBOX", physical, 1)]), "{name}");
        spool.options.sizes = SizeKind::Virtual;
        assert_eq!(spool.folders(), rows([("INBOX", virtual_size, 1)]), "{name}");
    }
}

#[test]
fn folders_of_any_depth_and_spelling() {
    let spool = Spool::new();
    for (folder, size) in [
        (".Archive", 1),
        (".Archive.2025.Q1.January", 2),
        (".Entw&APw-rfe", 4),
        (".Gel\u{f6}scht", 8),
        (".R&D", 16),
        (".trash", 32),
        (".Trash", 64),
        (".INBOX.Sub", 128),
        (".a b", 256),
    ] {
        spool.folder(folder);
        spool.put(&format!("{folder}/cur/1"), size);
    }
    spool.put("new/1", 512);
    assert_eq!(
        spool.folders(),
        rows([
            ("Archive", 1, 1),
            ("Archive/2025/Q1/January", 2, 1),
            ("Entwürfe", 4, 1),
            ("Gelöscht", 8, 1),
            ("INBOX", 512, 1),
            ("INBOX/Sub", 128, 1),
            ("R&D", 16, 1),
            ("Trash", 64, 1),
            ("a b", 256, 1),
            ("trash", 32, 1),
        ])
    );
}

#[test]
fn a_name_that_is_no_text_still_counts() {
    let spool = Spool::new();
    for (name, size) in [(&b".caf\xe9"[..], 1), (b".caf\xe8", 2), (b".a\nb", 4)] {
        let folder = spool.root().join(OsStr::from_bytes(name)).join("cur");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("1"), vec![0; size]).unwrap();
    }
    assert_eq!(spool.folders(), rows([("a\u{fffd}0Ab", 4, 1), ("caf\u{fffd}E8", 2, 1), ("caf\u{fffd}E9", 1, 1)]));
}

#[test]
fn foreign_and_hidden_files_do_not_count() {
    let spool = Spool::new();
    spool.put("cur/1", 10);
    spool.folder(".Sent");
    for path in [
        "tmp/1",
        "cur/.hidden",
        "new/.nfs0000",
        "dovecot.index.log",
        "dovecot-uidlist",
        "maildirsize",
        "subscriptions",
        ".Sent/dovecot.index.cache",
        ".Sent/maildirfolder",
        ".Sent/tmp/1",
        ".notafolder",
    ] {
        spool.put(path, 100);
    }
    // Neither directories in the place of messages nor directories that are no folders.
    fs::create_dir_all(spool.root().join("cur/directory,S=5")).unwrap();
    fs::create_dir_all(spool.root().join(".sieve/scripts")).unwrap();
    spool.put(".sieve/scripts/1", 100);
    fs::create_dir_all(spool.root().join("visible/cur")).unwrap();
    spool.put("visible/cur/1", 100);
    std::os::unix::net::UnixListener::bind(spool.root().join("new/socket,S=5")).unwrap();
    assert_eq!(spool.folders(), rows([("INBOX", 10, 1)]));
}

#[test]
fn a_folder_that_is_being_made_has_no_new_yet() {
    let spool = Spool::new();
    fs::create_dir_all(spool.root().join(".A/cur")).unwrap();
    spool.put(".A/cur/1", 3);
    fs::create_dir_all(spool.root().join(".B/new")).unwrap();
    spool.put(".B/new/1", 4);
    assert_eq!(spool.folders(), rows([("A", 3, 1), ("B", 4, 1)]));
}

#[test]
fn the_fs_layout_nests_directories() {
    let mut spool = Spool::new();
    spool.options.layout = Layout::Fs;
    for folder in ["A", "A/B.C", "A/B.C/D", ".hidden", "only/children"] {
        spool.folder(folder);
        spool.put(&format!("{folder}/cur/1"), folder.len());
    }
    spool.put("new/1", 100);
    assert_eq!(
        spool.folders(),
        rows([
            (".hidden", 7, 1),
            ("A", 1, 1),
            ("A/B.C", 5, 1),
            ("A/B.C/D", 7, 1),
            ("INBOX", 100, 1),
            ("only/children", 13, 1),
        ])
    );
}

#[test]
fn a_linked_folder_counts_once_and_loops_end() {
    for layout in [Layout::MaildirPlusPlus, Layout::Fs] {
        let mut spool = Spool::new();
        spool.options.layout = layout;
        let outside = spool.path().join("shared");
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(outside.join(part)).unwrap();
        }
        fs::write(outside.join("cur/1"), [0; 40]).unwrap();
        spool.folder(".Real");
        spool.put(".Real/cur/1", 2);
        spool.put("cur/1", 1);
        // The link sorts before the directory that it leads to, which yet keeps its name.
        symlink(".Real", spool.root().join(".Alias")).unwrap();
        symlink(".", spool.root().join(".Loop")).unwrap();
        symlink("..", spool.root().join(".Real/up")).unwrap();
        symlink(&outside, spool.root().join(".Shared")).unwrap();
        symlink(&outside, spool.root().join(".Twice")).unwrap();
        let dot = if layout == Layout::Fs { "." } else { "" };
        let expected = [(format!("{dot}Real"), 2, 1), (format!("{dot}Shared"), 40, 1), ("INBOX".to_owned(), 1, 1)];
        let mut found = spool.folders();
        found.sort();
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(found, expected, "{layout:?}");
    }
}

#[test]
fn a_linked_message_has_the_size_of_the_file() {
    let spool = Spool::new();
    fs::write(spool.path().join("elsewhere"), [0; 30]).unwrap();
    symlink(spool.path().join("elsewhere"), spool.root().join("cur/1:2,")).unwrap();
    symlink(spool.path().join("nowhere"), spool.root().join("cur/2,S=9:2,")).unwrap();
    assert_eq!(spool.folders(), rows([("INBOX", 30, 1)]));
}

/// Delivery agents that link and unlink, rather than rename, show a message in both places for a moment. A
/// copy under the same name is another file and takes room of its own.
#[test]
fn a_message_on_its_way_counts_once_and_a_copy_counts() {
    let spool = Spool::new();
    spool.put("new/1", 10);
    fs::hard_link(spool.root().join("new/1"), spool.root().join("cur/1:2,S")).unwrap();
    assert_eq!(spool.folders(), rows([("INBOX", 10, 1)]));
    spool.put("new/2", 100);
    spool.put("cur/2:2,S", 100);
    assert_eq!(spool.folders(), rows([("INBOX", 210, 3)]));
}

#[test]
fn one_folder_is_measured_without_the_others() {
    let spool = Spool::new();
    for (folder, size) in [(".A", 1), (".A.B", 2), (".C", 4)] {
        spool.folder(folder);
        spool.put(&format!("{folder}/cur/1"), size);
    }
    spool.put("cur/1", 8);
    let store = spool.store();
    let one = |folder: &str| folders(&store.measure_folder(&ann(), folder, &[]).unwrap());
    assert_eq!(one("A"), rows([("A", 1, 1)]));
    assert_eq!(one("A/B"), rows([("A/B", 2, 1)]));
    assert_eq!(one("inbox"), rows([("INBOX", 8, 1)]));
    assert_eq!(one("nowhere"), rows([]));
}

#[test]
fn thousands_of_messages_need_many_reads_of_one_directory() {
    let spool = Spool::new();
    for n in 0..5000u64 {
        spool.put(&format!("cur/1700000000.M{n}P1234.a-rather-long-host-name.example.org,S={n}:2,"), 0);
    }
    assert_eq!(spool.folders(), rows([("INBOX", 5000 * 4999 / 2, 5000)]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_sum_is_what_was_written(
        messages in proptest::collection::vec((0usize..4, any::<bool>(), any::<bool>(), 0usize..3000), 0..60)
    ) {
        let spool = Spool::new();
        let names = ["", ".A", ".A.B", ".Entw&APw-rfe"];
        names.iter().for_each(|name| drop(spool.folder(name)));
        let mut bytes = 0;
        for (n, (folder, seen, named, size)) in messages.iter().enumerate() {
            let told = if *named { format!(",S={size}") } else { String::new() };
            let part = if *seen { "cur" } else { "new" };
            let flags = if *seen { ":2,S" } else { "" };
            spool.put(&format!("{}/{part}/{n}.host{told}{flags}", names[*folder]), *size);
            bytes += *size as u64;
        }
        let found = spool.measure();
        prop_assert_eq!(found.problems.len(), 0);
        prop_assert_eq!(found.cells.total().bytes, bytes);
        prop_assert_eq!(found.cells.total().messages, messages.len() as u64);
        prop_assert_eq!(found.files, messages.len() as u64);
    }
}
