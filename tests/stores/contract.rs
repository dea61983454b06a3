//! A Dovecot that answers by every means, and what every store holds to that asks it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use mailquotad::mailstore::{MailStore, MailboxRef};
use tempfile::TempDir;

use super::support::certificates::certify;
use super::support::dovecot::Dovecot;
use super::support::port::free_port;
use super::support::wait::until;

pub const ANNA: &str = "anna@example.org";
pub const BEN: &str = "ben@example.org";

const IMAP_MASTER: &str = include_str!("../../packaging/dovecot/2.3/imap-master.conf");

/// What doveadm's HTTP API is shown.
pub const KEY: &str = "a key for tests";

/// Who may open all mailboxes by IMAP, and his password.
pub const MASTER: (&str, &str) = ("quota", "master \"key\" \\ ä");

pub const FOLDERS: [&str; 7] =
    ["INBOX", "Archive", "Archive/2025", "Entwürfe & mehr", "two words", "quote\"d\\", "star*"];

pub struct Site {
    pub folder: TempDir,
    pub dovecot: Dovecot,
    /// doveadm.
    pub http: u16,
    /// IMAP with TLS from the start; `dovecot.imap` offers STARTTLS.
    pub imaps: u16,
}

impl Site {
    /// Mail lies in `mail/domain/user`, in the format of that name. `more` goes into Dovecot's configuration, with the
    /// folder of it all where it says `@RUN@`.
    pub fn start(format: &str, more: &str) -> Site {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("mail")).unwrap();
        let ports = [free_port(), free_port()];
        let dovecot = serve(folder.path(), format, ports, more);
        let [http, imaps] = ports;
        Site { folder, dovecot, http, imaps }
    }

    /// Puts a message of `lines` lines into a folder, which is made if need be.
    pub fn save(&self, folder: &str, lines: usize) {
        let text = format!("Subject: {lines} lines\n\n{}", "a line\n".repeat(lines));
        self.save_text(folder, &text);
    }

    pub fn save_text(&self, folder: &str, text: &str) {
        let made = self.dovecot.doveadm(&["mailbox", "create", "-u", ANNA, folder]);
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.success() || said.contains("already exists"), "{said}");
        let mut doveadm = Command::new("doveadm")
            .arg("-c")
            .arg(self.dovecot.path("dovecot.conf"))
            .args(["save", "-u", ANNA, "-m", folder])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        doveadm.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(doveadm.wait().unwrap().success());
    }

    /// Folder, bytes and messages, as `doveadm mailbox status` prints them; empty folders left out.
    pub fn told(&self) -> BTreeMap<String, (u64, u64)> {
        let args = ["-f", "tab", "mailbox", "status", "-u", ANNA, "messages vsize", "*"];
        let text = self.dovecot.doveadm_ok(&args);
        let row = |line: &str| {
            let [folder, messages, bytes] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
            (folder.to_owned(), (bytes.parse().unwrap(), messages.parse().unwrap()))
        };
        text.lines().skip(1).map(row).filter(|(_, used)| *used != (0, 0)).collect()
    }
}

/// Starts Dovecot with its mail in `run/mail`; the ports are those of doveadm, and of IMAP with TLS.
pub fn serve(run: &Path, format: &str, [http, imaps]: [u16; 2], more: &str) -> Dovecot {
    let mail = run.join("mail");
    certify(run);
    fs::write(run.join("masters"), format!("{}:{{PLAIN}}{}\n", MASTER.0, MASTER.1)).unwrap();
    let more = more.replace("@RUN@", &run.display().to_string());
    let config = config(run, format, [http, imaps], &more);
    let dovecot = Dovecot::start(run, &mail, &[ANNA, BEN], &[], &config);
    until("all of Dovecot listens", || {
        [http, imaps].iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
    });
    dovecot
}

fn config(run: &Path, format: &str, [http, imaps]: [u16; 2], more: &str) -> String {
    let master = IMAP_MASTER.replace("/etc/dovecot/mailquotad.master", &run.join("masters").display().to_string());
    let run = run.display();
    format!(
        "mail_location = {format}:{run}/mail/%d/%n\ndoveadm_api_key = {KEY}\ndoveadm_password = word\n\
         ssl = yes\nssl_cert = <{run}/cert.pem\nssl_key = <{run}/key.pem\n\
         service doveadm {{\n  inet_listener http {{\n    address = 127.0.0.1\n    port = {http}\n  }}\n}}\n\
         service imap-login {{\n  inet_listener imaps {{\n    port = {imaps}\n    ssl = yes\n  }}\n}}\n\
         {master}{more}\n"
    )
}

pub fn mailbox(address: &str) -> MailboxRef {
    MailboxRef { address: address.into(), attributes: BTreeMap::new() }
}

pub fn measured(store: &dyn MailStore, folder: Option<&str>) -> BTreeMap<String, (u64, u64)> {
    let found = match folder {
        None => store.measure(&mailbox(ANNA), &[]),
        Some(folder) => store.measure_folder(&mailbox(ANNA), folder, &[]),
    };
    let found = found.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(found.files, found.cells.total().messages);
    found.cells.iter().map(|(key, used)| (key.folder.to_string(), (used.bytes, used.messages))).collect()
}

/// What every store holds to.
pub fn holds_to_the_contract(site: &Site, store: &dyn MailStore) {
    assert_eq!(measured(store, None), BTreeMap::new(), "a mailbox without mail is empty");
    for (number, folder) in FOLDERS.into_iter().enumerate() {
        site.save(folder, 3 + number);
        site.save(folder, 100);
    }
    // A folder that the mask of another one fits.
    site.save("starlight", 7);
    site.dovecot.doveadm_ok(&["mailbox", "create", "-u", ANNA, "Empty"]);
    let told = site.told();
    assert_eq!(told.len(), FOLDERS.len() + 1);
    assert_eq!(measured(store, None), told);
    for (folder, used) in &told {
        let alone = measured(store, Some(folder));
        assert_eq!(alone, [(folder.clone(), *used)].into(), "{folder} alone");
    }
    assert_eq!(measured(store, Some("inbox")).len(), 1, "INBOX has no case");
    for gone in ["Empty", "Never", "Archive/Never"] {
        assert_eq!(measured(store, Some(gone)), BTreeMap::new(), "{gone}");
    }
    remembers_what_is_still_so(site, store);
    // What goes is gone.
    site.dovecot.doveadm_ok(&["expunge", "-u", ANNA, "mailbox", "Archive/2025", "all"]);
    site.dovecot.doveadm_ok(&["mailbox", "rename", "-u", ANNA, "Archive", "Old"]);
    assert_eq!(measured(store, None), site.told());
}

/// Whatever a store remembers: with it, it sees what it sees without.
fn remembers_what_is_still_so(site: &Site, store: &dyn MailStore) {
    let mut memory = Vec::new();
    let mut check = |what: &str| {
        let found = store.measure(&mailbox(ANNA), &memory).unwrap();
        assert_eq!(found.problems, Vec::<String>::new(), "{what}");
        assert_eq!(found.cells, store.measure(&mailbox(ANNA), &[]).unwrap().cells, "{what}");
        memory = found.memory;
        let one = store.measure_folder(&mailbox(ANNA), "two words", &memory).unwrap();
        assert_eq!(one.cells.len(), usize::from(site.told().contains_key("two words")), "{what}");
        memory = one.memory;
    };
    check("nothing is known");
    check("nothing has changed");
    site.save("two words", 50);
    check("a message came");
    site.dovecot.doveadm_ok(&["expunge", "-u", ANNA, "mailbox", "two words", "1"]);
    check("a message went");
    site.save("two words", 51);
    site.dovecot.doveadm_ok(&["expunge", "-u", ANNA, "mailbox", "two words", "1"]);
    check("one came and one went");
    site.dovecot.doveadm_ok(&["mailbox", "delete", "-u", ANNA, "two words"]);
    check("a folder went");
    site.save("two words", 9);
    check("another one of its name came");
}

/// A user that the server does not know is an error: the account must not look empty.
pub fn knows_whom_it_does_not_know(store: &dyn MailStore) {
    let nobody = store.measure(&mailbox("nobody@example.org"), &[]).unwrap_err().to_string();
    assert!(nobody.contains("nobody@example.org"), "{nobody}");
}
