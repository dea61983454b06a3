//! Warnings: when they go off, and what they lead to: a program, a script of a real Dovecot's, a webhook, a notice.
//! And a real Dovecot that sends its own warnings to us.

#![allow(dead_code, reason = "the support modules serve several tests")]

mod support {
    pub mod daemon;
    pub mod dovecot;
    pub mod failing_ledger;
    pub mod imap;
    pub mod lmtp;
    pub mod port;
    pub mod postfix;
    pub mod script;
    pub mod site;
    pub mod wait;
    pub mod webhook;
}

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use mailquotad::directory::Change;
use mailquotad::ledger::{Ledger, MemoryLedger, Op, Shelf};
use mailquotad::quota::{CellKey, Moment, Usage};
use mailquotad::service::accounting::Accounting;
use mailquotad::service::notify::stage::Event;
use support::daemon::{Daemon, put_message, user};
use support::dovecot::{Dovecot, listener};
use support::failing_ledger::FailingLedger;
use support::imap::message;
use support::lmtp::deliver;
use support::script::Script;
use support::site::{Site, account, domain};
use support::wait::until;
use support::webhook::{answer, body};

const NOTIFY: &str = "[notify]\nfrom = \"quota@example.org\"\n";

/// Usage in percent before and after, the limit in percent of what it was, and the notices that go out.
const STEPS: [(u64, u64, u64, &[&str]); 9] = [
    (0, 79, 100, &[]),
    (79, 80, 100, &["80%"]),
    (80, 90, 100, &[]),
    (0, 96, 100, &["95%", "80%"]),
    (100, 99, 100, &["back"]),
    (101, 100, 100, &[]),
    // A lowered limit warns at once, and a raised one says that there is room.
    (60, 60, 75, &["80%"]),
    (120, 120, 200, &["back"]),
    (60, 60, 100, &[]),
];

/// What each step tells, with `which` as it is set.
fn told(which: &str, (before, after, limit, _): (u64, u64, u64, &[&str])) -> Vec<String> {
    let rule = |when: &str| format!("[[warnings.rule]]\nwhen = \"{when}\"\nnotice = true\n");
    let rules: String = ["storage=95%", "storage=80%", "-storage=100%"].map(rule).concat();
    let mut site = Site::new(&format!("{NOTIFY}[warnings]\nwhich = \"{which}\"\n{rules}"));
    site.load([domain(1, "example.org", ""), account(2, "anna@example.org", "1000")]);
    site.holds("anna@example.org", before * 10, 1);
    // What led here is not what is asked about.
    let earlier = site.accounting.notices.waiting().len();
    site.clock.set(mailquotad::quota::Moment(1000));
    if limit != 100 {
        site.sync.apply(Change::Entry(account(2, "anna@example.org", &(limit * 10).to_string())));
    }
    if after != before {
        site.holds("anna@example.org", after * 10, 1);
    }
    let waiting = site.accounting.notices.waiting();
    let name = |event| match event {
        // The percentage that is in use, which each of the two thresholds has been passed with.
        Event::Rule(percent) if percent >= 95 => "95%".to_owned(),
        Event::Rule(_) => "80%".to_owned(),
        other => other.as_str().to_owned(),
    };
    waiting.into_iter().skip(earlier).map(|notice| name(notice.event)).collect()
}

#[test]
fn a_warning_goes_off_where_usage_or_the_limit_crosses_its_threshold() {
    for step in STEPS {
        let first: Vec<&str> = step.3.iter().take(1).copied().collect();
        assert_eq!(told("first", step), first, "{step:?}");
    }
    // All of them: both thresholds are passed in one step, and each makes a notice about the usage there is.
    assert_eq!(told("all", STEPS[3]).len(), 1, "one notice for what is the same news");
    assert_eq!(told("all", STEPS[4]), ["back"]);
}

/// Ben's limit was lowered while the daemon was down. At the start his mailbox grows in the middle of what is done then,
/// which is when all accounts have been looked at and the domains are.
#[test]
fn a_change_in_the_middle_of_a_start_hides_nothing_that_moved_before() {
    const BEN: &str = "ben@example.net";
    let rule = "[[warnings.rule]]\nwhen = \"storage=50%\"\nnotice = true\n";
    let (starting, failing): (Arc<OnceLock<Arc<Accounting>>>, Arc<AtomicBool>) = Default::default();
    let (started, fails, once) = (starting.clone(), failing.clone(), AtomicBool::new(false));
    let here = std::thread::current().id();
    let ledger = Arc::new(FailingLedger::new(MemoryLedger::new(), move |_| {
        // Accounts are looked at by other threads.
        let accounting = started.get().filter(|_| std::thread::current().id() == here);
        if let Some(accounting) = accounting.filter(|_| !once.swap(true, Ordering::SeqCst)) {
            let ben = accounting.book.account(BEN).unwrap();
            let cells = [(CellKey::new("INBOX", None), Usage::new(45, 1))].into_iter().collect();
            let revision = ben.lock().revision;
            drop(accounting.measured(&ben, revision, cells, Moment(2)).unwrap());
        }
        fails.swap(false, Ordering::SeqCst)
    }));
    let entries = |bens: &str| {
        [domain(1, "example.org", "10"), account(2, "anna@example.org", ""), account(3, BEN, bens)].map(Change::Entry)
    };
    let mut before = Site::on(ledger.clone(), &format!("{NOTIFY}{rule}"));
    let load = [Change::Begin].into_iter().chain(entries("100")).chain([Change::Complete]);
    load.for_each(|change| before.sync.apply(change));
    before.holds("anna@example.org", 20, 1);
    before.holds(BEN, 40, 1);
    // After a batch that was lost, the standings of domains that are over are stored again.
    failing.store(true, Ordering::SeqCst);
    let nothing = || vec![Op::Remove { shelf: Shelf::Jobs, key: b"nothing"[..].into() }];
    assert!(ledger.submit(nothing()).wait().is_err() && ledger.submit(nothing()).wait().is_ok());

    let mut after = Site::on(ledger, &format!("{NOTIFY}{rule}"));
    [Change::Begin].into_iter().chain(entries("60")).for_each(|change| after.sync.apply(change));
    assert!(starting.set(after.accounting.clone()).is_ok());
    after.sync.apply(Change::Complete);
    let told = |site: &Site| site.accounting.notices.waiting().iter().filter(|notice| *notice.to == *BEN).count();
    assert_eq!((told(&after), after.accounting.book.account(BEN).unwrap().lock().total().bytes), (1, 45));
    // And nothing is told twice.
    after.holds(BEN, 46, 1);
    assert_eq!(told(&after), 1);
}

#[test]
fn an_account_that_comes_in_with_its_usage_has_crossed_nothing() {
    let rule = "[[warnings.rule]]\nwhen = \"storage=80%\"\nnotice = true\n";
    let mut site = Site::new(&format!("{NOTIFY}{rule}"));
    site.load([account(2, "anna@example.org", "1000"), account(3, "ben@example.org", "1000")]);
    site.holds("anna@example.org", 700, 1);
    site.load([account(3, "ben@example.org", "1000")]);
    site.sync.apply(Change::Entry(account(2, "anna@example.org", "750")));
    assert!(site.accounting.notices.waiting().is_empty());
    site.holds("anna@example.org", 500, 1);
    site.holds("anna@example.org", 700, 1);
    assert_eq!(site.accounting.notices.waiting().len(), 1, "from there on it is as for all");
}

/// A Dovecot that counts, warns us at half of the quota, and hands what it is told at `quota-warning` to a script.
fn warner(run: &Path, mail: &Path) -> (Dovecot, Script) {
    let (script, socket) = (Script::put(run), run.join("quota-warning"));
    let more = format!(
        "mail_plugins = quota\nplugin {{\n  quota = count:User quota\n  quota_vsizes = yes\n  \
         quota_rule = *:storage=100K\n  quota_warning = storage=50%% unix:{run}/warned.sock 50 %u\n}}\n\
         service quota-warning {{\n  executable = script {run}/script/run\n  user = nobody\n}}\n{listener}",
        run = run.display(),
        listener = listener("quota-warning", &socket),
    );
    let dovecot = Dovecot::start(run, mail, &["anna@example.org"], &[], &more);
    // A connection without a call is an error to it.
    until("the script can be called", || socket.exists());
    (dovecot, script)
}

#[tokio::test]
async fn dovecots_script_is_given_every_word_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mail = folder.path().join("mail");
    fs::create_dir(&mail).unwrap();
    let (_dovecot, script) = warner(folder.path(), &mail);
    script.try_every_word(&folder.path().join("quota-warning")).await;
}

#[test]
fn dovecot_tells_us_and_is_told() {
    let mut daemon = Daemon::prepare(
        &user("anna", "100K"),
        "[warnings]\nlisten = [\"unix:DIR/warned.sock\"]\nmode = \"0666\"\n\
         [[warnings.rule]]\nwhen = \"storage=60%\"\nscript = \"DIR/quota-warning\"\nargs = [\"60\", \"%u\", \"%p%%\"]\n",
    );
    let anna = daemon.maildir("example.org", "anna");
    daemon.run();
    daemon.ok(&["resync", "--all"]);
    let (dovecot, script) = warner(daemon.folder.path(), &daemon.path("mail"));
    deliver(dovecot.lmtp, "anna@example.org", &message(70_000)).unwrap();
    until("Dovecot's warning is heard", || daemon.log().contains("event=warning-heard"));
    assert!(daemon.log().contains("arguments=\"50 anna@example.org\" known=true"), "{}", daemon.log());
    // Nobody but Dovecot has said that there is mail: this is what it was measured for.
    let used = || daemon.json(&["show", "anna@example.org"])["buckets"][0]["used"]["bytes"].as_u64().unwrap();
    until("the mailbox is measured", || used() > 60_000);
    assert_eq!(script.said(), format!("<60><anna@example.org><{}%>", used() * 100 / 102_400));
    assert_eq!(fs::read_dir(anna.join("new")).unwrap().count(), 1);

    // Who is not Dovecot is shown the door, and who asks for a reply gets one.
    let call = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(daemon.path("warned.sock")).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        reply
    };
    assert_eq!(call(b"GET / HTTP/1.1\r\n\r\n"), "");
    assert_eq!(call(b"VERSION\tscript\t4\t0\n-\n95\nanna@example.org\n\n"), "+\n");
    assert_eq!(call(b"VERSION\tscript\t4\t0\n-\n95\nnobody@example.org\n\n"), "-\n");
    until("the stranger is logged", || daemon.log().contains("event=garbage service=warned"));
}

#[test]
fn programs_and_webhooks_run_within_their_limits() {
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hook.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = hook.accept().unwrap();
        answer(&mut stream, "204 No Content").unwrap()
    });
    // A program that nobody else runs, so that it can be told whether it still does.
    let sleep = format!("9{}", std::process::id());
    let mut daemon = Daemon::prepare(
        &user("anna", "100K"),
        &format!(
            "[warnings]\nwhich = \"all\"\ntimeout = \"500ms\"\nat_once = 2\n\
             [[warnings.rule]]\nwhen = \"storage=95%\"\nrun = [\"/usr/bin/touch\", \"DIR/out/%n 95\"]\n\
             [[warnings.rule]]\nwhen = \"storage=80%\"\nrun = [\"/bin/sh\", \"-c\", \"echo too bad >&2; exit 3\"]\n\
             [[warnings.rule]]\nwhen = \"messages=2\"\nrun = [\"/bin/sh\", \"-c\", \"sleep {sleep} & sleep {sleep}\"]\n\
             [[warnings.rule]]\nwhen = \"-storage=100%\"\nwebhook = \"http://127.0.0.1:{port}/below?x=1\"\n\
             [[warnings.rule]]\nwhen = \"storage=70%\"\nrun = [\"/nonexistent/program\"]\n"
        ),
    );
    fs::create_dir(daemon.path("out")).unwrap();
    let anna = daemon.maildir("example.org", "anna");
    daemon.run();
    daemon.ok(&["resync", "--all"]);
    put_message(&anna, "1", 101_000, "Subject: x");
    put_message(&anna, "2", 2_000, "Subject: x");
    assert_eq!(daemon.output(&["resync", "anna@example.org"]).status.code(), Some(0));
    until("the program has run", || daemon.path("out/anna 95").exists());
    until("failures are logged", || daemon.log().matches("event=warning-failed").count() == 3);
    let log = daemon.log();
    for line in ["exit status: 3: too bad", "/nonexistent/program: No such file", "was not done within 500ms"] {
        assert!(log.contains(line), "{line} is not in {log}");
    }
    until("what it started is gone with it", || {
        let running = Command::new("pgrep").args(["-f", &format!("^sleep {sleep}$")]).output().unwrap();
        running.stdout.is_empty()
    });
    fs::remove_file(anna.join("cur/1,S=101000:2,S")).unwrap();
    daemon.ok(&["resync", "anna@example.org"]);
    let request = heard.join().unwrap();
    assert!(request.starts_with("POST /below?x=1 HTTP/1.1\r\n"), "{request}");
    let body = body(&request);
    assert_eq!(
        (&body["account"], &body["direction"], &body["used"]["bytes"], &body["limit"]["bytes"]),
        (&"anna@example.org".into(), &"falling".into(), &2000.into(), &102_400.into())
    );
    let counted = |action: &str, result: &str| {
        daemon.metric(&format!("mailquotad_warnings_total{{action=\"{action}\",result=\"{result}\"}}"))
    };
    until("all is counted", || (counted("run", "failed"), counted("webhook", "done")) == (Some(3), Some(1)));
}
