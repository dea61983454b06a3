//! Postfix: the policy service, the lookups, and the directory's statuses without a daemon in the path.

use super::support::postfix::Postfix;
use super::support::slapd::{ADMIN, PASSWORD, SUFFIX, Slapd};
use super::support::smtp::Smtp;
use super::*;

fn start(daemon: &Daemon, main: &str) -> Postfix {
    Postfix::start_with(free_port(), daemon.folder.path(), &daemon.path("mail"), &USERS, main)
}

fn refusal(smtp: &mut Smtp, recipient: &str) -> String {
    let reply = smtp.ask(&format!("RCPT TO:<{recipient}>"));
    match reply.strip_prefix("250") {
        Some(_) => String::new(),
        None => reply.trim_end().to_owned(),
    }
}

/// What each user is told, whichever way Postfix asks.
const REFUSALS: [(&str, &str); 4] = [
    ("room@example.org", ""),
    ("off@example.org", "550 5.2.1 <off@example.org>: Recipient address rejected: Mailbox is disabled"),
    (
        "any@closed.example",
        "450 4.2.1 <any@closed.example>: Recipient address rejected: Mailbox is inactive, try again later",
    ),
    (
        "nobody@example.org",
        "550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown in virtual mailbox table",
    ),
];

fn refuses_as_it_should(postfix: &Postfix, full: &str) {
    let mut smtp = Smtp::connect(postfix.port);
    smtp.say("MAIL FROM:<a@elsewhere.example>", "250");
    for (recipient, expected) in REFUSALS {
        assert_eq!(refusal(&mut smtp, recipient), expected);
    }
    let expected = format!("<full@example.org>: Recipient address rejected: {}", &full[10..]);
    assert_eq!(refusal(&mut smtp, "full@example.org"), format!("{} {expected}", &full[..9]));
    let relay = refusal(&mut smtp, "x@elsewhere.example");
    assert!(relay.contains("Relay access denied"), "{relay}");
}

const FULL: &str = "452 4.2.2 Mailbox is full, try again later";

#[test]
fn the_policy_service_as_shipped() {
    let (mut daemon, _) = daemon();
    let postfix = start(&daemon, &shipped("postfix/policy.cf", daemon.port));
    refuses_as_it_should(&postfix, FULL);
    let mut smtp = Smtp::connect(postfix.port);
    let reply = smtp.send(&["room@example.org"], 2_000_000);
    assert!(reply.starts_with("552 5.2.3 <END-OF-MESSAGE>"), "no size was announced: {reply}");
    daemon.stop("TERM");
    smtp.say("RSET", "250");
    assert!(smtp.send(&["off@example.org"], 100).starts_with("250"), "default_action=DUNNO");
}

#[test]
fn the_lookups_as_shipped() {
    let (mut daemon, port) = daemon();
    let postfix = start(&daemon, &shipped("postfix/lookup.cf", port));
    let table = |map: &str| format!("socketmap:inet:127.0.0.1:{port}:{map}");
    assert_eq!(postfix.look_up("full+x@example.org", &table("status")), FULL);
    assert_eq!(postfix.look_up("closed.example", &table("status")), "450 4.2.1 Mailbox is inactive, try again later");
    assert_eq!(postfix.look_up("room@example.org", &table("verdict")), "pass room");
    let figures = "used=2048 limit=2048 messages=1 message_limit=-1 standing=over status=active";
    assert_eq!(postfix.look_up("full@example.org", &table("quota")), figures);
    refuses_as_it_should(&postfix, FULL);
    // A table has no default_action: without an answer Postfix puts mail off.
    daemon.stop("TERM");
    let mut smtp = Smtp::connect(postfix.port);
    smtp.say("MAIL FROM:<a@elsewhere.example>", "250");
    assert!(refusal(&mut smtp, "room@example.org").starts_with("451 4.3.5"));
}

#[test]
fn the_directorys_statuses_without_a_daemon() {
    // No daemon runs: only its folder is used.
    let daemon = Daemon::prepare(LDIF, "");
    let mut slapd = Slapd::stopped();
    slapd.add_offline(&entries());
    slapd.run();
    let etc = daemon.path("mailquotad");
    fs::create_dir(&etc).unwrap();
    for name in ["domain-status.cf", "user-status.cf", "replies"] {
        let text = fs::read_to_string(root().join("packaging/postfix").join(name)).unwrap();
        let text = text.replace("ldap://127.0.0.1", &slapd.url());
        let text = text.replace("cn=postfix,ou=Services,dc=example,dc=org", ADMIN);
        fs::write(etc.join(name), text.replace("bind_pw = secret", &format!("bind_pw = {PASSWORD}"))).unwrap();
    }
    let main = fs::read_to_string(root().join("packaging/postfix/status.cf")).unwrap();
    let postfix = start(&daemon, &main.replace("/etc/postfix/mailquotad", &etc.display().to_string()));
    let full = "552 5.2.2 Mailbox is full";
    refuses_as_it_should(&postfix, full);
    let mut smtp = Smtp::connect(postfix.port);
    smtp.say("MAIL FROM:<a@elsewhere.example>", "250");

    // What an admin or mailquotad writes counts at once, whatever its case.
    let set = |uid: &str, status: &str| {
        slapd.modify(&format!(
            "dn: uid={uid},ou=People,{SUFFIX}\nchangetype: modify\nreplace: mailUserStatus\nmailUserStatus: {status}\n"
        ));
    };
    set("full", "active");
    assert_eq!(refusal(&mut smtp, "full@example.org"), "");
    set("room", "OverQuota");
    assert!(refusal(&mut smtp, "room@example.org").starts_with("552 5.2.2"));
    set("room", "hold");
    assert_eq!(refusal(&mut smtp, "room@example.org"), "");
    // Another name in the filter's place.
    assert!(refusal(&mut smtp, "o*@example.org").starts_with("550 5.1.1"), "no wildcard comes from outside");
}

/// The same organisation as in [`LDIF`], below the suffix of the test's server.
fn entries() -> String {
    let user = |uid: &str, mail: &str, status: &str| {
        format!(
            "dn: uid={uid},ou=People,{SUFFIX}\nobjectClass: inetOrgPerson\nobjectClass: inetMailUser\n\
             uid: {uid}\ncn: {uid}\nsn: {uid}\nmail: {mail}\nmailUserStatus: {status}\n\n"
        )
    };
    let closed = format!(
        "dn: o=closed,{SUFFIX}\nobjectClass: organization\nobjectClass: domainRelatedObject\nobjectClass: mailDomain\n\
         o: closed\nassociatedDomain: closed.example\nmailDomainStatus: inactive\n\n"
    );
    let users = [
        user("room", "room@example.org", "active"),
        user("full", "full@example.org", "overquota"),
        user("off", "off@example.org", "disabled"),
        user("any", "any@closed.example", "active"),
    ];
    closed + &users.concat()
}
