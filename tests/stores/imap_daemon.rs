//! The whole daemon with the IMAP store, on a real Dovecot that keeps mail where the daemon cannot read it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::contract::{ANNA, BEN, MASTER, serve};
use super::support::daemon::{Daemon, PROGRAM};
use super::support::dovecot::Dovecot;
use super::support::imap::message;
use super::support::port::free_port;
use super::support::wait::until;

const USAGE: &str = include_str!("../../packaging/dovecot/2.3/usage.conf");

fn entry(user: &str, quota: &str) -> String {
    format!(
        "dn: uid={user},dc=example,dc=org\nobjectClass: inetMailUser\nmail: {user}@example.org\nuid: {user}\n\
         mailUserStatus: active\nmailQuota: {quota}\n\n"
    )
}

fn site(more: &str) -> (Daemon, Dovecot, u16) {
    let daemon =
        Daemon::prepare(&format!("version: 1\n\n{}{}", entry("anna", "100K"), entry("ben", "1G;Work%50K")), "");
    let imaps = free_port();
    let dovecot = serve(daemon.folder.path(), "mdbox", [free_port(), imaps], more);
    fs::write(daemon.path("imap.password"), format!("{}\n", MASTER.1)).unwrap();
    let root = daemon.folder.path().display();
    daemon.configure(
        &format!("path = \"{root}/mail/%d/%n\""),
        &format!(
            "kind = \"imap\"\nimap_server = \"127.0.0.1:{imaps}\"\nimap_ca_file = \"{root}/ca.pem\"\n\
             imap_user = \"%{{uid}}@%d\"\nimap_master = \"{}\"\nimap_password_file = \"{root}/imap.password\"",
            MASTER.0
        ),
    );
    daemon.configure("watch = \"off\"\n", "");
    daemon.configure("[http]", "[enforcement]\ngrace_period = \"0s\"\n[http]");
    (daemon, dovecot, imaps)
}

fn used(daemon: &Daemon, account: &str, bucket: usize) -> u64 {
    daemon.json(&["show", account])["buckets"][bucket]["used"]["bytes"].as_u64().unwrap()
}

fn resync(daemon: &Daemon, whom: &str) {
    daemon.ok(&["resync", whom]);
}

#[test]
fn over_quota_and_back_with_every_command_and_a_server_that_goes_away() {
    // By sums, by what is new of each folder, and by each folder alone.
    for hidden in ["", "imap_capability = IMAP4rev1 SASL-IR NAMESPACE LIST-STATUS\n", "imap_capability = IMAP4rev1\n"] {
        let (mut daemon, mut dovecot, imaps) = site(hidden);
        let mut anna = dovecot.login(ANNA);
        anna.ok("CREATE Work");
        anna.append("Work", &message(40_000)).unwrap();
        daemon.run();
        until("it has been measured", || used(&daemon, ANNA, 0) == 40_000);
        let standing = || daemon.json(&["show", ANNA])["standing"].as_str().unwrap().to_owned();
        assert_eq!(standing(), "under");

        // Over, which the directory is told of and mail is refused for.
        anna.append("INBOX", &message(80_000)).unwrap();
        resync(&daemon, ANNA);
        assert_eq!((used(&daemon, ANNA, 0), standing()), (120_000, "blocked".into()));
        until("the directory knows", || daemon.ldif().contains("mailUserStatus: overquota"));
        let verdict =
            |size: &str| daemon.json(&["explain", ANNA, "--size", size])["verdict"].as_str().unwrap().to_owned();
        assert_eq!(verdict("10"), "reject");
        let over = daemon.output(&["check", "--over"]);
        assert_eq!(over.status.code(), Some(3));
        assert!(String::from_utf8(over.stdout).unwrap().contains(ANNA));

        // And back, by the job of everybody.
        anna.ok("SELECT Work");
        anna.ok("STORE 1 +FLAGS (\\Deleted)");
        anna.ok("EXPUNGE");
        dovecot.login(BEN).ok("CREATE Work");
        dovecot.login(BEN).append("Work", &message(30_000)).unwrap();
        resync(&daemon, "--all");
        assert_eq!((used(&daemon, ANNA, 0), standing()), (80_000, "under".into()));
        until("the directory knows", || !daemon.ldif().contains("overquota"));
        assert_eq!(verdict("10"), "pass");
        let of_ben: Vec<u64> = (0..2).map(|bucket| used(&daemon, BEN, bucket)).collect();
        assert_eq!(of_ben, [0, 30_000]);

        let found = String::from_utf8(daemon.output(&["doctor"]).stdout).unwrap();
        assert!(found.contains("mailstore: IMAP: quota logs in for anna@example.org by AUTHENTICATE PLAIN"), "{found}");
        assert!(found.contains("was measured: 80000 bytes in 1 messages"), "{found}");
        let shared = found.contains("BAD  mailstore: IMAP: the server does not tell its namespaces");
        assert_eq!(shared, hidden.ends_with("IMAP4rev1\n"), "{found}");

        // Away, with the wrong password, and there again: nothing that was known is lost.
        dovecot.kill();
        let output = daemon.output(&["resync", "--all"]);
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(used(&daemon, ANNA, 0), 80_000);
        let found = String::from_utf8(daemon.output(&["doctor"]).stdout).unwrap();
        assert!(found.contains(&format!("BAD  mailstore: IMAP: 127.0.0.1:{imaps}: Connection refused")), "{found}");
        dovecot.run();
        fs::write(daemon.path("imap.password"), "another\n").unwrap();
        assert_eq!(daemon.output(&["resync", "--all"]).status.code(), Some(3));
        assert_eq!(used(&daemon, BEN, 1), 30_000);
        assert!(daemon.log().contains("AUTHENTICATIONFAILED"), "{}", daemon.log());
        fs::write(daemon.path("imap.password"), MASTER.1).unwrap();
        until("Dovecot lets in again", || daemon.output(&["resync", "--all"]).status.success());
        assert_eq!(used(&daemon, ANNA, 0), 80_000);
    }
}

#[test]
fn the_commands_of_oracle_do_the_same() {
    let (mut daemon, dovecot, _) = site("");
    let mut anna = dovecot.login(ANNA);
    anna.append("INBOX", &message(30_000)).unwrap();
    daemon.run();
    let oracle = |name: &str, args: &[&str]| {
        let link = daemon.path(name);
        if !link.exists() {
            symlink(PROGRAM, &link).unwrap();
        }
        let output = Command::new(link).args(args).arg("-c").arg(daemon.path("mailquotad.toml")).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {shown}{}", String::from_utf8_lossy(&output.stderr));
        shown
    };
    until("it has been measured", || used(&daemon, ANNA, 0) == 30_000);
    anna.append("INBOX", &message(20_000)).unwrap();
    assert!(oracle("iminitquota", &["-u", ANNA]).contains("1 accounts brought up to date"));
    assert_eq!(used(&daemon, ANNA, 0), 50_000);
    anna.append("INBOX", &message(30_000)).unwrap();
    assert!(oracle("iminitquota", &["-a"]).contains("2 accounts brought up to date"));
    let shown = oracle("imquotacheck", &["-u", ANNA]);
    assert!(shown.contains("78"), "80,000 bytes are 78 KiB: {shown}");
}

#[test]
fn a_mark_of_dovecots_leads_to_a_question_about_that_folder() {
    let (mut daemon, dovecot, _) = site(&USAGE.replace("/run/mailquotad", "@RUN@"));
    let socket = daemon.path("dict.sock");
    let listen = format!("[dovecot]\nlisten = \"unix:{}\"\nmode = \"0666\"\n[http]", socket.display());
    daemon.configure("[http]", &listen);
    daemon.run();
    resync(&daemon, "--all");
    let mut anna = dovecot.login(ANNA);
    anna.ok("CREATE Work");
    anna.append("Work", &message(5000)).unwrap();
    anna.append("INBOX", &message(3000)).unwrap();
    until("both are counted", || used(&daemon, ANNA, 0) == 8000);
    anna.ok("SELECT Work");
    anna.ok("MOVE 1 INBOX");
    anna.ok("RENAME Work Old");
    until("it is moved", || folders(&daemon) == serde_json::json!([["INBOX", 8000]]));
    anna.ok("SELECT INBOX");
    anna.ok("STORE 1:* +FLAGS (\\Deleted)");
    anna.ok("EXPUNGE");
    until("nothing is left", || used(&daemon, ANNA, 0) == 0);
    let scans = daemon.metric("mailquotad_folder_scans_total{result=\"complete\"}");
    assert!(scans >= Some(4), "{scans:?}");
}

/// Folders of Anna's that hold something, and how many bytes.
fn folders(daemon: &Daemon) -> serde_json::Value {
    let report = daemon.get(&format!("/v1/check?user={ANNA}&folders=true"));
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let rows = report["folders"].as_array().into_iter().flatten();
    rows.map(|row| serde_json::json!([row["folder"], row["used"]["bytes"]])).collect()
}
