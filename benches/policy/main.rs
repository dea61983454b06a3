//! How fast the policy server answers, beside the limit: a bare echo of the protocol, which does nothing but
//! read to the empty line and answer. Both are asked in turn, in one run, by the same client process.
//!
//! `cargo bench --bench policy`; `BENCH=quick` makes it short. The table goes to the standard output, the figures
//! to `target/bench/policy.json`. `session` is our listener and session with a
//! verdict that is always the same, `daemon` the whole: 1,000,000 accounts, a third of them over quota.
//! `quota-status` is Dovecot's, with 10,000 users in a slapd, a third of whom have no room either.

mod client;
mod contender;
#[path = "../support/dovecot.rs"]
mod dovecot;
#[path = "../support/figures.rs"]
mod figures;
#[path = "../../tests/support/port.rs"]
mod port;
mod quota_status;
mod report;
#[path = "../../tests/support/site.rs"]
mod site;
#[path = "../../tests/support/slapd.rs"]
mod slapd;
#[path = "../../tests/support/wait.rs"]
mod wait;

use std::time::Duration;

use mailquotad::service::policy::Answer;
use mailquotad::service::socket::Peer;
use mailquotad::telemetry::log::{Log, LogOptions, Rotation, Target};
use mailquotad::wire::endpoint::Endpoint;
use mailquotad::wire::policy::{Reply, Request};

use contender::Contender;
use report::{Round, Setting};
use site::{Site, account};

/// Recipients are `user0000000@example.org` and so on.
const ACCOUNTS: u32 = 1_000_000;

struct Plan {
    rounds: usize,
    length: Duration,
}

impl Plan {
    fn chosen() -> Plan {
        match (cfg!(debug_assertions), figures::quick()) {
            // `cargo test --benches`: shows that it works, no more.
            (true, _) => Plan { rounds: 1, length: Duration::from_millis(20) },
            (false, true) => Plan { rounds: 3, length: Duration::from_millis(400) },
            (false, false) => Plan { rounds: 9, length: Duration::from_millis(1000) },
        }
    }
}

/// The session alone, without a verdict.
struct Dunno;

impl Answer for Dunno {
    fn answer(&self, _: &Request<'_>, _: &Peer, reply: &mut Reply<'_>) {
        reply.dunno();
    }
}

/// The accounts that the clients ask for, a third of them over quota.
fn everybody() -> Site {
    let accounts = if cfg!(debug_assertions) { 1000 } else { ACCOUNTS };
    let mut site = Site::new("");
    let address = |number: u32| format!("user{number:07}@example.org");
    site.load((0..accounts).map(|number| account(number.into(), &address(number), "2G;Archive%1G")));
    for number in (0..accounts).step_by(3) {
        site.holds(&address(number), 3 << 30, 1000);
    }
    site
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
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let quota_status = quota_status::QuotaStatus::start(folder.path())?;
    let contenders = [
        Contender::echo(folder.path())?,
        Contender::session("session", Dunno, folder.path(), &runtime)?,
        Contender::session("daemon", everybody().admission(), folder.path(), &runtime)?,
        quota_status.contender.clone(),
    ];
    // As the daemon logs: one line for every refusal.
    let target = Target::Files { directory: folder.path().into(), rotation: Rotation::Never, keep: 1 };
    let _log = Log::start(&LogOptions { target, ..LogOptions::default() })?;
    let plan = Plan::chosen();
    let settings = measure(&contenders, &plan)?;
    report::print(&contenders, &settings);
    if cfg!(debug_assertions) {
        println!("a debug build: these figures say nothing and are not kept");
        return Ok(());
    }
    report::keep(&contenders, &settings)
}

/// Every contender in every setting; the first is what the others are compared with.
fn measure(contenders: &[Contender], plan: &Plan) -> anyhow::Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for (transport, at) in [("tcp", (|c| &c.tcp) as fn(&Contender) -> &Endpoint), ("unix", |c: &Contender| &c.unix)] {
        for connections in [1, 4, 64] {
            let mut rounds = Vec::new();
            for number in 0..plan.rounds {
                let mut round: Vec<Option<Round>> = contenders.iter().map(|_| None).collect();
                // Each round begins with another, so that none always comes after the same.
                for turn in 0..contenders.len() {
                    let which = (turn + number) % contenders.len();
                    let figures =
                        client::run(at(&contenders[which]), connections, plan.length, contenders[which].accounts)?;
                    round[which] = Some(figures);
                }
                rounds.push(round.into_iter().flatten().collect());
            }
            settings.push(Setting { transport, connections, rounds });
        }
    }
    Ok(settings)
}
