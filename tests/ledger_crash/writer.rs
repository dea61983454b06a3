//! The child: writes until it is killed, and notes every acknowledgement in the order of submission. It is a test of this
//! binary run once more, which finds in its environment where to write.

use std::collections::VecDeque;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mailquotad::ledger::{Outcome, Receipt, SledLedger};

use super::load::{self, THREADS, random};
use super::wait::until;

const LEDGER: &str = "MAILQUOTAD_TEST_LEDGER";
const NOTES: &str = "MAILQUOTAD_TEST_NOTES";

/// Half of these calls open a ledger, the rest write the first batches.
const MOST_CALLS: u64 = 60;

/// A child that ends with its owner.
pub struct Writer(pub Child);

impl Writer {
    /// Runs `test` of this binary as a child, behind `wrapper`.
    pub fn command(wrapper: &[&str], test: &str, ledger: &Path, notes: &Path) -> Command {
        let this = env::current_exe().expect("this binary");
        let mut command = match wrapper {
            [] => Command::new(this),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(this);
                command
            }
        };
        command.args(["--exact", "--nocapture", test]).env(LEDGER, ledger).env(NOTES, notes);
        command.stdout(Stdio::null()).stdin(Stdio::null());
        command
    }

    pub fn start(ledger: &Path, notes: &Path) -> Writer {
        let mut command = Writer::command(&[], super::kill::NAME, ledger, notes);
        Writer(command.spawn().expect("the child starts"))
    }

    /// Waits until `enough` of what was acknowledged.
    pub fn wait_until(&mut self, notes: &Path, enough: impl Fn(&[u64]) -> bool) {
        until("the writer gets on", || {
            assert_eq!(self.0.try_wait().expect("a child"), None, "the writer has ended by itself");
            enough(&load::acknowledged(notes))
        });
    }

    /// Waits for a random moment of its start: from before the folder is there to after the first batches, told by
    /// what it has read and written so far, for a clock would find a slow machine always at the same place.
    pub fn wait_for_some_moment(&mut self) {
        let enough = random(MOST_CALLS);
        let io = format!("/proc/{}/io", self.0.id());
        let calls = || {
            let io = fs::read_to_string(&io).unwrap_or_default();
            let calls =
                io.lines().filter_map(|line| line.strip_prefix("sysc")?.split_once(": ")?.1.parse::<u64>().ok());
            calls.sum::<u64>()
        };
        let begun = Instant::now();
        // Without a pause: an opening takes a few milliseconds.
        while calls() < enough {
            assert!(begun.elapsed() < Duration::from_secs(180), "the writer does not start");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        self.0.wait().expect("a child");
    }
}

/// The folders that the parent has named; nothing where this is no child.
pub fn child() -> Option<(PathBuf, PathBuf)> {
    let folder = |name| env::var_os(name).map(PathBuf::from);
    folder(LEDGER).zip(folder(NOTES))
}

/// With one `under_way` there is nothing but the one batch, so that a trace of it is easy to read.
pub fn write_on((folder, notes): (PathBuf, PathBuf), under_way: usize, until: u64) {
    let ledger = SledLedger::open(&folder).expect("the ledger opens");
    let threads = if under_way == 1 { 1 } else { THREADS };
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (ledger, notes) = (&ledger, load::notes(&notes, thread));
            scope.spawn(move || write(ledger, thread, &notes, under_way, until));
        }
    });
}

fn write(ledger: &SledLedger, thread: u64, notes: &Path, under_way: usize, until: u64) {
    use mailquotad::ledger::Ledger;
    let mut notes = OpenOptions::new().create(true).append(true).open(notes).expect("notes");
    let mut receipts: VecDeque<(u64, Receipt)> = VecDeque::new();
    let first = load::reached(ledger, thread);
    for number in first..until {
        receipts.push_back((number, ledger.submit(load::batch(thread, number))));
        while receipts.len() >= under_way {
            let Some((number, receipt)) = receipts.pop_front() else { break };
            assert_eq!(receipt.wait().expect("durable"), Outcome::Applied);
            notes.write_all(format!("{number}\n").as_bytes()).expect("notes");
        }
    }
}
