//! Further ways in which Dovecot 2.3 changes mailboxes and tells of it: POP3, a dict server on another machine, and
//! folders that are somebody else's.

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

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::api::Api;
use support::daemon::{Daemon, user};
use support::dovecot::{Dovecot, PASSWORD};
use support::imap::message;
use support::lmtp::deliver;
use support::port::free_port;
use support::spool::cells_on_disk;
use support::wait::until;

const USAGE: &str = include_str!("../packaging/dovecot/2.3/usage.conf");

const AGREED: &str = "mailquotad_dict_totals_total{result=\"agreed\"}";

const ANNA: &str = "anna@example.org";
const BEN: &str = "ben@example.org";

/// A daemon that hears Dovecot at `listen`, and nothing else: the mail store is not watched.
fn daemon(listen: &str) -> Daemon {
    let listen = format!("[dovecot]\nlisten = \"{listen}\"\nmode = \"0666\"\n");
    let mut daemon = Daemon::prepare(&(user("anna", "1G") + &user("ben", "1G")), &listen);
    daemon.configure("[policy]", "sizes = \"virtual\"\n[policy]");
    daemon.run();
    daemon
}

fn dovecot(daemon: &Daemon, more: &str) -> Dovecot {
    let more = more.replace("DIR", &daemon.folder.path().display().to_string());
    Dovecot::start(daemon.folder.path(), &daemon.path("mail"), &[ANNA, BEN], &[USAGE], &more)
}

struct Pop3(BufReader<TcpStream>);

impl Pop3 {
    fn login(port: u16) -> Pop3 {
        let mut pop3 = Pop3(BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap()));
        pop3.answer("the greeting");
        pop3.ok(&format!("USER {ANNA}"));
        pop3.ok(&format!("PASS {PASSWORD}"));
        pop3
    }

    fn ok(&mut self, command: &str) -> String {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        self.answer(command)
    }

    fn answer(&mut self, to: &str) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.starts_with("+OK"), "{to}: {line}");
        line
    }
}

#[test]
fn what_is_deleted_by_pop3_shows() {
    let daemon = daemon("unix:DIR/dict.sock");
    let port = free_port();
    let dovecot = dovecot(
        &daemon,
        &format!(
            "protocols = imap lmtp pop3\nservice pop3-login {{\n  chroot =\n  inet_listener pop3 {{\n    port = {port}\n  }}\n  \
             inet_listener pop3s {{\n    port = 0\n  }}\n}}\n"
        ),
    );
    let mut api = Api::connect(&daemon.path("api.sock"));
    let disk = || cells_on_disk(&daemon.path("mail/example.org/anna"));
    for size in [1000, 2000, 4000] {
        deliver(dovecot.lmtp, ANNA, &message(size)).unwrap();
    }
    until("three messages are counted", || api.cells(ANNA) == disk() && api.cell(ANNA, "INBOX").1 == 3);
    let mut pop3 = Pop3::login(port);
    assert!(pop3.ok("STAT").starts_with(&format!("+OK 3 {}", disk()["INBOX"].0)));
    pop3.ok("DELE 1");
    pop3.ok("DELE 3");
    // Nothing goes before the session ends well.
    drop(pop3);
    let mut pop3 = Pop3::login(port);
    assert!(pop3.ok("STAT").starts_with("+OK 3 "));
    assert_eq!(api.cell(ANNA, "INBOX").1, 3);
    pop3.ok("DELE 1");
    pop3.ok("DELE 3");
    pop3.ok("QUIT");
    until("one is left", || api.cell(ANNA, "INBOX").1 == 1);
    assert_eq!(api.cells(ANNA), disk());
    daemon.ok(&["resync", ANNA]);
    assert_eq!(api.cells(ANNA), disk());
    assert!(!dovecot.log().contains("dict"), "Dovecot had trouble:\n{}", dovecot.log());
}

/// Dovecot reaches dictionaries by unix sockets only. Where mailquotad is on another machine, a relay stands between:
/// socat, or a proxy that encrypts. This is one.
fn relay(socket: &Path, port: u16) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(socket).unwrap();
    std::fs::set_permissions(socket, PermissionsExt::from_mode(0o777)).unwrap();
    let relayed = Arc::new(AtomicUsize::new(0));
    let counted = relayed.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", port))) else { continue };
            counted.fetch_add(1, Ordering::SeqCst);
            let (mut from, mut to): (UnixStream, TcpStream) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            let (mut from, mut to) = (server, client);
            std::thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    });
    relayed
}

#[test]
fn a_dict_server_over_tcp_hears_the_same() {
    let port = free_port();
    let daemon = daemon(&format!("127.0.0.1:{port}"));
    let relayed = relay(&daemon.path("dict.sock"), port);
    let dovecot = dovecot(&daemon, "");
    let mut api = Api::connect(&daemon.path("api.sock"));
    let mut imap = dovecot.login(ANNA);
    imap.ok("CREATE Trash");
    for size in [1000, 2000] {
        assert!(imap.append("INBOX", &message(size)).unwrap().contains(" OK"));
    }
    until("both are counted", || api.cell(ANNA, "INBOX") == (3000, 2));
    imap.ok("SELECT INBOX");
    imap.ok("MOVE 1 Trash");
    until("moved", || api.cell(ANNA, "Trash") == (1000, 1) && api.cell(ANNA, "INBOX") == (2000, 1));
    deliver(dovecot.lmtp, BEN, &message(4000)).unwrap();
    until("Ben's is Ben's", || api.cell(BEN, "INBOX").1 == 1);
    // The total comes at the end of the session, and agrees.
    drop(imap);
    until("a total agrees", || daemon.metric(AGREED).is_some());
    assert!(relayed.load(Ordering::SeqCst) > 0, "it came by the relay");
    assert_eq!(api.cells(ANNA), cells_on_disk(&daemon.path("mail/example.org/anna")));
    assert!(!dovecot.log().contains("dict"), "Dovecot had trouble:\n{}", dovecot.log());
}

#[test]
fn what_lies_in_folders_of_others_counts_for_them_alone() {
    let daemon = daemon("unix:DIR/dict.sock");
    // The quota is of the user's own folders (ns=), and so are the marks that count.
    let more = "mail_plugins = quota quota_clone notify notify_status acl\n\
                namespace {\n  type = public\n  separator = /\n  prefix = Public/\n  list = yes\n  subscriptions = no\n  \
                location = maildir:DIR/mail/public\n}\n\
                namespace {\n  type = shared\n  separator = /\n  prefix = shared/%%u/\n  list = yes\n  subscriptions = no\n  \
                location = maildir:DIR/mail/%%d/%%n\n}\n\
                protocol imap {\n  mail_plugins = $mail_plugins imap_acl\n}\n\
                plugin {\n  quota = count:User quota:ns=\n  acl = vfile:DIR/acls\n  acl_shared_dict = file:DIR/mail/shared.db\n}\n";
    std::fs::write(daemon.path("acls"), "Public/* anyone lrwstipekxa\nPublic anyone lrwstipekxa\n").unwrap();
    let dovecot = dovecot(&daemon, more);
    let mut api = Api::connect(&daemon.path("api.sock"));
    let mut ben = dovecot.login(BEN);
    ben.ok("CREATE Work");
    ben.ok(&format!("SETACL Work {ANNA} lrwstipe"));
    let mut anna = dovecot.login(ANNA);
    anna.ok("CREATE Public/News");
    let shared = format!("shared/{BEN}/Work");
    for (folder, size) in [("Public/News", 4000), (&*shared, 8000), ("INBOX", 1000)] {
        let answer = anna.append(folder, &message(size)).unwrap();
        assert!(answer.contains(" OK"), "{folder}: {answer}");
    }
    let own = || [("INBOX".to_owned(), (1000, 1))].into();
    until("hers is counted", || api.cells(ANNA) == own());
    drop(anna);
    // Of his own, Dovecot tells what Ben does; what Anna puts there shows when it is measured, and in his account.
    assert!(ben.append("Work", &message(2000)).unwrap().contains(" OK"));
    until("both are Ben's", || api.cell(BEN, "Work") == (10_000, 2));
    daemon.ok(&["resync", "--all"]);
    assert_eq!(api.cells(ANNA), own());
    assert_eq!(api.cells(BEN), [("Work".to_owned(), (10_000, 2))].into());
}
