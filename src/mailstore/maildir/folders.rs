//! Which folders a mailbox has.
//!
//! - Maildir++: the root's own `cur` and `new` are INBOX, the directory `.A.B` beside them is `A/B`. Names
//!   without the leading dot are no folders.
//! - `LAYOUT=fs`: INBOX is the same, the directory `A/B` is `A/B`; any directory but `cur`, `new` and
//!   `tmp` is a level, hidden ones too, as Dovecot 2.3 has it.
//!
//! A directory without `cur` and `new` holds no messages and so never shows.
//!
//! Symbolic links to folders are followed, as Dovecot follows them, but a directory is counted once under
//! its own name: a second name for it (Dovecot walks a loop until the path is too long) adds nothing. A
//! link that leads nowhere makes the mailbox incomplete: what it led to may be a file system that is not
//! mounted.

use std::collections::{HashSet, VecDeque};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, RawDir, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::dir::{self, DirState};
use crate::wire::mutf7;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    #[default]
    #[serde(rename = "maildir++")]
    MaildirPlusPlus,
    #[serde(rename = "fs")]
    Fs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// With `/` between levels.
    pub name: String,
    /// The directory that holds `cur` and `new`, from the root.
    pub path: CString,
}

impl Folder {
    fn inbox() -> Folder {
        Folder { name: "INBOX".into(), path: c".".into() }
    }
}

#[derive(Debug)]
pub struct Listing {
    pub folders: Vec<Folder>,
    /// One line for each directory that could not be looked at.
    pub problems: Vec<String>,
    /// The directories that were read for this.
    read: Vec<(CString, DirState)>,
}

impl Listing {
    /// Whether the folders are surely still the same.
    pub fn holds(&self, root: BorrowedFd) -> bool {
        self.read.iter().all(|(path, state)| state.holds(root, path))
    }
}

/// What a directory of this name adds to the name of a folder; `None` if it is no folder.
pub fn level(layout: Layout, raw: &[u8]) -> Option<String> {
    match layout {
        Layout::MaildirPlusPlus if raw.len() > 1 && raw != b".." => {
            let levels = raw.strip_prefix(b".")?;
            Some(levels.split(|byte| *byte == b'.').map(mutf7::folder_level).collect::<Vec<_>>().join("/"))
        }
        Layout::Fs if !matches!(raw, b"." | b".." | b"cur" | b"new" | b"tmp") => Some(mutf7::folder_level(raw)),
        _ => None,
    }
}

/// A directory that was met and not yet entered.
struct Met {
    path: CString,
    name: String,
    link: bool,
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    layout: Layout,
    listing: Listing,
    buffer: Vec<u8>,
    entered: HashSet<(u64, u64)>,
    /// Linked directories wait until every real one has been entered under its own name.
    links: VecDeque<Met>,
    real: VecDeque<Met>,
}

pub fn list(root: BorrowedFd, layout: Layout) -> Listing {
    let listing = Listing { folders: Vec::new(), problems: Vec::new(), read: Vec::new() };
    let mut walk = Walk {
        root,
        layout,
        listing,
        buffer: Vec::with_capacity(32 * 1024),
        entered: HashSet::new(),
        links: VecDeque::new(),
        real: VecDeque::new(),
    };
    walk.inbox();
    match layout {
        Layout::Fs => walk.levels(),
        Layout::MaildirPlusPlus => walk.siblings(),
    }
    walk.listing
}

impl Walk<'_> {
    fn inbox(&mut self) {
        let inbox = Folder::inbox();
        self.look(&inbox.path, "", &inbox.name);
        self.listing.folders.push(inbox);
    }

    fn levels(&mut self) {
        while let Some(met) = self.real.pop_front().or_else(|| self.links.pop_front()) {
            if self.look(&met.path, &format!("{}/", met.name), &met.name) {
                self.listing.folders.push(Folder { name: met.name, path: met.path });
            }
        }
    }

    /// Folders beside one another need not be entered to be told apart, unless there are links.
    fn siblings(&mut self) {
        if !self.links.is_empty() {
            let known: Vec<_> = self.real.iter().filter_map(|met| self.identity(&met.path)).collect();
            self.entered.extend(known);
        }
        while let Some(met) = self.real.pop_front() {
            self.listing.folders.push(Folder { name: met.name, path: met.path });
        }
        while let Some(met) = self.links.pop_front() {
            if self.identity(&met.path).is_some_and(|identity| self.entered.insert(identity)) {
                self.listing.folders.push(Folder { name: met.name, path: met.path });
            }
        }
    }

    fn identity(&self, path: &CStr) -> Option<(u64, u64)> {
        let stat = statat(self.root, path, AtFlags::empty()).ok()?;
        Some((stat.st_dev, stat.st_ino))
    }

    /// Reads one directory and queues what it finds there. False if it holds nothing new.
    fn look(&mut self, path: &CStr, prefix: &str, name: &str) -> bool {
        let (dir, state) = match dir::open(self.root, path) {
            Ok(Some(found)) => found,
            Ok(None) => return false,
            Err(error) => {
                self.problem(name, error);
                return false;
            }
        };
        if !state.identity().is_some_and(|identity| self.entered.insert(identity)) {
            return false;
        }
        self.listing.read.push((path.into(), state));
        let mut buffer = std::mem::take(&mut self.buffer);
        let (reals, links) = (self.real.len(), self.links.len());
        let mut entries = RawDir::new(&dir, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) => self.meet(dir.as_fd(), path, prefix, entry.file_name(), entry.file_type()),
                Err(Errno::INTR) => {}
                // Removed while it was read.
                Err(Errno::NOENT) => break,
                Err(error) => {
                    self.problem(name, error);
                    break;
                }
            }
        }
        self.buffer = buffer;
        // The order on disk must not decide which of two names for one directory counts.
        self.real.make_contiguous()[reals..].sort_by(|a, b| a.path.cmp(&b.path));
        self.links.make_contiguous()[links..].sort_by(|a, b| a.path.cmp(&b.path));
        true
    }

    fn meet(&mut self, dir: BorrowedFd, path: &CStr, prefix: &str, entry: &CStr, kind: FileType) {
        let Some(level) = level(self.layout, entry.to_bytes()) else { return };
        let name = format!("{prefix}{level}");
        let link = match kind {
            FileType::Directory => false,
            FileType::Symlink => true,
            // Some file systems do not tell.
            FileType::Unknown => match statat(dir, entry, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => false,
                    FileType::Symlink => true,
                    _ => return,
                },
                Err(Errno::NOENT) => return,
                Err(error) => return self.problem(&name, error),
            },
            _ => return,
        };
        let met = Met { path: join(path, entry), name, link };
        match link && !self.leads_to_directory(dir, entry, &met.name) {
            true => {}
            false if met.link => self.links.push_back(met),
            false => self.real.push_back(met),
        }
    }

    fn leads_to_directory(&mut self, dir: BorrowedFd, link: &CStr, name: &str) -> bool {
        match statat(dir, link, AtFlags::empty()) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            Err(Errno::NOENT) if statat(dir, link, AtFlags::SYMLINK_NOFOLLOW).is_err() => false,
            Err(Errno::NOENT) => {
                self.listing.problems.push(format!("{name}: a symbolic link that leads nowhere"));
                false
            }
            Err(error) => {
                self.problem(name, error);
                false
            }
        }
    }

    fn problem(&mut self, name: &str, error: Errno) {
        self.listing.problems.push(format!("{name}: {}", std::io::Error::from(error)));
    }
}

pub fn join(path: &CStr, name: &CStr) -> CString {
    if path == c"." {
        return name.into();
    }
    let mut joined = path.to_bytes().to_vec();
    joined.push(b'/');
    joined.extend_from_slice(name.to_bytes());
    // Two C strings have no NUL between them.
    CString::new(joined).unwrap_or_default()
}
