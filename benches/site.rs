//! Large sites in memory: what an account costs, how long a start from the snapshot takes, and what enforcing
//! everybody costs, as the site grows.
//!
//! `cargo bench --bench site [-- ACCOUNTS…]`; `BENCH=quick` makes it short. A tenth as many domains as accounts.
//! Each size is two processes, so that nothing is left over from the one before: the first loads the site from
//! its directory and keeps it in a ledger, the second starts from that. The rival is the same data in a plain
//! map of address to limit, which is the least that anybody could keep. The figures go to
//! `target/bench/site.json` too.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mailquotad::account::{AccountEntry, DomainEntry, Entry, EntryId, Status};
use mailquotad::directory::Change;
use mailquotad::ledger::{Ledger, Op, SledLedger};
use mailquotad::quota::Moment;
use mailquotad::service::admission::Admission;
use mailquotad::service::policy::Answer;
use mailquotad::service::socket::Peer;
use mailquotad::wire::policy::{Parser, Reply};
use serde::{Deserialize, Serialize};

#[path = "support/figures.rs"]
mod figures;
#[path = "../tests/support/site.rs"]
mod site;

use site::Site;

const DOMAINS_PER_ACCOUNT: u32 = 10;
const FLAG: &str = "--child";

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [flag, part, folder, accounts] = &arguments[..]
        && flag == FLAG
    {
        let (folder, accounts) = (Path::new(folder), accounts.parse()?);
        let figures = match part.as_str() {
            "load" => serde_json::to_value(load(folder, accounts)?)?,
            _ => serde_json::to_value(start(folder, accounts)?)?,
        };
        println!("{figures}");
        return Ok(());
    }
    let chosen: Vec<u32> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = match (cfg!(debug_assertions), figures::quick()) {
        _ if !chosen.is_empty() => chosen,
        (true, _) => vec![1_000],
        (false, true) => vec![1_000, 100_000],
        (false, false) => vec![1_000, 100_000, 1_000_000],
    };
    let mut lines = Vec::new();
    for accounts in sizes {
        let folder = tempfile::tempdir()?;
        let load: Load = child("load", folder.path(), accounts)?;
        let start: Start = child("start", folder.path(), accounts)?;
        println!("{accounts} accounts, {} domains", accounts / DOMAINS_PER_ACCOUNT);
        println!(
            "  loaded in {:.2} s; {:.0} bytes an account, {:.0} beyond its own strings (a plain map: {:.0})",
            load.seconds, load.bytes, load.beyond_strings, load.plain_map
        );
        println!("  ledger on the disk: {:.0} bytes an account", load.disk);
        println!("  started from the snapshot in {:.2} s, first right answer then", start.seconds);
        println!(
            "  settling everybody, nothing to do: {:.1} ms; 1 % changed: {:.1} ms; domains alone: {:.1} ms",
            start.settle_ms, start.changed_ms, start.domains_ms
        );
        println!("  a request: {:.2} us ({:.0}/s on one core)", start.request_us, 1e6 / start.request_us);
        lines.push(serde_json::json!({ "accounts": accounts, "load": load, "start": start }));
    }
    if cfg!(debug_assertions) {
        println!("a debug build: these figures say nothing and are not kept");
        return Ok(());
    }
    figures::keep("site", &lines)
}

fn child<T: for<'de> Deserialize<'de>>(part: &str, folder: &Path, accounts: u32) -> anyhow::Result<T> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args([FLAG, part]).arg(folder).arg(accounts.to_string()).output()?;
    ensure!(output.status.success(), "{part}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("the figures of {part}"))
}

#[derive(Serialize, Deserialize)]
struct Load {
    seconds: f64,
    /// Of resident memory, an account.
    bytes: f64,
    beyond_strings: f64,
    plain_map: f64,
    disk: f64,
}

#[derive(Serialize, Deserialize)]
struct Start {
    seconds: f64,
    settle_ms: f64,
    changed_ms: f64,
    domains_ms: f64,
    request_us: f64,
}

fn domain_of(number: u32, accounts: u32) -> u32 {
    number % (accounts / DOMAINS_PER_ACCOUNT).max(1)
}

fn address(number: u32, accounts: u32) -> String {
    format!("user{number:08}@d{:07}.example.org", domain_of(number, accounts))
}

fn dn(number: u32, accounts: u32) -> String {
    format!("uid=user{number:08},ou=people,dc=d{:07},dc=example,dc=org", domain_of(number, accounts))
}

fn account(number: u32, accounts: u32) -> Entry {
    Entry::Account(AccountEntry {
        // As servers number entries: by the clock, over a fixed node; not in the order of addresses.
        id: EntryId((u128::from(number.wrapping_mul(0x9e37_79b1)) << 96) | 0x11ef_a0b4_0123_4567_89ab),
        dn: dn(number, accounts).into(),
        address: address(number, accounts).into(),
        alternates: Vec::new(),
        forwards: Vec::new(),
        inet_status: Status::Active,
        mail_status: Status::Active,
        quota: Ok(Some(format!("{}M", 100 + number % 7).into())),
        messages: Ok(None),
        rules: Vec::new(),
        attributes: Default::default(),
    })
}

fn domain(number: u32) -> Entry {
    Entry::Domain(DomainEntry {
        id: EntryId((u128::from(number) << 96) | 0x11ef_a0b4_ffff_4567_89ab),
        dn: format!("dc=d{number:07},dc=example,dc=org").into(),
        name: format!("d{number:07}.example.org").into(),
        inet_status: Status::Active,
        mail_status: Status::Active,
        quota: Ok(Some("100G".into())),
        messages: Ok(None),
        user_quota: Ok(None),
        user_messages: Ok(None),
    })
}

/// Of this process, in bytes.
fn resident() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kilobytes * 1024.0)
}

fn load(folder: &Path, accounts: u32) -> anyhow::Result<Load> {
    let strings: usize = (0..accounts).map(|n| address(n, accounts).len() + dn(n, accounts).len()).sum();
    let empty = resident()?;
    let plain: HashMap<String, u64> = (0..accounts).map(|n| (address(n, accounts), 100 << 20)).collect();
    let plain_map = (resident()? - empty) / f64::from(accounts);
    drop(plain);

    // The ledger of another process: what it needs by itself is not an account's.
    let before = resident()?;
    let mut site = Site::new("");
    let begun = Instant::now();
    site.load((0..accounts / DOMAINS_PER_ACCOUNT).map(domain).chain((0..accounts).map(|n| account(n, accounts))));
    let seconds = begun.elapsed().as_secs_f64();
    drop(site.hinted.take());
    let bytes = (resident()? - before) / f64::from(accounts);
    ensure!(site.accounting.book.accounts() == accounts as usize, "some accounts are missing");
    let beyond_strings = bytes - strings as f64 / f64::from(accounts);
    drop(site);

    let disk = keep(folder, accounts)?;
    Ok(Load { seconds, bytes, beyond_strings, plain_map, disk })
}

/// Keeps the site in a ledger: its directory, and for every account what it holds. Bytes on disk, an account.
fn keep(folder: &Path, accounts: u32) -> anyhow::Result<f64> {
    let ledger: Arc<dyn Ledger> = Arc::new(SledLedger::open(folder)?);
    let mut site = Site::on(ledger.clone(), "");
    site.sync = site.sync.keeping();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // With nothing in it the directory is complete, and what comes now is written as it comes.
        let reached = || Change::Reached { token: b"here".to_vec() };
        site.sync.apply_all([Change::Begin, Change::Complete, reached()]).await;
        let domains = (0..accounts / DOMAINS_PER_ACCOUNT).map(domain);
        site.sync.apply_all(domains.chain((0..accounts).map(|n| account(n, accounts))).map(Change::Entry)).await;
        site.sync.apply_all([reached()]).await;
        site.sync.settle().await;
    });
    for number in 0..accounts {
        site.holds(&address(number, accounts), 10 << 20, 100);
        if number % 1000 == 0 {
            // The queue of the ledger is bounded.
            ledger.submit(vec![Op::Forget { account: "nobody".into() }]).wait()?;
        }
    }
    ledger.close()?;
    let size = |entry: std::io::Result<std::fs::DirEntry>| Ok::<_, std::io::Error>(entry?.metadata()?.len());
    let sizes = std::fs::read_dir(folder)?.map(size).collect::<Result<Vec<u64>, _>>()?;
    Ok(sizes.iter().sum::<u64>() as f64 / f64::from(accounts))
}

fn start(folder: &Path, accounts: u32) -> anyhow::Result<Start> {
    let begun = Instant::now();
    let ledger: Arc<dyn Ledger> = Arc::new(SledLedger::open(folder)?);
    let mut site = Site::on(ledger, "");
    site.clock.set(Moment(1_000_000));
    site.sync = site.sync.keeping();
    site.sync.restore()?.context("the snapshot is not whole")?;
    let admission = site.admission();
    let last = address(accounts - 1, accounts);
    ensure!(answer(&admission, &last, 90 << 20, 0).starts_with("DUNNO"), "the first answer is wrong");
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(answer(&admission, &last, 200 << 20, 0).starts_with("552"), "the first answer is wrong");

    let settle = timed(|| {
        site.accounting.settle_accounts();
        site.accounting.settle_domains();
    });
    let domains = timed(|| site.accounting.settle_domains());
    for number in (0..accounts).step_by(100) {
        site.holds(&address(number, accounts), 300 << 20, 3);
    }
    let changed = timed(|| {
        site.accounting.settle_accounts();
        site.accounting.settle_domains();
    });
    let requests = 200_000_u32;
    // Hardly ever the same account, as strangers write to a site.
    let asked = timed(|| {
        for n in 0..requests {
            let anybody = address(n.wrapping_mul(0x9e37_79b1) % accounts, accounts);
            std::hint::black_box(answer(&admission, &anybody, 1000, n));
        }
    });
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    Ok(Start {
        seconds,
        settle_ms: ms(settle),
        changed_ms: ms(changed),
        domains_ms: ms(domains),
        request_us: asked.as_secs_f64() * 1e6 / f64::from(requests),
    })
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// The action for the `nth` message, of `size` bytes. Each is a transaction of its own, for what is remembered of one
/// grows with its recipients.
fn answer(admission: &Admission, recipient: &str, size: u64, nth: u32) -> String {
    let text = format!(
        "request=smtpd_access_policy\nprotocol_state=RCPT\nsender=carol@example.net\nrecipient={recipient}\n\
         size={size}\ninstance=14c7.{nth:x}.0\n\n"
    );
    let mut out = Vec::with_capacity(256);
    let mut parser = Parser::default();
    if let Ok(Some((request, _))) = parser.parse(text.as_bytes()) {
        let mut reply = Reply::new(&mut out);
        admission.answer(&request, &Peer::Unix(None), &mut reply);
        reply.finish();
    }
    String::from_utf8_lossy(&out).trim_start_matches("action=").into()
}
