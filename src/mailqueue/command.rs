//! A command that prints a queue as `postqueue -j` does: for other instances (`postqueue -c DIR -j`) and hosts
//! (`ssh mx2 postqueue -j`).

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{MailQueue, MailQueueError, Scan};
use crate::wire::listed::Listed;
use crate::wire::postqueue::{self, LINE_LIMIT};

/// How long what a program said last may take to reach us once it has ended or been killed: somebody whom it has left
/// behind may hold its output for ever.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct CommandOptions {
    /// The program and its arguments. No shell is involved.
    pub line: Vec<String>,
    /// How long it may run as a whole, and what it has started with it. Who has left its process group, as by setsid,
    /// is beyond our reach: he goes on, but nobody listens to him any more.
    pub timeout: Duration,
}

pub struct Command(CommandOptions);

impl Command {
    pub fn new(options: CommandOptions) -> Command {
        Command(options)
    }
}

impl MailQueue for Command {
    fn scan(&self, each: &mut dyn FnMut(&mut Listed)) -> Result<Scan, MailQueueError> {
        let place = || self.0.line.join(" ");
        let unreachable = |why: String| MailQueueError::Unreachable { place: place(), why };
        let broken = |why: String| MailQueueError::BrokenOff { place: place(), why };
        let (program, arguments) = self.0.line.split_first().ok_or_else(|| unreachable("no command is set".into()))?;
        let mut command = std::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| unreachable(error.to_string()))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let until = Instant::now().checked_add(self.0.timeout.saturating_add(LEFT_BEHIND));
        let running = Running::watch(child, self.0.timeout);
        let (say, complaint) = mpsc::sync_channel(1);
        std::thread::spawn(move || say.send(err.map_or_else(String::new, |err| last_line(Heard { from: err, until }))));
        let heard = |from| BufReader::with_capacity(64 * 1024, Heard { from, until });
        let read = out.map_or(Ok((Scan::default(), None)), |out| lines(heard(out), each));
        let ended = running.ended();
        let (scan, wrong) = match (read, &ended) {
            (Err(error), Err(why)) if error.kind() == ErrorKind::TimedOut => return Err(broken(why.clone())),
            (read, _) => read.map_err(|error| broken(error.to_string()))?,
        };
        match ended {
            Ok(status) if status.success() => match wrong {
                // What says nothing that can be read is another program, or a banner: no empty queue.
                Some(wrong) if scan.messages == 0 => Err(broken(wrong)),
                _ => Ok(scan),
            },
            Ok(status) => Err(unreachable(match complaint.recv_timeout(LEFT_BEHIND).unwrap_or_default() {
                complaint if complaint.is_empty() => status.to_string(),
                complaint => format!("{status}: {complaint}"),
            })),
            Err(why) => Err(broken(why)),
        }
    }
}

/// Reads to the end; also what is wrong with the first line that cannot be read.
fn lines(mut out: impl BufRead, each: &mut dyn FnMut(&mut Listed)) -> io::Result<(Scan, Option<String>)> {
    let (mut scan, mut wrong) = (Scan::default(), None);
    let (mut line, mut message) = (Vec::new(), Listed::default());
    loop {
        line.clear();
        let limit = LINE_LIMIT as u64 + 1;
        if out.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok((scan, wrong));
        }
        if line.len() > LINE_LIMIT {
            return Err(io::Error::other(format!("a line is longer than {LINE_LIMIT} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match postqueue::read(&line, &mut message) {
            Ok(()) => {
                scan.messages += 1;
                each(&mut message);
            }
            Err(error) => {
                scan.unread += 1;
                wrong.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// What a program said last before it failed.
fn last_line(err: Heard<ChildStderr>) -> String {
    let mut said = Vec::new();
    // Enough for a complaint; the rest is read so that the program does not wait for us, and dropped.
    let mut err = BufReader::new(err);
    let _ = err.by_ref().take(8192).read_to_end(&mut said);
    let _ = io::copy(&mut err, &mut io::sink());
    String::from_utf8_lossy(&said).lines().last().unwrap_or_default().trim().to_owned()
}

/// The output of a program, which nobody listens to after some moment, whoever still holds the other end.
struct Heard<T> {
    from: T,
    /// `None` is later than a clock can say.
    until: Option<Instant>,
}

impl<T: Read + AsFd> Read for Heard<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(ErrorKind::TimedOut.into());
            }
            let patience = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut [PollFd::new(&self.from, PollFlags::IN)], patience.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.from.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A child that is killed with all that it has started when its time is over, so that a hanging ssh does not hold
/// its reader for ever, nor does one that a script has started.
struct Running {
    /// Until it has been waited for; from then on its number may be another's.
    child: Arc<Mutex<Option<Child>>>,
    over: Arc<(Mutex<bool>, Condvar)>,
    killed: Arc<AtomicBool>,
    timeout: Duration,
}

impl Running {
    fn watch(child: Child, timeout: Duration) -> Running {
        let child = Arc::new(Mutex::new(Some(child)));
        let running = Running { child, over: Arc::default(), killed: Arc::default(), timeout };
        let (child, over, killed) = (running.child.clone(), running.over.clone(), running.killed.clone());
        std::thread::spawn(move || {
            let (done, changed) = &*over;
            let mut done = done.lock();
            let waited = changed.wait_while_for(&mut done, |done| !*done, timeout);
            if waited.timed_out()
                && let Some(child) = &mut *child.lock()
            {
                killed.store(true, Ordering::Relaxed);
                let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                // All of it may have ended by itself just now.
                let _ = group.map(|group| kill_process_group(group, Signal::KILL));
                // It may have joined another group.
                let _ = child.kill();
            }
        });
        running
    }

    /// How it ended, once its output has.
    fn ended(self) -> Result<std::process::ExitStatus, String> {
        // A program that closes its output may go on running: it is the watcher's until it has ended.
        let status = loop {
            let mut child = self.child.lock();
            let ended = child.as_mut().map_or(Ok(None), Child::try_wait);
            if let Some(ended) = ended.transpose() {
                *child = None;
                break ended.map_err(|error| error.to_string());
            }
            drop(child);
            std::thread::park_timeout(Duration::from_millis(2));
        };
        *self.over.0.lock() = true;
        self.over.1.notify_all();
        match self.killed.load(Ordering::Relaxed) {
            true => Err(format!("it was not done within {:?}", self.timeout)),
            false => status,
        }
    }
}
