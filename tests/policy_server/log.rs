//! What the daemon logs, kept so that tests can wait for it. Sessions log on threads of their own, so there is
//! one log for all tests; lines are told apart by their peer or socket.

use std::io;
use std::sync::{Condvar, Mutex, Once};
use std::time::Duration;

static LINES: Mutex<String> = Mutex::new(String::new());
static MORE: Condvar = Condvar::new();
static START: Once = Once::new();

struct Keep;

impl io::Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        MORE.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn start() {
    START.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Keep).init());
}

/// Waits for a line that holds every one of `parts`, and yields it.
pub fn wait(parts: &[&str]) -> String {
    let find = |lines: &str| {
        let line = lines.lines().find(|line| parts.iter().all(|part| line.contains(part)));
        line.map(str::to_owned)
    };
    let lines = LINES.lock().unwrap();
    let (lines, _) = MORE.wait_timeout_while(lines, Duration::from_secs(20), |lines| find(lines).is_none()).unwrap();
    find(&lines).unwrap_or_else(|| panic!("no line with {parts:?} in the log:\n{lines}"))
}
