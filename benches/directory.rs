//! Loading a directory, against `ldapsearch` of the same attributes to /dev/null, and how long a change there
//! takes to be in force here. The two loads take turns in one run, so that a busy machine slows both alike.
//!
//! `cargo bench --bench directory [-- ENTRIES]`. The goals: at least 0.9 of ldapsearch's speed, memory bounded, and
//! a change in force within 50 ms (p99).

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mailquotad::directory::Directory;
use mailquotad::directory::entry::{EntryReader, Preset};
use mailquotad::directory::ldap::LdapDirectory;
use mailquotad::directory::{Change, ldap::Follow};
use mailquotad::ledger::{Ledger, SledLedger};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[path = "../tests/support/client.rs"]
mod client;
#[path = "support/figures.rs"]
mod figures;
#[path = "../tests/support/followed.rs"]
mod followed;
#[path = "../tests/support/port.rs"]
mod port;
#[path = "../tests/support/slapd.rs"]
mod slapd;
#[path = "../tests/support/wait.rs"]
mod wait;

use followed::{Followed, options};
use slapd::{DAEMON, PASSWORD, SUFFIX, Slapd, dn, frame, user};

const ROUNDS: usize = 3;
const CHANGES: u64 = 1000;

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let entries = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(if figures::quick() {
        20_000
    } else {
        100_000
    });
    let mut slapd = Slapd::prepare("", slapd::SYNCPROV);
    let mut ldif = frame();
    (0..entries).for_each(|n| ldif.push_str(&user(&format!("u{n:07}"), &more(n))));
    slapd.add_offline(&ldif);
    drop(ldif);
    slapd.run();
    println!("{entries} entries");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let peer = ldapsearch(&slapd, entries);
        report("ldapsearch -E pr=1000/noprompt", peer, entries, None);
        let mut at = Cpu::of(&slapd);
        let mut beside = |what: String, took: Duration| {
            report(&what, took, entries, Some(peer));
            let now = Cpu::of(&slapd);
            println!("    CPU: ours {:.2} s, slapd {:.2} s", now.ours - at.ours, now.slapd - at.slapd);
            at = now;
            ratios.entry(what).or_default().push(peer.as_secs_f64() / took.as_secs_f64());
        };
        for follow in [Follow::Syncrepl, Follow::Poll] {
            let took = runtime.block_on(adapter(&slapd, follow, entries));
            beside(format!("the adapter alone, {follow:?}"), took);
        }
        let (took, kept) = runtime.block_on(whole(&slapd, entries));
        beside("the whole service, into force".into(), took);
        println!("    kept in the ledger after {:.2} s", kept.as_secs_f64());
    }
    let ratios: BTreeMap<String, f64> = ratios.into_iter().map(|(what, all)| (what, figures::median(all))).collect();
    let peak = peak_kilobytes() / 1024;
    println!("peak memory of this process {peak} MB");
    let [p50, p99] = runtime.block_on(changes(&slapd));
    let figures = serde_json::json!({
        "entries": entries, "ratios_to_ldapsearch": ratios, "peak_mb": peak, "change_p50_ms": p50, "change_p99_ms": p99
    });
    figures::keep("directory", &figures)
}

fn more(n: u64) -> String {
    format!("mailQuota: {}M\nmailUserStatus: active\nmailAlternateAddress: alias{n}@example.org\n", 10 + n % 7)
}

fn report(what: &str, took: Duration, entries: u64, peer: Option<Duration>) {
    let ratio = peer.map(|peer| format!(", {:.2} of ldapsearch", peer.as_secs_f64() / took.as_secs_f64()));
    let speed = entries as f64 / took.as_secs_f64();
    println!("{what:34} {:6.2} s {speed:9.0}/s{}", took.as_secs_f64(), ratio.unwrap_or_default());
}

fn ldapsearch(slapd: &Slapd, entries: u64) -> Duration {
    let reader = EntryReader::new(Preset::Sun);
    let requested = reader.requested();
    let mut command = Command::new("ldapsearch");
    command.args(["-x", "-LLL", "-H", &slapd.url(), "-D", DAEMON, "-w", PASSWORD, "-b", SUFFIX]);
    command.args(["-E", "pr=1000/noprompt", &reader.search_filter().to_string()]);
    command.args(requested.iter().map(|name| &**name)).stdout(Stdio::null());
    let begun = Instant::now();
    assert!(command.status().unwrap().success());
    let took = begun.elapsed();
    assert!(entries > 0);
    took
}

/// From the call to the last entry, which are counted and dropped.
async fn adapter(slapd: &Slapd, follow: Follow, entries: u64) -> Duration {
    let mut options = options(&[slapd]);
    options.follow = follow;
    let directory = LdapDirectory::new(options);
    let (sender, mut changes) = mpsc::channel(4096);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let begun = Instant::now();
    let following = tokio::spawn(async move { directory.follow(None, sender, stopping).await });
    let mut seen = 0;
    while let Some(change) = changes.recv().await {
        match change {
            Change::Entry(_) => seen += 1,
            Change::Complete => break,
            _ => {}
        }
    }
    let took = begun.elapsed();
    assert!(seen >= entries, "{seen} of {entries}");
    stop.cancel();
    following.await.unwrap().unwrap();
    took
}

/// From the start of the service to limits in force, and on to a view that is kept on the disk.
async fn whole(slapd: &Slapd, entries: u64) -> (Duration, Duration) {
    let folder = tempfile::TempDir::new().unwrap();
    let ledger: Arc<dyn Ledger> = Arc::new(SledLedger::open(&folder.path().join("ledger")).unwrap());
    let begun = Instant::now();
    let followed = Followed::start_with(options(&[slapd]), ledger);
    followed.loaded().await;
    let took = begun.elapsed();
    assert_eq!(followed.accounting.book.accounts() as u64, entries);
    followed.kept().await;
    let kept = begun.elapsed();
    followed.stop().await.close().unwrap();
    (took, kept)
}

/// From the moment that ldapmodify's work is handed to the server to the limit in force.
async fn changes(slapd: &Slapd) -> [f64; 2] {
    let followed = Followed::start(options(&[slapd]));
    followed.loaded().await;
    let ldap = client::admin(slapd).await;
    let mut took = Vec::new();
    for n in 0..CHANGES {
        let uid = format!("u{:07}", n % 997);
        let begun = Instant::now();
        client::replace(&ldap, &dn(&uid), "mailQuota", &format!("{}", 1_000_000 + n)).await;
        while followed.limit(&uid) != Some(1_000_000 + n) {
            tokio::task::yield_now().await;
        }
        took.push(begun.elapsed());
    }
    took.sort();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    println!(
        "{CHANGES} changes in force after p50 {:.2} ms, p99 {:.2} ms, at most {:.2} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    followed.stop().await;
    [at(0.5), at(0.99)]
}

/// Seconds of CPU so far: what shares the cores with the load.
struct Cpu {
    ours: f64,
    slapd: f64,
}

impl Cpu {
    fn of(slapd: &Slapd) -> Cpu {
        Cpu { ours: cpu_seconds(std::process::id()), slapd: cpu_seconds(slapd.pid()) }
    }
}

/// User and system time of a process, from proc(5), in the kernel's hundredths.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_kilobytes() -> u64 {
    let status = std::io::read_to_string(File::open("/proc/self/status").unwrap()).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    peak.trim().trim_end_matches(" kB").trim().parse().unwrap_or_default()
}
