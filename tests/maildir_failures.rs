//! What is wrong with a store must never read as "empty": the numbers of an unreadable mailbox are not
//! numbers.

mod maildir;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use maildir::{Spool, ann, folders, mailbox, rows};
use mailquotad::mailstore::maildir::{MaildirOptions, MaildirStore};
use mailquotad::mailstore::{MailStore, MailStoreError, MailboxRef};

#[test]
fn a_folder_that_cannot_be_read_is_a_problem_and_the_others_are_counted() {
    type Damage = fn(&Spool);
    let damages: [(&str, Damage, &str); 5] = [
        ("a file for a directory", |s| fs::write(s.root().join(".Bad/cur"), "").unwrap(), "Bad: cur: Not a directory"),
        ("a loop of links", |s| symlink("cur", s.root().join(".Bad/cur")).unwrap(), "Bad: cur: Too many levels"),
        ("a link to nowhere", |s| symlink("gone", s.root().join(".Bad/cur")).unwrap(), "Bad: cur: No such file"),
        ("a folder that is a loop", |s| symlink(".Loop", s.root().join(".Loop")).unwrap(), "Loop: Too many levels"),
        ("a folder linked to nowhere", |s| symlink("/gone", s.root().join(".Far")).unwrap(), "Far: a symbolic link"),
    ];
    for (what, damage, expected) in damages {
        let spool = Spool::new();
        spool.put("cur/1", 5);
        fs::create_dir_all(spool.root().join(".Bad/new")).unwrap();
        spool.put(".Bad/new/1", 7);
        damage(&spool);
        let found = spool.measure();
        assert_eq!(found.problems.len(), 1, "{what}: {:?}", found.problems);
        assert!(found.problems[0].starts_with(expected), "{what}: {:?}", found.problems);
        assert_eq!(found.cells.total().bytes, 12, "{what}");
    }
}

/// Permissions do not stop root, so a child that is somebody else measures.
#[test]
fn missing_permissions_are_a_problem() {
    const CHILD: &str = "MAILDIR_TEST_MEASURE_AS_NOBODY";
    if let Ok(path) = std::env::var(CHILD) {
        let uid = rustix::process::getuid();
        assert!(!uid.is_root());
        let store = MaildirStore::new(MaildirOptions::new(format!("{path}/%d/%n/Maildir").parse().unwrap()));
        let found = store.measure(&ann(), &[]).unwrap();
        assert_eq!(found.problems, ["Closed: cur: Permission denied (os error 13)"]);
        assert_eq!(found.cells.total().bytes, 5);
        let refused = store.measure(&mailbox("bob@example.org"), &[]).unwrap_err();
        assert!(refused.to_string().ends_with("Permission denied (os error 13)"), "{refused}");
        return;
    }
    let spool = Spool::new();
    fs::set_permissions(spool.path(), PermissionsExt::from_mode(0o755)).unwrap();
    spool.put("cur/1", 5);
    spool.folder(".Closed");
    spool.put(".Closed/cur/1", 7);
    fs::set_permissions(spool.root().join(".Closed/cur"), PermissionsExt::from_mode(0o000)).unwrap();
    let bob = spool.path().join("example.org/bob/Maildir");
    fs::create_dir_all(&bob).unwrap();
    fs::set_permissions(&bob, PermissionsExt::from_mode(0o000)).unwrap();
    // The test binary may lie where nobody else may look.
    let copy = spool.path().join("test-binary");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    let mut child = Command::new(&copy);
    child.args(["missing_permissions_are_a_problem", "--exact", "--nocapture"]).env(CHILD, spool.path());
    child.current_dir("/");
    if rustix::process::getuid().is_root() {
        use std::os::unix::process::CommandExt;
        child.uid(65534).gid(65534);
    }
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    fs::set_permissions(&bob, PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(spool.root().join(".Closed/cur"), PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn a_mailbox_without_mail_yet_is_empty() {
    let spool = Spool::new();
    for address in ["bob@example.org", "carol@example.net"] {
        let found = spool.store().measure(&mailbox(address), &[]).unwrap();
        assert!(found.cells.is_empty() && found.problems.is_empty());
    }
}

fn refused(store: &MaildirStore, who: &MailboxRef) -> String {
    match store.measure(who, &[]) {
        Err(MailStoreError::Unreadable(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_that_is_not_mounted_is_an_error() {
    let spool = Spool::new();
    let at = |path: &str| MaildirStore::new(MaildirOptions::new(path.parse().unwrap()));
    let base = spool.path().display();
    // The directory is missing.
    assert!(refused(&at(&format!("{base}/gone/%d/%n")), &ann()).contains("/gone: No such file"));
    // It is a mount point with nothing on it.
    fs::create_dir_all(spool.path().join("mnt/lost+found")).unwrap();
    assert!(refused(&at(&format!("{base}/mnt/%d/%n")), &ann()).contains("/mnt: empty"));
    // It is no directory.
    fs::write(spool.path().join("file"), "").unwrap();
    assert!(refused(&at(&format!("{base}/file/%d/%n")), &ann()).contains("Not a directory"));
    // The mailbox itself is a link to what is not there.
    symlink("/nowhere/at/all", spool.path().join("example.org/bob")).unwrap();
    symlink("/nowhere/at/all", spool.path().join("carol@example.org")).unwrap();
    assert!(refused(&at(&format!("{base}/%u")), &mailbox("carol@example.org")).contains("leads nowhere"));
}

#[test]
fn a_store_that_vanishes_below_a_running_daemon_is_an_error() {
    let spool = Spool::new();
    let store = spool.store();
    store.measure(&ann(), &[]).unwrap();
    fs::remove_dir_all(spool.path().join("example.org")).unwrap();
    assert!(refused(&store, &ann()).contains("empty; is the mail store mounted?"));
    fs::remove_dir(spool.path()).unwrap();
    assert!(refused(&store, &ann()).contains("No such file"));
}

#[test]
fn home_directories() {
    let spool = Spool::new();
    let home = spool.path().join("example.org/ann");
    let of = |home: &str| MailboxRef {
        address: "ann@example.org".into(),
        attributes: BTreeMap::from([("homedirectory".into(), home.into())]),
    };
    let mut options = MaildirOptions::new("%{homeDirectory}/Maildir".parse().unwrap());
    options.sizes = spool.options.sizes;
    let store = MaildirStore::new(options);
    spool.put("cur/1", 9);
    let found = store.measure(&of(home.to_str().unwrap()), &[]).unwrap();
    assert_eq!(folders(&found), rows([("INBOX", 9, 1)]));
    // A home without a mailbox, and one that is not made yet, are empty.
    fs::create_dir(spool.path().join("example.org/bob")).unwrap();
    for name in ["bob", "carol"] {
        let path = spool.path().join("example.org").join(name);
        assert!(store.measure(&of(path.to_str().unwrap()), &[]).unwrap().cells.is_empty(), "{name}");
    }
    // Homes that nothing is mounted on are not.
    fs::create_dir(spool.path().join("homes")).unwrap();
    let path = spool.path().join("homes/dora");
    assert!(refused(&store, &of(path.to_str().unwrap())).contains("homes: empty"));
    assert!(refused(&store, &of("/no-such-place-here/dora")).contains("nothing above it exists"));
}

#[test]
fn an_account_that_the_template_does_not_fit_has_no_mailbox() {
    let spool = Spool::new();
    for address in ["../ann@example.org", "..@example.org", "ann"] {
        let error = spool.store().measure(&mailbox(address), &[]).unwrap_err();
        assert!(matches!(error, MailStoreError::Unlocatable(_)), "{address}: {error}");
    }
    let store = MaildirStore::new(MaildirOptions::new("%{mailMessageStore}".parse().unwrap()));
    let error = store.measure(&ann(), &[]).unwrap_err();
    assert_eq!(error.to_string(), "ann@example.org has no mailMessageStore, which %{mailMessageStore} needs");
}
