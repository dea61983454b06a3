//! One mark on the whole file system: no set-up for a mailbox, whether there are ten or ten million.
//!
//! An event names a directory by its handle and the entry in it. A handle is opened to learn its path, once:
//! answers are kept, a bounded number of them, and thrown away when any directory is moved, for then they may
//! be wrong. A directory that is gone by the time it is asked for has no path; its own removal is told by the
//! directory above it.
//!
//! Needs CAP_SYS_ADMIN, and CAP_DAC_READ_SEARCH for the handles.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use hashbrown::HashMap;
use rustix::fs::{CWD, Mode, OFlags, fstat, openat, readlink};
use rustix::io::Errno;

use super::{Watched, directory_event, message_event, sys};
use crate::mailstore::{Change, WatchError};

/// About 10 MB: the directories of some ten thousand mailboxes that are busy at the moment.
const KNOWN: usize = 1 << 16;

const EPERM: i32 = Errno::PERM.raw_os_error();

const BUFFER: usize = 256 * 1024;

/// An event that did not fit into a read is no longer than this: a name of 255 bytes, a handle and the heads.
const LARGEST: usize = 1024;

/// Lengths of what the kernel writes: the head of an event, and that of a record in it.
const HEAD: usize = 24;
const RECORD: usize = 4;
const VERSION: u8 = 3;
const DFID_NAME: u8 = 2;

pub struct Fanotify {
    group: OwnedFd,
    /// A directory on each file system that is marked, to open handles with.
    mounts: Vec<([u8; 8], OwnedFd)>,
    watched: Vec<Watched>,
    /// Paths by file system and handle; `None` for what is of no interest.
    known: HashMap<Box<[u8]>, Option<Box<[u8]>>>,
    buffer: Vec<u8>,
}

impl Fanotify {
    pub fn open(watched: &[Watched]) -> Result<Fanotify, WatchError> {
        let refused = |what: &str, error: std::io::Error| match error.raw_os_error() {
            Some(EPERM) => WatchError::NotPermitted(format!("{what}: needs CAP_SYS_ADMIN")),
            _ => WatchError::NotPossible(format!("{what}: {error}")),
        };
        let group = sys::init().map_err(|error| refused("fanotify", error))?;
        let mut mounts = Vec::new();
        for place in watched {
            let shown = || format!("fanotify on {}", String::from_utf8_lossy(&place.real));
            let path = CString::new(&*place.real).map_err(|error| refused(&shown(), error.into()))?;
            sys::mark(group.as_fd(), &path).map_err(|error| refused(&shown(), error))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let on = openat(CWD, &path, flags, Mode::empty()).map_err(|error| refused(&shown(), error.into()))?;
            let id = sys::file_system_id(on.as_fd()).map_err(|error| refused(&shown(), error))?;
            mounts.push((id, on));
        }
        let (watched, known) = (watched.to_vec(), HashMap::new());
        let mut fanotify = Fanotify { group, mounts, watched, known, buffer: vec![0; BUFFER] };
        fanotify.try_a_handle()?;
        Ok(fanotify)
    }

    /// Whether handles can be opened: without that right every event would be of no use.
    fn try_a_handle(&mut self) -> Result<(), WatchError> {
        let (_, mount) = self.mounts.first().ok_or_else(|| WatchError::NotPossible("nothing to watch".into()))?;
        // No file has this one; whoever may not ask is told so before anybody looks.
        let nobody: Vec<u8> = [8_u32, 1, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        match sys::open_by_handle(mount.as_fd(), &nobody) {
            Err(error) if error.raw_os_error() == Some(EPERM) => {
                Err(WatchError::NotPermitted("fanotify: needs CAP_DAC_READ_SEARCH".into()))
            }
            _ => Ok(()),
        }
    }

    /// Reads what is there. True: that was all.
    pub fn read(&mut self, changes: &mut Vec<Change>) -> Result<bool, WatchError> {
        let length = match rustix::io::read(&self.group, &mut *self.buffer) {
            Ok(length) => length,
            Err(Errno::AGAIN) => return Ok(true),
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(WatchError::Broken(format!("fanotify: {error}"))),
        };
        let buffer = std::mem::take(&mut self.buffer);
        let outcome = self.take_apart(&buffer[..length], changes);
        self.buffer = buffer;
        outcome.map(|()| length < BUFFER - LARGEST)
    }

    fn take_apart(&mut self, mut events: &[u8], changes: &mut Vec<Change>) -> Result<(), WatchError> {
        while let Some(event) = Event::first(events).map_err(|why| WatchError::Broken(why.into()))? {
            if event.mask & sys::OVERFLOW != 0 {
                changes.push(Change::Missed);
            }
            if let Some((place, name)) = event.record {
                self.tell(event.mask, place, name, changes);
            }
            events = &events[event.length..];
        }
        Ok(())
    }

    fn tell(&mut self, mask: u64, place: &[u8], name: &[u8], changes: &mut Vec<Change>) {
        let of_directory = mask & sys::ON_DIRECTORY != 0;
        let seen = match self.path(place) {
            None => None,
            Some(directory) if of_directory => {
                let created = mask & !(sys::CREATE | sys::ON_DIRECTORY) == 0;
                directory_event(directory, name, created)
            }
            Some(directory) => message_event(directory, name),
        };
        // Every path below a directory that was moved is another one now.
        if of_directory && mask & sys::MOVED != 0 {
            self.known.clear();
        }
        changes.extend(seen);
    }

    /// The path of a directory, as the configuration would write it; `None` where it is of no interest.
    fn path(&mut self, place: &[u8]) -> Option<&[u8]> {
        if !self.known.contains_key(place) {
            if self.known.len() >= KNOWN {
                self.known.clear();
            }
            let path = match self.resolve(place) {
                Ok(path) => path,
                // It is gone: nothing to remember.
                Err(_) => return None,
            };
            self.known.insert(place.into(), path);
        }
        self.known.get(place)?.as_deref()
    }

    fn resolve(&self, place: &[u8]) -> Result<Option<Box<[u8]>>, std::io::Error> {
        let Some((id, handle)) = place.split_first_chunk::<8>() else { return Ok(None) };
        let Some((_, mount)) = self.mounts.iter().find(|(known, _)| known == id) else { return Ok(None) };
        let directory = sys::open_by_handle(mount.as_fd(), handle)?;
        if fstat(&directory)?.st_nlink == 0 {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&directory));
        let real = readlink(link, Vec::new())?;
        Ok(self.watched.iter().find_map(|watched| watched.as_configured(real.as_bytes())))
    }
}

impl AsFd for Fanotify {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.group.as_fd()
    }
}

/// One event of those that a read returns. All numbers are in the machine's own order.
#[derive(Debug, PartialEq, Eq)]
struct Event<'a> {
    mask: u64,
    length: usize,
    /// File system and handle of a directory, and the entry in it.
    record: Option<(&'a [u8], &'a [u8])>,
}

impl Event<'_> {
    fn first(bytes: &[u8]) -> Result<Option<Event<'_>>, &'static str> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let broken = "fanotify: an event that is shorter than it says";
        let length = u32::from_ne_bytes(*bytes.first_chunk().ok_or(broken)?) as usize;
        let event = bytes.get(..length).filter(|event| event.len() >= HEAD).ok_or(broken)?;
        if event[4] != VERSION {
            return Err("fanotify: events of another version than this program knows");
        }
        let (head, mut rest) = event.split_at(HEAD);
        let mask = u64::from_ne_bytes(*head[8..].first_chunk().ok_or(broken)?);
        let mut record = None;
        while let Some((header, _)) = rest.split_first_chunk::<RECORD>() {
            let length = usize::from(u16::from_ne_bytes([header[2], header[3]]));
            let one = rest.get(RECORD..length).ok_or(broken)?;
            if header[0] == DFID_NAME {
                let handle_length = u32::from_ne_bytes(*one.get(8..).and_then(|one| one.first_chunk()).ok_or(broken)?);
                let end =
                    usize::try_from(handle_length).ok().and_then(|length| length.checked_add(16)).ok_or(broken)?;
                let place = one.get(..end).ok_or(broken)?;
                let name = one[end..].split(|byte| *byte == 0).next().unwrap_or_default();
                record = Some((place, name));
            }
            rest = &rest[length..];
        }
        Ok(Some(Event { mask, length, record }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(mask: u64, handle: &[u8], name: &[u8]) -> Vec<u8> {
        let mut record = vec![b'F'; 8];
        record.extend((handle.len() as u32).to_ne_bytes());
        record.extend(1_u32.to_ne_bytes());
        record.extend(handle);
        record.extend(name);
        record.push(0);
        record.resize(record.len().next_multiple_of(4), 0);
        let mut event = ((HEAD + RECORD + record.len()) as u32).to_ne_bytes().to_vec();
        event.extend([VERSION, 0, HEAD as u8, 0]);
        event.extend(mask.to_ne_bytes());
        event.extend([0xff; 8]);
        event.extend([DFID_NAME, 0]);
        event.extend(((RECORD + record.len()) as u16).to_ne_bytes());
        event.extend(record);
        event
    }

    #[test]
    fn events_are_taken_apart() {
        let bytes = [event(sys::CREATE, b"12345678", b"a name"), event(sys::MOVED, b"1234", b"b")].concat();
        let first = Event::first(&bytes).unwrap().unwrap();
        let (place, name) = first.record.unwrap();
        assert_eq!((first.mask, &place[16..], name), (sys::CREATE, &b"12345678"[..], &b"a name"[..]));
        let second = Event::first(&bytes[first.length..]).unwrap().unwrap();
        assert_eq!(second.record.unwrap().1, b"b");
        assert_eq!(Event::first(&bytes[first.length + second.length..]), Ok(None));
        assert!(Event::first(&bytes[..first.length - 1]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), length in any::<u8>()) {
            let _ = Event::first(&bytes);
            if bytes.len() >= HEAD {
                bytes[..4].copy_from_slice(&u32::from(length).to_ne_bytes());
                bytes[4] = VERSION;
                let _ = Event::first(&bytes);
            }
        }
    }
}
