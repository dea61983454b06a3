//! Who gets which notice: the account, a postmaster, an admin; and who none.

#![allow(dead_code, reason = "the support modules serve several tests")]

mod support {
    pub mod daemon;
    pub mod port;
    pub mod postfix;
    pub mod site;
    pub mod wait;
}

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use mailquotad::ledger::MemoryLedger;
use mailquotad::mailer::{SmtpMailer, SmtpOptions, Tls};
use mailquotad::quota::Moment;
use mailquotad::service::notify::{digest, queue};
use mailquotad::service::policy::Answer;
use mailquotad::service::socket::Peer;
use mailquotad::wire::policy::{Parser, Reply};
use support::port::free_port;
use support::postfix::Postfix;
use support::site::{Site, account, domain};
use support::wait::until;
use tokio_util::sync::CancellationToken;

const NOTIFY: &str = "[notify]\nenabled = true\nfrom = \"quota@example.org\"\n";

/// Settings, and who gets a copy of what is told to ann@a.example and bob@b.example; `(domain a)` is a notice about
/// the domain, which is over its quota as well.
const COPIES: [(&str, &[&str]); 6] = [
    ("", &["ann@a.example", "bob@b.example", "postmaster@a.example (domain a)"]),
    (
        "copies = true",
        &[
            "ann@a.example",
            "bob@b.example",
            "postmaster@a.example",
            "postmaster@a.example (domain a)",
            "postmaster@b.example",
        ],
    ),
    (
        "copies = true\npostmaster = \"quota-desk\"",
        &[
            "ann@a.example",
            "bob@b.example",
            "quota-desk@a.example",
            "quota-desk@a.example (domain a)",
            "quota-desk@b.example",
        ],
    ),
    (
        "copies = true\npostmaster = \"desk@host.example\"",
        &["ann@a.example", "bob@b.example", "desk@host.example", "desk@host.example", "desk@host.example (domain a)"],
    ),
    ("copies = true\npostmaster = \"nobody\"", &["ann@a.example", "bob@b.example"]),
    // The postmaster's own mailbox is full: once, not twice.
    (
        "copies = true\npostmaster = \"ann\"",
        &["ann@a.example", "ann@a.example (domain a)", "ann@b.example", "bob@b.example"],
    ),
];

#[test]
fn copies_go_to_the_postmaster_of_the_accounts_own_domain() {
    for (settings, expected) in COPIES {
        let mut site = Site::new(&format!("{NOTIFY}{settings}\n"));
        site.load([
            domain(1, "a.example", "10"),
            domain(2, "b.example", ""),
            account(3, "ann@a.example", "10"),
            account(4, "bob@b.example", "10"),
            account(5, "cat@b.example", "100"),
        ]);
        for address in ["ann@a.example", "bob@b.example", "cat@b.example"] {
            site.holds(address, 20, 1);
        }
        let mut told: Vec<String> = site
            .accounting
            .notices
            .waiting()
            .iter()
            .map(|notice| format!("{}{}", notice.to, if notice.about_domain { " (domain a)" } else { "" }))
            .collect();
        told.sort();
        assert_eq!(told, expected, "{settings}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_tells_each_admin_by_mail_who_is_full_and_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mail = folder.path().join("mail");
    fs::create_dir(&mail).unwrap();
    let open = "smtpd_recipient_restrictions = reject_unauth_destination\n";
    let users = ["admin@example.org", "boss@example.org"];
    let postfix = Postfix::start_with_services(free_port(), folder.path(), &mail, &users, open, "");
    let admins = "admins = [\"admin@example.org\", \"boss@example.org\"]\npostmaster = \"nobody\"\n";
    let mut site = Site::new(&format!("{}{admins}", NOTIFY.replace("true", "false")));
    site.clock.set(Moment(1_700_000_000_000));
    site.load([
        domain(1, "example.org", "30"),
        account(2, "anna@example.org", "10"),
        account(3, "ben@example.org", "100"),
        account(4, "carl@example.org", "10K5"),
    ]);
    site.holds("anna@example.org", 20, 1);
    site.holds("ben@example.org", 20, 1);
    digest::make(&site.accounting, &["the directory: gone fishing".to_owned()]);

    let options = SmtpOptions {
        host: "127.0.0.1".into(),
        port: postfix.port,
        tls: Tls::Never,
        ca_file: None,
        login: None,
        hello: "localhost".into(),
        timeout: Duration::from_secs(30),
    };
    let stop = CancellationToken::new();
    let mailer = Arc::new(SmtpMailer::new(&options).unwrap());
    let carrier = tokio::spawn(queue::run(site.accounting.clone(), mailer, stop.clone()));
    let digests = |user: &str| -> Vec<String> {
        let files = fs::read_dir(mail.join("example.org").join(user).join("new")).into_iter().flatten();
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    };
    tokio::task::block_in_place(|| {
        until("both admins have theirs", || ["admin", "boss"].iter().all(|user| digests(user).len() == 1));
    });
    stop.cancel();
    carrier.await.unwrap();
    let digest = digests("admin").remove(0);
    for line in [
        "Subject: Mail quotas: 2 accounts, 1 domains full",
        "To: admin@example.org",
        "Auto-Submitted: auto-generated",
        "2 of 3 accounts need attention.",
        "  anna@example.org  default  over  since 2023-11-14T22:13:20Z  20 bytes",
        "  carl@example.org  mailQuota",
        "1 domains are over their quota.",
        "  example.org  blocked  since 2023-11-14T22:13:20Z  40 bytes",
        "Trouble: the directory: gone fishing",
    ] {
        assert!(digest.lines().any(|known| known.starts_with(line)), "{line} is not in {digest}");
    }
    assert!(!digest.contains("ben@"), "who has room is not in it: {digest}");
    assert!(site.accounting.notices.waiting().is_empty());
}

#[test]
fn what_an_earlier_life_was_handing_over_is_put_off_when_the_server_asks_again() {
    let ledger = Arc::new(MemoryLedger::new());
    let mut before = Site::on(ledger.clone(), NOTIFY);
    before.load([account(1, "anna@example.org", "10"), account(2, "ben@example.org", "10")]);
    before.holds("anna@example.org", 20, 1);
    assert_eq!(before.accounting.notices.waiting().len(), 1);
    let ask = |site: &Site, state: &str, sender: &str, recipient: &str| {
        let text = format!(
            "request=smtpd_access_policy\nprotocol_state={state}\nsender={sender}\nrecipient={recipient}\n\
             recipient_count=1\nsize=5\ninstance=1.2.3\n\n"
        );
        let (mut parser, mut out) = (Parser::default(), Vec::new());
        let (request, _) = parser.parse(text.as_bytes()).unwrap().unwrap();
        let mut reply = Reply::new(&mut out);
        site.admission().answer(&request, &Peer::Unix(None), &mut reply);
        reply.finish();
        String::from_utf8(out).unwrap()
    };
    let (end, own) = ("END-OF-MESSAGE", "quota@example.org");
    assert_eq!(ask(&before, end, own, "anna@example.org"), "action=DUNNO\n\n", "it is handing it over itself");
    // Killed, and started again.
    let mut after = Site::on(ledger, NOTIFY);
    after.load([account(1, "anna@example.org", "10"), account(2, "ben@example.org", "10")]);
    assert!(ask(&after, end, own, "anna@example.org").starts_with("action=451 4.3.0 "));
    assert_eq!(ask(&after, end, own, "ben@example.org"), "action=DUNNO\n\n", "nothing was left over for him");
    assert_eq!(ask(&after, "RCPT", own, "anna@example.org"), "action=DUNNO\n\n");
    assert!(!ask(&after, end, "x@example.net", "anna@example.org").contains("451"), "other mail for her is judged");
}
