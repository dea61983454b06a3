//! doveadm over HTTP: Dovecot's own figures, for mail in mdbox and sdbox.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use mailquotad::mailstore::MailStore;
use mailquotad::mailstore::doveadm::{DoveadmLogin, DoveadmOptions, DoveadmStore};
use mailquotad::mailstore::remote::{FolderNames, Server};
use mailquotad::secret::Secret;

use super::contract::{ANNA, KEY, Site, holds_to_the_contract, knows_whom_it_does_not_know, mailbox, measured, serve};
use super::support::daemon::Daemon;
use super::support::imap::message;
use super::support::port::free_port;
use super::support::wait::until;

pub fn options(site: &Site, login: DoveadmLogin) -> DoveadmOptions {
    let timeout = Duration::from_secs(20);
    DoveadmOptions {
        server: Server { host: "127.0.0.1".into(), port: site.http, tls: false, ca_file: None, timeout },
        path: "/doveadm/v1".into(),
        login,
        names: FolderNames { separator: '/', prefix: "".into(), foreign: Vec::new() },
    }
}

pub fn key() -> DoveadmLogin {
    DoveadmLogin::Key(Secret::Text(KEY.into()))
}

#[test]
fn doveadm_tells_of_mdbox_what_it_tells_an_admin() {
    let site = Site::start("mdbox", "");
    let store = DoveadmStore::new(options(&site, key()));
    holds_to_the_contract(&site, &store);
    knows_whom_it_does_not_know(&store);
}

#[test]
fn doveadm_tells_of_sdbox_what_it_tells_an_admin() {
    let site = Site::start("sdbox", "");
    let file = site.folder.path().join("password");
    fs::write(&file, "word\n").unwrap();
    let store = DoveadmStore::new(options(&site, DoveadmLogin::Password(Secret::File(file))));
    holds_to_the_contract(&site, &store);
    knows_whom_it_does_not_know(&store);
}

#[test]
fn over_tls_by_an_authority_that_is_known() {
    let site = Site::start("sdbox", "service doveadm {\n  inet_listener http {\n    ssl = yes\n  }\n}\n");
    site.save("INBOX", 5);
    site.save("Work", 50);
    let https = |ca_file| {
        let mut options = options(&site, key());
        (options.server.tls, options.server.ca_file) = (true, ca_file);
        DoveadmStore::new(options)
    };
    let store = https(Some(site.folder.path().join("ca.pem")));
    assert_eq!(measured(&store, None), site.told());
    assert_eq!(measured(&store, Some("Work")).len(), 1);
    let stranger = https(None).measure(&mailbox(ANNA), &[]).unwrap_err().to_string();
    assert!(stranger.contains("certificate"), "{stranger}");
    let nowhere = https(Some("/nowhere/ca.pem".into())).measure(&mailbox(ANNA), &[]).unwrap_err().to_string();
    assert!(nowhere.contains("/nowhere/ca.pem"), "{nowhere}");
}

#[test]
fn a_server_that_says_no_or_nothing_is_an_error_and_never_an_empty_mailbox() {
    let site = Site::start("sdbox", "");
    site.save("INBOX", 1);
    let error =
        |options: DoveadmOptions| DoveadmStore::new(options).measure(&mailbox(ANNA), &[]).unwrap_err().to_string();
    let good = || options(&site, key());
    let wrong = error(options(&site, DoveadmLogin::Key(Secret::Text("another".into()))));
    assert!(wrong.ends_with("doveadm refuses the key or password"), "{wrong}");
    let mut elsewhere = good();
    elsewhere.path = "/nothing/here".into();
    assert!(error(elsewhere).contains("nothing is served at /nothing/here"));
    let missing = error(options(&site, DoveadmLogin::Key(Secret::File("/nowhere/key".into()))));
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
    let http = free_port();
    let mut dovecot = serve(daemon.folder.path(), "mdbox", [http, free_port()], "");
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
    imap.append("Work", &message(5000)).unwrap();
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
