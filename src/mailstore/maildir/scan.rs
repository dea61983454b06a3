//! Counting one folder.
//!
//! `new` is read before `cur`, the way messages go, and what was met in `new` is not counted again in
//! `cur`: so a message on its way is neither missed nor counted twice. A flag that changes renames a file
//! while its directory is read, which may show it twice or not at all; that moves the directory's change
//! time, and the caller reads again.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use hashbrown::HashSet;
use rustix::fs::{AtFlags, FileType, RawDir, statat};
use rustix::io::Errno;

use super::dir::{self, DirState};
use super::folders::{Folder, join};
use super::memory::Types;
use super::name::{self, SizeKind};
use crate::quota::Usage;

/// Some 600 names at a time.
const BUFFER: usize = 64 * 1024;
pub const DIRECTORIES: [&CStr; 2] = [c"new", c"cur"];

/// What a folder held.
#[derive(Debug)]
pub struct Scan {
    /// By type; the last is for messages of no type.
    pub usages: Vec<Usage>,
    pub problem: Option<String>,
    states: [DirState; 2],
}

impl Scan {
    /// Whether the folder surely still holds the same.
    pub fn holds(&self, root: BorrowedFd, path: &CStr) -> bool {
        let mut pairs = self.states.iter().zip(DIRECTORIES);
        pairs.all(|(state, name)| state.holds(root, &join(path, name)))
    }
}

pub struct Scanner<'a> {
    root: BorrowedFd<'a>,
    sizes: SizeKind,
    pub types: Option<Types<'a>>,
    kinds: usize,
    buffer: Vec<u8>,
    seen: HashSet<u64>,
}

impl<'a> Scanner<'a> {
    /// `kinds`: how many types there are.
    pub fn new(root: BorrowedFd<'a>, sizes: SizeKind, types: Option<Types<'a>>, kinds: usize) -> Scanner<'a> {
        Scanner { root, sizes, types, kinds, buffer: Vec::with_capacity(BUFFER), seen: HashSet::new() }
    }

    /// Counts a folder. `wary`: it was seen changing, so every name is compared with every other.
    pub fn scan(&mut self, folder: &Folder, wary: bool) -> Scan {
        let mut scan = Scan { usages: vec![Usage::ZERO; self.kinds + 1], problem: None, states: [DirState::ABSENT; 2] };
        self.seen.clear();
        for (at, name) in DIRECTORIES.into_iter().enumerate() {
            let found = dir::open(self.root, &join(&folder.path, name)).and_then(|found| match found {
                None => Ok(()),
                Some((dir, state)) => {
                    scan.states[at] = state;
                    let keep = wary || at == 0 || !state.settled();
                    self.read(dir.as_fd(), keep, &mut scan.usages)
                }
            });
            if let Err(error) = found {
                let name = name.to_string_lossy();
                scan.problem = Some(format!("{}: {name}: {}", folder.name, std::io::Error::from(error)));
            }
        }
        scan
    }

    /// Reads on after a message that cannot be looked at, and returns the first error.
    fn read(&mut self, dir: BorrowedFd, keep: bool, usages: &mut [Usage]) -> Result<(), Errno> {
        let mut outcome = Ok(());
        let mut entries = RawDir::new(dir, self.buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::INTR) => continue,
                // The folder was removed while it was read.
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error),
            };
            let name = entry.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            let message = Message { dir, name, inode: entry.ino() };
            let counted = message.size(entry.file_type(), self.sizes).and_then(|size| {
                let Some(size) = size else { return Ok(()) };
                let seen = &mut self.seen;
                let again = match keep {
                    true => !seen.insert(message.key()),
                    false => !seen.is_empty() && seen.contains(&message.key()),
                };
                if again {
                    return Ok(());
                }
                let kind = match &mut self.types {
                    Some(types) => types.find(dir, name, message.key())?,
                    None => None,
                };
                let usage = kind.map_or(usages.len() - 1, usize::from);
                usages[usage] = usages[usage] + Usage::new(size, 1);
                Ok(())
            });
            match counted {
                // It was expunged or renamed since it was listed.
                Ok(()) | Err(Errno::NOENT | Errno::STALE) => {}
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }
}

struct Message<'a> {
    dir: BorrowedFd<'a>,
    name: &'a CStr,
    inode: u64,
}

impl Message<'_> {
    /// `None` for what is no message: a directory, a socket. A link counts as the file that it leads to.
    fn size(&self, kind: FileType, sizes: SizeKind) -> Result<Option<u64>, Errno> {
        let told = name::size(self.name.to_bytes(), sizes);
        match (kind, told) {
            (FileType::RegularFile, Some(size)) => Ok(Some(size)),
            (FileType::RegularFile | FileType::Symlink | FileType::Unknown, _) => {
                let stat = statat(self.dir, self.name, AtFlags::empty())?;
                let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                Ok(regular.then(|| told.unwrap_or(u64::try_from(stat.st_size).unwrap_or(0))))
            }
            _ => Ok(None),
        }
    }

    fn key(&self) -> u64 {
        name::key(self.name.to_bytes(), self.inode)
    }
}
