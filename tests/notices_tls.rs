//! Notices through a real Postfix that wants TLS and a login, which a real Dovecot checks.

#![allow(dead_code, reason = "the support modules serve several tests")]

mod support {
    pub mod certificates;
    pub mod daemon;
    pub mod dovecot;
    pub mod imap;
    pub mod port;
    pub mod postfix;
    pub mod wait;
}

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use mailquotad::mailer::{Login, Mail, MailError, Mailer, SmtpMailer, SmtpOptions, Tls};
use mailquotad::secret::Secret;
use support::certificates::certify;
use support::daemon::{Daemon, put_message, user};
use support::dovecot::{Dovecot, PASSWORD, listener, until_listening};
use support::port::free_port;
use support::postfix::Postfix;
use support::wait::until;

/// A submission service on one port with STARTTLS, and on another with TLS from the first byte; both take mail from
/// whoever has logged in, and nobody may log in in the clear.
struct Submission {
    _logins: Dovecot,
    postfix: Postfix,
    smtps: u16,
}

impl Submission {
    fn start(root: &Path, port: u16, users: &[&str]) -> Submission {
        certify(root);
        let (mail, socket) = (root.join("mail"), root.join("auth.sock"));
        fs::create_dir_all(&mail).unwrap();
        let logins = Dovecot::start(root, &mail, &["quota"], &[], &listener("auth", &socket));
        until_listening(&socket);
        let main = format!(
            "smtpd_tls_cert_file = {root}/cert.pem\nsmtpd_tls_key_file = {root}/key.pem\n\
             smtpd_tls_security_level = may\nsmtpd_tls_auth_only = yes\nsmtpd_tls_received_header = yes\n\
             smtpd_tls_loglevel = 1\nsmtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\n\
             smtpd_sasl_path = {socket}\nsmtpd_client_restrictions = permit_sasl_authenticated, reject\n\
             smtpd_recipient_restrictions = permit_sasl_authenticated, reject\nsmtpd_delay_reject = yes\n",
            root = root.display(),
            socket = socket.display(),
        );
        let smtps = free_port();
        let master = format!("127.0.0.1:{smtps} inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n");
        let postfix = Postfix::start_with_services(port, root, &mail, users, &main, &master);
        Submission { _logins: logins, postfix, smtps }
    }
}

/// Port, encryption, whether the authority is known, the password, and what the mailer says of it.
type Row = (u16, Tls, bool, Option<&'static str>, Option<&'static str>);

fn mails(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten();
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

#[tokio::test]
async fn encrypted_from_the_start_or_by_starttls_with_the_right_password_and_a_certificate_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let server = Submission::start(folder.path(), free_port(), &["anna@example.org"]);
    let (starttls, smtps) = (server.postfix.port, server.smtps);
    let (ca, right) = (true, Some(PASSWORD));
    let table: [Row; 9] = [
        (starttls, Tls::Required, ca, right, None),
        (starttls, Tls::Offered, ca, right, None),
        (smtps, Tls::FromTheStart, ca, right, None),
        (starttls, Tls::Required, !ca, right, Some("away: ")),
        (smtps, Tls::FromTheStart, !ca, right, Some("away: ")),
        (starttls, Tls::Required, ca, Some("wrong"), Some("(535): 5.7.8")),
        (smtps, Tls::FromTheStart, ca, Some("wrong"), Some("(535): 5.7.8")),
        // Without TLS the server offers no login; without a login it takes nothing.
        (starttls, Tls::Never, ca, right, Some("away: ")),
        (starttls, Tls::Required, ca, None, Some("5.7.1")),
    ];
    let mut sent = 0;
    for (number, (port, tls, known, password, expected)) in table.into_iter().enumerate() {
        let options = SmtpOptions {
            host: "127.0.0.1".into(),
            port,
            tls,
            ca_file: known.then(|| folder.path().join("ca.pem")),
            login: password.map(|password| Login { user: "quota".into(), password: Secret::Text(password.into()) }),
            hello: "localhost".into(),
            timeout: Duration::from_secs(30),
        };
        let text = format!("Subject: {number}\r\n\r\n{number}\r\n").into_bytes();
        let mail =
            Mail { from: Some("quota@example.org".parse().unwrap()), to: "anna@example.org".parse().unwrap(), text };
        let result = SmtpMailer::new(&options).unwrap().send(&mail).await;
        let row = format!("row {number}: {tls:?}, {password:?}: {result:?}");
        match (result, expected) {
            (Ok(()), None) => sent += 1,
            // What is wrong with the house is wrong for every notice: none may be dropped for it.
            (Err(error @ (MailError::Away(_) | MailError::Deferred(_))), Some(told)) => {
                assert!(error.to_string().contains(told), "{row}");
            }
            (Err(MailError::Refused(why)), Some(told)) if password.is_none() => assert!(why.contains(told), "{row}"),
            _ => panic!("{row}"),
        }
    }
    let new = folder.path().join("mail/example.org/anna/new");
    until("what was taken over is delivered", || mails(&new).len() == sent);
    for mail in mails(&new) {
        assert!(mail.contains("(using TLSv1."), "{mail}");
    }
    let log = server.postfix.log();
    assert_eq!(log.matches("sasl_method=PLAIN, sasl_username=quota").count(), sent, "{log}");
}

#[test]
fn a_notice_waits_for_the_right_password_and_is_never_sent_without() {
    let port = free_port();
    let mut daemon = Daemon::prepare(
        &user("anna", "20K"),
        &format!(
            "[notify]\nenabled = true\nfrom = \"quota@example.org\"\nserver = \"127.0.0.1:{port}\"\n\
             tls = \"required\"\nca_file = \"DIR/ca.pem\"\nlogin = \"quota\"\npassword_file = \"DIR/password\"\n"
        ),
    );
    let root = daemon.folder.path().to_owned();
    fs::write(root.join("password"), "stale\n").unwrap();
    let server = Submission::start(&root, port, &["anna@example.org"]);
    let anna = daemon.maildir("example.org", "anna");
    put_message(&anna, "1", 30_000, "Subject: x");
    support::postfix::give(&anna, 65534);
    daemon.run();
    daemon.ok(&["resync", "--all"]);
    until("the login is refused", || daemon.log().contains("(535): 5.7.8"));
    assert!(daemon.log().contains("event=mailer-away"));
    assert!(mails(&anna.join("new")).is_empty());

    // The file is read for each login, so nobody need start anything anew.
    fs::write(root.join("password"), format!("{PASSWORD}\n")).unwrap();
    until("the notice is there", || mails(&anna.join("new")).len() == 1);
    let notice = mails(&anna.join("new")).remove(0);
    assert!(notice.contains("(using TLSv1.") && notice.contains("Auto-Submitted: auto-generated"), "{notice}");
    assert!(!daemon.log().contains(PASSWORD), "no secret in the log");
    drop(server);
}
