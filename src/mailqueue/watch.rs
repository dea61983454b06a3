//! Hears of messages that leave Postfix's queue, by inotify on its folders: a message's file is deleted when the
//! last recipient has been served, when postsuper(1) deletes it, or when Postfix refuses it after all. Moves
//! between folders are renames and tell nothing.
//!
//! The folders belong to `postfix` and are closed to others, so this works for that user, for root, and with
//! CAP_DAC_READ_SEARCH; elsewhere the snapshots alone tell, two intervals later. Queue files lie in the folder
//! itself or in one of its hashed subfolders (`hash_queue_names`), which Postfix makes as it needs them.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

use super::Departures;

/// The folders that hold messages.
const FOLDERS: [&str; 5] = ["incoming", "active", "deferred", "hold", "maildrop"];

/// How deep Postfix hashes at most (`hash_queue_depth`).
const DEPTH: usize = 3;

#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// Postfix's `queue_directory`.
    pub spool: PathBuf,
    /// How long a wait lasts at most.
    pub patience: Duration,
}

pub struct Watch {
    fd: OwnedFd,
    patience: Duration,
    /// The folders that are watched, and how deep each is below the queue's own.
    folders: HashMap<i32, (PathBuf, usize)>,
}

impl Watch {
    /// Fails where the folders are closed to us, or are not there.
    pub fn new(options: &WatchOptions) -> io::Result<Watch> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watch = Watch { fd, patience: options.patience, folders: HashMap::new() };
        for folder in FOLDERS {
            watch.add(&options.spool.join(folder), 0)?;
        }
        Ok(watch)
    }

    fn add(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
        let wanted = WatchFlags::DELETE | WatchFlags::CREATE | WatchFlags::ONLYDIR;
        let watched = inotify::add_watch(&self.fd, folder, wanted)?;
        self.folders.insert(watched, (folder.to_owned(), depth));
        if depth < DEPTH {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                // Thousands of messages may lie in a folder that is not hashed.
                if is_hash(entry.file_name().as_encoded_bytes()) && entry.file_type()?.is_dir() {
                    self.add(&entry.path(), depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

fn is_hash(name: &[u8]) -> bool {
    name.len() == 1
}

impl Departures for Watch {
    fn wait(&mut self, each: &mut dyn FnMut(&str)) -> bool {
        let timeout = Timespec::try_from(self.patience).ok();
        let mut ready = [PollFd::new(&self.fd, PollFlags::IN)];
        match poll(&mut ready, timeout.as_ref()) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error == rustix::io::Errno::INTR,
        }
        let mut made = Vec::new();
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(error) if error == rustix::io::Errno::AGAIN => break,
                Err(error) if error == rustix::io::Errno::INTR => continue,
                Err(_) => return false,
            };
            let (flags, name) = (event.events(), event.file_name());
            let Some(name) = name.and_then(|name| name.to_str().ok()) else { continue };
            if flags.contains(ReadFlags::ISDIR) {
                if flags.contains(ReadFlags::CREATE)
                    && is_hash(name.as_bytes())
                    && let Some((folder, depth)) = self.folders.get(&event.wd())
                {
                    made.push((folder.join(name), depth + 1));
                }
            } else if flags.contains(ReadFlags::DELETE) {
                each(name);
            }
        }
        // One that has gone again held nothing.
        made.into_iter().for_each(|(folder, depth)| drop(self.add(&folder, depth)));
        true
    }
}
