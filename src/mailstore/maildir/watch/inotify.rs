//! A watch on each directory of the spool but `tmp`.
//!
//! A directory is watched before it is read, so that what comes meanwhile is seen; one that is new is reported
//! together with what it holds already. Links to directories are not followed.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use hashbrown::HashMap;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::{Watched, directory_event, message_event};
use crate::mailstore::{Change, Stop, WatchError};

const BUFFER: usize = 64 * 1024;

/// Events that are taken in one go, so that the caller gets its turn.
const AT_ONCE: usize = 4096;

pub struct Inotify {
    group: OwnedFd,
    watched: Vec<Watched>,
    /// Paths, as the configuration would write them, by the kernel's number.
    paths: HashMap<i32, Box<[u8]>>,
    buffer: Vec<MaybeUninit<u8>>,
    stop: Stop,
}

impl Inotify {
    pub fn open(watched: &[Watched], stop: &Stop) -> Result<Inotify, WatchError> {
        let group = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let group = group.map_err(|error| WatchError::NotPossible(format!("inotify: {error}")))?;
        let buffer = vec![MaybeUninit::uninit(); BUFFER];
        let (watched, stop) = (watched.to_vec(), stop.clone());
        let mut inotify = Inotify { group, watched, paths: HashMap::new(), buffer, stop };
        inotify.walk_all()?;
        Ok(inotify)
    }

    fn walk_all(&mut self) -> Result<(), WatchError> {
        let places: Vec<_> = self.watched.iter().map(|watched| watched.configured.clone()).collect();
        places.into_iter().try_for_each(|place| self.walk(place.into_vec(), &mut Vec::new()))
    }

    /// Watches a directory and all below it, and reports the folders that are found. Takes minutes in a large store.
    fn walk(&mut self, start: Vec<u8>, found: &mut Vec<Change>) -> Result<(), WatchError> {
        let flags =
            WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR;
        let mut waiting = vec![start];
        while let Some(path) = waiting.pop() {
            if (self.stop)() {
                return Err(WatchError::Stopped);
            }
            match inotify::add_watch(&self.group, &*path, flags) {
                Ok(number) => self.paths.insert(number, path.clone().into()),
                // It went while we came.
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(Errno::NOSPC) => {
                    let count = self.paths.len();
                    let why =
                        format!("inotify: no watch is left after {count} directories (fs.inotify.max_user_watches)");
                    return Err(WatchError::NotPossible(why));
                }
                Err(error) => {
                    let path = String::from_utf8_lossy(&path);
                    return Err(WatchError::NotPossible(format!("inotify: {path}: {error}")));
                }
            };
            if let Some(folder) = path.strip_suffix(b"/cur").or_else(|| path.strip_suffix(b"/new")) {
                found.push(Change::Folder(folder.to_vec()));
                continue;
            }
            let Ok(entries) = std::fs::read_dir(std::ffi::OsStr::from_bytes(&path)) else { continue };
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.file_name() != "tmp" {
                    waiting.push(entry.path().as_os_str().as_bytes().to_vec());
                }
            }
        }
        Ok(())
    }

    /// Reads what is there. True: that was all.
    pub fn read(&mut self, changes: &mut Vec<Change>) -> Result<bool, WatchError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let group = self.group.try_clone().map_err(|error| WatchError::Broken(format!("inotify: {error}")))?;
        let mut reader = Reader::new(group, &mut buffer);
        let mut taken = 0;
        let outcome = loop {
            // What the reader still holds would be lost with it.
            if taken >= AT_ONCE && reader.is_buffer_empty() {
                break Ok(false);
            }
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break Ok(true),
                Err(Errno::INTR) => continue,
                Err(error) => break Err(WatchError::Broken(format!("inotify: {error}"))),
            };
            taken += 1;
            let name = event.file_name().map(|name| name.to_bytes()).unwrap_or_default();
            if let Err(error) = self.tell(event.wd(), event.events(), name, changes) {
                break Err(error);
            }
        };
        drop(reader);
        self.buffer = buffer;
        outcome
    }

    fn tell(&mut self, number: i32, what: ReadFlags, name: &[u8], changes: &mut Vec<Change>) -> Result<(), WatchError> {
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            // Directories may have come and gone that nobody told of. One that is known keeps its number.
            let known = std::mem::take(&mut self.paths);
            self.walk_all()?;
            for number in known.into_keys().filter(|number| !self.paths.contains_key(number)) {
                // One whose directory is gone has taken itself off.
                let _ = inotify::remove_watch(&self.group, number);
            }
            changes.push(Change::Missed);
            return Ok(());
        }
        if what.contains(ReadFlags::IGNORED) {
            self.paths.remove(&number);
            return Ok(());
        }
        let Some(path) = self.paths.get(&number) else { return Ok(()) };
        if !what.contains(ReadFlags::ISDIR) {
            changes.extend(message_event(path, name));
            return Ok(());
        }
        changes.extend(directory_event(path, name, what.contains(ReadFlags::CREATE)));
        let below = [path, &b"/"[..], name].concat();
        if what.contains(ReadFlags::MOVED_FROM) {
            self.forget(&below);
        } else if what.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) && name != b"tmp" {
            self.walk(below, changes)?;
        }
        Ok(())
    }

    /// Takes the watches off a directory that was moved away, and off all below it.
    fn forget(&mut self, path: &[u8]) {
        let below = |known: &[u8]| known.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
        for (number, _) in self.paths.extract_if(|_, known| below(known)) {
            // One whose directory is gone has taken itself off.
            let _ = inotify::remove_watch(&self.group, number);
        }
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }
}
