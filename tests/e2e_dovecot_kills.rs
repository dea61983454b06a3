//! mailquotad and Dovecot are killed at random while mail comes in and is moved about. In the end the cells are what
//! lies there, and no delivery has waited for mailquotad.

mod support {
    pub mod api;
    pub mod daemon;
    pub mod dovecot;
    pub mod imap;
    pub mod lmtp;
    pub mod port;
    pub mod postfix;
    pub mod spool;
    pub mod wait;
}

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::api::Api;
use support::daemon::Daemon;
use support::dovecot::{Dovecot, PASSWORD};
use support::imap::{Imap, message};
use support::lmtp::deliver;
use support::spool::cells_on_disk;
use support::wait::until;

const USAGE: &str = include_str!("../packaging/dovecot/2.3/usage.conf");

const USERS: usize = 8;
const ROUNDS: usize = 20;

fn user(number: usize) -> String {
    format!("user{number}@example.org")
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// What the load has seen.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    delivered: AtomicU64,
    operations: AtomicU64,
    /// The longest delivery while Dovecot ran, in microseconds.
    longest: AtomicU64,
    /// Grows whenever Dovecot is killed: a delivery of that time says nothing.
    dovecots: AtomicU64,
}

fn deliver_on(seen: &Seen, lmtp: u16, seed: u64) {
    let mut dice = Dice(seed);
    while !seen.stop.load(Ordering::Relaxed) {
        let text = message(500 + dice.roll(5000));
        let before = seen.dovecots.load(Ordering::SeqCst);
        let begun = Instant::now();
        let delivered = deliver(lmtp, &user(dice.roll(USERS)), &text);
        if delivered.is_ok() && seen.dovecots.load(Ordering::SeqCst) == before {
            seen.delivered.fetch_add(1, Ordering::Relaxed);
            seen.longest.fetch_max(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
    }
}

/// Moves, copies and expunges; any answer will do, for the server may be gone at any time.
fn tidy_up(seen: &Seen, port: u16, seed: u64) {
    let mut dice = Dice(seed);
    while !seen.stop.load(Ordering::Relaxed) {
        let Ok(mut imap) = Imap::try_connect(port) else { continue };
        let session = [
            format!("LOGIN {} {PASSWORD}", user(dice.roll(USERS))),
            "CREATE Archive/old".to_owned(),
            "SELECT INBOX".to_owned(),
        ];
        if session.iter().any(|command| imap.ask(command).is_err()) {
            continue;
        }
        for _ in 0..dice.roll(12) {
            let command = match dice.roll(6) {
                0 => "COPY 1 Archive/old",
                1 => "MOVE 1:2 Archive/old",
                2 => "STORE 1:3 +FLAGS.SILENT (\\Deleted)",
                3 => "EXPUNGE",
                4 => "RENAME Archive Attic",
                _ => "RENAME Attic Archive",
            };
            if imap.ask(command).is_err() {
                break;
            }
            seen.operations.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn twenty_rounds_of_kills_leave_the_cells_right() {
    let entry = |number: usize| {
        let address = user(number);
        format!(
            "dn: uid={number},dc=example.org\nobjectClass: inetMailUser\nmail: {address}\nmailUserStatus: active\nmailQuota: 1G\n\n"
        )
    };
    let ldif: String = (0..USERS).map(entry).collect();
    let mut daemon = Daemon::hearing_dovecot(&ldif, "");
    let socket = daemon.path("dict.sock");
    daemon.run();
    let users: Vec<String> = (0..USERS).map(user).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    // Dovecot writes down whenever it has waited for the dictionary for longer than this.
    let usage = USAGE.replace("proxy:", "proxy:warn_slow_msecs=50:");
    let mut dovecot = Dovecot::start(daemon.folder.path(), &daemon.path("mail"), &names, &[&usage], "");
    let (lmtp, imap) = (dovecot.lmtp, dovecot.imap);
    let seen = &Seen::default();
    std::thread::scope(|scope| {
        // However a round fails, the load must end, or the scope would wait for it.
        let _ending = Ending(seen);
        for seed in 0..3 {
            scope.spawn(move || deliver_on(seen, lmtp, seed_of(seed)));
        }
        for seed in 3..5 {
            scope.spawn(move || tidy_up(seen, imap, seed_of(seed)));
        }
        let mut dice = Dice(4711);
        for round in 0..ROUNDS {
            let goal = seen.delivered.load(Ordering::Relaxed) + 3 + dice.roll(10) as u64;
            until("mail is delivered", || seen.delivered.load(Ordering::Relaxed) >= goal);
            // A kill somewhere within whatever goes on.
            std::thread::park_timeout(Duration::from_millis(dice.roll(50) as u64));
            match round % 4 {
                0 | 2 => {
                    daemon.stop("KILL");
                    // systemd takes the unit's RuntimeDirectory away.
                    std::fs::remove_file(&socket).unwrap();
                    let goal = seen.delivered.load(Ordering::Relaxed) + dice.roll(4) as u64;
                    until("mail is delivered without mailquotad", || seen.delivered.load(Ordering::Relaxed) >= goal);
                    daemon.run();
                }
                1 => {
                    assert!(daemon.stop("TERM").success());
                    assert!(!socket.exists(), "the socket is unlinked");
                    daemon.run();
                }
                _ => {
                    seen.dovecots.fetch_add(1, Ordering::SeqCst);
                    dovecot.kill();
                    // Dovecot waits two minutes for a lock file of its own that a crash has left.
                    users.iter().for_each(|user| remove_locks(&maildir(&daemon, user)));
                    dovecot.run();
                    seen.dovecots.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    });
    // What died with a Dovecot was told to nobody; the next delivery brings its total.
    for user in &users {
        deliver(lmtp, user, &message(1000)).unwrap();
    }
    let mut api = Api::connect(&daemon.path("api.sock"));
    let on_disk = |user: &str| -> BTreeMap<String, (u64, u64)> { cells_on_disk(&maildir(&daemon, user)) };
    for user in &users {
        until(&format!("the cells of {user} are what lies there"), || api.cells(user) == on_disk(user));
    }
    daemon.ok(&["resync", "--all"]);
    for user in &users {
        assert_eq!(api.cells(user), on_disk(user), "a scan changes nothing");
    }
    let (delivered, operations) = (seen.delivered.load(Ordering::Relaxed), seen.operations.load(Ordering::Relaxed));
    let longest = Duration::from_micros(seen.longest.load(Ordering::Relaxed));
    println!(
        "{ROUNDS} kills, {delivered} messages delivered, {operations} IMAP commands: the longest delivery took {longest:?}"
    );
    let waited = longest_wait(&dovecot.log());
    println!("the longest wait for mailquotad that Dovecot has noted (above 50 ms): {waited:.3} s");
    assert!(delivered > 60 && operations > 60);
}

fn maildir(daemon: &Daemon, user: &str) -> PathBuf {
    daemon.path("mail/example.org").join(user.split('@').next().unwrap())
}

fn remove_locks(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            remove_locks(&path);
        } else if path.extension().is_some_and(|extension| extension == "lock") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// Of all waits for the dictionary in Dovecot's log, in seconds.
fn longest_wait(log: &str) -> f64 {
    let of_dict = log.lines().filter(|line| line.contains("in dict wait"));
    let took = of_dict.filter_map(|line| line.split("took ").nth(1)?.split(' ').next()?.parse().ok());
    took.fold(0.0, f64::max)
}

fn seed_of(number: u64) -> u64 {
    number * 1_000_003 + 17
}

/// Ends the load when dropped.
struct Ending<'a>(&'a Seen);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}
