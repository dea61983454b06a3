//! Start, stop, reload and restart of the built daemon, and the commands that talk to it.

mod support {
    pub mod daemon;
    pub mod port;
    pub mod wait;
}

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;

use support::daemon::{Daemon, put_message};
use support::port::free_port;
use support::wait::until;

const LDIF: &str = "\
dn: dc=example.org
objectClass: mailDomain
associatedDomain: example.org

dn: uid=anna,dc=example.org
objectClass: inetMailUser
mail: anna@example.org
mailAlternateAddress: a.adler@example.org
mailQuota: 2G;#voice%20M;Archive%100M

dn: uid=ben,dc=example.org
objectClass: inetMailUser
mail: ben@example.org
mailQuota: 10K

dn: uid=dora,dc=example.org
objectClass: inetMailUser
mail: dora@example.org
mailQuota: 10K

dn: cn=team,dc=example.org
objectClass: inetMailGroup
mail: team@example.org
mgrpRFC822MailMember: anna@example.org
mgrpRFC822MailMember: ben@example.org
";

const TYPES: &str = "[quota.types]\nvoice = [\"multipart/voice-message\", \"audio/*\"]\n";

fn request(state: &str, recipient: &str, size: u64, more: &str) -> String {
    format!(
        "request=smtpd_access_policy\nprotocol_state={state}\nsender=someone@elsewhere.example\n\
         recipient={recipient}\nsize={size}\n{more}\n\n"
    )
    .replace("\n\n\n", "\n\n")
}

fn answer(reader: &mut impl BufRead) -> String {
    let (mut action, mut blank) = (String::new(), String::new());
    reader.read_line(&mut action).unwrap();
    reader.read_line(&mut blank).unwrap();
    assert_eq!(blank, "\n");
    action.trim_end().strip_prefix("action=").unwrap().to_owned()
}

fn ask(daemon: &Daemon, state: &str, recipient: &str, size: u64) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    stream.write_all(request(state, recipient, size, "").as_bytes()).unwrap();
    answer(&mut BufReader::new(stream))
}

fn used(daemon: &Daemon, account: &str, bucket: &str) -> (u64, u64) {
    let report = daemon.json(&["show", account]);
    let buckets = report["buckets"].as_array().unwrap();
    let bucket =
        buckets.iter().find(|known| known["name"] == bucket).unwrap_or_else(|| panic!("no {bucket} in {report}"));
    (bucket["used"]["bytes"].as_u64().unwrap(), bucket["used"]["messages"].as_u64().unwrap())
}

#[test]
fn types_beat_folders_and_a_new_quota_needs_no_rescan() {
    let daemon = Daemon::prepare(LDIF, TYPES);
    let maildir = daemon.maildir("example.org", "anna");
    put_message(&maildir, "1.M1.h", 1000, "Subject: text");
    put_message(&maildir.join(".Archive.2025"), "2.M2.h", 2000, "Subject: text\nContent-Type: text/plain");
    put_message(&maildir.join(".Archive.2025"), "3.M3.h", 4000, "Content-Type: multipart/voice-message; boundary=x");
    let daemon = {
        let mut daemon = daemon;
        daemon.run();
        daemon
    };
    daemon.ok(&["resync", "--all"]);
    assert_eq!(used(&daemon, "anna@example.org", "default"), (1000, 1));
    assert_eq!(used(&daemon, "anna@example.org", "#voice"), (4000, 1));
    assert_eq!(used(&daemon, "anna@example.org", "Archive"), (2000, 1));

    // The mail is out of reach now: whatever changes is computed, not measured.
    fs::rename(daemon.path("mail"), daemon.path("mail.away")).unwrap();
    daemon.edit_ldif(|text| text.replace("2G;#voice%20M;Archive%100M", "2G;Archive%1K"));
    until("the buckets have changed", || {
        daemon.json(&["show", "anna@example.org"])["buckets"].as_array().unwrap().len() == 2
    });
    assert_eq!(used(&daemon, "anna@example.org", "default"), (1000, 1));
    assert_eq!(used(&daemon, "anna@example.org", "Archive"), (6000, 2));
    let filed = daemon.json(&["explain", "anna@example.org", "--folder", "Archive/2025", "--size", "100"]);
    assert_eq!((filed["verdict"].as_str(), filed["bucket"].as_str()), (Some("defer"), Some("Archive")));
    assert_eq!(ask(&daemon, "RCPT", "anna@example.org", 100), "DUNNO", "new mail lands in the default bucket");

    daemon.edit_ldif(|text| text.replace("2G;Archive%1K", "1000"));
    until("the verdict has changed", || ask(&daemon, "RCPT", "anna@example.org", 100).starts_with("452 4.2.2"));
}

#[test]
fn a_bad_quota_leaves_the_last_good_one_in_force_and_is_listed() {
    let daemon = Daemon::start(LDIF, TYPES);
    daemon.edit_ldif(|text| text.replace("mailQuota: 10K", "mailQuota: 10Q"));
    until("the bad value is seen", || daemon.json(&["show", "ben@example.org"])["problem"].is_string());
    let report = daemon.json(&["show", "ben@example.org"]);
    assert_eq!(report["buckets"][0]["limit"]["bytes"], 10 * 1024);
    let problem = report["problem"].as_str().unwrap();
    assert!(problem.contains("mailQuota `10Q`, at character 3: unknown unit `Q`; accepted: K, M, G or T"), "{problem}");
    let check = daemon.output(&["check"]);
    assert_eq!(check.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&check.stdout).contains("10Q"));
}

#[test]
fn addresses_lead_to_accounts_in_every_way() {
    let daemon = Daemon::prepare(LDIF, TYPES);
    put_message(&daemon.maildir("example.org", "ben"), "1.M1.h", 11_000, "Subject: much");
    let daemon = {
        let mut daemon = daemon;
        daemon.run();
        daemon
    };
    daemon.ok(&["resync", "--all"]);
    for (recipient, expected) in [
        ("ben@example.org", "452 4.2.2 Mailbox is full, try again later"),
        ("BEN@Example.ORG", "452 4.2.2 Mailbox is full, try again later"),
        ("ben+lists@example.org", "452 4.2.2 Mailbox is full, try again later"),
        ("a.adler@example.org", "DUNNO"),
        ("team@example.org", "DUNNO"), // anna has room
        ("nobody@example.org", "DUNNO"),
        ("ben@elsewhere.example", "DUNNO"),
    ] {
        assert_eq!(ask(&daemon, "RCPT", recipient, 100), expected, "{recipient}");
    }
    assert_eq!(
        ask(&daemon, "RCPT", "ben@example.org", 20_000),
        "552 5.2.3 Message is larger than the mailbox may hold"
    );
    assert_eq!(ask(&daemon, "MAIL", "ben@example.org", 100), "DUNNO");
    daemon.edit_ldif(|text| text.replace("mailQuota: 2G;#voice%20M;Archive%100M", "mailQuota: 1"));
    // It would never fit in anna's, and ben's is full for now: what can be cured decides.
    until("nobody in the group has room", || ask(&daemon, "RCPT", "team@example.org", 100).starts_with("452 4.2.2"));
}

#[test]
fn a_message_for_several_is_refused_at_its_end_only_if_nobody_may_have_it() {
    let daemon = Daemon::start(LDIF, TYPES);
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", daemon.port)).unwrap());
    let mut talk = |state: &str, recipient: &str, size, instance: &str, count: u32| {
        let more = format!("instance={instance}\nrecipient_count={count}");
        stream.get_mut().write_all(request(state, recipient, size, &more).as_bytes()).unwrap();
        answer(&mut stream)
    };
    // ben and dora may hold 10 KiB; anna much more.
    assert_eq!(talk("RCPT", "ben@example.org", 0, "a.2", 0), "DUNNO");
    assert_eq!(talk("RCPT", "ben+x@example.org", 0, "a.2", 0), "DUNNO");
    assert_eq!(talk("END-OF-MESSAGE", "", 50_000, "a.2", 2), "552 5.2.3 Message is larger than the mailbox may hold");
    assert_eq!(talk("RCPT", "dora@example.org", 0, "a.1", 0), "DUNNO");
    assert_eq!(talk("RCPT", "anna@example.org", 0, "a.1", 0), "DUNNO");
    assert_eq!(talk("END-OF-MESSAGE", "", 50_000, "a.1", 2), "DUNNO");
    // It will come to dora too, so room is held for it: more than she has.
    let full = "452 4.2.2 Mailbox has no room for this message, try again later";
    assert_eq!(talk("RCPT", "dora@example.org", 0, "a.5", 0), full);
    // One of the recipients is not known here: the message is let pass for its sake.
    assert_eq!(talk("RCPT", "ben@example.org", 0, "a.3", 0), "DUNNO");
    assert_eq!(talk("RCPT", "x@elsewhere.example", 0, "a.3", 0), "DUNNO");
    assert_eq!(talk("END-OF-MESSAGE", "", 50_000, "a.3", 2), "DUNNO");
    // Nothing is remembered of this one.
    assert_eq!(talk("END-OF-MESSAGE", "", 50_000, "a.4", 2), "DUNNO");
}

#[test]
fn room_is_held_at_the_end_of_a_message_and_not_at_rcpt() {
    let daemon = Daemon::start(LDIF, "[enforcement]\nallowance = \"none\"\n");
    for _ in 0..50 {
        assert_eq!(ask(&daemon, "RCPT", "ben@example.org", 10_000), "DUNNO");
    }
    assert_eq!(ask(&daemon, "END-OF-MESSAGE", "ben@example.org", 6_000), "DUNNO");
    assert_eq!(ask(&daemon, "RCPT", "ben@example.org", 4_000), "DUNNO");
    let full = "452 4.2.2 Mailbox has no room for this message, try again later";
    assert_eq!(ask(&daemon, "END-OF-MESSAGE", "ben@example.org", 6_000), full);
    // The store reports it: the room is used now instead of held.
    put_message(&daemon.maildir("example.org", "ben"), "1.M1.h", 6_100, "Subject: here it is");
    until("the message is measured", || used(&daemon, "ben@example.org", "default") == (6_100, 1));
    assert_eq!(ask(&daemon, "RCPT", "ben@example.org", 4_100), "DUNNO");
}

#[test]
fn everything_is_known_again_after_a_restart_and_after_kill_9() {
    let daemon = Daemon::prepare(LDIF, "[enforcement]\ngrace_period = \"1h\"\n");
    put_message(&daemon.maildir("example.org", "ben"), "1.M1.h", 11_000, "Subject: much");
    let mut daemon = daemon;
    daemon.run();
    daemon.ok(&["resync", "--all"]);
    let before = daemon.json(&["show", "ben@example.org"]);
    assert_eq!(before["standing"], "over");
    for signal in ["TERM", "KILL", "INT"] {
        let ended = daemon.stop(signal);
        assert_eq!(ended.success(), signal != "KILL", "{signal}: {ended}");
        assert!(signal == "KILL" || !daemon.path("policy.sock").exists(), "the socket is gone with the daemon");
        fs::rename(daemon.path("mail"), daemon.path("away")).unwrap();
        daemon.run();
        let after = daemon.json(&["show", "ben@example.org"]);
        assert_eq!(after["since"], before["since"], "the grace clock goes on after {signal}");
        assert_eq!(after["buckets"], before["buckets"]);
        fs::rename(daemon.path("away"), daemon.path("mail")).unwrap();
    }
}

#[test]
fn whoever_is_answered_may_end_it_in_order() {
    let mut daemon = Daemon::prepare(LDIF, TYPES);
    for round in 0..10 {
        let log = fs::File::create(daemon.path("daemon.log")).unwrap();
        let mut serving = daemon.command(&["serve"]).stderr(log).spawn().unwrap();
        until("somebody is answered", || {
            let Ok(stream) = UnixStream::connect(daemon.path("policy.sock")) else { return false };
            let asked = (&stream).write_all(request("RCPT", "ben@example.org", 1, "").as_bytes());
            let mut said = [0; 7];
            asked.is_ok() && (&stream).read_exact(&mut said).is_ok() && said == *b"action="
        });
        assert!(Command::new("kill").arg(serving.id().to_string()).status().unwrap().success());
        let ended = serving.wait().unwrap();
        assert!(ended.success(), "round {round}: {ended}\n{}", daemon.log());
    }
    daemon.run();
    assert!(daemon.stop("TERM").success());
}

#[test]
fn a_signal_during_the_start_is_an_orderly_end_too() {
    let daemon = Daemon::prepare(LDIF, "listen = [\"127.0.0.1:0\"]");
    let token = daemon.path("token");
    // The start waits at this pipe until somebody writes into it: the sockets are there and nobody is answered.
    assert!(Command::new("mkfifo").arg(&token).status().unwrap().success());
    daemon.configure("listen = [\"127.0.0.1:0\"]", &format!("listen = [\"127.0.0.1:0\"]\ntoken_file = {token:?}"));
    for signal in ["TERM", "INT"] {
        let log = fs::File::create(daemon.path("daemon.log")).unwrap();
        let mut starting = daemon.command(&["serve"]).stderr(log).spawn().unwrap();
        let mut pipe = fs::OpenOptions::new().write(true).open(&token).unwrap();
        assert!(daemon.path("api.sock").exists());
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &starting.id().to_string()]).status().unwrap().success()
        );
        pipe.write_all(b"0123456789abcdef").unwrap();
        drop(pipe);
        let ended = starting.wait().unwrap();
        assert!(ended.success() && daemon.log().contains("event=stopped"), "{signal}: {ended}\n{}", daemon.log());
        assert!(!daemon.path("api.sock").exists(), "{signal}: the socket is gone with the daemon");
    }
    assert!(daemon.ok(&["check", "--offline", "--format", "csv"]).contains("ben@example.org"), "the ledger was closed");
}

#[test]
fn a_start_without_a_directory_refuses_nobody_or_puts_everybody_off() {
    for (on_failure, expected) in [("dunno", "DUNNO"), ("defer", "451 4.3.0 Quota is not known yet, try again later")] {
        let mut daemon = Daemon::prepare(LDIF, "");
        daemon.configure("[policy]\n", &format!("[policy]\non_failure = \"{on_failure}\"\n"));
        fs::rename(daemon.path("organisation.ldif"), daemon.path("aside.ldif")).unwrap();
        daemon.run_unwell();
        for state in ["RCPT", "END-OF-MESSAGE"] {
            assert_eq!(ask(&daemon, state, "ben@example.org", 20_000), expected);
        }
        let health = daemon.health().unwrap();
        assert_eq!(health["reasons"][0], "the directory has not been loaded yet");
        assert_eq!(daemon.log().matches("event=not-loaded").count(), if on_failure == "defer" { 2 } else { 0 });
        fs::rename(daemon.path("aside.ldif"), daemon.path("organisation.ldif")).unwrap();
        until("the directory is taken up by itself", || daemon.health().unwrap()["status"] == "ok");
        let larger = "552 5.2.3 Message is larger than the mailbox may hold";
        assert_eq!(ask(&daemon, "RCPT", "ben@example.org", 20_000), larger);
    }
}

/// The writer replaces what the link leads to; see `a_link_stays_a_link`.
#[test]
fn doctor_looks_at_the_folder_that_statuses_are_written_in() {
    let daemon = Daemon::prepare(LDIF, "");
    let (link, real) = (daemon.path("organisation.ldif"), daemon.path("real"));
    fs::create_dir(&real).unwrap();
    fs::rename(&link, real.join("kept.ldif")).unwrap();
    std::os::unix::fs::symlink("real/kept.ldif", &link).unwrap();
    let found = String::from_utf8(daemon.output(&["doctor"]).stdout).unwrap();
    let real = fs::canonicalize(real).unwrap();
    assert!(found.contains(&format!("{}: statuses can be written", real.display())), "{found}");
}

#[test]
fn a_second_daemon_is_refused_and_harms_nothing() {
    let daemon = Daemon::start(LDIF, "");
    let second = daemon.output(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("cannot listen at"), "{said}");
    let offline = daemon.output(&["show", "ben@example.org", "--offline"]);
    let said = String::from_utf8_lossy(&offline.stderr).into_owned();
    assert!(said.contains("in use by another process"), "{said}");
    assert_eq!(ask(&daemon, "RCPT", "ben@example.org", 1), "DUNNO");
}

#[test]
fn a_reload_takes_over_what_is_good_and_keeps_the_old_for_what_is_bad() {
    let daemon = Daemon::start(LDIF, "[policy.texts]\nlarger_than_limit = \"552 5.2.3 Too big\"\n");
    let big = || ask(&daemon, "RCPT", "ben@example.org", 20_000);
    assert_eq!(big(), "552 5.2.3 Too big");
    let file = daemon.path("mailquotad.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("552 5.2.3 Too big", "452 5.2.3 Mixed")).unwrap();
    daemon.signal("HUP");
    until("the bad file is reported", || daemon.log().contains("event=reload-failed"));
    assert!(daemon.log().contains("policy.texts.larger_than_limit"), "{}", daemon.log());
    assert_eq!(big(), "552 5.2.3 Too big");
    fs::write(&file, good.replace("Too big", "Far too big")).unwrap();
    daemon.signal("HUP");
    until("the new text is in force", || big() == "552 5.2.3 Far too big");
    fs::write(&file, good.replace("measure_after_delivery = \"100ms\"", "measure_after_delivery = \"200ms\"")).unwrap();
    daemon.signal("HUP");
    let told = "restart_needed_for=mailstore.measure_after_delivery";
    until("it is said what needs a restart", || daemon.log().contains(told));
    // Entries are understood as they were at the start until then.
    let limit = || daemon.json(&["show", "ben@example.org"])["buckets"][0]["limit"]["bytes"].clone();
    assert_eq!(limit(), 10 * 1024);
    fs::write(&file, format!("{good}\n[quota]\nunits = \"decimal\"\nmax_message_size = \"20K\"\n")).unwrap();
    daemon.signal("HUP");
    until("that needs a restart as well", || daemon.log().contains("restart_needed_for=quota.units"));
    daemon.edit_ldif(|text| text.replace("mailQuota: 10K", "mailQuota: 20K"));
    until("the new quota is in force", || limit() != 10 * 1024);
    assert_eq!(limit(), 20 * 1024);
    // And so are sizes of the configuration.
    assert_eq!(ask(&daemon, "RCPT", "anna@example.org", 20 * 1024), "DUNNO");
    assert!(ask(&daemon, "RCPT", "anna@example.org", 20 * 1024 + 1).starts_with("552 5.3.4"));
}

#[test]
fn a_new_token_of_the_api_is_in_force_after_a_reload() {
    let port = free_port();
    let mut daemon = Daemon::prepare(LDIF, &format!("listen = \"127.0.0.1:{port}\"\ntoken_file = \"DIR/token\""));
    let (first, second) = ("the-first-of-the-tokens", "the-second-of-the-tokens");
    fs::write(daemon.path("token"), first).unwrap();
    daemon.run();
    let code = |token: &str| {
        let url = format!("http://127.0.0.1:{port}/v1/health");
        let bearer = format!("Authorization: Bearer {token}");
        let args = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", &bearer, &url];
        String::from_utf8(Command::new("curl").args(args).output().unwrap().stdout).unwrap()
    };
    assert_eq!((code(first), code(second)), ("200".into(), "401".into()));
    // One that would not do at a start changes nothing.
    fs::write(daemon.path("token"), "short").unwrap();
    daemon.signal("HUP");
    until("it is refused", || daemon.log().contains("a token has at least 16 characters"));
    assert_eq!((code(first), code("short")), ("200".into(), "401".into()));
    fs::write(daemon.path("token"), format!("{second}\n")).unwrap();
    daemon.signal("HUP");
    until("the new one is in force", || code(second) == "200");
    assert_eq!(code(first), "401");
}

/// The first quota finds nothing watched; what cannot be watched is said then, and not before anybody cares.
#[test]
fn a_queue_is_watched_from_the_first_quota_on() {
    let queue = "[[queue.source]]\nname = \"here\"\ncommand = [\"true\"]\nspool = \"DIR/none\"\n";
    let daemon = Daemon::start(LDIF, queue);
    let quota = "[[queue.quota]]\nname = \"all\"\nmessages = 1000\n";
    assert!(!daemon.log().contains("event=queue-unwatched"), "{}", daemon.log());
    daemon.configure("[[queue.source]]", &format!("{quota}[[queue.source]]"));
    daemon.signal("HUP");
    until("the folders of its queue are looked for", || daemon.log().contains("event=queue-unwatched"));
    assert!(!daemon.log().contains("restart_needed_for"), "{}", daemon.log());
}

#[test]
fn the_unix_socket_answers_too_and_garbage_is_hung_up_on() {
    let daemon = Daemon::start(LDIF, "");
    let mut stream = UnixStream::connect(daemon.path("policy.sock")).unwrap();
    stream.write_all(request("RCPT", "ben@example.org", 1, "").repeat(3).as_bytes()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..3 {
        assert_eq!(answer(&mut reader), "DUNNO");
    }
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "disconnected without a reply");
    until("it is logged", || daemon.log().contains("event=policy_garbage") || daemon.log().contains("event=garbage"));
}

#[test]
fn commands_say_what_is_wrong_and_how_it_ended() {
    let daemon = Daemon::start(LDIF, "");
    let said = |args: &[&str]| {
        let output = daemon.output(args);
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = said(&["show", "nobody@example.org"]);
    assert_eq!(code, 1);
    assert!(text.contains("nobody@example.org: no such account"), "{text}");
    let (code, text) = said(&["set", "ben@example.org", "--quota", "10X"]);
    assert!(code == 1 && text.contains("unknown unit `X`"), "{code} {text}");
    assert_eq!(said(&["resync", "nobody@example.org"]).0, 1);
    assert_eq!(said(&["frobnicate"]).0, 2);

    daemon.ok(&["set", "ben@example.org", "--quota", "20K", "--messages", "7"]);
    until("the quota is in force", || {
        let limit = &daemon.json(&["show", "ben@example.org"])["buckets"][0]["limit"];
        limit["bytes"] == 20 * 1024 && limit["messages"] == 7
    });
    assert_eq!(daemon.ldif(), LDIF.replacen("mailQuota: 10K\n", "mailQuota: 20K\nmailMsgQuota: 7\n", 1));
    assert!(
        daemon
            .ok(&["check", "--format", "csv"])
            .lines()
            .any(|line| line.starts_with("account,ben@example.org,default,"))
    );
    for format in ["text", "csv", "json"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = daemon.command(&["check", "--format", format]).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code() == Some(1) && told.contains("No space left"), "{format}: {ended:?}");
    }
    let lines = daemon.ok(&["check", "--format", "json"]);
    assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{lines}");
}
