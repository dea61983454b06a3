//! Postfix in front and Dovecot 2.3 behind: what is accepted when there is little room left, and what still works
//! in a mailbox that is over its quota.

mod support {
    pub mod api;
    pub mod daemon;
    pub mod dovecot;
    pub mod imap;
    pub mod port;
    pub mod postfix;
    pub mod smtp;
    pub mod spool;
    pub mod wait;
}

use std::sync::atomic::{AtomicU64, Ordering};

use support::api::Api;
use support::daemon::{Daemon, user};
use support::dovecot::Dovecot;
use support::imap::message;
use support::postfix::Postfix;
use support::smtp::Smtp;
use support::spool::cells_on_disk;
use support::wait::until;

const USAGE: &str = include_str!("../packaging/dovecot/2.3/usage.conf");

const ANNA: &str = "anna@example.org";
const MB: u64 = 1 << 20;

struct Site {
    postfix: Postfix,
    dovecot: Dovecot,
    api: Api,
    daemon: Daemon,
}

impl Site {
    fn start(quota: &str, more: &str) -> Site {
        let mut daemon = Daemon::hearing_dovecot(&user("anna", quota), more);
        daemon.run();
        let (root, mail) = (daemon.folder.path(), daemon.path("mail"));
        let dovecot = Dovecot::start(root, &mail, &[ANNA], &[USAGE], "");
        let policy = format!("inet:127.0.0.1:{}", daemon.port);
        let postfix = Postfix::start_lmtp(root, &mail, &[ANNA], &policy, dovecot.lmtp);
        let api = Api::connect(&daemon.path("api.sock"));
        Site { postfix, dovecot, api, daemon }
    }

    /// Messages that lie in the mailbox.
    fn stored(&self) -> u64 {
        cells_on_disk(&self.daemon.path("mail/example.org/anna")).values().map(|usage| usage.1).sum()
    }
}

#[test]
fn of_200_messages_at_once_no_more_are_accepted_than_fit() {
    let mut site = Site::start("100M", "[enforcement]\nallowance = \"none\"\n");
    let mut imap = site.dovecot.login(ANNA);
    for _ in 0..5 {
        assert!(imap.append("INBOX", &message(10 * MB as usize)).unwrap().contains(" OK"));
    }
    until("50 MB are left", || site.api.cell(ANNA, "INBOX") == (50 * MB, 5));
    let (accepted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let port = site.postfix.port;
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let mut smtp = Smtp::connect(port);
                    let reply = smtp.send(&[ANNA], MB as usize);
                    let counted = if reply.starts_with("250") { &accepted } else { &refused };
                    assert!(reply.starts_with("250") || reply.starts_with("452 4.2.2"), "{reply}");
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (accepted, refused) = (accepted.into_inner(), refused.into_inner());
    println!("200 messages of 1 MB at once, 50 MB left: {accepted} accepted, {refused} deferred");
    assert_eq!(accepted + refused, 200);
    // A few less than 50: each grows by its Received lines on the way, and those that have arrived count whole.
    assert!((45..=50).contains(&accepted), "{accepted} were accepted");
    until("all that was accepted is stored", || site.stored() == 5 + accepted);
    until("and counted", || site.api.cell(ANNA, "INBOX").1 == 5 + accepted);
}

#[test]
fn a_mailbox_over_its_quota_takes_what_its_rules_say() {
    let rules = "[quota]\nrules = [\"Trash:storage=+100M\"]\nextension_folders = true\n";
    let mut site = Site::start("100K", &format!("{rules}[enforcement]\ngrace_period = \"1h\"\n"));
    let mut imap = site.dovecot.login(ANNA);
    imap.ok("CREATE Trash");
    assert!(imap.append("INBOX", &message(60_000)).unwrap().contains(" OK"));
    assert!(imap.append("INBOX", &message(60_000)).unwrap().contains(" OK"));
    until("the account is over", || site.daemon.json(&["show", ANNA])["standing"] == "over");
    let mut smtp = Smtp::connect(site.postfix.port);
    let refusal = smtp.send(&[ANNA], 1000);
    assert!(refusal.starts_with("452 4.2.2"), "{refusal}");
    // There is room for what is addressed to Trash, and it lands there.
    let answer = smtp.send(&["anna+Trash@example.org"], 1000);
    assert!(answer.starts_with("250"), "{answer}");
    until("it lies in Trash", || site.api.cell(ANNA, "Trash").1 == 1);
    assert_eq!(site.daemon.json(&["explain", "anna+Trash@example.org"])["verdict"], "pass");
    imap.ok("SELECT Trash");
    imap.ok("STORE 1 +FLAGS (\\Deleted)");
    imap.ok("EXPUNGE");
    // The rule gives Trash room of its own, and moving there makes room for new mail.
    imap.ok("SELECT INBOX");
    imap.ok("MOVE 1 Trash");
    until("moved", || site.api.cell(ANNA, "Trash") == (60_000, 1) && site.api.cell(ANNA, "INBOX") == (60_000, 1));
    imap.ok("MOVE 1 Trash");
    until("all moved", || site.api.cell(ANNA, "Trash") == (120_000, 2));
}

#[test]
fn a_lowered_quota_counts_at_once() {
    let mut site = Site::start("1M", "[enforcement]\ngrace_period = \"0s\"\n");
    let mut imap = site.dovecot.login(ANNA);
    assert!(imap.append("INBOX", &message(200_000)).unwrap().contains(" OK"));
    until("counted", || site.api.cell(ANNA, "INBOX") == (200_000, 1));
    let mut smtp = Smtp::connect(site.postfix.port);
    assert!(smtp.send(&[ANNA], 1000).starts_with("250"));
    // Dovecot would notice with the next message; here the limit alone does it.
    site.daemon.edit_ldif(|ldif| ldif.replace("mailQuota: 1M", "mailQuota: 100K"));
    until("the status is written", || site.daemon.ldif().contains("mailUserStatus: overquota"));
    let refusal = smtp.send(&[ANNA], 1000);
    assert!(refusal.starts_with("552 5.2.2"), "{refusal}");
    assert_eq!(site.daemon.json(&["show", ANNA])["standing"], "blocked");
}
