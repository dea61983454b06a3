//! Mailboxes and what lies above them: made, moved, removed, and found by whatever the template says.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mailquotad::ledger::{Op, Shelf};
use mailquotad::mailstore::maildir::{self, Layout, Means};
use mailquotad::mailstore::{Stop, WatchError};
use mailquotad::quota::Usage;
use mailquotad::service::watch::Watching;
use tokio_util::sync::CancellationToken;

use crate::house::{House, deliver, make, with};
use crate::support::site::account;
use crate::support::wait::until;

const BOTH: [Means; 2] = [Means::Fanotify, Means::Inotify];
const ANNA: &str = "anna@example.org";
const BEN: &str = "ben@example.org";

fn holds(house: &House, address: &str, bytes: u64, messages: u64) {
    until(&format!("{address} holds {bytes} bytes"), || house.held(address) == Usage::new(bytes, messages));
}

#[test]
fn a_mailbox_is_made_filled_moved_away_brought_back_and_removed() {
    for means in BOTH {
        let mut house = House::new("SPOOL/%d/%n", Layout::MaildirPlusPlus);
        fs::create_dir(house.path("other.org")).unwrap();
        house.load([account(1, ANNA, ""), account(2, BEN, "")]);
        house.watch(means);
        // The domain's own folder comes with the first delivery.
        for (user, size) in [("anna", 10), ("ben", 20)] {
            let root = house.path("example.org").join(user);
            make(&root);
            deliver(&root, "1.M1.h", size);
        }
        holds(&house, ANNA, 10, 1);
        holds(&house, BEN, 20, 1);
        fs::rename(house.path("example.org/anna"), house.path("away")).unwrap();
        holds(&house, ANNA, 0, 0);
        deliver(&house.path("away"), "2.M2.h", 5);
        fs::rename(house.path("away"), house.path("example.org/anna")).unwrap();
        holds(&house, ANNA, 15, 2);
        fs::remove_dir_all(house.path("example.org/anna")).unwrap();
        holds(&house, ANNA, 0, 0);
        // The whole domain at once: one event, far above every mailbox.
        fs::rename(house.path("example.org"), house.path("elsewhere")).unwrap();
        holds(&house, BEN, 0, 0);
        fs::rename(house.path("elsewhere"), house.path("example.org")).unwrap();
        holds(&house, BEN, 20, 1);
    }
}

#[test]
fn folders_one_in_the_other_move_with_all_below_them() {
    for means in BOTH {
        let mut house = House::new("SPOOL/%u", Layout::Fs);
        let root = house.path(ANNA);
        ["", "Work", "Work/2025", "Work/2025/May"].iter().for_each(|folder| make(&root.join(folder)));
        house.load([account(1, ANNA, "")]);
        house.watch(means);
        deliver(&root.join("Work/2025/May"), "1.M1.h", 30);
        holds(&house, ANNA, 30, 1);
        fs::rename(root.join("Work"), root.join("Done")).unwrap();
        house.agrees(ANNA);
        let names: Vec<String> =
            house.account(ANNA).lock().cells.iter().map(|(key, _)| key.folder.to_string()).collect();
        assert_eq!(names, ["Done/2025/May"]);
        // What was moved is still watched, under its new name.
        deliver(&root.join("Done/2025/May"), "2.M2.h", 3);
        holds(&house, ANNA, 33, 2);
    }
}

#[test]
fn what_is_written_in_place_counts_when_it_is_complete() {
    for means in BOTH {
        let mut house = House::new("SPOOL/%d/%n", Layout::MaildirPlusPlus);
        let root = house.path("example.org/anna");
        make(&root);
        house.load([account(1, ANNA, "")]);
        house.watch(means);
        // As cp and rsync --inplace do, and as no delivery agent should.
        let mut file = fs::File::create(root.join("cur/1.M1.h:2,S")).unwrap();
        holds(&house, ANNA, 0, 1);
        std::io::Write::write_all(&mut file, &[b'x'; 4000]).unwrap();
        drop(file);
        holds(&house, ANNA, 4000, 1);
    }
}

#[test]
fn attributes_may_tell_the_place_and_change_it() {
    for means in BOTH {
        let mut house = House::new("%{home}/Maildir", Layout::MaildirPlusPlus);
        let home = |name: &str| house.path(name).display().to_string();
        let (first, second, third) = (home("homes/a"), home("homes/b"), home("homes/c"));
        fs::create_dir(house.path("homes")).unwrap();
        make(&house.path("homes/a/Maildir"));
        house.load([with(1, ANNA, &[("home", &first)])]);
        house.watch(means);
        deliver(&house.path("homes/a/Maildir"), "1.M1.h", 10);
        holds(&house, ANNA, 10, 1);
        // An account that is new while it is watched.
        house.add(with(2, BEN, &[("home", &second)]));
        make(&house.path("homes/b/Maildir"));
        deliver(&house.path("homes/b/Maildir"), "1.M1.h", 20);
        holds(&house, BEN, 20, 1);
        // An account that moves house: its old place is nobody's, the new one its own.
        fs::rename(house.path("homes/a"), house.path("homes/c")).unwrap();
        house.add(with(1, ANNA, &[("home", &third)]));
        deliver(&house.path("homes/c/Maildir"), "2.M2.h", 5);
        holds(&house, ANNA, 15, 2);
        // All homes go at once.
        fs::rename(house.path("homes"), house.path("gone")).unwrap();
        fs::create_dir_all(house.path("homes/c")).unwrap();
        fs::create_dir_all(house.path("homes/b")).unwrap();
        holds(&house, ANNA, 0, 0);
        holds(&house, BEN, 0, 0);
    }
}

#[test]
fn a_spool_behind_a_link_is_watched_where_it_really_is() {
    for means in BOTH {
        let mut house = House::new("SPOOL/link/%d/%n", Layout::MaildirPlusPlus);
        let root = house.path("real/example.org/anna");
        make(&root);
        std::os::unix::fs::symlink("real", house.path("link")).unwrap();
        house.load([account(1, ANNA, "")]);
        house.watch_at(means, house.path("link"));
        deliver(&root, "1.M1.h", 10);
        holds(&house, ANNA, 10, 1);
    }
}

#[test]
fn what_changed_while_nobody_looked_is_found() {
    for means in BOTH {
        let mut house = House::new("SPOOL/%d/%n", Layout::MaildirPlusPlus);
        for user in ["anna", "ben"] {
            make(&house.path("example.org").join(user));
        }
        house.load([account(1, ANNA, ""), account(2, BEN, "")]);
        house.watch(means);
        house.look_away();
        deliver(&house.path("example.org/anna"), "1.M1.h", 10);
        house.watch(means);
        holds(&house, ANNA, 10, 1);
    }
}

/// How far watching had come, as a ledger keeps it.
fn noted(house: &House) -> Option<Vec<u8>> {
    house.site.accounting.ledger.shelf_get(Shelf::Jobs, b"watched").unwrap()
}

fn note(house: &House, value: &[u8]) {
    let put = Op::Put { shelf: Shelf::Jobs, key: b"watched"[..].into(), value: value.into() };
    house.site.accounting.ledger.submit(vec![put]).wait().unwrap();
}

fn mailboxes(spool: &Path) {
    (0..200).for_each(|user| make(&spool.join(format!("user{user}"))));
}

#[test]
fn a_stop_ends_the_walk_through_a_store_at_the_next_folder() {
    let spool = tempfile::tempdir().unwrap();
    mailboxes(spool.path());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let stop: Stop = Arc::new(move || counted.fetch_add(1, Ordering::SeqCst) >= 10);
    let walked = maildir::watch(&[spool.path().into()], Means::Inotify, &stop);
    assert_eq!(walked.err(), Some(WatchError::Stopped));
    assert_eq!(asked.load(Ordering::SeqCst), 11, "of some 600 folders");
}

#[test]
fn a_stop_in_the_first_walk_ends_watching_and_tells_no_lies_about_it() {
    let house = House::new("SPOOL/%n", Layout::MaildirPlusPlus);
    mailboxes(house.spool.path());
    note(&house, &[1, 5]);
    let (accounting, hints) = (house.site.accounting.clone(), house.site.hints.clone());
    let watching = Watching::new(accounting, hints, house.store.clone(), house.status.clone());
    let (stop, spool) = (CancellationToken::new(), house.spool.path().to_owned());
    let stopping = stop.clone();
    let open = move |stop: &Stop| {
        stopping.cancel();
        maildir::watch(std::slice::from_ref(&spool), Means::Inotify, stop)
    };
    watching.run(&open, &stop);
    assert_eq!(house.status.state().unwrap().by, None);
    assert_eq!(noted(&house), Some(vec![1, 5]), "the next start looks as far back as this one would have");
}

/// Before the directory has been read nobody knows whose mailboxes there are, so nothing of what changed while the
/// daemon was down has been looked into.
#[test]
fn a_gap_that_was_not_looked_into_to_its_end_is_not_forgotten() {
    for means in BOTH {
        let mut house = House::new("SPOOL/%d/%n", Layout::MaildirPlusPlus);
        make(&house.path("example.org/anna"));
        note(&house, &[1, 5]);
        house.watch(means);
        house.look_away();
        assert_eq!(noted(&house), Some(vec![1, 5]));
        house.load([account(1, ANNA, "")]);
        house.watch(means);
        deliver(&house.path("example.org/anna"), "1.M1.h", 10);
        holds(&house, ANNA, 10, 1);
        house.look_away();
    }
}

#[test]
fn a_spool_that_is_replaced_is_watched_anew() {
    for means in BOTH {
        let mut house = House::new("SPOOL/mail/%d/%n", Layout::MaildirPlusPlus);
        make(&house.path("mail/example.org/anna"));
        house.load([account(1, ANNA, "")]);
        house.watch_at(means, house.path("mail"));
        fs::rename(house.path("mail"), house.path("old")).unwrap();
        make(&house.path("mail/example.org/anna"));
        deliver(&house.path("mail/example.org/anna"), "1.M1.h", 10);
        holds(&house, ANNA, 10, 1);
        until("it is watched", || house.status.state().unwrap().by.is_some());
        deliver(&house.path("mail/example.org/anna"), "2.M2.h", 5);
        holds(&house, ANNA, 15, 2);
    }
}
