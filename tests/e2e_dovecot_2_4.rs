//! Dovecot 2.4 as the store, with the configuration that we ship for it.

mod support {
    pub mod api;
    pub mod daemon;
    pub mod dovecot_2_4;
    pub mod imap;
    pub mod lmtp;
    pub mod port;
    pub mod script;
    pub mod spool;
    pub mod wait;
}

use support::api::Api;
use support::daemon::{Daemon, user};
use support::dovecot_2_4::Dovecot24;
use support::imap::message;
use support::lmtp::deliver;
use support::script::Script;
use support::spool::cells_on_disk;
use support::wait::until;

const USAGE: &str = include_str!("../packaging/dovecot/2.4/usage.conf");
const WARNINGS: &str = include_str!("../packaging/dovecot/2.4/warnings.conf");

const ANNA: &str = "anna@example.org";

#[test]
fn every_way_of_changing_a_mailbox_shows_in_the_right_cell() {
    let mut dovecot = Dovecot24::prepare();
    let mut daemon = Daemon::prepare(&user("anna", "1G"), "");
    let mail = format!("path = \"{}/mail/%d/%n\"", daemon.folder.path().display());
    daemon.configure(&mail, &format!("path = \"{}/%d/%n\"\nsizes = \"virtual\"", dovecot.path("mail").display()));
    let socket = dovecot.path("dict.sock");
    let listen = format!("[dovecot]\nlisten = \"unix:{}\"\nmode = \"0666\"\n[http]", socket.display());
    daemon.configure("[http]", &listen);
    daemon.run();
    dovecot.start(&[USAGE]);
    let mut api = Api::connect(&daemon.path("api.sock"));
    let mut holds = |folder: &str, usage: (u64, u64)| {
        until(&format!("{folder} holds {usage:?}"), || api.cell(ANNA, folder) == usage);
    };
    let mut imap = dovecot.login(ANNA);
    for folder in ["Trash", "Archive", "Sub", "Sub/below"] {
        imap.ok(&format!("CREATE {folder}"));
    }
    for (folder, size) in [("INBOX", 1000), ("INBOX", 2000), ("Sub/below", 3000)] {
        assert!(imap.append(folder, &message(size)).unwrap().contains(" OK"));
    }
    holds("INBOX", (3000, 2));
    holds("Sub/below", (3000, 1));
    imap.ok("SELECT INBOX");
    imap.ok("COPY 1 Archive");
    holds("Archive", (1000, 1));
    imap.ok("MOVE 2 Trash");
    holds("Trash", (2000, 1));
    holds("INBOX", (1000, 1));
    imap.ok("STORE 1 +FLAGS (\\Deleted)");
    imap.ok("EXPUNGE");
    holds("INBOX", (0, 0));
    imap.ok("RENAME Sub New");
    holds("New/below", (3000, 1));
    holds("Sub/below", (0, 0));
    deliver(dovecot.lmtp, ANNA, &message(4000)).unwrap();
    let disk = || cells_on_disk(&dovecot.maildir("example.org", "anna"));
    holds("INBOX", disk()["INBOX"]);
    let expunged = dovecot.run("doveadm", &["expunge", "-u", ANNA, "mailbox", "Trash", "all"]);
    assert!(expunged.status.success(), "{}", String::from_utf8_lossy(&expunged.stderr));
    holds("Trash", (0, 0));
    // What was told is what lies there, and a scan changes nothing.
    assert_eq!(api.cells(ANNA), disk());
    daemon.ok(&["resync", ANNA]);
    assert_eq!(api.cells(ANNA), disk());
    // The totals of quota_clone have come as well.
    drop(imap);
    let agreed = "mailquotad_dict_totals_total{result=\"agreed\"}";
    until("a total agrees", || daemon.metric(agreed).is_some());
    assert!(!dovecot.log().contains("Error"), "Dovecot had trouble:\n{}", dovecot.log());
}

#[tokio::test]
async fn its_script_is_given_every_word_as_it_is() {
    let mut dovecot = Dovecot24::prepare();
    let script = Script::put(&dovecot.path(""));
    dovecot.start(&["service quota-warning {\n  executable = script /run/mailquotad/script/run\n  user = nobody\n  \
                     unix_listener /run/mailquotad/called {\n    mode = 0666\n  }\n}\n"]);
    let socket = dovecot.path("called");
    // A connection without a call is an error to it.
    until("the script can be called", || socket.exists());
    script.try_every_word(&socket).await;
}

#[test]
fn its_own_warnings_are_heard() {
    let mut dovecot = Dovecot24::prepare();
    let mut daemon = Daemon::prepare(&user("anna", "1G"), "");
    let mail = format!("path = \"{}/mail/%d/%n\"", daemon.folder.path().display());
    daemon.configure(&mail, &format!("path = \"{}/%d/%n\"\nsizes = \"virtual\"", dovecot.path("mail").display()));
    let socket = dovecot.path("quota-warning");
    let listen = format!("[warnings]\nlisten = \"unix:{}\"\nmode = \"0666\"\n[http]", socket.display());
    daemon.configure("[http]", &listen);
    daemon.run();
    // Nothing but the warning tells of mail here.
    let quota = "mail_plugins {\n  quota = yes\n}\nquota \"User quota\" {\n  storage_size = 100K\n}\n";
    dovecot.start(&[quota, WARNINGS]);
    deliver(dovecot.lmtp, ANNA, &message(50_000)).unwrap();
    deliver(dovecot.lmtp, ANNA, &message(48_000)).unwrap();
    until("Dovecot's warning is heard", || daemon.log().contains("arguments=\"95 anna@example.org\" known=true"));
    let mut api = Api::connect(&daemon.path("api.sock"));
    until("the mailbox is measured", || api.cell(ANNA, "INBOX").1 == 2);
    assert!(!dovecot.log().contains("Error"), "Dovecot had trouble:\n{}", dovecot.log());
}
