//! The over-quota flag in LDIF and LDAP directories: it follows the standing, and drift made by hand is put right.

#![allow(dead_code, reason = "the support modules serve several tests")]

mod support {
    pub mod daemon;
    pub mod port;
    pub mod site;
    pub mod slapd;
    pub mod wait;
}

use std::fs;
use std::path::Path;
use std::sync::Arc;

use mailquotad::account::{Entry, EntryId};
use mailquotad::directory::Directory;
use mailquotad::directory::entry::{EntryReader, Preset, id_of_dn};
use mailquotad::directory::ldif::{LdifDirectory, LdifOptions};
use mailquotad::service::{outbox, over_flag};
use support::daemon::{Daemon, put_message};
use support::site::{Site, account};
use support::slapd::{DAEMON, PASSWORD, SUFFIX, Slapd, dn, user};
use support::wait::until;

fn fill(maildir: &Path, size: usize) {
    put_message(maildir, "1", size, "Subject: x");
}

#[test]
fn in_an_ldif_file_it_follows_the_standing_and_drift_is_put_right() {
    let entry = |name: &str, more: &str| {
        format!(
            "\ndn: uid={name},dc=example.org\nobjectClass: inetMailUser\nmail: {name}@example.org\n\
             mailUserStatus: active\nmailQuota: 20K\n{more}"
        )
    };
    let ldif = format!("version: 1\n{}{}", entry("anna", ""), entry("ben", "quotaOverFlag: FALSE\n"));
    let mut daemon = Daemon::prepare(&ldif, "[over_flag]\nattribute = \"quotaOverFlag\"\nclear = \"FALSE\"\n");
    let (anna, _) = (daemon.maildir("example.org", "anna"), daemon.maildir("example.org", "ben"));
    daemon.run();
    fill(&anna, 30_000);
    daemon.ok(&["resync", "--all"]);
    let flags = || {
        let ldif = daemon.ldif();
        let values = ldif.split("\n\n").filter(|entry| entry.contains("mail: "));
        let value = |entry: &str| {
            let line = entry.lines().find_map(|line| line.strip_prefix("quotaOverFlag: "));
            line.unwrap_or("-").to_owned()
        };
        values.map(value).collect::<Vec<_>>()
    };
    until("anna is over", || flags() == ["TRUE", "FALSE"]);
    assert_eq!(daemon.metric("mailquotad_flag_drift_total"), Some(0), "nothing has drifted");
    // By hand: one is taken away, the other set.
    daemon.edit_ldif(|ldif| ldif.replace("quotaOverFlag: TRUE\n", ""));
    until("anna's is back", || flags() == ["TRUE", "FALSE"]);
    daemon.edit_ldif(|ldif| ldif.replace("quotaOverFlag: FALSE", "quotaOverFlag: true"));
    until("ben's is gone again", || flags() == ["TRUE", "FALSE"]);
    until("both are counted", || daemon.metric("mailquotad_flag_drift_total") == Some(2));
    assert!(daemon.log().contains("event=flag-drifted account=ben@example.org found=true wanted=FALSE"));
    fs::remove_file(anna.join("cur/1,S=30000:2,S")).unwrap();
    daemon.ok(&["resync", "anna@example.org"]);
    until("anna has room", || flags() == ["FALSE", "FALSE"]);
    assert_eq!(daemon.metric("mailquotad_flag_drift_total"), Some(2));
    // What is stored is not written twice, and nothing is left over.
    until("nothing waits", || daemon.metric("mailquotad_outbox") == Some(0));
}

#[test]
fn in_a_real_slapd_drift_made_by_hand_is_repaired() {
    let mut slapd = Slapd::stopped();
    let config = fs::read_to_string(slapd.path("slapd.conf")).unwrap();
    // The rule that docs/over-quota-flag.md gives.
    let rule = format!("access to attrs=employeeType by dn.exact=\"{DAEMON}\" write by * break\naccess to");
    fs::write(slapd.path("slapd.conf"), config.replacen("access to", &rule, 1)).unwrap();
    slapd.add_offline(&[user("ann", "mailQuota: 20K\n"), user("ben", "mailQuota: 20K\nemployeeType: cook\n")].concat());
    slapd.run();
    let mut daemon =
        Daemon::prepare("", "[over_flag]\nattribute = \"employeeType\"\nvalue = \"over-quota\"\nmask = \"over*\"\n");
    fs::write(daemon.path("ldap.password"), format!("{PASSWORD}\n")).unwrap();
    let file = daemon.path("mailquotad.toml");
    let config = fs::read_to_string(&file).unwrap();
    let ldap = format!(
        "[directory]\nkind = \"ldap\"\nurls = [\"{}\"]\nbase = \"{SUFFIX}\"\nbind_dn = \"{DAEMON}\"\n\
         bind_password_file = \"{}\"\n[ledger]",
        slapd.url(),
        daemon.path("ldap.password").display()
    );
    fs::write(&file, ldap + config.split_once("[ledger]").unwrap().1).unwrap();
    let (ann, _) = (daemon.maildir("example.org", "ann"), daemon.maildir("example.org", "ben"));
    daemon.run();
    fill(&ann, 30_000);
    daemon.ok(&["resync", "--all"]);
    let flag = |uid: &str| {
        let found = String::from_utf8(slapd.search(&format!("(uid={uid})"), &["employeeType"])).unwrap();
        let values: Vec<&str> = found.lines().filter_map(|line| line.strip_prefix("employeeType: ")).collect();
        values.join(",")
    };
    until("ann is over", || flag("ann") == "over-quota");
    // A value that does not say over is nobody's business but its owner's.
    assert_eq!(flag("ben"), "cook");
    let modify = |uid: &str, change: &str| {
        slapd.modify(&format!("dn: {}\nchangetype: modify\n{change}\n", dn(uid)));
    };
    modify("ann", "delete: employeeType\n");
    until("ann's is put back", || flag("ann") == "over-quota");
    modify("ann", "replace: employeeType\nemployeeType: fine\n");
    until("whatever it was changed to", || flag("ann") == "over-quota");
    modify("ben", "replace: employeeType\nemployeeType: Overdue\n");
    until("ben's is taken away", || flag("ben").is_empty());
    until("all are counted", || daemon.metric("mailquotad_flag_drift_total") == Some(3));
    // Drift while the daemon is away is found by the next start.
    assert!(daemon.stop("TERM").success());
    modify("ann", "delete: employeeType\n");
    daemon.run();
    until("ann's is put back again", || flag("ann") == "over-quota");
    fs::remove_file(ann.join("cur/1,S=30000:2,S")).unwrap();
    daemon.ok(&["resync", "ann@example.org"]);
    until("ann has room", || flag("ann").is_empty());
}

#[tokio::test]
async fn the_comparison_finds_what_nobody_told_us_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("o.ldif");
    let text = |flag: &str| {
        format!(
            "version: 1\n\ndn: uid=anna,o=site\nobjectClass: inetMailUser\nmail: anna@example.org\n{flag}mailQuota: 10\n"
        )
    };
    fs::write(&file, text("")).unwrap();
    let reader = EntryReader { over_flag: Some("quotaOverFlag".into()), ..EntryReader::new(Preset::Sun) };
    let directory: Arc<dyn Directory> = Arc::new(LdifDirectory::new(LdifOptions::new(&file, reader)));
    let mut site = Site::new("[over_flag]\nattribute = \"quotaOverFlag\"\n");
    // Told of the entry once, and of nothing that happens to it later.
    let dn = "uid=anna,o=site";
    let Entry::Account(mut entry) = account(1, "anna@example.org", "10") else { unreachable!() };
    (entry.dn, entry.id) = (dn.into(), EntryId(id_of_dn(dn).0));
    site.load([Entry::Account(entry)]);
    site.holds("anna@example.org", 20, 1);
    let flagged = || fs::read_to_string(&file).unwrap().contains("quotaOverFlag: TRUE\n");
    outbox::work_once(&site.accounting, &directory).await;
    assert!(flagged());
    fs::write(&file, text("")).unwrap();
    over_flag::compare(site.accounting.clone(), directory.clone()).await;
    outbox::work_once(&site.accounting, &directory).await;
    assert!(flagged(), "taken away behind our back, and put back");
    assert_eq!(site.metrics.flag_drift.get(), 1);
    over_flag::compare(site.accounting.clone(), directory.clone()).await;
    assert_eq!(site.metrics.flag_drift.get(), 1, "what is right has not drifted");
    fs::write(&file, text("quotaOverFlag: perhaps\n")).unwrap();
    over_flag::compare(site.accounting.clone(), directory.clone()).await;
    outbox::work_once(&site.accounting, &directory).await;
    assert!(flagged());
    assert_eq!(site.metrics.flag_drift.get(), 2);
}
