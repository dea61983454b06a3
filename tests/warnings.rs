//! Warnings: when they go off, and what they lead to: a program, a script of a real Dovecot's, a webhook, a notice.
//! And a real Dovecot that sends its own warnings to us.

#![allow(dead_code, reason = "the support modules serve several tests")]

mod support {
    pub mod daemon;
    pub mod postfix;
    pub mod site;
    pub mod wait;
}

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mailquotad::directory::Change;
use mailquotad::mailer::{LmtpMailer, LmtpOptions, Mail, Mailer};
use mailquotad::service::notify::stage::Event;
use support::daemon::{Daemon, put_message};
use support::postfix::give;
use support::site::{Site, account, domain};
use support::wait::until;

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

/// A Dovecot that delivers by LMTP, counts, warns us at half of the quota, and runs a script for whoever calls it.
struct Dovecot {
    root: PathBuf,
    master: Child,
}

impl Dovecot {
    fn start(run: &Path) -> Dovecot {
        let root = run.join("dovecot");
        for part in ["", "out"] {
            fs::create_dir(root.join(part)).unwrap();
            fs::set_permissions(root.join(part), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let script = root.join("quota-warning.sh");
        fs::write(&script, format!("#!/bin/sh\necho \"$@\" >{}/out/said\n", root.display())).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let config = format!(
            "protocols = lmtp\nbase_dir = {dir}/run\nstate_dir = {dir}/state\nlog_path = {dir}/log\nssl = no\n\
             default_internal_user = dovecot\ndefault_login_user = dovenull\nfirst_valid_uid = 1\n\
             mail_location = maildir:{mail}/%d/%n\nmail_home = {dir}/home/%n\nmail_uid = 65534\nmail_gid = 65534\n\
             auth_username_format = %Lu\nmail_plugins = quota\n\
             plugin {{\n  quota = count:User quota\n  quota_vsizes = yes\n  quota_rule = *:storage=100K\n  \
             quota_warning = storage=50%% unix:{run}/warned.sock 50 %u\n}}\n\
             passdb {{\n  driver = static\n  args = nopassword=y\n}}\n\
             userdb {{\n  driver = static\n  args = uid=65534 gid=65534 home={dir}/home/%n allow_all_users=yes\n}}\n\
             service lmtp {{\n  unix_listener {dir}/lmtp.sock {{\n    mode = 0666\n  }}\n}}\n\
             service quota-warning {{\n  executable = script {script}\n  user = nobody\n  \
             unix_listener {dir}/quota-warning {{\n    mode = 0666\n  }}\n}}\n\
             service anvil {{\n  chroot =\n}}\nservice stats {{\n  chroot =\n}}\n",
            dir = root.display(),
            mail = run.join("mail").display(),
            run = run.display(),
            script = script.display(),
        );
        fs::write(root.join("dovecot.conf"), config).unwrap();
        fs::create_dir(root.join("home")).unwrap();
        give(&root.join("home"), 65534);
        let master = Command::new("dovecot")
            .arg("-F")
            .arg("-c")
            .arg(root.join("dovecot.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("dovecot is installed; `make test` does that");
        let mut dovecot = Dovecot { root, master };
        until("Dovecot listens", || {
            if let Some(ended) = dovecot.master.try_wait().unwrap() {
                panic!("Dovecot ended with {ended}:\n{}", dovecot.log());
            }
            UnixStream::connect(dovecot.root.join("lmtp.sock")).is_ok()
        });
        dovecot
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.root.join("out/said")).unwrap_or_default()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.master.id().to_string()).status();
        let _ = self.master.wait();
        if std::thread::panicking() {
            eprintln!("--- Dovecot's log\n{}", self.log());
        }
    }
}

fn users(quotas: &[(&str, &str)]) -> String {
    let user = |(name, quota): &(&str, &str)| {
        format!(
            "\ndn: uid={name},dc=example.org\nobjectClass: inetMailUser\nmail: {name}@example.org\n\
             mailUserStatus: active\nmailQuota: {quota}\n"
        )
    };
    format!("version: 1\n{}", quotas.iter().map(user).collect::<String>())
}

/// A daemon whose configuration has `DIR` where its folder is meant.
fn daemon(ldif: &str, more: &str) -> Daemon {
    let daemon = Daemon::prepare(ldif, more);
    let file = daemon.path("mailquotad.toml");
    let config = fs::read_to_string(&file).unwrap().replace("DIR", &daemon.folder.path().display().to_string());
    fs::write(file, config).unwrap();
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn dovecot_tells_us_and_is_told() {
    let mut daemon = daemon(
        &users(&[("anna", "100K")]),
        "[warnings]\nlisten = [\"unix:DIR/warned.sock\"]\nmode = \"0666\"\n\
         [[warnings.rule]]\nwhen = \"storage=60%\"\nscript = \"DIR/dovecot/quota-warning\"\nargs = [\"60\", \"%u\", \"%p%%\"]\n",
    );
    let anna = daemon.maildir("example.org", "anna");
    give(&daemon.path("mail"), 65534);
    daemon.run();
    daemon.ok(&["resync", "--all"]);
    let dovecot = Dovecot::start(daemon.folder.path());
    let options = LmtpOptions {
        server: format!("unix:{}", dovecot.root.join("lmtp.sock").display()).parse().unwrap(),
        hello: "localhost".into(),
        timeout: Duration::from_secs(30),
    };
    let mut text = b"Subject: x\r\n\r\n".to_vec();
    (0..1000).for_each(|_| {
        text.extend_from_slice(b"Seventy bytes of text make a line, and a thousand lines a message.\r\n")
    });
    let mail = Mail { from: None, to: "anna@example.org".parse().unwrap(), text };
    LmtpMailer::new(options).send(&mail).await.unwrap();
    tokio::task::block_in_place(|| {
        until("Dovecot's warning is heard", || daemon.log().contains("event=warning-heard"));
        assert!(daemon.log().contains("arguments=\"50 anna@example.org\" known=true"), "{}", daemon.log());
        // Nobody but Dovecot has said that there is mail: this is what it was measured for.
        let used = || daemon.json(&["show", "anna@example.org"])["buckets"][0]["used"]["bytes"].as_u64().unwrap();
        until("the mailbox is measured", || used() > 60_000);
        until("Dovecot's script has run", || !dovecot.said().is_empty());
    });
    let percent =
        daemon.json(&["show", "anna@example.org"])["buckets"][0]["used"]["bytes"].as_u64().unwrap() * 100 / 102_400;
    assert_eq!(dovecot.said(), format!("60 anna@example.org {percent}%\n"));
    assert!(fs::read_dir(anna.join("new")).unwrap().count() == 1);

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
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&request));
            request.extend_from_slice(&bytes[..count]);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    // A program that nobody else runs, so that it can be told whether it still does.
    let sleep = format!("9{}", std::process::id());
    let mut daemon = daemon(
        &users(&[("anna", "100K")]),
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
    let body: serde_json::Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        (&body["account"], &body["direction"], &body["used"]["bytes"], &body["limit"]["bytes"]),
        (&"anna@example.org".into(), &"falling".into(), &2000.into(), &102_400.into())
    );
    until("all is counted", || {
        let metrics = Command::new("curl")
            .args(["-s", "--unix-socket"])
            .arg(daemon.path("api.sock"))
            .arg("http://mailquotad/metrics")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&metrics.stdout).into_owned();
        text.contains("mailquotad_warnings_total{action=\"run\",result=\"failed\"} 3")
            && text.contains("mailquotad_warnings_total{action=\"webhook\",result=\"done\"} 1")
    });
}
