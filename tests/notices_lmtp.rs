//! Notices straight into a real Dovecot by LMTP, and what the mailers make of servers that are away, put mail off or
//! refuse it.

#![allow(dead_code, reason = "the support modules serve several tests")]

mod support {
    pub mod daemon;
    pub mod dovecot;
    pub mod imap;
    pub mod port;
    pub mod postfix;
    pub mod wait;
}

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use mailquotad::mailer::{LmtpMailer, LmtpOptions, Mail, MailError, Mailer, SmtpMailer, SmtpOptions, Tls};
use support::dovecot::{Dovecot, listener, until_listening};
use support::port::free_port;

fn mail(to: &str) -> Mail {
    let text = b"Subject: x\r\nMessage-ID: <1@example.org>\r\n\r\nA line.\r\n.\r\n..and dots.\r\n".to_vec();
    Mail { from: Some("quota@example.org".parse().unwrap()), to: to.parse().unwrap(), text }
}

fn lmtp(server: &str) -> LmtpMailer {
    let options =
        LmtpOptions { server: server.parse().unwrap(), hello: "localhost".into(), timeout: Duration::from_secs(30) };
    LmtpMailer::new(options)
}

fn smtp(port: u16, tls: Tls) -> SmtpMailer {
    let options = SmtpOptions {
        host: "127.0.0.1".into(),
        port,
        tls,
        ca_file: None,
        login: None,
        hello: "localhost".into(),
        timeout: Duration::from_secs(30),
    };
    SmtpMailer::new(&options).unwrap()
}

fn delivered(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten();
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

#[tokio::test]
async fn a_notice_goes_into_the_store_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (store, socket) = (folder.path().join("mail"), folder.path().join("lmtp.sock"));
    fs::create_dir(&store).unwrap();
    let _dovecot = Dovecot::start(folder.path(), &store, &["anna@example.org"], &[], &listener("lmtp", &socket));
    until_listening(&socket);
    lmtp(&format!("unix:{}", socket.display())).send(&mail("anna@example.org")).await.unwrap();
    let found = delivered(&store.join("example.org/anna/new"));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("Message-ID: <1@example.org>") && found[0].contains("\n.\n..and dots.\n"),
        "{}",
        found[0]
    );
    assert!(found[0].contains("Return-Path: <quota@example.org>"), "{}", found[0]);
}

/// Plays one side of a dialog: what to say first, then after each line that comes.
fn server(replies: &'static [&'static str]) -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let talk = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        for reply in replies {
            if stream.write_all(reply.as_bytes()).is_err() {
                break;
            }
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).unwrap_or(0);
            heard.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8(heard).unwrap()
    });
    (port, talk)
}

/// What a server has to say, and what becomes of the notice: `None` is sent.
const DIALOGS: [(&[&str], Option<&str>); 10] = [
    (&["220 x\r\n", "250-x\r\n250 IGNOREQUOTA\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n"], None),
    (&["220 x\r\n", "250 x\r\n", "250 ok\r\n", "452 4.2.2 full\r\n"], Some("put off: 452 4.2.2 full")),
    (&["220 x\r\n", "250 x\r\n", "250 ok\r\n", "550 5.1.1 nobody\r\n"], Some("refused: 550 5.1.1 nobody")),
    (&["220 x\r\n", "250 x\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "552 5.2.2 full\r\n"], Some("refused: 552")),
    (&["220 x\r\n", "250 x\r\n", "421 4.3.2 going down\r\n"], Some("the mail server is away: 421")),
    (&["554 no service\r\n"], Some("the mail server is away: ")),
    (&["220 x\r\n", "250 x\r\n", "550 5.7.1 not you\r\n"], Some("the mail server is away: ")),
    (&["hello there\r\n"], Some("is no reply of an LMTP server")),
    (&["220 x\r\n", "250 x\r\n"], Some("the mail server is away")),
    (&["220 x\r\n", "250 x\r\n", "250 ok\r\n", "250 ok\r\n", "250 what\r\n"], Some("put off: 250 what")),
];

#[tokio::test]
async fn whatever_a_server_says_is_understood() {
    for (replies, expected) in DIALOGS {
        let (port, talk) = server(replies);
        let sent = lmtp(&format!("127.0.0.1:{port}")).send(&mail("anna@example.org")).await;
        let heard = talk.join().unwrap();
        match (sent, expected) {
            (Ok(()), None) => assert!(heard.contains("RCPT TO:<anna@example.org> IGNOREQUOTA\r\n"), "{heard}"),
            (Err(error), Some(told)) => assert!(error.to_string().contains(told), "{replies:?}: {error}"),
            (sent, expected) => panic!("{replies:?}: {sent:?}, expected {expected:?}"),
        }
    }
    let refused = free_port();
    assert!(matches!(lmtp(&format!("127.0.0.1:{refused}")).send(&mail("a@b")).await, Err(MailError::Away(_))));
}

#[tokio::test]
async fn the_same_by_smtp() {
    for (replies, expected) in DIALOGS {
        let (port, talk) = server(replies);
        let sent = smtp(port, Tls::Never).send(&mail("anna@example.org")).await;
        let heard = talk.join().unwrap();
        match (sent, expected) {
            (Ok(()), None) => assert!(heard.contains("RCPT TO:<anna@example.org>\r\n"), "{heard}"),
            // lettre takes any reply of class 2 or 3 to DATA, and then misses the one to the message.
            (Err(MailError::Away(_)), Some("put off: 250 what")) => {}
            (Err(MailError::Refused(_)), Some(told)) => assert!(told.starts_with("refused"), "{replies:?}"),
            (Err(MailError::Deferred(_)), Some(told)) => assert!(told.starts_with("put off"), "{replies:?}"),
            (Err(MailError::Away(why)), Some(told)) => {
                assert!(!told.starts_with("refused") && !told.starts_with("put off"), "{replies:?}: {why}");
            }
            (sent, expected) => panic!("{replies:?}: {sent:?}, expected {expected:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_without_starttls_gets_nothing_where_tls_is_required() {
    let (port, talk) = server(&["220 x\r\n", "250 x\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n"]);
    let sent = smtp(port, Tls::Required).send(&mail("anna@example.org")).await;
    assert!(sent.is_err());
    assert!(!talk.join().unwrap().contains("MAIL FROM"), "nothing is said in the clear");
}
