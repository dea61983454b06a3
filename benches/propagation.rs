//! How long a delivered or deleted file takes to change the verdict: the built daemon with its watch, a Maildir,
//! and a policy client that asks until the answer is another. The way of an LDAP change is in the directory's bench.
//!
//! `cargo bench --bench propagation`; `BENCH=quick` makes it short. The goal is 50 ms (p99).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mailquotad::service::socket::Stream;
use mailquotad::wire::endpoint::Endpoint;

#[path = "../tests/support/daemon.rs"]
mod daemon;
#[path = "support/figures.rs"]
mod figures;
#[path = "../tests/support/port.rs"]
mod port;
#[path = "../tests/support/wait.rs"]
mod wait;

use daemon::Daemon;

const USERS: usize = 100;
const PARTS: [&str; 3] = ["cur", "new", "tmp"];

/// Far beyond what anything takes here.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> anyhow::Result<()> {
    let operations = match (cfg!(debug_assertions), figures::quick()) {
        (true, _) => 4,
        (false, true) => 200,
        (false, false) => 1000,
    };
    let user = |n| {
        format!(
            "dn: uid=u{n},dc=example,dc=org\nobjectClass: inetOrgPerson\nobjectClass: inetMailUser\nuid: u{n}\ncn: u{n}\n\
             sn: u{n}\nmail: u{n}@example.org\nmailMsgQuota: 1\n\n"
        )
    };
    let ldif: String = (0..USERS).map(user).collect();
    let mut report = Vec::new();
    for watch in ["fanotify", "inotify"] {
        let mut daemon = Daemon::prepare(&ldif, "[enforcement]\ngrace_period = \"0s\"\nallowance = \"none\"\n");
        daemon.configure("watch = \"off\"", &format!("watch = \"{watch}\""));
        // Only the watch is to tell.
        daemon.configure("measure_after_delivery = \"100ms\"", "measure_after_delivery = \"1h\"");
        for n in 0..USERS {
            for part in PARTS {
                fs::create_dir_all(daemon.path(&format!("mail/example.org/u{n}/{part}")))?;
            }
        }
        daemon.run();
        let policy = Stream::connect(&Endpoint::Unix(daemon.path("policy.sock")))?;
        let mut policy = Client { stream: BufReader::new(&policy), asked: 0 };
        let (mut delivered, mut deleted) = (Vec::new(), Vec::new());
        for operation in 0..operations {
            let n = operation % USERS;
            let mailbox = daemon.path(&format!("mail/example.org/u{n}"));
            let (written, file) = (mailbox.join("tmp/message"), mailbox.join(format!("new/{operation}.M1.host,S=5")));
            fs::write(&written, "hello")?;
            delivered.push(policy.until(n, false, || fs::rename(&written, &file))?);
            deleted.push(policy.until(n, true, || fs::remove_file(&file))?);
        }
        for (what, took) in [("delivered", &mut delivered), ("deleted", &mut deleted)] {
            took.sort();
            let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
            println!(
                "{watch:9} {operations} files {what}: the verdict is another after p50 {:.2} ms, p99 {:.2} ms, at most {:.2} ms",
                at(0.5),
                at(0.99),
                at(1.0)
            );
            report.push(serde_json::json!({
                "watch": watch, "what": what, "operations": operations, "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0)
            }));
        }
        let end = daemon.stop("TERM");
        ensure!(end.success(), "the daemon ended with {end}: {}", daemon.log());
    }
    if cfg!(debug_assertions) {
        println!("a debug build: these figures say nothing and are not kept");
        return Ok(());
    }
    figures::keep("propagation", &report)
}

struct Client<'a> {
    stream: BufReader<&'a Stream>,
    asked: u64,
}

impl Client<'_> {
    /// Whether there is room for a message to a user.
    fn is_let_in(&mut self, n: usize) -> anyhow::Result<bool> {
        self.asked += 1;
        let request = format!(
            "request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient=u{n}@example.org\nsender=carol@example.net\n\
             size=5\ninstance=bench.{}\n\n",
            self.asked
        );
        let mut stream = *self.stream.get_ref();
        stream.write_all(request.as_bytes())?;
        let (mut reply, mut end) = (String::new(), String::new());
        self.stream.read_line(&mut reply)?;
        self.stream.read_line(&mut end)?;
        let action = reply.strip_prefix("action=").with_context(|| format!("the daemon said {reply:?}"))?;
        Ok(action.starts_with("DUNNO"))
    }

    /// How long `event` takes to be in force.
    fn until(
        &mut self,
        n: usize,
        let_in: bool,
        event: impl FnOnce() -> std::io::Result<()>,
    ) -> anyhow::Result<Duration> {
        ensure!(self.is_let_in(n)? != let_in, "u{n} is there already");
        let begun = Instant::now();
        event()?;
        while self.is_let_in(n)? != let_in {
            ensure!(begun.elapsed() < PATIENCE, "u{n}: nothing came of it");
        }
        Ok(begun.elapsed())
    }
}
