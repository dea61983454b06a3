//! Measures Maildir and Maildir++ mailboxes, as Dovecot, Courier, Postfix and maildrop keep them.
//!
//! What counts: every regular file in `cur` and `new` of every folder whose name does not begin with a dot.
//! Its size is what the name tells (`S=`, `W=`), else what the file system tells. `tmp`, index files,
//! `maildirsize`, `subscriptions` and whatever else lies beside them do not count.
//!
//! Mail keeps moving while it is counted. A mailbox is counted as it stood at one moment, if there was one:
//! when all folders are read their directories are looked at again, and those that changed are read again,
//! [`ROUNDS`] times at most. In a mailbox that never rests no message is counted twice, but one that is
//! renamed again and again may be missed; the next measurement finds it.
//!
//! A mailbox that is not there is empty, for mail creates it. But a whole mail store that is not there is a
//! file system that is not mounted, and must not read as if everybody had deleted their mail: see
//! [`absent`](MaildirStore::absent).

mod dir;
mod folders;
mod memory;
mod name;
mod places;
mod scan;
mod watch;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use rustix::fs::{CWD, Mode, OFlags, openat, stat};
use rustix::io::Errno;

pub use folders::Layout;
pub use name::SizeKind;
pub use watch::{Means, open as watch};

use self::folders::{Folder, list};
use self::memory::Types;
use self::scan::{Scan, Scanner};
use super::{MailStore, MailStoreError, MailboxRef, Measurement};
use crate::quota::usage::canonical_folder;
use crate::quota::{CellKey, Moment, Usage};
use crate::wire::content_type::TypeTable;
use crate::wire::template::Template;

/// How often a changing folder is read.
const ROUNDS: usize = 4;

#[derive(Clone, Debug)]
pub struct MaildirOptions {
    /// Where the mailbox of an account lies.
    pub path: Template,
    pub layout: Layout,
    pub sizes: SizeKind,
    /// Without types no message is ever opened.
    pub types: TypeTable,
}

impl MaildirOptions {
    /// Maildir++ with physical sizes and no types.
    pub fn new(path: Template) -> MaildirOptions {
        MaildirOptions { path, layout: Layout::default(), sizes: SizeKind::default(), types: TypeTable::default() }
    }
}

pub struct MaildirStore {
    options: MaildirOptions,
    /// The device of the store when a mailbox was last found in it; 0 before that.
    device: AtomicU64,
}

impl MaildirStore {
    pub fn new(options: MaildirOptions) -> MaildirStore {
        MaildirStore { options, device: AtomicU64::new(0) }
    }

    /// The mailbox's directory.
    pub fn locate(&self, mailbox: &MailboxRef) -> Result<String, MailStoreError> {
        let path = self.options.path.expand(&mailbox.address, |name| attribute(mailbox, name));
        path.map_err(|error| MailStoreError::Unlocatable(error.to_string()))
    }

    fn measure_some(
        &self,
        mailbox: &MailboxRef,
        only: Option<&str>,
        memory: &[u8],
    ) -> Result<Measurement, MailStoreError> {
        let path = self.locate(mailbox)?;
        let Some(root) = self.open(mailbox, &path)? else { return Ok(Measurement::default()) };
        let types = &self.options.types;
        let mut scanner =
            Scanner::new(root.as_fd(), self.options.sizes, Types::new(types, memory), types.names().len());
        let (folders, mut problems) = self.read(&root, only, &mut scanner);
        let mut usages = Vec::new();
        for (folder, scan) in &folders {
            let kinds = types.names().iter().map(|name| Some(&**name)).chain([None]);
            let own = kinds.zip(&scan.usages).filter(|(_, usage)| **usage != Usage::ZERO);
            usages.extend(own.map(|(kind, usage)| (CellKey::new(&folder.name, kind), *usage)));
            problems.extend(scan.problem.clone());
        }
        let files = usages.iter().map(|(_, usage)| *usage).sum::<Usage>().messages;
        let all = only.is_none() && problems.is_empty();
        let memory = scanner.types.map(|types| types.into_memory(all)).unwrap_or_default();
        Ok(Measurement { cells: usages.into_iter().collect(), files, problems, memory })
    }

    /// Reads the folders until none of them has changed since, or often enough.
    fn read(&self, root: &OwnedFd, only: Option<&str>, scanner: &mut Scanner) -> (Vec<(Folder, Scan)>, Vec<String>) {
        let root = root.as_fd();
        let wanted = |folder: &Folder| only.is_none_or(|only| canonical_folder(&folder.name) == only);
        let mut scans: HashMap<CString, Scan> = HashMap::new();
        let mut listing = list(root, self.options.layout);
        for round in 1.. {
            for folder in listing.folders.iter().filter(|folder| wanted(folder)) {
                if !scans.contains_key(&folder.path) {
                    scans.insert(folder.path.clone(), scanner.scan(folder, round > 1));
                }
            }
            if round == ROUNDS {
                break;
            }
            let listed = listing.holds(root);
            let before = scans.len();
            scans.retain(|path, scan| scan.holds(root, path));
            if listed && scans.len() == before {
                break;
            }
            if !listed {
                listing = list(root, self.options.layout);
            }
        }
        let folders = listing.folders.into_iter().filter(wanted);
        let found = folders.filter_map(|folder| scans.remove(&folder.path).map(|scan| (folder, scan)));
        (found.collect(), listing.problems)
    }

    /// The mailbox's root; `None` if there is no such mailbox.
    fn open(&self, mailbox: &MailboxRef, path: &str) -> Result<Option<OwnedFd>, MailStoreError> {
        let device = self.store_device()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(CWD, path, flags, Mode::empty()) {
            Ok(root) => {
                self.device.store(device, Ordering::Relaxed);
                Ok(Some(root))
            }
            Err(Errno::NOENT) => self.absent(mailbox, path, device).map(|()| None),
            Err(error) => Err(unreadable(path, error)),
        }
    }

    /// The device that the store lies on; 0 where the template does not fix its place.
    fn store_device(&self) -> Result<u64, MailStoreError> {
        let Some(store) = self.options.path.fixed_prefix() else { return Ok(0) };
        match stat(store) {
            Ok(stat) => Ok(stat.st_dev),
            Err(error) => Err(unreadable(store, error)),
        }
    }

    /// Whether a missing mailbox is just one that has had no mail yet. It is not if
    /// - the store's directory is missing, or is empty: a mount point with nothing mounted on it;
    /// - the store's directory is on another device than when mailboxes were last found in it;
    /// - the mailbox is a symbolic link that leads nowhere.
    ///
    /// Where an attribute tells the place (a home directory), the nearest directory above it that exists
    /// stands for the store, and `/` will not do. Not seen: one domain's own file system that is not
    /// mounted below a store that is.
    fn absent(&self, mailbox: &MailboxRef, path: &str, device: u64) -> Result<(), MailStoreError> {
        let fail = |text: String| Err(MailStoreError::Unreadable(text));
        if Path::new(path).symlink_metadata().is_ok() {
            return fail(format!("{path}: a symbolic link that leads nowhere"));
        }
        let last = self.device.load(Ordering::Relaxed);
        if last != 0 && last != device {
            return fail(format!("{path}: missing, and the mail store is on another device than it was: not mounted?"));
        }
        let store = match self.options.path.fixed_prefix() {
            Some(store) => Path::new(store),
            None => {
                let home = self.options.path.leading_attribute().and_then(|name| attribute(mailbox, name));
                let home = Path::new(home.unwrap_or(path));
                match home.ancestors().find(|above| above.is_dir()) {
                    Some(above) if above == home => return Ok(()),
                    Some(above) if above.parent().is_some() => above,
                    _ => return fail(format!("{path}: nothing above it exists: not mounted?")),
                }
            }
        };
        let mut entries = store.read_dir().map_err(|error| unreadable(&store.to_string_lossy(), error))?;
        // A fresh ext4 file system is not empty either.
        match entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lost+found")) {
            true => Ok(()),
            false => fail(format!("{}: empty; is the mail store mounted?", store.display())),
        }
    }
}

/// Attribute names are compared as directories compare them, without regard to case.
fn attribute<'a>(mailbox: &'a MailboxRef, name: &str) -> Option<&'a str> {
    let attributes = &mailbox.attributes;
    let same = || attributes.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    attributes.get(name).or_else(same).map(|value| &**value)
}

fn unreadable(path: &str, error: impl Into<std::io::Error>) -> MailStoreError {
    MailStoreError::Unreadable(format!("{path}: {}", error.into()))
}

impl MailStore for MaildirStore {
    /// By the change times of its directories: delivering, moving and expunging all move them.
    fn changed_since(&self, mailbox: &MailboxRef, since: Moment) -> bool {
        let Ok(path) = self.locate(mailbox) else { return true };
        let Ok(Some(root)) = self.open(mailbox, &path) else { return true };
        let listing = list(root.as_fd(), self.options.layout);
        let later = |path: &CStr| dir::changed_at(root.as_fd(), path).is_none_or(|at| at >= since.0);
        let parts = |folder: &Folder| {
            ["", "/cur", "/new"].iter().any(|part| {
                let path = [folder.path.as_bytes(), part.as_bytes()].concat();
                CString::new(path).map_or(true, |path| later(&path))
            })
        };
        !listing.problems.is_empty() || later(c".") || listing.folders.iter().any(parts)
    }

    fn measure(&self, mailbox: &MailboxRef, memory: &[u8]) -> Result<Measurement, MailStoreError> {
        self.measure_some(mailbox, None, memory)
    }

    fn measure_folder(&self, mailbox: &MailboxRef, folder: &str, memory: &[u8]) -> Result<Measurement, MailStoreError> {
        self.measure_some(mailbox, Some(&canonical_folder(folder)), memory)
    }
}
