//! Dovecot 2.3 as the store, with the configuration that we ship: what it delivers, moves, copies and expunges
//! shows in the right cell.

mod support {
    pub mod api;
    pub mod daemon;
    pub mod dovecot;
    pub mod imap;
    pub mod lmtp;
    pub mod port;
    pub mod postfix;
    pub mod spool;
    pub mod wait;
}

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use support::api::Api;
use support::daemon::{Daemon, user};
use support::dovecot::{Dovecot, UID};
use support::imap::message;
use support::lmtp::deliver;
use support::postfix::give;
use support::spool::cells_on_disk;
use support::wait::until;

const USAGE: &str = include_str!("../packaging/dovecot/2.3/usage.conf");

const ANNA: &str = "anna@example.org";

struct Site {
    dovecot: Dovecot,
    api: Api,
    daemon: Daemon,
}

impl Site {
    fn start(more: &str) -> Site {
        let mut daemon = Daemon::hearing_dovecot(&user("anna", "10G;Trash%1G"), "");
        daemon.run();
        let dovecot = Dovecot::start(daemon.folder.path(), &daemon.path("mail"), &[ANNA], &[USAGE], more);
        let api = Api::connect(&daemon.path("api.sock"));
        Site { dovecot, api, daemon }
    }

    /// Waits until a folder holds so many bytes in so many messages.
    fn holds(&mut self, folder: &str, usage: (u64, u64)) {
        until(&format!("{folder} holds {usage:?}; it holds {:?}", self.api.cell(ANNA, folder)), || {
            self.api.cell(ANNA, folder) == usage
        });
    }

    fn on_disk(&self) -> BTreeMap<String, (u64, u64)> {
        cells_on_disk(&self.daemon.path("mail/example.org/anna"))
    }
}

#[test]
fn every_way_of_changing_a_mailbox_shows_in_the_right_cell() {
    let mut site = Site::start("");
    let mut imap = site.dovecot.login(ANNA);
    for folder in ["Trash", "Archive", "Sub", "Sub/below", "M&APw-ll"] {
        imap.ok(&format!("CREATE {folder}"));
    }
    // IMAP.
    for (folder, size) in [("INBOX", 1000), ("INBOX", 2000), ("Sub/below", 3000), ("M&APw-ll", 500)] {
        assert!(imap.append(folder, &message(size)).unwrap().contains(" OK"));
    }
    site.holds("INBOX", (3000, 2));
    site.holds("Sub/below", (3000, 1));
    site.holds("M\u{fc}ll", (500, 1));
    imap.ok("SELECT INBOX");
    imap.ok("COPY 1 Archive");
    site.holds("Archive", (1000, 1));
    imap.ok("MOVE 2 Trash");
    site.holds("Trash", (2000, 1));
    site.holds("INBOX", (1000, 1));
    imap.ok("STORE 1 +FLAGS (\\Deleted)");
    imap.ok("EXPUNGE");
    site.holds("INBOX", (0, 0));
    // Of a renamed folder Dovecot tells, of those below it not.
    imap.ok("RENAME Sub New");
    site.holds("New/below", (3000, 1));
    site.holds("Sub/below", (0, 0));
    imap.ok("DELETE New/below");
    site.holds("New/below", (0, 0));
    // LMTP, to the mailbox and to a folder.
    deliver(site.dovecot.lmtp, ANNA, &message(4000)).unwrap();
    let inbox = site.on_disk()["INBOX"];
    assert!(inbox.1 == 1 && inbox.0 > 4000, "{inbox:?}");
    site.holds("INBOX", inbox);
    deliver(site.dovecot.lmtp, "anna+Archive@example.org", &message(700)).unwrap();
    let archive = site.on_disk()["Archive"];
    assert_eq!(archive.1, 2);
    site.holds("Archive", archive);
    // doveadm.
    site.dovecot.doveadm_ok(&["move", "-u", ANNA, "Trash", "mailbox", "INBOX", "all"]);
    site.holds("INBOX", (0, 0));
    site.holds("Trash", (2000 + inbox.0, 2));
    site.dovecot.doveadm_ok(&["copy", "-u", ANNA, "INBOX", "mailbox", "Archive", "all"]);
    site.holds("INBOX", archive);
    site.dovecot.doveadm_ok(&["expunge", "-u", ANNA, "mailbox", "Trash", "all"]);
    site.holds("Trash", (0, 0));
    // What was told is what lies there, and what a scan finds.
    same_as_a_scan(&mut site);
    assert!(!site.dovecot.log().contains("dict"), "Dovecot had trouble:\n{}", site.dovecot.log());
}

/// Runs doctor with a Dovecot of our own in the place of the system's.
#[test]
fn doctor_is_content_with_what_we_ship_and_not_without() {
    let site = Site::start("");
    let bin = site.daemon.path("bin");
    fs::create_dir(&bin).unwrap();
    let look = |config: &str| {
        let script = format!("#!/bin/sh\nexec /usr/bin/doveconf -c {} \"$@\"\n", site.dovecot.path(config).display());
        fs::write(bin.join("doveconf"), script).unwrap();
        fs::set_permissions(bin.join("doveconf"), PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        let output = site.daemon.command(&["doctor", "--format", "json"]).env("PATH", path).output().unwrap();
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = said["findings"].as_array().unwrap().clone();
        let of_dovecot = findings.into_iter().filter(|finding| finding["area"] == "dovecot");
        of_dovecot.map(|finding| (finding["fine"] == true, finding["what"].to_string())).collect::<Vec<_>>()
    };
    let fine = look("dovecot.conf");
    assert!(fine.len() == 2 && fine.iter().all(|(fine, _)| *fine), "{fine:?}");
    let config = fs::read_to_string(site.dovecot.path("dovecot.conf")).unwrap();
    fs::write(site.dovecot.path("other.conf"), config.replace("notify_status_dict", "other_dict")).unwrap();
    let wrong = look("other.conf");
    assert!(wrong.iter().any(|(fine, what)| !fine && what.contains("notify_status does not lead")), "{wrong:?}");
}

/// The cells equal the files, and a scan changes nothing.
fn same_as_a_scan(site: &mut Site) {
    let (before, disk) = (site.api.cells(ANNA), site.on_disk());
    site.daemon.ok(&["resync", ANNA]);
    let after = site.api.cells(ANNA);
    assert_eq!(before, disk);
    assert_eq!(after, disk);
}

#[test]
fn sieve_files_into_the_right_cell() {
    let mut site = Site::start(
        "protocol lmtp {\n  mail_plugins = $mail_plugins sieve\n}\nplugin {\n  sieve = file:~/sieve;active=~/.dovecot.sieve\n}\n",
    );
    let home = site.dovecot.path("homes").join(ANNA);
    fs::create_dir_all(&home).unwrap();
    let script = "require [\"fileinto\", \"mailbox\", \"copy\"];\nfileinto :create \"Lists/rust\";\nfileinto :copy :create \"Trash\";\n";
    fs::write(home.join(".dovecot.sieve"), script).unwrap();
    give(&home, UID);
    deliver(site.dovecot.lmtp, ANNA, &message(4000)).unwrap();
    let disk = site.on_disk();
    assert_eq!((disk["Lists/rust"].1, disk["Trash"].1, disk.get("INBOX")), (1, 1, None), "{disk:?}");
    site.holds("Lists/rust", disk["Lists/rust"]);
    site.holds("Trash", disk["Trash"]);
    same_as_a_scan(&mut site);
}

/// How long from Dovecot's answer to the client until the cell is right. Printed, not judged: it is the machine's.
#[test]
fn a_thousand_operations_show_soon() {
    let mut site = Site::start("");
    let mut imap = site.dovecot.login(ANNA);
    let folders = ["INBOX", "Trash", "Archive", "Lists"];
    folders[1..].iter().for_each(|folder| drop(imap.ok(&format!("CREATE {folder}"))));
    let mut known: BTreeMap<&str, (u64, u64)> = folders.iter().map(|folder| (*folder, (0, 0))).collect();
    let mut waits = Vec::new();
    imap.ok("SELECT INBOX");
    let mut dice = 1u64;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for operation in 0..1000 {
        let (inbox, other) = (known["INBOX"], folders[1 + roll(3) as usize]);
        // All messages are of one size, so that it does not matter which one goes.
        let changed = match roll(4) {
            1 if inbox.1 > 0 => {
                imap.ok(&format!("COPY 1 {other}"));
                vec![(other, 1)]
            }
            2 if inbox.1 > 0 => {
                imap.ok(&format!("MOVE 1 {other}"));
                vec![("INBOX", -1), (other, 1)]
            }
            3 if inbox.1 > 0 => {
                imap.ok("STORE 1 +FLAGS (\\Deleted)");
                imap.ok("EXPUNGE");
                vec![("INBOX", -1)]
            }
            _ => {
                assert!(imap.append("INBOX", &message(1000)).unwrap().contains(" OK"));
                vec![("INBOX", 1)]
            }
        };
        let answered = Instant::now();
        for (folder, messages) in changed {
            let cell = known.get_mut(folder).unwrap();
            *cell = (cell.0.saturating_add_signed(1000 * messages), cell.1.saturating_add_signed(messages));
        }
        let expected: BTreeMap<String, (u64, u64)> = known
            .iter()
            .filter(|(_, usage)| usage.1 > 0)
            .map(|(folder, usage)| ((*folder).to_owned(), *usage))
            .collect();
        let patience = Duration::from_secs(180);
        while site.api.cells(ANNA) != expected {
            assert!(answered.elapsed() < patience, "operation {operation}: {expected:?}, {:?}", site.api.cells(ANNA));
        }
        waits.push(answered.elapsed());
    }
    waits.sort();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    println!(
        "from Dovecot's answer to the right cell, 1,000 operations: p50 {:?}, p99 {:?}, worst {:?}",
        at(50),
        at(99),
        at(100)
    );
    same_as_a_scan(&mut site);
}
