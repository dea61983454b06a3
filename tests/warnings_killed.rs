//! Warnings over the death of the daemon: what waits is done by the next life, what is done is not done again, and
//! what moved while nobody looked is found at the start.

#![allow(dead_code, reason = "the support modules serve several tests")]

mod support {
    pub mod daemon;
    pub mod port;
    pub mod wait;
    pub mod webhook;
}

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;

use support::daemon::{Daemon, put_message, user};
use support::port::free_port;
use support::wait::until;
use support::webhook::{answer, body};

const USERS: [&str; 4] = ["anna", "ben", "carl", "dora"];

/// A daemon whose configuration has `DIR` where its folder is meant, and four users who hold 10 KB each.
fn daemon(more: &str) -> Daemon {
    let mut daemon = Daemon::prepare(&USERS.map(|name| user(name, "100K")).concat(), "");
    configure(&daemon, more);
    fs::create_dir(daemon.path("out")).unwrap();
    for user in USERS {
        put_message(&daemon.maildir("example.org", user), "1", 10_240, "Subject: x");
    }
    daemon.run();
    daemon.ok(&["resync", "--all"]);
    daemon
}

/// Puts `more` at the end of the configuration, in the place of what was put there before.
fn configure(daemon: &Daemon, more: &str) {
    const MARK: &str = "# Warnings.\n";
    let file = daemon.path("mailquotad.toml");
    let config = fs::read_to_string(&file).unwrap();
    let own = config.split(MARK).next().unwrap();
    let more = more.replace("DIR", &daemon.folder.path().display().to_string());
    fs::write(file, format!("{own}{MARK}{more}")).unwrap();
}

fn fill(daemon: &Daemon, user: &str, size: usize) {
    put_message(&daemon.maildir("example.org", user), "2", size, "Subject: x");
}

/// How often each line was written.
fn lines(daemon: &Daemon, name: &str) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(daemon.path("out").join(name)).unwrap_or_default();
    text.lines().fold(BTreeMap::new(), |mut lines, line| {
        *lines.entry(line.to_owned()).or_default() += 1;
        lines
    })
}

fn counts(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter().map(|(line, count)| ((*line).to_owned(), *count)).collect()
}

#[test]
fn what_waits_at_a_kill_is_done_by_the_next_life_and_what_is_done_is_not() {
    // One at a time, each of which says that it has begun, waits for the gate, and says that it is done.
    let rule = "[warnings]\nat_once = 1\ntimeout = \"1h\"\n[[warnings.rule]]\nwhen = \"storage=80%\"\nrun = [\"/bin/sh\", \"-c\", \
                \"echo $0 >>DIR/out/begun; until [ -e DIR/gate ]; do sleep 0.02; done; echo $0 >>DIR/out/done\", \"%n %p\"]\n";
    let mut daemon = daemon(rule);
    for user in &USERS[..3] {
        fill(&daemon, user, 80_000);
    }
    daemon.ok(&["resync", "--all"]);
    let begun = |daemon: &Daemon| lines(daemon, "begun").into_values().sum::<usize>();
    until("the first has begun", || begun(&daemon) == 1);
    until("all are set off", || daemon.log().matches("event=warning-set-off").count() == 3);
    daemon.stop("KILL");
    daemon.run();
    until("one is begun by the second life", || begun(&daemon) == 2);
    // And a third one, for whom that changes nothing.
    daemon.stop("KILL");
    daemon.run();
    until("and by the third", || begun(&daemon) == 3);
    assert!(lines(&daemon, "done").is_empty());
    fs::write(daemon.path("gate"), "").unwrap();
    until("all are done", || lines(&daemon, "done").into_keys().eq(["anna 88", "ben 88", "carl 88"]));
    // What was interrupted was left running by the life that died, and is done once more; which one that is was up to
    // the threads that measured.
    let expected = lines(&daemon, "begun");
    assert_eq!(begun(&daemon), 5, "{expected:?}");
    until("each as often as it was begun", || lines(&daemon, "done") == expected);
    let done = || daemon.log().matches("event=warning-failed").count();
    assert_eq!(done(), 0, "{}", daemon.log());

    // What is done stays done: what comes next is the next thing that happens.
    all_is_done(&daemon);
    daemon.stop("KILL");
    daemon.run();
    fill(&daemon, "dora", 80_000);
    daemon.ok(&["resync", "dora@example.org"]);
    until("Dora is told of", || lines(&daemon, "done").contains_key("dora 88"));
    let expected: BTreeMap<_, _> = expected.into_iter().chain([("dora 88".into(), 1)]).collect();
    assert_eq!(lines(&daemon, "done"), expected);
}

/// Waits until nothing is stored that is to be done: a kill before that has it done again.
fn all_is_done(daemon: &Daemon) {
    until("all is done", || daemon.metric("mailquotad_warnings_waiting") == Some(0));
}

#[test]
fn a_webhook_that_nobody_answers_is_called_until_somebody_does() {
    let port = free_port();
    let mut daemon =
        daemon(&format!("[[warnings.rule]]\nwhen = \"storage=80%\"\nwebhook = \"http://127.0.0.1:{port}/quota\"\n"));
    fill(&daemon, "anna", 80_000);
    daemon.ok(&["resync", "--all"]);
    until("it has failed", || daemon.log().contains("event=warning-failed"));
    daemon.stop("KILL");
    daemon.run();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    // Not even then by a server that is not well.
    let mut heard = Vec::new();
    for status in ["503 Busy", "500 Oh", "204 Thanks"] {
        let (mut stream, _) = listener.accept().unwrap();
        heard.push(answer(&mut stream, status).unwrap());
    }
    assert!(heard.iter().all(|request| request.contains("anna@example.org") && body(request) == body(&heard[0])));
    // Then it is done: the next one is Ben's.
    fill(&daemon, "ben", 80_000);
    daemon.ok(&["resync", "--all"]);
    let (mut stream, _) = listener.accept().unwrap();
    assert!(answer(&mut stream, "200 OK").unwrap().contains("ben@example.org"));
}

#[test]
fn a_limit_that_moved_while_the_daemon_was_down_is_judged_at_the_start() {
    let rule = |when: &str, name: &str| {
        format!(
            "[[warnings.rule]]\nwhen = \"{when}\"\nrun = [\"/bin/sh\", \"-c\", \"echo $0 >>DIR/out/said\", \"{name} %n\"]\n"
        )
    };
    let rules = format!("[warnings]\nwhich = \"all\"\n{}{}", rule("storage=80%", "80"), rule("-storage=100%", "room"));
    let mut daemon = daemon(&rules);
    // Anna and Carl come to 60 %, Ben is over, Dora stays where she is.
    fill(&daemon, "anna", 51_200);
    fill(&daemon, "carl", 51_200);
    fill(&daemon, "ben", 102_400);
    daemon.ok(&["resync", "--all"]);
    until("Ben is told of", || lines(&daemon, "said") == counts(&[("80 ben", 1)]));
    all_is_done(&daemon);
    daemon.stop("KILL");
    let quota = |ldif: String, user: &str, quota: &str| {
        let (before, after) = ldif.split_once(&format!("mail: {user}@example.org\n")).unwrap();
        format!(
            "{before}mail: {user}@example.org\n{}",
            after.replacen("mailQuota: 100K", &format!("mailQuota: {quota}"), 1)
        )
    };
    daemon.edit_ldif(|ldif| quota(quota(ldif, "anna", "70K"), "ben", "200K"));
    daemon.run();
    let expected = counts(&[("80 anna", 1), ("80 ben", 1), ("room ben", 1)]);
    until("both are told of", || lines(&daemon, "said") == expected);
    all_is_done(&daemon);
    // A rule that is new goes off for nobody who is past it already, now or at the next start.
    daemon.stop("KILL");
    configure(&daemon, &(rules.clone() + &rule("storage=50%", "50")));
    let ready = daemon.log().matches("event=ready").count();
    for start in 1..=2 {
        daemon.run();
        until("it has judged everybody", || daemon.log().matches("event=ready").count() == ready + start);
        daemon.stop("KILL");
    }
    daemon.run();
    // But for whoever comes to it.
    fill(&daemon, "dora", 51_200);
    daemon.ok(&["resync", "--all"]);
    let expected = counts(&[("50 dora", 1), ("80 anna", 1), ("80 ben", 1), ("room ben", 1)]);
    until("Dora is told of", || lines(&daemon, "said").contains_key("50 dora"));
    assert_eq!(lines(&daemon, "said"), expected);
}
