//! Notices reach real mailboxes through a real Postfix that asks the daemon about each of them.

#![allow(dead_code, reason = "the support modules serve several tests")]

mod support {
    pub mod daemon;
    pub mod port;
    pub mod postfix;
    pub mod smtp;
    pub mod wait;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use support::daemon::{Daemon, put_message};
use support::port::free_port;
use support::postfix::{Postfix, give};
use support::smtp::Smtp;
use support::wait::until;

fn organisation(domain_quota: &str, users: &[(String, &str)]) -> String {
    let mut ldif = format!(
        "version: 1\n\ndn: dc=example.org\nobjectClass: mailDomain\nassociatedDomain: example.org\n\
         mailDomainStatus: active\nmailDomainDiskQuota: {domain_quota}\n"
    );
    for (user, quota) in users {
        ldif.push_str(&format!(
            "\ndn: uid={user},dc=example.org\nobjectClass: inetMailUser\nmail: {user}@example.org\n\
             mailUserStatus: active\nmailQuota: {quota}\npreferredLanguage: de-AT\n"
        ));
    }
    ldif
}

/// A daemon that hands its notices to a Postfix which is not there yet.
fn prepare(ldif: &str, more: &str) -> (Daemon, u16) {
    let port = free_port();
    let notify = format!(
        "[notify]\nenabled = true\nfrom = \"Mail quota <quota@example.org>\"\nserver = \"127.0.0.1:{port}\"\n{more}"
    );
    (Daemon::prepare(ldif, &notify), port)
}

fn postfix(daemon: &Daemon, port: u16, users: &[String]) -> Postfix {
    let users: Vec<String> = users.iter().map(|user| format!("{user}@example.org")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let policy = format!("inet:127.0.0.1:{}", daemon.port);
    Postfix::start_on(port, daemon.folder.path(), &daemon.path("mail"), &users, &policy)
}

/// The notices in a mailbox, header and body.
fn notices(daemon: &Daemon, user: &str) -> Vec<String> {
    let folder = daemon.path("mail/example.org").join(user).join("new");
    let files =
        fs::read_dir(folder).into_iter().flatten().filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
    files.filter(|text| text.contains("Auto-Submitted: auto-generated")).collect()
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("{name} is not in {message}")).split_once(": ").unwrap().1
}

fn fill(maildir: &Path, name: &str, size: usize) {
    put_message(maildir, name, size, "From: x@example.net\nSubject: x");
    give(maildir, 65534);
}

#[test]
fn a_notice_reaches_a_full_mailbox_in_the_language_of_its_owner_and_the_postmaster_of_a_full_domain() {
    let users = [("anna".to_owned(), "20K"), ("postmaster".to_owned(), "1K")];
    let names: Vec<String> = users.iter().map(|(name, _)| name.clone()).collect();
    let ldif = organisation("30K", &users);
    let (mut daemon, port) = prepare(&ldif, "copies = true\n[notify.templates]\nde = \"TEMPLATE\"\n");
    let template = daemon.path("de.txt");
    fs::write(&template, "Subject: Ihr Postfach ist größer als erlaubt\n\n[ID]: [DISKUSAGE] von [QUOTA], [USED]\n")
        .unwrap();
    let config = fs::read_to_string(daemon.path("mailquotad.toml")).unwrap();
    let config = config.replace("TEMPLATE", &template.display().to_string());
    fs::write(daemon.path("mailquotad.toml"), config).unwrap();
    let (anna, boss) = (daemon.maildir("example.org", "anna"), daemon.maildir("example.org", "postmaster"));
    daemon.run();
    let _postfix = postfix(&daemon, port, &names);
    fill(&boss, "1", 2_000);
    fill(&anna, "1", 40_000);
    daemon.ok(&["resync", "--all"]);

    until("anna has her notice", || notices(&daemon, "anna").len() == 1);
    let notice = notices(&daemon, "anna").remove(0);
    assert_eq!(header(&notice, "From"), "\"Mail quota\" <quota@example.org>");
    assert_eq!(header(&notice, "To"), "anna@example.org");
    assert_eq!(header(&notice, "Content-Transfer-Encoding"), "7bit");
    assert!(header(&notice, "Subject").starts_with("=?utf-8?B?"), "{notice}");
    assert!(notice.contains("anna@example.org: 39.1K von 20K, 195%"), "{notice}");
    // The mailbox and the domain are full, for everybody else.
    let mut smtp = Smtp::connect(port);
    assert!(smtp.send(&["anna@example.org"], 1_000).starts_with("552 5.2.2"), "the domain has no grace period");
    // The postmaster, full himself, hears of the domain, of himself and of anna.
    let about = |text: &String| {
        let id = header(text, "Message-ID").to_owned();
        (header(text, "Subject").to_owned(), id)
    };
    until("the postmaster has three notices", || notices(&daemon, "postmaster").len() == 3);
    let heard: BTreeSet<(String, String)> = notices(&daemon, "postmaster").iter().map(about).collect();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert!(daemon.log().contains("event=notice-sent"));
}

#[test]
fn notices_wait_for_a_mail_server_and_arrive_once() {
    let users = [("anna".to_owned(), "20K")];
    let (mut daemon, port) = prepare(&organisation("-1", &users), "");
    let anna = daemon.maildir("example.org", "anna");
    fill(&anna, "1", 30_000);
    daemon.run();
    daemon.ok(&["resync", "--all"]);
    until("the absence of the server is noticed", || daemon.log().contains("event=mailer-away"));
    assert_eq!(daemon.json(&["show", "anna@example.org"])["standing"], "over");
    // It survives the end of the daemon, and the one of the server is not the end of it either.
    assert!(daemon.stop("TERM").success());
    daemon.run();
    let names = ["anna".to_owned()];
    let first = postfix(&daemon, port, &names);
    until("the notice is there", || notices(&daemon, "anna").len() == 1);
    drop(first);
    // Nothing new happens: nothing is sent again, whatever is started again.
    assert!(daemon.stop("TERM").success());
    daemon.run();
    let _second = postfix(&daemon, port, &names);
    daemon.ok(&["resync", "--all"]);
    // A check that asks for notices knows of the one that was sent; 3: somebody is over quota.
    assert_eq!(daemon.output(&["check", "--notify"]).status.code(), Some(3));
    assert_eq!(notices(&daemon, "anna").len(), 1);
    assert_eq!(daemon.log().matches("event=notice-sent").count(), 1);
}
