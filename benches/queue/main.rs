//! What queue quotas cost where the queue is long: reading it, beside `postqueue -j`; answers while it is read,
//! beside those while `postqueue -j` prints it and while nobody looks; and conditions.
//!
//! `cargo bench --bench queue`; `BENCH=quick` for a shorter queue. The queue is a real Postfix's: 60,000 messages on
//! hold, for 10,000 recipients. Contenders take turns in one run. The figures go to `target/bench/queue.json`.

mod answers;
#[path = "../policy/client.rs"]
mod client;
mod conditions;
#[path = "../policy/contender.rs"]
#[allow(dead_code, reason = "there is no echo here")]
mod contender;
#[path = "../support/figures.rs"]
mod figures;
mod reading;
#[path = "../policy/report.rs"]
#[allow(dead_code, reason = "the table is another")]
mod report;
#[path = "../../tests/support/site.rs"]
mod site;
#[path = "../../tests/support"]
mod support {
    pub mod daemon;
    pub mod port;
    pub mod postfix;
    pub mod smtp;
    pub mod wait;
}

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use mailquotad::mailqueue::{MailQueue, Showq, ShowqOptions};
use mailquotad::service::queue::{Queues, Source, follow};
use support::postfix::Postfix;
use support::smtp::Smtp;

/// Recipients are `user0000000@example.org` and so on, as the clients ask for them.
const ACCOUNTS: u32 = 10_000;

/// The four of `docs/queue-quotas.md`, with room for everything.
pub const QUOTAS: &str = r#"
[[queue.quota]]
name = "pairs"
key = ["sender_domain", "rcpt_domain"]
size = "5T"
[[queue.quota]]
name = "example.net"
match = "sender_domain == 'example.net'"
key = ["rcpt"]
messages = 900000
size = "7T"
[[queue.quota]]
name = "everything"
messages = 10000000
size = "10T"
[[queue.quota]]
name = "users"
match = "login != '' && !cidr('192.0.2.0/24').containsIP(client)"
key = ["sender"]
messages = 200000
"#;

pub struct Plan {
    pub messages: usize,
    pub readings: usize,
    pub rounds: usize,
    pub length: Duration,
    pub evaluations: u32,
}

impl Plan {
    fn chosen() -> Plan {
        let plan = |messages, readings, rounds, millis, evaluations| Plan {
            messages,
            readings,
            rounds,
            length: Duration::from_millis(millis),
            evaluations,
        };
        match (cfg!(debug_assertions), figures::quick()) {
            // `cargo test --benches`: shows that it works, no more.
            (true, _) => plan(200, 2, 1, 50, 1000),
            (false, true) => plan(10_000, 5, 3, 1000, 100_000),
            (false, false) => plan(60_000, 9, 7, 3000, 1_000_000),
        }
    }
}

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &arguments[..]
        && first == client::FLAG
    {
        return client::main(rest);
    }
    let plan = Plan::chosen();
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let postfix = long_queue(folder.path(), plan.messages)?;
    let conditions = conditions::measure(&plan);
    let readings = reading::measure(&postfix, &plan)?;
    let answers = answers::measure(&postfix, folder.path(), &plan)?;
    if cfg!(debug_assertions) {
        println!("a debug build: these figures say nothing and are not kept");
        return Ok(());
    }
    let kept = serde_json::json!({
        "messages": plan.messages, "reading": readings, "answers": answers, "conditions": conditions,
    });
    figures::keep("queue", &kept)
}

/// A Postfix whose queue holds so many messages, each for another of the recipients.
fn long_queue(folder: &Path, messages: usize) -> anyhow::Result<Postfix> {
    let mail = folder.join("mail");
    std::fs::create_dir(&mail)?;
    let first = recipient(0);
    let lines = "smtpd_recipient_restrictions = reject_unauth_destination\ndefer_transports = virtual\n";
    let postfix = Postfix::start_with(support::port::free_port(), folder, &mail, &[&first], lines);
    let mut smtp = Smtp::connect(postfix.port);
    let answer = smtp.send(&[&first], 3000);
    ensure!(answer.starts_with("250"), "{answer}");
    postfix.hold_copies(messages - 1, |number, text| {
        let other = recipient(number as u32 % ACCOUNTS);
        let mut at = 0;
        while let Some(found) = text[at..].windows(first.len()).position(|part| part == first.as_bytes()) {
            at += found;
            text[at..at + first.len()].copy_from_slice(other.as_bytes());
            at += first.len();
        }
    });
    Ok(postfix)
}

pub fn recipient(number: u32) -> String {
    format!("user{number:07}@example.org")
}

/// The queue of `postfix`, as the daemon reads it.
pub struct Reader {
    pub queues: Arc<Queues>,
    source: Arc<dyn MailQueue>,
    runtime: tokio::runtime::Runtime,
}

impl Reader {
    fn new(postfix: &Postfix) -> anyhow::Result<Reader> {
        let site = site::Site::new(QUOTAS);
        let source = Source { name: "bench".into(), ..Source::default() };
        let queues = Arc::new(Queues::new(vec![source], site.metrics.clone()));
        queues.install(site.accounting.settings.load().queue.quotas.clone());
        let socket = postfix.queue().join("public/showq");
        let source = Arc::new(Showq::new(ShowqOptions { socket, timeout: Duration::from_secs(60) }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Reader { queues, source, runtime })
    }

    /// One snapshot; how many messages it showed.
    fn read(&self) -> anyhow::Result<u64> {
        let snapshot = follow::snapshot(&self.queues, 0, &self.source, Duration::ZERO);
        let scan = self.runtime.block_on(snapshot).map_err(anyhow::Error::msg)?;
        ensure!(scan.unread == 0, "{} parts of the queue could not be read", scan.unread);
        Ok(scan.messages)
    }
}

/// Prints the queue, for nobody.
fn postqueue(postfix: &Postfix) -> anyhow::Result<()> {
    let status = postfix.command("postqueue").arg("-j").stdout(std::process::Stdio::null()).status();
    let status = status.context("postqueue cannot be started")?;
    ensure!(status.success(), "postqueue: {status}");
    Ok(())
}
