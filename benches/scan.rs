//! How fast mailboxes are measured, beside `find -type f` (which only lists), `du -s` (which asks for every
//! file's size) and Dovecot's `doveadm quota recalc` over the same tree, taken in turns so that all meet the same
//! caches and neighbours. Dovecot has a copy of its own, for it leaves indexes behind.
//!
//! `cargo bench --bench scan`; `BENCH=quick` for a smaller tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mailquotad::mailstore::maildir::{MaildirOptions, MaildirStore};
use mailquotad::mailstore::{MailStore, MailboxRef};
use mailquotad::quota::Usage;
use mailquotad::wire::content_type::TypeTable;

#[path = "support/dovecot.rs"]
mod dovecot;
#[path = "support/figures.rs"]
mod figures;

use dovecot::Dovecot;

/// Rounds that Dovecot takes part in: it takes seconds where the others take milliseconds.
const DOVECOT_ROUNDS: usize = 3;

const FOLDERS: [&str; 5] = ["", ".Archive", ".Archive.2025", ".Sent", ".Trash"];
const PARTS: [&str; 3] = ["cur", "new", "tmp"];

struct Setting {
    accounts: usize,
    messages_per_folder: usize,
    rounds: usize,
}

fn main() -> anyhow::Result<()> {
    let mut kept = Vec::new();
    let quick = figures::quick();
    let rounds = if quick { 5 } else { 15 };
    let settings = match quick {
        true => [(20, 200), (4, 1000)],
        // 200 accounts with 1,000 messages; and the same files as 40 accounts with 1,000 a folder.
        false => [(200, 200), (40, 1000)],
    };
    for (accounts, messages_per_folder) in settings {
        for sizes_in_names in [true, false] {
            compare(&Setting { accounts, messages_per_folder, rounds }, sizes_in_names, &mut kept)?;
        }
    }
    figures::keep("scan", &kept)
}

fn compare(setting: &Setting, sizes_in_names: bool, kept: &mut Vec<serde_json::Value>) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let expected = fill(dir.path(), setting, sizes_in_names);
    let rival = tempfile::tempdir()?;
    let dovecot = dovecot(rival.path(), setting, sizes_in_names)?;
    let template = format!("{}/%d/%n/Maildir", dir.path().display());
    let plain = MaildirOptions::new(template.parse().expect("a template"));
    let mut typed = plain.clone();
    typed.types = TypeTable::new([("voice", ["audio/*"])]).expect("a table");
    let (plain, typed) = (MaildirStore::new(plain), MaildirStore::new(typed));
    let mailboxes: Vec<MailboxRef> = (0..setting.accounts).map(mailbox).collect();
    let memories: Vec<Vec<u8>> =
        mailboxes.iter().map(|mailbox| typed.measure(mailbox, &[]).expect("a measurement").memory).collect();
    let none = vec![Vec::new(); mailboxes.len()];

    println!(
        "\n{} accounts, {} folders each, {} messages a folder ({} files), sizes {}",
        setting.accounts,
        FOLDERS.len(),
        setting.messages_per_folder,
        expected.messages,
        if sizes_in_names { "in the names" } else { "from the file system" }
    );
    let find = || command("find", &["-type", "f"], dir.path());
    let du = || command("du", &["-s"], dir.path());
    let ours = |store: &MaildirStore, memories: &[Vec<u8>], threads: usize| {
        assert_eq!(measure(store, &mailboxes, memories, threads), expected);
    };
    let recalc = || dovecot.doveadm(&["quota", "recalc", "-A"]).expect("a recalculation");
    let mail = rival.path().join("mail");
    let runs = [
        Run::new("find -type f", find),
        Run::new("du -s", du),
        Run::new("mailquotad", || ours(&plain, &none, 1)),
        Run::new("mailquotad, 2 threads", || ours(&plain, &none, 2)),
        Run::new("types, all known", || ours(&typed, &memories, 1)),
        Run::new("types, none known", || ours(&typed, &none, 1)),
        Run { rounds: DOVECOT_ROUNDS, ..Run::new("doveadm quota recalc -A", recalc) },
        Run {
            rounds: DOVECOT_ROUNDS,
            before: Box::new(|| forget(&mail).expect("its indexes are removed")),
            ..Run::new("the same, no indexes", recalc)
        },
    ];
    let mut times = vec![Vec::new(); runs.len()];
    // The first round warms the caches and is not counted.
    for round in 0..=setting.rounds {
        for (at, run) in runs.iter().enumerate().filter(|(_, run)| round <= run.rounds) {
            (run.before)();
            let start = Instant::now();
            (run.work)();
            if round > 0 {
                times[at].push(start.elapsed());
            }
        }
    }
    let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
    for (Run { name, .. }, median) in runs.iter().zip(&medians) {
        let speed = |other: Duration| other.as_secs_f64() / median.as_secs_f64();
        kept.push(serde_json::json!({
            "accounts": setting.accounts, "messages_per_folder": setting.messages_per_folder,
            "sizes_in_names": sizes_in_names, "what": name, "ms": median.as_secs_f64() * 1e3,
            "ratio_to_find": speed(medians[0]), "ratio_to_du": speed(medians[1]), "ratio_to_recalc": speed(medians[6]), "ratio_to_recalc_without_indexes": speed(medians[7])
        }));
        println!(
            "  {name:<22} {:>8.1} ms  {:>9.0} files/s  {:>5.2} x find  {:>5.2} x du  {:>5.1} x doveadm, {:>5.1} without indexes",
            median.as_secs_f64() * 1e3,
            expected.messages as f64 / median.as_secs_f64(),
            speed(medians[0]),
            speed(medians[1]),
            speed(medians[6]),
            speed(medians[7])
        );
    }
    Ok(())
}

/// Something to be timed.
struct Run<'a> {
    name: &'static str,
    rounds: usize,
    /// Not timed.
    before: Box<dyn Fn() + 'a>,
    work: Box<dyn Fn() + 'a>,
}

impl<'a> Run<'a> {
    fn new(name: &'static str, work: impl Fn() + 'a) -> Run<'a> {
        Run { name, rounds: usize::MAX, before: Box::new(|| ()), work: Box::new(work) }
    }
}

/// Takes away what Dovecot knows of the mailboxes below `folder`.
fn forget(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget(&entry.path())?;
        } else if entry.file_name().to_string_lossy().starts_with("dovecot") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Dovecot with the same mailboxes, below a folder of its own.
fn dovecot(folder: &Path, setting: &Setting, sizes_in_names: bool) -> anyhow::Result<Dovecot> {
    let (root, mail) = (folder.join("dovecot"), folder.join("mail"));
    for path in [folder, &root, &mail] {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    fill(&mail, setting, sizes_in_names);
    let users: String = (0..setting.accounts).map(|n| format!("user{n}@example.org:::::::\n")).collect();
    fs::write(root.join("users"), users)?;
    let userdb =
        format!("userdb {{\n  driver = passwd-file\n  args = username_format=%u {}/users\n}}\n", root.display());
    Dovecot::start(&root, &mail, &userdb, &root.join("run/auth-userdb"))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn mailbox(n: usize) -> MailboxRef {
    MailboxRef { address: format!("user{n}@example.org").into(), attributes: BTreeMap::new() }
}

/// Makes the tree and says what is in it.
fn fill(root: &Path, setting: &Setting, sizes_in_names: bool) -> Usage {
    let mut sum = Usage::ZERO;
    for account in 0..setting.accounts {
        for (number, folder) in FOLDERS.iter().enumerate() {
            let folder = root.join(format!("example.org/user{account}/Maildir")).join(folder);
            PARTS.iter().for_each(|part| fs::create_dir_all(folder.join(part)).expect("a directory"));
            for n in 0..setting.messages_per_folder {
                let size = n % 40 + 20;
                let told = if sizes_in_names { format!(",S={size},W={}", size + 1) } else { String::new() };
                let unique = format!("17000{n:05}.M{n:06}P{account}{number}.mail.example.org{told}");
                // The last few of a hundred are unread.
                let place = if n % 100 > 97 { format!("new/{unique}") } else { format!("cur/{unique}:2,S") };
                let head: String =
                    "Content-Type: audio/wav\n\n".chars().chain(std::iter::repeat('x')).take(size).collect();
                fs::write(folder.join(place), head).expect("a message");
                sum = sum + Usage::new(size as u64, 1);
            }
        }
    }
    sum
}

/// Measures account after account, as the daemon does.
fn measure(store: &MaildirStore, mailboxes: &[MailboxRef], memories: &[Vec<u8>], threads: usize) -> Usage {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut sum = Usage::ZERO;
        while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < mailboxes.len()) {
            let found = store.measure(&mailboxes[at], &memories[at]).expect("a measurement");
            assert!(found.problems.is_empty(), "{:?}", found.problems);
            sum = sum + found.cells.total();
        }
        sum
    };
    if threads == 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
    })
}

fn command(program: &str, arguments: &[&str], path: &Path) {
    let mut command = Command::new(program);
    match program {
        "find" => command.arg(path).args(arguments),
        _ => command.args(arguments).arg(path),
    };
    let status = command.stdout(Stdio::null()).status().expect("the command runs");
    assert!(status.success());
}
