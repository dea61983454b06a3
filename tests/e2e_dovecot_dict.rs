//! Dovecot 2.3 asks the dictionary: `quota = dict`, SETQUOTA by admins, and mailboxes that only Dovecot can read.

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

use support::api::Api;
use support::daemon::{Daemon, user};
use support::dovecot::Dovecot;
use support::imap::message;
use support::lmtp::deliver;
use support::spool::cells_on_disk;
use support::wait::until;

const USAGE: &str = include_str!("../packaging/dovecot/2.3/usage.conf");
const DICT: &str = include_str!("../packaging/dovecot/2.3/dict.conf");
const SETQUOTA: &str = include_str!("../packaging/dovecot/2.3/setquota.conf");

const ANNA: &str = "anna@example.org";

fn daemon(more: &str) -> Daemon {
    let mut daemon = Daemon::hearing_dovecot(&user("anna", "1G;Archive%100M"), more);
    daemon.run();
    daemon
}

#[test]
fn dovecot_is_told_how_much_there_is_and_refuses_by_it() {
    let daemon = daemon("");
    // A limit of 100 KiB instead of the 1 GiB that the page shows.
    let dict = DICT.replace("storage=1G", "storage=100K");
    let dovecot = Dovecot::start(daemon.folder.path(), &daemon.path("mail"), &[ANNA], &[&dict], "");
    let mut api = Api::connect(&daemon.path("api.sock"));
    let mut imap = dovecot.login(ANNA);
    // Nothing has been measured: Dovecot counts, and goes on from that.
    assert!(imap.append("INBOX", &message(50_000)).unwrap().contains(" OK"));
    until("the first message is counted", || api.cell(ANNA, "INBOX") == (50_000, 1));
    assert!(imap.ok("GETQUOTAROOT INBOX").contains("(STORAGE 49 100)"));
    // What it has just added it sees at once, measured or not.
    assert!(imap.append("INBOX", &message(50_000)).unwrap().contains(" OK"));
    let refused = imap.append("INBOX", &message(50_000)).unwrap();
    assert!(refused.contains("[OVERQUOTA]"), "{refused}");
    until("the second message is counted", || api.cell(ANNA, "INBOX") == (100_000, 2));
    imap.ok("SELECT INBOX");
    imap.ok("STORE 1 +FLAGS (\\Deleted)");
    imap.ok("EXPUNGE");
    until("the expunge is counted", || api.cell(ANNA, "INBOX") == (50_000, 1));
    until("and told", || imap.ok("GETQUOTAROOT INBOX").contains("(STORAGE 49 100)"));
    // Recounting sets both numbers.
    dovecot.doveadm_ok(&["quota", "recalc", "-u", ANNA]);
    until("the same", || imap.ok("GETQUOTAROOT INBOX").contains("(STORAGE 49 100)"));
    assert_eq!(api.cells(ANNA), cells_on_disk(&daemon.path("mail/example.org/anna")));
    assert!(!dovecot.log().contains("dict"), "Dovecot had trouble:\n{}", dovecot.log());
}

#[test]
fn an_admin_sets_quotas_by_imap_and_nobody_else_does() {
    let user = |id: &str| format!("limit_setters = [\"{id}\"]\n");
    for (setters, heard) in [(user("nobody"), true), (String::new(), false), (user("daemon"), false)] {
        let daemon = daemon(&setters);
        let dovecot = Dovecot::start(daemon.folder.path(), &daemon.path("mail"), &[ANNA], &[USAGE, SETQUOTA], "");
        let ldif = daemon.ldif();
        let mut imap = dovecot.login(ANNA);
        let refused = imap.ask("SETQUOTA \"User quota\" (STORAGE 2048)").unwrap();
        assert!(refused.contains("NO Quota can be changed only by admin"), "{refused}");
        dovecot.allow_admin(ANNA);
        let mut answer = String::new();
        until("anna is an admin", || {
            answer = dovecot.login(ANNA).ask("SETQUOTA \"User quota\" (STORAGE 2048 MESSAGE 500)").unwrap();
            !answer.contains("only by admin")
        });
        if heard {
            assert!(answer.contains(" OK"), "{answer}{}", dovecot.log());
            let ldif = daemon.ldif();
            assert!(ldif.contains("mailQuota: 2M;Archive%100M\n") && ldif.contains("mailMsgQuota: 500\n"), "{ldif}");
            until("the limit is in force", || {
                daemon.json(&["show", ANNA])["buckets"][0]["limit"]
                    == serde_json::json!({"bytes": 2 << 20, "messages": 500})
            });
        } else {
            assert!(!answer.contains(" OK"), "{answer}");
            assert_eq!(daemon.ldif(), ldif);
            until("it is in the log", || daemon.log().contains("event=limit-refused"));
        }
    }
}

#[test]
fn what_cannot_be_measured_is_what_dovecot_says() {
    let daemon = daemon("");
    let maildir =
        format!("path = \"{}/mail/%d/%n\"\nmeasure_after_delivery = \"100ms\"\n", daemon.folder.path().display());
    let maildir = maildir + "watch = \"off\"\nsizes = \"virtual\"\n";
    daemon.configure(&maildir, "kind = \"reported\"\n");
    let mut daemon = daemon;
    assert!(daemon.stop("TERM").success());
    daemon.run();
    let more = format!("mail_location = mdbox:{}/mail/%d/%n\n", daemon.folder.path().display());
    let dovecot = Dovecot::start(daemon.folder.path(), &daemon.path("mail"), &[ANNA], &[USAGE], &more);
    let mut api = Api::connect(&daemon.path("api.sock"));
    for messages in 1..=3 {
        deliver(dovecot.lmtp, ANNA, &message(4000)).unwrap();
        until("the total is told", || api.cell(ANNA, "INBOX").1 == messages);
    }
    let said = dovecot.doveadm_ok(&["-f", "tab", "mailbox", "status", "-u", ANNA, "vsize", "INBOX"]);
    let size: u64 = said.lines().last().unwrap().split('\t').next_back().unwrap().parse().unwrap();
    assert_eq!(api.cell(ANNA, "INBOX"), (size, 3));
    dovecot.doveadm_ok(&["expunge", "-u", ANNA, "mailbox", "INBOX", "all"]);
    until("nothing is left", || api.cell(ANNA, "INBOX") == (0, 0));
    // There is nothing to measure, and asking for it does no harm.
    deliver(dovecot.lmtp, ANNA, &message(4000)).unwrap();
    until("one more", || api.cell(ANNA, "INBOX").1 == 1);
    daemon.ok(&["resync", "--all"]);
    assert_eq!(api.cell(ANNA, "INBOX").1, 1);
    daemon.stop("KILL");
    daemon.run();
    assert_eq!(Api::connect(&daemon.path("api.sock")).cell(ANNA, "INBOX").1, 1, "it survives");
}
