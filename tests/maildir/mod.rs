//! Real mailboxes in a temporary directory, and a store that measures them.

#![allow(dead_code)] // Each test file uses its own part.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mailquotad::mailstore::maildir::{MaildirOptions, MaildirStore};
use mailquotad::mailstore::{MailStore, MailboxRef, Measurement};
use mailquotad::quota::Usage;
use tempfile::TempDir;

pub struct Spool {
    dir: TempDir,
    pub options: MaildirOptions,
}

impl Spool {
    /// A mail store in which ann has a mailbox with an empty INBOX.
    pub fn new() -> Spool {
        let dir = TempDir::new().unwrap();
        let template = format!("{}/%d/%n/Maildir", dir.path().display());
        let spool = Spool { dir, options: MaildirOptions::new(template.parse().unwrap()) };
        spool.folder("");
        spool
    }

    pub fn store(&self) -> MaildirStore {
        MaildirStore::new(self.options.clone())
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The root of ann's mailbox.
    pub fn root(&self) -> PathBuf {
        self.path().join("example.org/ann/Maildir")
    }

    /// Makes a folder, named as on disk.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.root().join(name);
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        folder
    }

    /// Puts a message of `size` bytes at a path below the root.
    pub fn put(&self, path: &str, size: usize) {
        fs::write(self.root().join(path.trim_start_matches('/')), vec![b'x'; size]).unwrap();
    }

    pub fn measure(&self) -> Measurement {
        self.store().measure(&ann(), &[]).unwrap()
    }

    /// What is in each folder of a mailbox that is measured without a problem.
    pub fn folders(&self) -> Vec<(String, u64, u64)> {
        folders(&self.measure())
    }
}

pub fn ann() -> MailboxRef {
    mailbox("ann@example.org")
}

pub fn mailbox(address: &str) -> MailboxRef {
    MailboxRef { address: address.into(), attributes: BTreeMap::new() }
}

/// Folder, bytes, messages; the types of one folder added up.
pub fn folders(found: &Measurement) -> Vec<(String, u64, u64)> {
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(found.files, found.cells.total().messages);
    let mut sums: BTreeMap<String, Usage> = BTreeMap::new();
    for (key, usage) in found.cells.iter() {
        let sum = sums.entry(key.folder.to_string()).or_default();
        *sum = *sum + usage;
    }
    sums.into_iter().map(|(folder, usage)| (folder, usage.bytes, usage.messages)).collect()
}

pub fn rows<const N: usize>(rows: [(&str, u64, u64); N]) -> Vec<(String, u64, u64)> {
    rows.map(|(folder, bytes, messages)| (folder.to_owned(), bytes, messages)).into()
}
