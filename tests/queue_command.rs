//! A program that prints the queue, and does not do as it should.

mod support {
    pub mod daemon;
    pub mod port;
    pub mod wait;
}

use std::sync::mpsc;
use std::time::Duration;

use mailquotad::mailqueue::{Command, CommandOptions, MailQueue, MailQueueError, Scan};
use support::daemon::Daemon;
use support::wait::until;

const LISTED: &str = r#"{"queue_name": "deferred", "queue_id": "AB12", "arrival_time": 1, "message_size": 10, "sender": "a@example.org", "recipients": [{"address": "b@example.net"}]}"#;

/// Scans with what the shell makes of `script`, in a thread that may hang without holding up the test.
fn scan(script: &str, timeout: Duration) -> Result<Scan, MailQueueError> {
    let line = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let (done, scanned) = mpsc::channel();
    std::thread::spawn(move || done.send(Command::new(CommandOptions { line, timeout }).scan(&mut |_| {})));
    scanned.recv_timeout(Duration::from_secs(60)).expect("a scan that comes to an end")
}

fn broken_off(scanned: Result<Scan, MailQueueError>) -> String {
    match scanned {
        Err(MailQueueError::BrokenOff { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_script_has_started_does_not_outlive_the_timeout() {
    for script in ["sleep 3600", "sleep 3600; true", "sleep 3600 &", "sleep 3600 & wait"] {
        let why = broken_off(scan(script, Duration::from_millis(100)));
        assert_eq!(why, "it was not done within 100ms", "{script}");
    }
}

#[test]
fn whom_it_leaves_behind_with_its_standard_error_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("left");
    let script = format!("sleep 3600 >&- & echo $! >{}; echo '{LISTED}'", left.display());
    let scanned = scan(&script, Duration::from_secs(600));
    let left = std::fs::read_to_string(left).unwrap();
    std::process::Command::new("kill").arg(left.trim()).status().unwrap();
    assert_eq!(scanned.unwrap(), Scan { messages: 1, unread: 0 });
}

/// In a session of his own nobody's time-out reaches him, and he holds both ends of us. He goes on until he finds that
/// nobody listens any more, which is where he says so.
#[test]
fn whom_the_timeout_does_not_reach_is_not_listened_to_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("left");
    let talk = "trap '' PIPE; while /bin/echo x; do sleep 0.05; done; while /bin/echo x >&2; do sleep 0.05; done";
    let script = format!("setsid /bin/sh -c \"{talk}; : >{}\" &", left.display());
    let why = broken_off(scan(&script, Duration::from_millis(100)));
    assert_eq!(why, "it was not done within 100ms");
    until("nobody listens to him", || left.exists());
}

#[test]
fn a_daemon_reads_on_and_ends_in_order_whomever_its_command_leaves_behind() {
    // As long as the folder is there, and so is the test.
    let left = "setsid /bin/sh -c 'while test -e DIR/mailquotad.toml; do sleep 0.2; done' &";
    let mut daemon = Daemon::prepare(
        "",
        &format!(
            "[queue]\ninterval = \"1s\"\ntimeout = \"100ms\"\n\
             [[queue.quota]]\nname = \"all\"\nmessages = 10\n\
             [[queue.source]]\nname = \"mx\"\ncommand = [\"/bin/sh\", \"-c\", \"{left}\"]\n"
        ),
    );
    daemon.run_unwell();
    let failed = "mailquotad_queue_reads_total{source=\"mx\",result=\"failed\"}";
    until("the queue is read again and again", || daemon.metric(failed).is_some_and(|failed| failed >= 2));
    let status = daemon.stop("TERM");
    assert!(status.success() && daemon.log().contains("event=stopped"), "{status}");
}

#[test]
fn a_failure_is_told_in_the_programs_own_last_words() {
    match scan("echo one >&2; echo 'mail system is down' >&2; exit 69", Duration::from_secs(600)) {
        Err(MailQueueError::Unreachable { why, .. }) => assert_eq!(why, "exit status: 69: mail system is down"),
        other => panic!("{other:?}"),
    }
}
