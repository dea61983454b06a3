//! The daemon is killed again and again while it hands notices to a real Postfix: none is lost, and which of them
//! come twice.
//!
//! A message belongs to the server from the moment at which the server has stored it, and the client learns of that
//! by the reply to the end of the data. Whoever is killed between the two cannot know, and must send it again rather
//! than lose it: RFC 5321 section 4.5.3.2.6 and RFC 1047 say so, and that the server should answer quickly, for that
//! reason. Postfix does not look whether its client is still there before it takes a message over. So what it logs
//! when the kill falls into its work at the end of the data is this, and the message is delivered:
//!
//! ```text
//! smtpd[22870]: 3BC2499ADE1: client=localhost[127.0.0.1]
//! cleanup[22872]: 3BC2499ADE1: message-id=<mailquotad.1a200c2fbfe.2cbde8b872840edb365463bdfb6118a6@example.org>
//! qmgr[22707]: 3BC2499ADE1: from=<quota@example.org>, size=934, nrcpt=1 (queue active)
//! smtpd[22870]: disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 commands=4
//! virtual[22874]: 3BC2499ADE1: to=<user7@example.org>, relay=virtual, dsn=2.0.0, status=sent (delivered to maildir)
//! ```
//!
//! (There is no `quit=1`: nobody was there any more to say so. From the end of the data to its answer Postfix took
//! 3 ms.) A second way in was ours to close: Postfix asks the policy server about the end of the message, and when that
//! was the one that was killed, asks the next one a second later; see `Notices::is_left_over`.
//!
//! The Message-ID is fixed when a notice is stored, so the second copy can be told to be one. What must never be: a
//! copy that no kill between the end of the data and our record accounts for. A tap on the wire sees it.

#![allow(dead_code, reason = "the support modules serve several tests")]

mod support {
    pub mod daemon;
    pub mod port;
    pub mod postfix;
    pub mod tap;
    pub mod wait;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use support::daemon::{Daemon, put_message, user};
use support::port::free_port;
use support::postfix::{Postfix, give};
use support::tap::{Handover, Tap};
use support::wait::until;

const ROUNDS: usize = 50;

/// The Message-IDs of the notices in a mailbox, a line for each copy.
fn delivered(daemon: &Daemon, user: &str) -> Vec<String> {
    let folder = daemon.path("mail/example.org").join(user).join("new");
    let files =
        fs::read_dir(folder).into_iter().flatten().filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
    let id = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("Message-ID: "));
        line.expect("a notice has a Message-ID").to_owned()
    };
    files.filter(|text| text.contains("Auto-Submitted: auto-generated")).map(id).collect()
}

#[test]
fn fifty_kills_lose_no_notice_and_repeat_none_that_they_did_not_interrupt() {
    let names: Vec<String> = (0..ROUNDS).map(|n| format!("user{n}")).collect();
    let ldif: String = names.iter().map(|name| user(name, "10K")).collect();
    let (tapped, port) = (free_port(), free_port());
    let notify = format!(
        "[notify]\nenabled = true\nfrom = \"quota@example.org\"\npostmaster = \"nobody\"\nserver = \"127.0.0.1:{tapped}\"\n"
    );
    let mut daemon = Daemon::prepare(&ldif, &notify);
    let maildirs: Vec<_> = names.iter().map(|name| daemon.maildir("example.org", name)).collect();
    daemon.run();
    daemon.ok(&["resync", "--all"]);
    let addresses: Vec<String> = names.iter().map(|name| format!("{name}@example.org")).collect();
    let users: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let policy = format!("inet:127.0.0.1:{}", daemon.port);
    let postfix = Postfix::start_on(port, daemon.folder.path(), &daemon.path("mail"), &users, &policy);
    let tap = Tap::start(tapped, port);
    for (round, (address, maildir)) in addresses.iter().zip(&maildirs).enumerate() {
        put_message(maildir, "1", 11_000, "From: x@example.net\nSubject: x");
        give(maildir, 65534);
        let mut resync =
            daemon.command(&["resync", address]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The kill falls anywhere from before the measurement to after the delivery.
        std::thread::park_timeout(Duration::from_millis(20 + 7 * (round as u64 % 25)));
        tap.next_life();
        daemon.stop("KILL");
        let _ = resync.wait().unwrap();
        daemon.run();
    }
    daemon.ok(&["resync", "--all"]);
    until("every account has its notice", || names.iter().all(|name| !delivered(&daemon, name).is_empty()));
    until("nothing waits", || daemon.metric("mailquotad_notices_waiting") == Some(0));
    until("every connection has ended", || tap.open() == 0);

    let mut taken: BTreeMap<String, Vec<Handover>> = BTreeMap::new();
    for handover in tap.handovers().into_iter().filter(Handover::was_taken_over) {
        taken.entry(handover.message_id.clone()).or_default().push(handover);
    }
    until("Postfix has delivered what it took over", || {
        let copies: usize = names.iter().map(|name| delivered(&daemon, name).len()).sum();
        copies == taken.values().map(Vec::len).sum::<usize>()
    });
    let (mut unanswered, mut unrecorded) = (0, 0);
    for name in &names {
        let copies = delivered(&daemon, name);
        let ids: BTreeSet<&String> = copies.iter().collect();
        assert_eq!(ids.len(), 1, "{name} is told once: {copies:?}");
        let handovers = &taken[&copies[0]];
        assert_eq!(copies.len(), handovers.len(), "{name}: what Postfix took over is what arrived");
        // Each copy but the last was cut short by a kill, in a life of its own.
        let lives: BTreeSet<usize> = handovers.iter().map(|handover| handover.life).collect();
        assert_eq!(lives.len(), handovers.len(), "{name}: sent twice in one life: {handovers:?}");
        for cut in &handovers[..handovers.len() - 1] {
            match cut.handed_back {
                true => unrecorded += 1,
                false => unanswered += 1,
            }
        }
    }
    let mut waits: Vec<Duration> =
        taken.values().flatten().filter_map(|handover| handover.reply.as_ref().map(|(_, took)| *took)).collect();
    waits.sort();
    println!(
        "{ROUNDS} kills: {} notices arrived, {} copies of them again with the same Message-ID; the kill fell before \
         the server's 250 for {unanswered} and between that and our record for {unrecorded}; Postfix takes {:?} \
         (median) from the end of the data to its 250",
        names.len(),
        unanswered + unrecorded,
        waits[waits.len() / 2]
    );
    drop(postfix);
}
