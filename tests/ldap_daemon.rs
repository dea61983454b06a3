//! The built daemon on a real slapd: killed between a decision and its write, started without the server, left by
//! its accounts, and looked at by `doctor`.

mod support {
    pub mod daemon;
    pub mod port;
    pub mod slapd;
    pub mod wait;
}

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use support::daemon::Daemon;
use support::slapd::{DAEMON, PASSWORD, SUFFIX, Slapd, add, dn, set, user};
use support::wait::until;

const FULL: i64 = 2 << 20;

/// A daemon that follows `slapd`; yet to be run.
fn on(slapd: &Slapd, directory: &str) -> Daemon {
    let daemon = Daemon::prepare("", "[enforcement]\nstatus = \"at-once\"");
    let password = daemon.path("ldap.password");
    fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let ldap = format!(
        "[directory]\nkind = \"ldap\"\nurls = [\"{}\"]\nbase = \"{SUFFIX}\"\nbind_dn = \"{DAEMON}\"\n\
         bind_password_file = \"{}\"\ntimeout = \"2s\"\n{directory}\n[ledger]",
        slapd.url(),
        password.display()
    );
    let file = daemon.path("mailquotad.toml");
    let config = fs::read_to_string(&file).unwrap();
    let (_, rest) = config.split_once("[ledger]").unwrap();
    fs::write(&file, ldap + rest).unwrap();
    // A mail store without any mailbox looks as if it were not mounted.
    daemon.maildir("example.org", "ann");
    daemon
}

/// Adds to what an account holds. Returns once the change, and what follows from it, are safe.
fn change(daemon: &Daemon, uid: &str, bytes: i64) {
    let cells = json!([{"folder": "INBOX", "bytes": bytes, "messages": bytes.signum()}]);
    let body = json!({"account": format!("{uid}@example.org"), "cells": cells}).to_string();
    let answer = Command::new("curl")
        .args(["-s", "-H", "content-type: application/json", "-d", &body, "--unix-socket"])
        .arg(daemon.path("api.sock"))
        .arg("http://mailquotad/v1/usage")
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(answer["outcome"], "applied", "{answer}");
}

/// The statuses that the server holds, in the order of the names.
fn statuses(slapd: &Slapd) -> Vec<String> {
    let found = String::from_utf8(slapd.search("(objectClass=inetMailUser)", &["uid", "mailUserStatus"])).unwrap();
    let entry = |entry: &str| {
        let value = |name: &str| entry.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        Some((value("uid: ")?, value("mailUserStatus: ").unwrap_or("active".to_owned())))
    };
    let mut found: Vec<(String, String)> = found.split("\n\n").filter_map(entry).collect();
    found.sort();
    found.into_iter().map(|(_, status)| status).collect()
}

#[test]
fn killed_between_decision_and_write_fifty_times() {
    const USERS: usize = 6;
    const ROUNDS: u64 = 50;
    let mut slapd = Slapd::stopped();
    slapd.add_offline(&(0..USERS).map(|n| user(&format!("u{n}"), "mailQuota: 1M\n")).collect::<String>());
    slapd.run();
    // So slow that a kill finds most writes undone.
    let mut daemon = on(&slapd, "writes_per_second = 20");
    daemon.run();
    let measured = |n: usize| !daemon.json(&["show", &format!("u{n}@example.org")])["measured"].is_null();
    until("every mailbox is measured", || (0..USERS).all(measured));
    let mut full = [false; USERS];
    let mut undone = 0;
    for round in 0..ROUNDS {
        for (n, full) in full.iter_mut().enumerate() {
            if (round + n as u64).is_multiple_of(2) {
                change(&daemon, &format!("u{n}"), if *full { -FULL } else { FULL });
                *full = !*full;
            }
        }
        daemon.stop("KILL");
        let wanted: Vec<&str> = full.iter().map(|full| if *full { "overquota" } else { "active" }).collect();
        undone += usize::from(statuses(&slapd) != wanted);
        daemon.run();
        until("every status is right", || {
            let now = statuses(&slapd);
            if now != wanted {
                eprintln!("round {round}: {now:?} {wanted:?}");
            }
            now == wanted
        });
    }
    assert!(undone > 10, "only {undone} of {ROUNDS} kills came before the last write");
    daemon.stop("TERM");
}

#[test]
fn a_start_without_the_server_answers_and_says_how_old_its_view_is() {
    let mut slapd = Slapd::stopped();
    slapd.add_offline(&[user("ann", "mailQuota: 3M\n"), user("bad", "mailQuota: plenty\n")].concat());
    slapd.run();
    let mut daemon = on(&slapd, "");
    daemon.run();
    // Only a view that was kept makes a start come back to a directory.
    until("the directory is kept", || {
        daemon.stop("TERM");
        daemon.run();
        daemon.log().contains("event=directory-back")
    });
    daemon.stop("TERM");
    slapd.stop("KILL");
    daemon.run_unwell();
    let shown = daemon.json(&["show", "ann@example.org"]);
    assert_eq!(shown["buckets"][0]["limit"]["bytes"], 3 << 20);
    let health = daemon.health().unwrap();
    assert_eq!((&health["status"], &health["accounts"]), (&json!("degraded"), &json!(2)));
    assert!(health["directory_age_seconds"].is_u64() && health["bad_entries"] == 1, "{health}");
    let checked = String::from_utf8(daemon.output(&["check", "--format", "json"]).stdout).unwrap();
    let lost = checked.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lost: Vec<Value> = lost.filter(|line| line["directory_lost"].is_string()).collect();
    assert!(lost.len() == 1 && lost[0]["age_seconds"].is_u64(), "{checked}");
    let text = String::from_utf8(daemon.output(&["check"]).stdout).unwrap();
    assert!(text.contains("plenty") && text.contains("the directory: "), "{text}");
    // It comes back, and is followed.
    slapd.run();
    slapd.modify(&set("ann", "mailQuota", "4M"));
    let limit = |d: &Daemon| d.json(&["show", "ann@example.org"])["buckets"][0]["limit"]["bytes"] == 4 << 20;
    until("it is followed again", || limit(&daemon));
    assert_eq!(daemon.ok(&["set", "ann@example.org", "--quota", "5M"]), "ann@example.org: written to the directory\n");
    until("what was written comes back", || {
        daemon.json(&["show", "ann@example.org"])["buckets"][0]["limit"]["bytes"] == 5 << 20
    });
    daemon.stop("TERM");
}

/// `ann` goes and comes back; then she goes for good, and so do `cem` and, while the daemon is down, `bob`; then
/// `cem` is back.
#[test]
fn accounts_that_have_gone_are_kept_for_a_while_and_then_forgotten() {
    let mut slapd = Slapd::stopped();
    let entry = |uid: &str| user(uid, "mailQuota: 9M\n");
    slapd.add_offline(&["ann", "bob", "cem", "dan"].map(entry).concat());
    slapd.run();
    let mut daemon = on(&slapd, "");
    daemon.configure("[ledger]\n", "[ledger]\nkeep_gone = \"30d\"\n");
    daemon.run();
    let bytes = |daemon: &Daemon, uid: &str| {
        let shown = daemon.output(&["show", &format!("{uid}@example.org"), "--format", "json"]);
        serde_json::from_slice::<Value>(&shown.stdout)
            .ok()
            .and_then(|shown| shown["buckets"][0]["used"]["bytes"].as_u64())
    };
    let measured = |uid: &&str| !daemon.json(&["show", &format!("{uid}@example.org")])["measured"].is_null();
    until("every mailbox is measured", || ["ann", "bob", "cem", "dan"].iter().all(measured));
    // More than the mailboxes hold: if this is found again, it is because it was kept.
    ["ann", "bob", "cem", "dan"].iter().for_each(|uid| change(&daemon, uid, 5000));
    let delete = |uid: &str| slapd.modify(&format!("dn: {}\nchangetype: delete\n", dn(uid)));
    delete("ann");
    until("ann is gone", || bytes(&daemon, "ann").is_none());
    slapd.modify(&add(&entry("ann")));
    until("ann is back", || bytes(&daemon, "ann").is_some());
    assert_eq!(bytes(&daemon, "ann"), Some(5000));

    delete("ann");
    delete("cem");
    until("they are gone", || bytes(&daemon, "ann").is_none() && bytes(&daemon, "cem").is_none());
    // What the view that is kept says, the ledger says as well.
    until("a restart knows it", || {
        daemon.stop("KILL");
        daemon.run();
        daemon.log().contains("event=directory-back") && daemon.metric("mailquotad_gone_accounts") == Some(2)
    });
    daemon.stop("TERM");
    delete("bob");
    slapd.modify(&add(&entry("cem")));
    daemon.configure("30d", "1s");
    daemon.run();
    until("the others are forgotten", || daemon.metric("mailquotad_forgotten_accounts_total") == Some(2));
    assert_eq!((bytes(&daemon, "cem"), bytes(&daemon, "dan")), (Some(5000), Some(5000)));
    until("nobody is gone", || daemon.metric("mailquotad_gone_accounts") == Some(0));
    slapd.modify(&add(&entry("bob")));
    until("somebody new is called bob", || bytes(&daemon, "bob").is_some());
    assert_eq!(bytes(&daemon, "bob"), Some(0));
    daemon.stop("TERM");
    let export = daemon.path("export.json");
    daemon.ok(&["export", export.to_str().unwrap()]);
    let export = fs::read_to_string(export).unwrap();
    assert!(!export.contains("ann@example.org") && export.contains("dan@example.org"), "{export}");
    let forgotten = |uid: &str| daemon.log().contains(&format!("event=forgotten account={uid}@example.org since="));
    assert!(forgotten("ann") && forgotten("bob") && !forgotten("cem") && !forgotten("dan"));
}

fn findings(daemon: &Daemon, mail_config: Option<&str>) -> (i32, Vec<(String, bool, String)>) {
    let mut command = daemon.command(&["doctor", "--format", "json"]);
    command.env("MAIL_CONFIG", mail_config.unwrap_or("/nonexistent"));
    let output = command.output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        assert!(finding["fine"] == true || !text("advice").is_empty(), "{finding}");
        (text("area"), finding["fine"] == true, text("what"))
    };
    (output.status.code().unwrap(), told["findings"].as_array().unwrap().iter().map(finding).collect())
}

/// The wrong ones, `area: what`.
fn wrong(found: &[(String, bool, String)]) -> Vec<String> {
    found.iter().filter(|(_, fine, _)| !fine).map(|(area, _, what)| format!("{area}: {what}")).collect()
}

#[test]
fn doctor_finds_what_is_wrong_and_nothing_else() {
    let mut slapd = Slapd::stopped();
    slapd.add_offline(&user("ann", "mailQuota: 3M\n"));
    slapd.run();
    let mut daemon = on(&slapd, "");
    daemon.run();
    let before = slapd.backup();
    let (code, found) = findings(&daemon, None);
    assert_eq!((code, wrong(&found)), (0, Vec::new()), "{found:?}");
    let fine = |area: &str, part: &str| found.iter().any(|(a, fine, what)| a == area && *fine && what.contains(part));
    assert!(fine("directory", "mailUserStatus may be written") && fine("directory", "RFC 4533"), "{found:?}");
    assert!(fine("mailstore", "ann@example.org was measured") && fine("sockets", "the daemon listens"), "{found:?}");
    assert_eq!(before, slapd.backup(), "doctor changes nothing");

    // Postfix that does not ask, then one that asks too early, then one that is right.
    let etc = daemon.path("etc");
    fs::create_dir(&etc).unwrap();
    fs::write(etc.join("master.cf"), "").unwrap();
    let service = format!("check_policy_service inet:127.0.0.1:{}", daemon.port);
    let postfix = |recipient: &str, end: &str| {
        let main = format!(
            "compatibility_level = 3.6\nsmtpd_relay_restrictions =\nsmtpd_recipient_restrictions = {recipient}\n\
             smtpd_end_of_data_restrictions = {end}\n"
        );
        fs::write(etc.join("main.cf"), main).unwrap();
        wrong(&findings(&daemon, etc.to_str()).1)
    };
    let told = postfix("reject_unauth_destination", "");
    assert!(told.len() == 2 && told[0].contains("smtpd_recipient_restrictions does not ask"), "{told:?}");
    let told = postfix(&format!("{service}, reject_unauth_destination"), &service);
    assert!(told.len() == 1 && told[0].contains("before strangers' mail"), "{told:?}");
    assert_eq!(postfix(&format!("reject_unauth_destination, {service}"), &service), Vec::<String>::new());

    // One thing at a time goes wrong.
    daemon.stop("TERM");
    assert!(wrong(&findings(&daemon, None).1).contains(&"sockets: mailquotad does not run".to_owned()));
    fs::write(daemon.path("ldap.password"), "wrong\n").unwrap();
    let (code, found) = findings(&daemon, None);
    assert!(code == 3 && wrong(&found)[0].contains("invalidCredentials"), "{found:?}");
    fs::write(daemon.path("ldap.password"), PASSWORD).unwrap();
    slapd.stop("TERM");
    let rules = slapd.path("slapd.conf");
    let config = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, config.replace("attrs=mailUserStatus,mailDomainStatus by dn.exact", "attrs=mailUserStatus,mailDomainStatus by dn.exact=\"cn=x\" write by * read\naccess to attrs=title by dn.exact")).unwrap();
    slapd.run();
    let told = wrong(&findings(&daemon, None).1);
    assert!(told[0].contains("mailUserStatus cannot be written: insufficientAccessRights"), "{told:?}");
    slapd.stop("TERM");
    let told = wrong(&findings(&daemon, None).1);
    assert!(told[0].starts_with(&format!("directory: {}", slapd.url())), "{told:?}");
    fs::write(daemon.path("mailquotad.toml"), "nonsense = 1\n").unwrap();
    assert_eq!(findings(&daemon, None).0, 1);
}
