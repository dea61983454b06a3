//! The types of messages, each read from the message once and then remembered.
//!
//! A memory is a byte string that the caller stores: a version, a fingerprint of the type table, then
//! 9 bytes a message: its key (little-endian) and the number of its type, 255 for none. Sorted by key.
//! A memory of another version or another table is as good as none: every message is read once more.

use std::os::fd::{AsFd, BorrowedFd};

use hashbrown::HashMap;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, retry_on_intr};

use super::name;
use crate::mailstore::TypeMemory;
use crate::wire::content_type::{HEAD_LIMIT, TypeTable, content_type};

const VERSION: u8 = 1;
const HEADER: usize = 9;
const RECORD: usize = 9;
const NONE: u8 = u8::MAX;
/// Enough for the head of most messages in one read.
const FIRST_READ: usize = 8 * 1024;

/// Finds the types of the messages of one mailbox.
pub struct Types<'a> {
    table: &'a TypeTable,
    known: &'a [[u8; RECORD]],
    fingerprint: u64,
    /// What had to be read in this measurement.
    fresh: HashMap<u64, u8>,
    /// Every message met in this measurement, those that were met again more than once.
    met: Vec<[u8; RECORD]>,
    head: Vec<u8>,
}

impl<'a> Types<'a> {
    /// `None` where no types are configured: no message is ever opened then.
    pub fn new(table: &'a TypeTable, memory: &'a [u8]) -> Option<Types<'a>> {
        if table.is_empty() {
            return None;
        }
        let fingerprint = name::hash(table.canonical().as_bytes(), 0);
        let known = match memory.split_at_checked(HEADER) {
            Some((header, records)) if header == header_of(fingerprint) => records.as_chunks().0,
            _ => &[],
        };
        Some(Types { table, known, fingerprint, fresh: HashMap::new(), met: Vec::new(), head: Vec::new() })
    }

    /// The number of the message's type, or `None` if it has none.
    pub fn find(&mut self, dir: BorrowedFd, file: &std::ffi::CStr, key: u64) -> Result<Option<u8>, Errno> {
        let number = match self.known(key).or_else(|| self.fresh.get(&key).copied()) {
            Some(number) => number,
            None => {
                let number = self.read(dir, file)?;
                self.fresh.insert(key, number);
                number
            }
        };
        self.met.push(record(key, number));
        Ok(Some(number).filter(|number| usize::from(*number) < self.table.names().len()))
    }

    fn known(&self, key: u64) -> Option<u8> {
        let at = self.known.binary_search_by_key(&key, key_of).ok()?;
        Some(self.known[at][RECORD - 1])
    }

    fn read(&mut self, dir: BorrowedFd, file: &std::ffi::CStr) -> Result<u8, Errno> {
        // NONBLOCK: should the file have become a fifo since it was listed, we must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let message = openat(dir, file, flags, Mode::empty())?;
        self.head.clear();
        loop {
            let filled = self.head.len();
            let room = if filled == 0 { FIRST_READ } else { filled.min(HEAD_LIMIT) };
            self.head.resize(filled + room, 0);
            let read = retry_on_intr(|| rustix::io::read(message.as_fd(), &mut self.head[filled..]))?;
            self.head.truncate(filled + read);
            if let Some(kind) = content_type(&self.head, read == 0) {
                return Ok(self.table.find(&kind).unwrap_or(NONE));
            }
        }
    }

    /// What to remember. `all` says that every message was met, so that those that were not are gone.
    pub fn into_memory(self, all: bool) -> TypeMemory {
        let mut records = self.met;
        if !all {
            records.extend_from_slice(self.known);
        }
        records.sort_unstable_by_key(key_of);
        records.dedup_by_key(|record| key_of(record));
        let mut memory = Vec::with_capacity(HEADER + records.len() * RECORD);
        memory.extend_from_slice(&header_of(self.fingerprint));
        memory.extend_from_slice(records.as_flattened());
        memory
    }
}

fn header_of(fingerprint: u64) -> [u8; HEADER] {
    record(fingerprint, VERSION)
}

fn record(key: u64, number: u8) -> [u8; RECORD] {
    let mut record = [number; RECORD];
    record[..8].copy_from_slice(&key.to_le_bytes());
    record
}

fn key_of(record: &[u8; RECORD]) -> u64 {
    let [a, b, c, d, e, f, g, h, _] = *record;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
