//! What the daemon logs, kept so that tests can wait for it. Sessions log on threads of their own, so there is
//! one log for all tests; lines are told apart by their peer or socket.

use std::io;
use std::sync::Once;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

static LINES: Mutex<String> = Mutex::new(String::new());
static MORE: Condvar = Condvar::new();
static START: Once = Once::new();

struct Keep;

impl io::Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().push_str(&String::from_utf8_lossy(bytes));
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
        // A part may end in the space that ends a value; the last value has none.
        let mut lines = lines.lines().map(|line| format!("{line} "));
        lines.find(|line| parts.iter().all(|part| line.contains(part)))
    };
    let mut lines = LINES.lock();
    MORE.wait_while_for(&mut lines, |lines| find(lines).is_none(), Duration::from_secs(180));
    find(&lines).unwrap_or_else(|| panic!("no line with {parts:?} in the log:\n{lines}"))
}
