//! Lines on their way to a file, in the order in which they were logged. None is dropped: when the file cannot
//! keep up, those who log wait for it.
//!
//! A line that comes alone is written at once. Those that come within [`REST`] after a write share the next
//! one, so that a site that refuses thousands of messages a second does not pay a system call and a wake-up
//! for each.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// How long the lines of a busy log gather: what a `kill -9` may take of them.
const REST: Duration = Duration::from_millis(20);

/// Bytes that may wait.
const MOST: usize = 1 << 20;

/// Where lines are logged to.
#[derive(Clone)]
pub struct Gathered(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// The writer has something to do.
    work: Condvar,
    /// There is room again.
    room: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// The writer has just written, and wants to be left alone unless much has gathered.
    resting: bool,
    ended: bool,
}

/// Writes what still waits when it is dropped.
pub struct Guard {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// Starts the thread that writes to `file`.
pub fn gathered(file: impl Write + Send + 'static) -> io::Result<(Gathered, Guard)> {
    let shared = Arc::<Shared>::default();
    let thread = std::thread::Builder::new().name("log".into());
    let writer = thread.spawn({
        let shared = shared.clone();
        move || shared.write_all(file)
    })?;
    Ok((Gathered(shared.clone()), Guard { shared, writer: Some(writer) }))
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.waiting.lock().ended = true;
        self.shared.work.notify_one();
        self.shared.room.notify_all();
        if let Some(writer) = self.writer.take() {
            // It has nothing to tell, not even how it ended.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock();
        while waiting.lines.len() >= MOST && !waiting.ended {
            self.room.wait(&mut waiting);
        }
        let first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        if (first && !waiting.resting) || waiting.lines.len() >= MOST / 2 {
            self.work.notify_one();
        }
    }

    fn write_all(&self, mut file: impl Write) {
        let mut lines = Vec::new();
        let mut failed = false;
        loop {
            {
                let mut waiting = self.waiting.lock();
                while waiting.lines.is_empty() && !waiting.ended {
                    self.work.wait(&mut waiting);
                }
                if waiting.lines.is_empty() {
                    return;
                }
                std::mem::swap(&mut waiting.lines, &mut lines);
                self.room.notify_all();
            }
            let written = file.write_all(&lines).and_then(|()| file.flush());
            if let Err(error) = &written
                && !failed
            {
                // There is no other place left to tell it.
                let _ = writeln!(io::stderr(), "mailquotad: the log cannot be written: {error}");
            }
            failed = written.is_err();
            lines.clear();
            let mut waiting = self.waiting.lock();
            waiting.resting = true;
            if waiting.lines.len() < MOST / 2 && !waiting.ended {
                self.work.wait_for(&mut waiting, REST);
            }
            waiting.resting = false;
        }
    }
}

impl Write for &Gathered {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Gathered {
    type Writer = &'w Gathered;

    fn make_writer(&'w self) -> &'w Gathered {
        self
    }
}
