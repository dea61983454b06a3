//! `imquotacheck` and `iminitquota` by those names, against the built daemon.

#![allow(dead_code, reason = "the support modules serve several tests")]

mod support {
    pub mod daemon;
    pub mod port;
    pub mod wait;
}

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use support::daemon::{Daemon, PROGRAM, put_message};
use support::wait::until;

const LDIF: &str = "version: 1\n\ndn: dc=example.org\nobjectClass: mailDomain\nassociatedDomain: example.org\n\
    mailDomainStatus: active\nmailDomainDiskQuota: 100K\n\n\
    dn: uid=anna,dc=example.org\nobjectClass: inetMailUser\nmail: anna@example.org\nmailQuota: 100K;Archive%1M\n\n\
    dn: uid=ben,dc=example.org\nobjectClass: inetMailUser\nmail: ben@example.org\nmailQuota: 100K\nmailMsgQuota: 10\n\n\
    dn: dc=example.com\nobjectClass: mailDomain\nassociatedDomain: example.com\nmailDomainStatus: hold\nmailDomainDiskQuota: 1K\n\n\
    dn: uid=carl,dc=example.com\nobjectClass: inetMailUser\nmail: carl@example.com\n";

struct Site {
    daemon: Daemon,
}

impl Site {
    fn new() -> Site {
        // Jobs stay out of the way: what happens, a command did.
        let more = "[jobs]\nenforce = \"never\"\nenforce_domains = \"never\"\n[notify]\nserver = \"127.0.0.1:1\"\n";
        let daemon = Daemon::start(LDIF, more);
        for name in ["imquotacheck", "iminitquota"] {
            symlink(PROGRAM, daemon.path(name)).unwrap();
        }
        Site { daemon }
    }

    fn call(&self, name: &str, args: &[&str]) -> Output {
        let config = self.daemon.path("mailquotad.toml");
        Command::new(self.daemon.path(name)).args(args).arg("-c").arg(config).output().unwrap()
    }

    fn ok(&self, name: &str, args: &[&str]) -> String {
        let output = self.call(name, args);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {shown}{}", String::from_utf8_lossy(&output.stderr));
        shown
    }

    fn fill(&self, user: &str, domain: &str, folder: &str, size: usize) {
        let maildir = self.daemon.maildir(domain, user);
        put_message(&maildir.join(folder), "1", size, "Subject: x");
    }

    fn waiting(&self) -> Option<u64> {
        self.daemon.metric("mailquotad_notices_waiting")
    }
}

#[test]
fn the_commands_do_what_the_originals_did() {
    let site = Site::new();
    site.fill("anna", "example.org", "", 92 * 1024);
    site.fill("anna", "example.org", ".Archive.2024", 20 * 1024);
    site.fill("ben", "example.org", "", 10 * 1024);
    site.fill("carl", "example.com", "", 2 * 1024);

    // iminitquota measures.
    assert!(site.ok("iminitquota", &["-u", "anna@example.org"]).contains("1 accounts brought up to date"));
    assert!(site.ok("iminitquota", &["-a", "-s"]).contains("3 accounts brought up to date"));
    assert!(site.ok("iminitquota", &["-a", "-q"]).contains("0 files seen"));
    assert_eq!(site.call("iminitquota", &["-q"]).status.code(), Some(2));
    assert_eq!(site.call("iminitquota", &["-u", "nobody@example.org"]).status.code(), Some(1));

    // The report of everybody, of a domain, and of one user with his folders.
    let report = site.ok("imquotacheck", &["-a"]);
    let expected = "Domain example.org (diskquota = 100K msgquota = not set) quota usage\n\
                    122K in 3 messages, 122% of the quota; promised to users: 200K\n";
    assert!(report.contains(expected), "{report}");
    let line = |report: &str, user: &str| {
        let line = report.lines().find(|line| line.ends_with(user)).unwrap_or_else(|| panic!("{user}: {report}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line(&report, " anna@example.org"), "100 92 92% no quota 1 anna@example.org");
    assert_eq!(line(&report, "anna@example.org Archive"), "1024 20 1% no quota 1 anna@example.org Archive");
    assert_eq!(line(&report, " ben@example.org"), "100 10 10% 10 1 10% ben@example.org");
    assert_eq!(line(&report, " carl@example.com"), "no quota 2 no quota 1 carl@example.com");
    let domain = site.ok("imquotacheck", &["-d", "example.com", "-v"]);
    assert!(domain.contains("carl@example.com  under  hold") && !domain.contains("anna"), "{domain}");
    let user = site.ok("imquotacheck", &["-u", "anna@example.org"]);
    assert!(user.contains("anna@example.org/Archive/2024") && user.contains("anna@example.org/INBOX"), "{user}");

    // Domain totals are live, so enforcement finds the status set; hold is nobody's but the admin's.
    until("the status is written", || site.daemon.ldif().contains("mailDomainStatus: overquota"));
    until("nothing is left to enforce", || site.ok("imquotacheck", &["-f"]).is_empty());
    assert!(site.daemon.ldif().contains("mailDomainStatus: hold"));
    assert_eq!(site.ok("imquotacheck", &["-f", "-d", "example.com"]), "");
    assert_eq!(site.call("imquotacheck", &["-f", "-d", "nowhere.example"]).status.code(), Some(1));

    // Rules: who is at 60 % or more, the highest rule decides, and once is enough for its hours.
    assert_eq!(site.call("imquotacheck", &["-n"]).status.code(), Some(1), "no rule file");
    let (rules, message) = (site.daemon.path("imq.rulefile"), site.daemon.path("imq.msgfile"));
    fs::write(&rules, "[a]\nnotificationTriggerPercentage=60\nnotificationInterval=3\n[b]\nNOTIFICATIONTRIGGERPERCENTAGE=90\nnotificationInterval=1\n").unwrap();
    let missing = site.call("imquotacheck", &["-n"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("imq.msgfile"), "{missing:?}");
    fs::write(&message, "Subject: %Q% of your quota\n\n%U% uses %M% of %C%\n%R%\n").unwrap();
    let told = site.ok("imquotacheck", &["-n", "-D"]);
    assert!(told.contains("anna@example.org default: 92% used, rule at 90%: told\n"), "{told}");
    assert!(told.ends_with("1 notices made, 0 users told not long ago\n"), "{told}");
    assert!(site.ok("imquotacheck", &["-n"]).ends_with("0 notices made, 1 users told not long ago\n"));
    until("the notice waits", || site.waiting() == Some(1));
    // A report goes by the least percentage of the rules, unless -i says otherwise.
    let report = site.ok("imquotacheck", &[]);
    assert!(report.contains("anna@example.org") && !report.contains("ben@"), "{report}");
    assert!(site.ok("imquotacheck", &["-i"]).contains("ben@example.org"));
    // The notices of a check know of it too.
    site.daemon.output(&["check", "--notify"]);
    until("only what is news is added: the domain's and nobody's", || site.waiting() == Some(1));
}

#[test]
fn an_oracle_configuration_becomes_ours() {
    let daemon = Daemon::prepare(LDIF, "");
    let dump = daemon.path("dump");
    fs::write(&dump, "store.quotawarn = 80\nstore.quotaoverdraft = 1\nstore.messagetype.1.contenttype = text/plain\n")
        .unwrap();
    let output = daemon.output(&["config", "import-msconfig", dump.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "something was left");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("allowance = \"one-message\"") && text.contains("threshold = 100"), "{text}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("not carried over: store.messagetype.1.contenttype"));
}
