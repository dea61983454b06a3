//! Stores that are asked over the network, against a real Dovecot that keeps mail in mdbox and sdbox: what they say is
//! what doveadm says.

mod support {
    pub mod daemon;
    pub mod dovecot;
    pub mod imap;
    pub mod postfix;
    pub mod wait;
}

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use mailquotad::mailstore::doveadm::{DoveadmLogin, DoveadmOptions, DoveadmStore};
use mailquotad::mailstore::remote::{FolderNames, Secret, Server};
use mailquotad::mailstore::{MailStore, MailboxRef};
use support::daemon::{Daemon, free_port};
use support::dovecot::Dovecot;
use support::wait::until;
use tempfile::TempDir;

const ANNA: &str = "anna@example.org";
const KEY: &str = "a key for tests";
const FOLDERS: [&str; 7] = ["INBOX", "Archive", "Archive/2025", "Entwürfe & mehr", "two words", "quote\"d\\", "star*"];

struct Site {
    folder: TempDir,
    dovecot: Dovecot,
    http: u16,
}

fn dovecot(format: &str) -> Site {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::create_dir(folder.path().join("mail")).unwrap();
    let (dovecot, http) = start(&folder, format);
    Site { folder, dovecot, http }
}

fn start(folder: &TempDir, format: &str) -> (Dovecot, u16) {
    let (http, mail) = (free_port(), folder.path().join("mail"));
    let more = format!(
        "mail_location = {format}:{}/%d/%n\ndoveadm_api_key = {KEY}\ndoveadm_password = word\n\
         service doveadm {{\n  inet_listener http {{\n    address = 127.0.0.1\n    port = {http}\n  }}\n}}\n",
        mail.display()
    );
    let dovecot = Dovecot::start(folder.path(), &mail, &[ANNA], &[], &more);
    until("doveadm listens", || std::net::TcpStream::connect(("127.0.0.1", http)).is_ok());
    (dovecot, http)
}

impl Site {
    /// Puts a message of `lines` lines into a folder, which is made if need be.
    fn save(&self, folder: &str, lines: usize) {
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
        let text = format!("Subject: {lines} lines\n\n{}", "a line\n".repeat(lines));
        doveadm.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(doveadm.wait().unwrap().success());
    }

    /// Folder, bytes and messages, as `doveadm mailbox status` prints them; empty folders left out.
    fn told(&self) -> BTreeMap<String, (u64, u64)> {
        let args = ["-f", "tab", "mailbox", "status", "-u", ANNA, "messages vsize", "*"];
        let text = self.dovecot.doveadm_ok(&args);
        let row = |line: &str| {
            let [folder, messages, bytes] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
            (folder.to_owned(), (bytes.parse().unwrap(), messages.parse().unwrap()))
        };
        text.lines().skip(1).map(row).filter(|(_, used)| *used != (0, 0)).collect()
    }

    fn options(&self, login: DoveadmLogin) -> DoveadmOptions {
        let timeout = Duration::from_secs(20);
        DoveadmOptions {
            server: Server { host: "127.0.0.1".into(), port: self.http, tls: false, ca_file: None, timeout },
            path: "/doveadm/v1".into(),
            login,
            names: FolderNames { separator: '/', prefix: "".into() },
        }
    }

    fn doveadm(&self) -> DoveadmStore {
        DoveadmStore::new(self.options(DoveadmLogin::Key(Secret::Text(KEY.into()))))
    }
}

fn mailbox(address: &str) -> MailboxRef {
    MailboxRef { address: address.into(), attributes: BTreeMap::new() }
}

fn measured(store: &dyn MailStore, folder: Option<&str>) -> BTreeMap<String, (u64, u64)> {
    let found = match folder {
        None => store.measure(&mailbox(ANNA), &[]),
        Some(folder) => store.measure_folder(&mailbox(ANNA), folder, &[]),
    };
    let found = found.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(found.files, found.cells.total().messages);
    found.cells.iter().map(|(key, used)| (key.folder.to_string(), (used.bytes, used.messages))).collect()
}

/// What every store of this kind holds to.
fn holds_to_the_contract(site: &Site, store: &dyn MailStore) {
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
    // What goes is gone.
    site.dovecot.doveadm_ok(&["expunge", "-u", ANNA, "mailbox", "Archive/2025", "all"]);
    site.dovecot.doveadm_ok(&["mailbox", "rename", "-u", ANNA, "Archive", "Old"]);
    assert_eq!(measured(store, None), site.told());
    // Nobody's mailbox is an error: its account must not look empty.
    let nobody = store.measure(&mailbox("nobody@example.org"), &[]).unwrap_err().to_string();
    assert!(nobody.contains("nobody@example.org"), "{nobody}");
}

#[test]
fn doveadm_tells_of_mdbox_what_it_tells_an_admin() {
    let site = dovecot("mdbox");
    holds_to_the_contract(&site, &site.doveadm());
}

#[test]
fn doveadm_tells_of_sdbox_what_it_tells_an_admin() {
    let site = dovecot("sdbox");
    let file = site.folder.path().join("password");
    fs::write(&file, "word\n").unwrap();
    let store = DoveadmStore::new(site.options(DoveadmLogin::Password(Secret::File(file))));
    holds_to_the_contract(&site, &store);
}

#[test]
fn a_server_that_says_no_or_nothing_is_an_error_and_never_an_empty_mailbox() {
    let site = dovecot("sdbox");
    site.save("INBOX", 1);
    let error =
        |options: DoveadmOptions| DoveadmStore::new(options).measure(&mailbox(ANNA), &[]).unwrap_err().to_string();
    let good = || site.options(DoveadmLogin::Key(Secret::Text(KEY.into())));
    let wrong = error(site.options(DoveadmLogin::Key(Secret::Text("another".into()))));
    assert!(wrong.ends_with("doveadm refuses the key or password"), "{wrong}");
    let mut elsewhere = good();
    elsewhere.path = "/nothing/here".into();
    assert!(error(elsewhere).contains("nothing is served at /nothing/here"));
    let missing = error(site.options(DoveadmLogin::Key(Secret::File("/nowhere/key".into()))));
    assert!(missing.contains("/nowhere/key"), "{missing}");

    // Servers that are no good: each says something else, and then nothing, or hangs up.
    let answers = [
        ("", "the answer is not HTTP"),
        ("SSH-2.0-OpenSSH\r\n", "the answer is not HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[[\"doveadmResponse\",[]", "cut off"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "not understood"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "not understood"),
        ("HTTP/1.1 503 Busy\r\n\r\n", "HTTP status 503"),
        ("hang", "no answer in time"),
    ];
    for (answer, expected) in answers {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = good();
        options.server.port = listener.local_addr().unwrap().port();
        if answer == "hang" {
            options.server.timeout = Duration::from_millis(200);
        }
        let (done, finished) = std::sync::mpsc::channel::<()>();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            match answer {
                "hang" => drop(finished.recv()),
                answer => stream.write_all(answer.as_bytes()).unwrap(),
            }
        });
        let said = error(options);
        assert!(said.contains(expected), "{answer:?}: {said}");
        drop(done);
        server.join().unwrap();
    }
    let mut nobody = good();
    nobody.server.port = free_port();
    assert!(error(nobody).contains("refused"));
}

/// The whole daemon, for mail that it cannot read: what is in mdbox counts, and a server that is away costs nothing
/// that was known.
#[test]
fn the_daemon_measures_by_doveadm() {
    let ldif = "version: 1\n\ndn: uid=anna,dc=example,dc=org\nobjectClass: inetMailUser\nmail: anna@example.org\n\
                mailUserStatus: active\nmailQuota: 100M\n";
    let mut daemon = Daemon::prepare(ldif, "");
    let (mut dovecot, http) = start(&daemon.folder, "mdbox");
    let key = daemon.path("key");
    fs::write(&key, KEY).unwrap();
    let file = daemon.path("mailquotad.toml");
    let text = fs::read_to_string(&file).unwrap();
    let path = format!("path = \"{}/mail/%d/%n\"", daemon.folder.path().display());
    let asked = format!(
        "kind = \"doveadm\"\ndoveadm_url = \"http://127.0.0.1:{http}/doveadm/v1\"\ndoveadm_api_key_file = \"{}\"",
        key.display()
    );
    assert!(text.contains(&path));
    fs::write(&file, text.replace(&path, &asked).replace("watch = \"off\"\n", "")).unwrap();
    dovecot.doveadm_ok(&["mailbox", "create", "-u", ANNA, "Work"]);
    let mut imap = dovecot.login(ANNA);
    imap.append("Work", &support::imap::message(5000)).unwrap();
    daemon.run();
    let used = || daemon.json(&["show", ANNA])["buckets"][0]["used"]["messages"].as_u64().unwrap();
    until("it has been measured", || used() == 1);
    let told = dovecot.doveadm_ok(&["-f", "tab", "mailbox", "status", "-u", ANNA, "vsize", "Work"]);
    let bytes: u64 = told.trim_end().rsplit('\t').next().unwrap().parse().unwrap();
    assert_eq!(daemon.json(&["show", ANNA])["buckets"][0]["used"]["bytes"].as_u64(), Some(bytes));
    let found = String::from_utf8(daemon.output(&["doctor"]).stdout).unwrap();
    assert!(found.contains(&format!("ok   mailstore: the mailbox of {ANNA} was measured: {bytes} bytes")), "{found}");

    dovecot.kill();
    let output = daemon.output(&["resync", ANNA]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(used(), 1, "what was known stays");
}
