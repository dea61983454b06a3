//! The main job with a real Postfix that asks, and delivers into Maildirs by its own virtual(8).

mod support {
    pub mod daemon;
    pub mod port;
    pub mod postfix;
    pub mod smtp;
    pub mod wait;
}

use std::fs;
use std::path::Path;

use support::daemon::{Daemon, make_maildir};
use support::port::free_port;
use support::postfix::{Postfix, give};
use support::smtp::Smtp;
use support::wait::until;

/// A domain with its quota and users with theirs.
fn organisation(domain: &str, domain_quota: &str, users: &[(&str, &str)]) -> String {
    let mut ldif = format!(
        "version: 1\n\n# The domain.\ndn: dc={domain}\nobjectClass: mailDomain\nassociatedDomain: {domain}\n\
         mailDomainStatus: active\nmailDomainDiskQuota: {domain_quota}\n"
    );
    for (user, quota) in users {
        ldif.push_str(&format!(
            "\n# User {user}, whose comment must survive.\ndn: uid={user},dc={domain}\nobjectClass: inetMailUser\n\
             mail: {user}@{domain}\nmailUserStatus: active\nmailQuota: {quota}\n"
        ));
    }
    ldif
}

fn grace(key: &str, period: &str) -> String {
    format!("[enforcement]\n{key} = \"{period}\"\n")
}

/// Puts another setting in force in the running daemon.
fn shorten(daemon: &Daemon, from: &str, to: &str) {
    let file = daemon.path("mailquotad.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from));
    fs::write(&file, text.replace(from, to)).unwrap();
    daemon.signal("HUP");
}

fn used(daemon: &Daemon, account: &str) -> u64 {
    daemon.json(&["show", account])["buckets"][0]["used"]["messages"].as_u64().unwrap()
}

/// Sends messages until one is refused; how many were accepted and what the refusal said. Waits for each
/// to be delivered and seen, as mail comes in slowly enough for that as a rule.
fn fill(daemon: &Daemon, smtp: &mut Smtp, to: &str, size: usize) -> (u64, String) {
    let begun = used(daemon, to);
    for sent in 0..100 {
        let reply = smtp.send(&[to], size);
        if !reply.starts_with("250") {
            return (sent, reply);
        }
        until("the message is delivered and measured", || used(daemon, to) == begun + sent + 1);
    }
    panic!("a hundred messages were accepted");
}

fn empty(maildir: &Path) {
    fs::remove_dir_all(maildir).unwrap();
    make_maildir(maildir);
    give(maildir, 65534);
}

#[test]
fn an_account_fills_up_is_refused_and_comes_back() {
    let ldif = organisation("example.org", "-1", &[("anna", "100K"), ("ben", "100K")]);
    let daemon = Daemon::start(&ldif, &grace("grace_period", "1h"));
    let maildir = daemon.maildir("example.org", "anna");
    let policy = format!("inet:127.0.0.1:{}", daemon.port);
    let postfix =
        Postfix::start(daemon.folder.path(), &daemon.path("mail"), &["anna@example.org", "ben@example.org"], &policy);
    let mut smtp = Smtp::connect(postfix.port);

    // Until the quota all is accepted; the last message may go over by the allowance of 10 %.
    let (accepted, refusal) = fill(&daemon, &mut smtp, "anna@example.org", 11_000);
    assert!((9..=10).contains(&accepted), "{accepted} messages of 11 kB were accepted for 100 KiB");
    assert!(refusal.starts_with("452 4.2.2"), "{refusal}");
    assert!(refusal.contains("Recipient address rejected"), "refused at RCPT: {refusal}");
    assert_eq!(daemon.json(&["show", "anna@example.org"])["standing"], "over");
    assert_eq!(daemon.ldif(), ldif, "nothing is written within the grace period");
    // Others are not affected, in the same session and in the same message.
    assert!(smtp.send(&["ben@example.org"], 1000).starts_with("250"));
    assert!(smtp.send(&["anna@example.org", "ben@example.org"], 1000).starts_with("250"));

    // After the grace period: rejected, and the directory knows. It is shortened to two seconds here, counted
    // from when the account went over, so that the steps before this one may take as long as they like.
    shorten(&daemon, &grace("grace_period", "1h"), &grace("grace_period", "2s"));
    let over = ldif.replacen("mailUserStatus: active", "mailUserStatus: overquota", 1);
    until("the status is written", || daemon.ldif() != ldif);
    assert_eq!(daemon.ldif(), over, "one value has changed and no other byte");
    let refusal = smtp.send(&["anna@example.org"], 1000);
    assert!(refusal.starts_with("552 5.2.2"), "{refusal}");
    assert_eq!(daemon.json(&["show", "anna@example.org"])["standing"], "blocked");

    // Deleting mail and a resync bring everything back.
    empty(&maildir);
    daemon.ok(&["resync", "anna@example.org"]);
    until("the status is back", || daemon.ldif() == ldif);
    let reply = smtp.send(&["anna@example.org"], 1000);
    assert!(reply.starts_with("250"), "{reply}");
    until("the message is there", || used(&daemon, "anna@example.org") == 1);
}

#[test]
fn a_domain_fills_up_is_refused_and_comes_back() {
    let ldif = organisation("example.org", "60K", &[("anna", "-1"), ("ben", "100K")]);
    let daemon = Daemon::start(&ldif, &grace("domain_grace_period", "1h"));
    let (anna, ben) = (daemon.maildir("example.org", "anna"), daemon.maildir("example.org", "ben"));
    let policy = format!("unix:{}", daemon.path("policy.sock").display());
    // Postfix's smtpd runs as another user and must be let in.
    give(&daemon.path("policy.sock"), 65534);
    fs::set_permissions(daemon.path("policy.sock"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let postfix =
        Postfix::start(daemon.folder.path(), &daemon.path("mail"), &["anna@example.org", "ben@example.org"], &policy);
    let mut smtp = Smtp::connect(postfix.port);

    let first = smtp.send(&["anna@example.org"], 40_000);
    assert!(first.starts_with("250"), "{first}");
    until("anna's message is seen", || used(&daemon, "anna@example.org") == 1);
    let (accepted, refusal) = fill(&daemon, &mut smtp, "ben@example.org", 11_000);
    assert_eq!(accepted, 2, "40 kB and two of 11 kB reach 60 KiB");
    assert!(refusal.starts_with("452 4.2.2"), "{refusal}");
    let refusal = smtp.send(&["anna@example.org"], 1000);
    assert!(refusal.starts_with("452 4.2.2"), "the domain is over, so every account is refused: {refusal}");

    shorten(&daemon, &grace("domain_grace_period", "1h"), &grace("domain_grace_period", "2s"));
    let over = ldif.replacen("mailDomainStatus: active", "mailDomainStatus: overquota", 1);
    until("the domain's status is written", || daemon.ldif() != ldif);
    assert_eq!(daemon.ldif(), over);
    let refusal = smtp.send(&["anna@example.org"], 1000);
    assert!(refusal.starts_with("552 5.2.2"), "{refusal}");
    assert_eq!(daemon.json(&["show", "example.org"])["standing"], "blocked");

    empty(&anna);
    empty(&ben);
    daemon.ok(&["resync", "--domain", "example.org"]);
    until("the domain's status is back", || daemon.ldif() == ldif);
    assert!(smtp.send(&["anna@example.org"], 1000).starts_with("250"));
}

#[test]
fn mail_goes_in_while_the_daemon_is_down_and_counts_afterwards() {
    let ldif = organisation("example.org", "-1", &[("anna", "10K")]);
    let mut daemon = Daemon::start(&ldif, &grace("grace_period", "1h"));
    let maildir = daemon.maildir("example.org", "anna");
    // As it is shipped, at another port.
    let shipped = include_str!("../packaging/postfix/policy.cf").replace("12340", &daemon.port.to_string());
    let (folder, mail) = (daemon.folder.path(), daemon.path("mail"));
    let postfix = Postfix::start_with(free_port(), folder, &mail, &["anna@example.org"], &shipped);
    let mut smtp = Smtp::connect(postfix.port);
    assert!(smtp.send(&["anna@example.org"], 10_100).starts_with("250"));
    until("the message is delivered and measured", || used(&daemon, "anna@example.org") == 1);
    assert!(smtp.send(&["anna@example.org"], 1000).starts_with("452 4.2.2"));

    daemon.stop("TERM");
    let reply = smtp.send(&["anna@example.org"], 1000);
    assert!(reply.starts_with("250"), "{reply}");
    until("Postfix has logged why", || postfix.log().contains("problem talking to server"));
    until("the message is delivered", || fs::read_dir(maildir.join("new")).unwrap().count() == 2);
    daemon.run();
    daemon.ok(&["resync", "--all"]);
    assert_eq!(used(&daemon, "anna@example.org"), 2);
    assert!(smtp.send(&["anna@example.org"], 1000).starts_with("452 4.2.2"));
}
