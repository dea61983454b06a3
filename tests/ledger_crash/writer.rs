//! The child: writes until it is killed, and notes every acknowledgement in the order of submission.

use std::collections::VecDeque;
use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mailquotad::ledger::{Outcome, Receipt, SledLedger};

use super::load::{self, THREADS};

const LEDGER: &str = "MAILQUOTAD_TEST_LEDGER";
const NOTES: &str = "MAILQUOTAD_TEST_NOTES";

/// A child that ends with its owner.
pub struct Writer(pub Child);

impl Writer {
    /// Runs the ignored test `name` of this binary in a process of its own, behind `wrapper`.
    pub fn command(wrapper: &[&str], name: &str, ledger: &Path, notes: &Path) -> Command {
        let this = env::current_exe().expect("this binary");
        let mut command = match wrapper {
            [] => Command::new(this),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(this);
                command
            }
        };
        command.args(["--ignored", "--exact", "--nocapture", name]).env(LEDGER, ledger).env(NOTES, notes);
        command.stdout(Stdio::null()).stdin(Stdio::null());
        command
    }

    pub fn start(ledger: &Path, notes: &Path) -> Writer {
        let mut command = Writer::command(&[], "writer::writes_until_it_is_killed", ledger, notes);
        Writer(command.spawn().expect("the child starts"))
    }

    /// Waits until `enough` of what was acknowledged.
    pub fn wait_until(&mut self, notes: &Path, enough: impl Fn(&[u64]) -> bool) {
        let started = Instant::now();
        while !enough(&load::acknowledged(notes)) {
            assert_eq!(self.0.try_wait().expect("a child"), None, "the writer has ended by itself");
            assert!(started.elapsed() < Duration::from_secs(60), "the writer does not get on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        self.0.wait().expect("a child");
    }
}

/// The folders that the parent has named.
pub fn folders() -> (PathBuf, PathBuf) {
    let folder = |name| PathBuf::from(env::var_os(name).expect("only run by other tests"));
    (folder(LEDGER), folder(NOTES))
}

#[test]
#[ignore = "the child of other tests"]
fn writes_until_it_is_killed() {
    write_on(16, u64::MAX);
}

/// With nothing under way but the one batch, so that a trace of it is easy to read.
#[test]
#[ignore = "the child of other tests"]
fn writes_a_hundred_one_by_one() {
    write_on(1, 100);
}

fn write_on(under_way: usize, until: u64) {
    let (folder, notes) = folders();
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
