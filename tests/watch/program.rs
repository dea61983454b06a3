//! The built daemon: deliveries by a real Postfix, more changes than the kernel keeps, restarts, missing rights.

use std::fs;

use crate::house::deliver;
use crate::support::daemon::{Daemon, PROGRAM};
use crate::support::postfix::Postfix;
use crate::support::smtp::Smtp;
use crate::support::wait::until;

const LDIF: &str = "version: 1\n\ndn: uid=anna,dc=example,dc=org\nobjectClass: inetMailUser\nmail: anna@example.org\n\
                    mailUserStatus: active\nmailQuota: 100M\n";
const ANNA: &str = "anna@example.org";
const BOTH: [&str; 2] = ["fanotify", "inotify"];

/// A daemon that hears of deliveries by no other way: nobody asks it, and it waits an hour after having been asked.
fn prepare(watch: &str) -> Daemon {
    let daemon = Daemon::prepare(LDIF, "");
    let file = daemon.path("mailquotad.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("measure_after_delivery = \"100ms\"", "measure_after_delivery = \"1h\"");
    let text = text.replace("watch = \"off\"", &format!("watch = \"{watch}\""));
    assert!(text.contains("1h") && text.contains(watch));
    fs::write(&file, text).unwrap();
    daemon
}

fn start(watch: &str) -> Daemon {
    let mut daemon = prepare(watch);
    daemon.maildir("example.org", "anna");
    daemon.run();
    watched(&daemon);
    daemon
}

fn watched(daemon: &Daemon) {
    until("it is watched", || !daemon.health().unwrap()["watch"]["by"].is_null());
    let measured = || daemon.json(&["check", "--user", ANNA]).to_string();
    until("the mailbox has been measured", || !measured().contains("\"measured\":null"));
}

fn used(daemon: &Daemon) -> (u64, u64) {
    let used = &daemon.json(&["show", ANNA])["buckets"][0]["used"];
    (used["bytes"].as_u64().unwrap(), used["messages"].as_u64().unwrap())
}

#[test]
fn mail_that_postfix_delivers_counts_though_nobody_asked() {
    for watch in BOTH {
        let daemon = start(watch);
        let maildir = daemon.maildir("example.org", "anna");
        // Postfix asks nobody.
        let lines = "smtpd_recipient_restrictions = reject_unauth_destination, permit\n";
        let port = crate::support::port::free_port();
        let postfix = Postfix::start_with(port, daemon.folder.path(), &daemon.path("mail"), &[ANNA], lines);
        let mut smtp = Smtp::connect(postfix.port);
        for _ in 0..20 {
            assert!(smtp.send(&[ANNA], 3000).starts_with("250"));
        }
        until("all of it is seen", || used(&daemon).1 == 20);
        let on_disk: u64 =
            fs::read_dir(maildir.join("new")).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert_eq!(used(&daemon).0, on_disk);
        assert!(daemon.log().contains(&format!("event=watching by={watch}")), "{}", daemon.log());
    }
}

#[test]
fn more_changes_than_the_kernel_keeps_are_found_by_a_sweep() {
    for watch in BOTH {
        let limit = fs::read_to_string(format!("/proc/sys/fs/{watch}/max_queued_events")).unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        let mut daemon = prepare(watch);
        let maildir = daemon.maildir("example.org", "anna");
        daemon.run();
        watched(&daemon);
        daemon.signal("STOP");
        // The last ones, which alone are in the folder, come after the queue is full.
        for number in 0..limit + 1000 {
            let name = format!("{number}.M1.h");
            let new = deliver(&maildir, &name, 1);
            fs::rename(new, maildir.join("cur").join(name)).unwrap();
        }
        let archive = maildir.join(".Archive");
        crate::house::make(&archive);
        deliver(&archive, "1.M1.h", 77);
        daemon.signal("CONT");
        let all = limit as u64 + 1001;
        until("all of it is seen", || used(&daemon) == (all + 76, all));
        let log = daemon.log();
        assert!(log.contains("event=watch-overflow") && log.contains("event=watch-swept"), "{log}");
        // And it goes on.
        deliver(&archive, "2.M2.h", 3);
        until("the next one is seen", || used(&daemon) == (all + 79, all + 1));
        daemon.stop("TERM");
    }
}

#[test]
fn what_changed_while_the_daemon_was_down_is_found_at_its_start() {
    let mut daemon = prepare("auto");
    let maildir = daemon.maildir("example.org", "anna");
    daemon.run();
    watched(&daemon);
    deliver(&maildir, "1.M1.h", 10);
    until("it is seen", || used(&daemon) == (10, 1));
    for (round, signal) in ["KILL", "TERM"].into_iter().enumerate() {
        let (before, number) = (used(&daemon), round + 2);
        daemon.stop(signal);
        deliver(&maildir, &format!("{number}.M1.h"), 10);
        daemon.run();
        until("it is found", || used(&daemon) == (before.0 + 10, before.1 + 1));
    }
}

#[test]
fn without_rights_it_is_inotify_and_doctor_says_why() {
    let mut daemon = prepare("auto");
    let maildir = daemon.maildir("example.org", "anna");
    // The same program, by root without the one right that fanotify takes.
    let runner = daemon.path("run");
    let script = format!("#!/bin/sh\nexec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin {PROGRAM} \"$@\"\n");
    fs::write(&runner, script).unwrap();
    fs::set_permissions(&runner, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    daemon.run_by(&runner);
    watched(&daemon);
    deliver(&maildir, "1.M1.h", 10);
    until("it is seen", || used(&daemon) == (10, 1));
    let found = String::from_utf8(daemon.output(&["doctor"]).stdout).unwrap();
    assert!(found.contains("by inotify, for fanotify on") && found.contains(": needs CAP_SYS_ADMIN"), "{found}");
}

#[test]
fn doctor_and_health_tell_the_means() {
    let daemon = start("auto");
    let found = String::from_utf8(daemon.output(&["doctor"]).stdout).unwrap();
    assert!(found.contains("ok   mailstore: changes are seen as they happen, by fanotify"), "{found}");
    assert_eq!(daemon.health().unwrap()["watch"], serde_json::json!({ "by": "fanotify", "why": null }));
    drop(daemon);
    let mut daemon = prepare("off");
    daemon.run();
    assert!(daemon.health().unwrap()["watch"].is_null());
    let found = String::from_utf8(daemon.output(&["doctor"]).stdout).unwrap();
    assert!(found.contains("mailstore: not watched (mailstore.watch is off)"), "{found}");
}
