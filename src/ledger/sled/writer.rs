//! The thread that writes.
//!
//! A group of batches is one atomic write of the engine, then `flush()`, then `sync_data()` on the engine's
//! file, and only then do the receipts resolve. `flush()` alone is not durable: on Linux it ends in
//! `sync_file_range`, which writes neither the file's length nor the disk's cache, and a power cut then loses
//! acknowledged data and can leave a ledger that does not open.
//!
//! # When a write fails
//!
//! The receipts of the group say so, and readers go on seeing what was there before ([`View`]).
//!
//! If the disk was full, nothing is lost but the group: the engine is opened again, whatever it kept of the
//! group is put back, and later batches are written. Their revisions go on above those that the group
//! would have had. Should the machine stop in between, the group may be found whole after the restart:
//! the error told its sender that it was not durable, not that it could never come to be, and its idempotency
//! key will tell when it is sent again.
//!
//! After any other failure (an I/O error, a sync that failed) nothing is written until the daemon is started
//! again: the kernel then counts pages as written that are not, so a later sync that succeeds proves nothing.

use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use sled::Db;

use super::keys::Keys;
use super::open::{Folder, Opened, said};
use super::queue::{Job, Queue};
use super::rows::{self, State};
use super::stage::{Changes, Group};
use super::view::{Held, View};
use crate::ledger::{self, LedgerError};
use crate::telemetry::events;

/// How often a full disk is tried again: opening the engine reads its log.
const RETRY: Duration = Duration::from_secs(1);

/// How often the folder is told how far the ledger has got: see `open.rs`.
const NOTE: Duration = Duration::from_secs(60);

pub struct Shared {
    pub queue: Queue,
    pub view: RwLock<View>,
    /// Written by the writer alone.
    pub keys: RwLock<Keys>,
    pub health: Mutex<ledger::Health>,
}

pub struct Writer {
    shared: Arc<Shared>,
    folder: Folder,
    /// The engine's file, opened a second time for the sync that the engine leaves out.
    data: File,
    state: State,
    /// When the folder was last told how far the ledger has got.
    noted: Instant,
    health: Health,
}

enum Health {
    Fine,
    /// The disk was full. The rows that the failed group changed are held in the view.
    Full {
        why: String,
        again: Instant,
    },
    /// Nothing may be written until the next start.
    Failed(String),
}

impl Writer {
    pub fn new(opened: Opened) -> Result<(Writer, Arc<Shared>), LedgerError> {
        let Opened { folder, db, keys, state } = opened;
        let data = folder.data().map_err(|error| LedgerError::Read(format!("{}: {error}", folder.shown())))?;
        let view = View { db: Some(db), held: Held::new(), path: folder.shown() };
        let shared = Arc::new(Shared {
            queue: Queue::default(),
            view: RwLock::new(view),
            keys: RwLock::new(keys),
            health: Mutex::default(),
        });
        let noted = Instant::now();
        Ok((Writer { shared: shared.clone(), folder, data, state, noted, health: Health::Fine }, shared))
    }

    /// Writes until the queue is closed and empty.
    pub fn run(mut self) -> Result<(), LedgerError> {
        let shared = self.shared.clone();
        while let Some(group) = shared.queue.next_group() {
            self.write(group);
        }
        shared.view.write().db = None;
        match self.health {
            Health::Fine => self.folder.note(self.state.groups),
            Health::Full { why, .. } | Health::Failed(why) => Err(LedgerError::Write(why)),
        }
    }

    fn write(&mut self, mut jobs: Vec<Job>) {
        let batches = jobs.len() as u64;
        let operations = jobs.iter().map(|job| job.batch.len() as u64).sum();
        if let Err(why) = self.ready() {
            self.count(batches, operations, Some(&why));
            jobs.into_iter().for_each(|job| job.answer(Err(LedgerError::Write(why.clone()))));
            return;
        }
        let (answers, changes) = {
            let view = self.shared.view.read();
            let keys = self.shared.keys.read();
            let mut group = Group::new(&view, &keys, self.state);
            let answers: Vec<_> = jobs.iter_mut().map(|job| group.add(std::mem::take(&mut job.batch))).collect();
            (answers, group.changes())
        };
        let stored = changes.and_then(|changes| self.store(changes));
        self.count(batches, operations, stored.as_ref().err().map(ToString::to_string).as_deref());
        for (job, answer) in jobs.into_iter().zip(answers) {
            // A duplicate or a conflict of a group that failed may be one with a batch that is not stored.
            job.answer(stored.clone().and(answer));
        }
    }

    fn count(&self, batches: u64, operations: u64, trouble: Option<&str>) {
        let mut health = self.shared.health.lock();
        match trouble {
            None => (health.batches, health.operations) = (health.batches + batches, health.operations + operations),
            Some(_) => health.errors += batches,
        }
        match (trouble, &health.trouble) {
            (Some(why), None) => events::ledger_failed(&why),
            (None, Some(_)) => events::ledger_back(),
            _ => {}
        }
        health.trouble = trouble.map(str::to_owned);
    }

    fn store(&mut self, changes: Changes) -> Result<(), LedgerError> {
        let Changes { new, old, keys, state, highest } = changes;
        if new.is_empty() {
            return Ok(());
        }
        let db = {
            let mut view = self.shared.view.write();
            view.held = old;
            view.db.clone()
        };
        let Some(db) = db else { return Err(LedgerError::Write("the ledger is not open".into())) };
        match durable(&db, new.into_iter(), &self.data) {
            Ok(()) => {
                self.shared.view.write().held.clear();
                self.shared.keys.write().take_in(keys);
                self.state = state;
                if self.noted.elapsed() >= NOTE {
                    self.noted = Instant::now();
                    // What was written is durable without the note, which a later one makes good.
                    let _ = self.folder.note(state.groups);
                }
                Ok(())
            }
            Err(failure) => {
                // Revisions that a reader may have been told of must not come back as others.
                self.state.floor = self.state.floor.max(highest);
                Err(LedgerError::Write(self.fail(failure)))
            }
        }
    }

    /// Why it has failed, for whoever waits.
    fn fail(&mut self, failure: Failure) -> String {
        match failure {
            Failure::Full(why) => {
                let again = Instant::now() + RETRY;
                self.health = Health::Full { why: why.clone(), again };
                why
            }
            Failure::Lasting(why) => {
                let why = format!("{why}; nothing more is written until mailquotad is started again");
                self.health = Health::Failed(why.clone());
                why
            }
        }
    }

    /// Whether a group can be written: heals the ledger, if that is due.
    fn ready(&mut self) -> Result<(), String> {
        match &self.health {
            Health::Fine => Ok(()),
            Health::Failed(why) => Err(why.clone()),
            Health::Full { why, again } if Instant::now() < *again => Err(why.clone()),
            Health::Full { .. } => match self.heal() {
                Ok(()) => {
                    self.health = Health::Fine;
                    Ok(())
                }
                Err(failure) => Err(self.fail(failure)),
            },
        }
    }

    /// Opens the engine again and puts back what the failed group may have left in it.
    fn heal(&mut self) -> Result<(), Failure> {
        self.shared.view.write().db = None;
        // Our own lock is still held, so an engine that cannot be opened is a full disk or worse.
        let db = self.folder.engine().map_err(|error| Failure::Full(error.to_string()))?;
        let mut view = self.shared.view.write();
        view.db = Some(db.clone());
        let state = (rows::STATE_ROW.to_vec(), Some(rows::write_state(self.state)));
        let held = view.held.iter().map(|(row, old)| (row.clone(), old.as_ref().map(|old| old.to_vec())));
        let back: Vec<_> = held.filter(|(row, _)| row != rows::STATE_ROW).chain([state]).collect();
        drop(view);
        durable(&db, back.into_iter(), &self.data)?;
        self.shared.view.write().held.clear();
        Ok(())
    }
}

enum Failure {
    Full(String),
    Lasting(String),
}

impl From<sled::Error> for Failure {
    fn from(error: sled::Error) -> Failure {
        match &error {
            sled::Error::Io(io)
                if matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) =>
            {
                Failure::Full(error.to_string())
            }
            _ => Failure::Lasting(error.to_string()),
        }
    }
}

/// Writes rows as one and returns when they would survive a power cut.
fn durable(db: &Db, rows: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>, data: &File) -> Result<(), Failure> {
    let mut batch = sled::Batch::default();
    for (row, value) in rows {
        match value {
            Some(value) => batch.insert(row, value),
            None => batch.remove(row),
        }
    }
    let written = catch_unwind(AssertUnwindSafe(|| db.apply_batch(batch).and_then(|()| db.flush())));
    written.map_err(|panic| Failure::Lasting(said(&*panic)))??;
    data.sync_data().map_err(|error| Failure::Lasting(format!("the disk did not take the data: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sled::{SledOptions, open};
    use crate::ledger::{Batch, Op, Outcome, Shelf};

    fn put(value: &str) -> Batch {
        vec![Op::Put { shelf: Shelf::Jobs, key: b"k"[..].into(), value: value.into() }]
    }

    fn add(account: &str, key: u128) -> Op {
        Op::Deltas { account: account.into(), deltas: Vec::new(), key: Some(key) }
    }

    fn write(writer: &mut Writer, batch: Batch) -> Result<Outcome, LedgerError> {
        let shared = writer.shared.clone();
        let receipt = shared.queue.submit(batch);
        shared.queue.next_group().into_iter().for_each(|group| writer.write(group));
        receipt.wait()
    }

    #[test]
    fn what_a_full_disk_left_half_done_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, shared) = Writer::new(open::open(folder.path(), &SledOptions::default()).unwrap()).unwrap();
        write(&mut writer, put("stored")).unwrap();
        write(&mut writer, vec![add("ada", 9)]).unwrap();
        // The group gets into the engine and its file, and only then a write fails.
        let disk = std::mem::replace(&mut writer.data, File::open("/dev/null").unwrap());
        let both = [put(&"lost".repeat(3000)), vec![Op::Forget { account: "ada".into() }, add("new", 10)]].concat();
        write(&mut writer, both).unwrap_err();
        writer.data = disk;
        writer.health = Health::Full { why: "full".into(), again: Instant::now() };
        assert_eq!(write(&mut writer, vec![add("later", 10)]).unwrap(), Outcome::Applied);
        shared.queue.close();
        writer.run().unwrap();

        let again = open::open(folder.path(), &SledOptions::default()).unwrap();
        let rows: Vec<String> = again.db.iter().keys().map(|row| row.unwrap().escape_ascii().to_string()).collect();
        let key_row = |n| format!(r"k\x00\x00\x00\x00\x00\x00\x00\x0{n}");
        assert_eq!(rows, ["aada", "alater", &key_row(0), &key_row(1), "mformat", "mstate", r"s\x04k"]);
        let (_, shared) = Writer::new(again).unwrap();
        let view = shared.view.read();
        assert_eq!(view.payload(&rows::shelf_row(Shelf::Jobs, b"k")).unwrap().as_deref(), Some(&b"stored"[..]));
        // The group that failed would have had "new" at 2, above the forgotten 1.
        assert_eq!(view.record("later").unwrap().map(|record| record.revision), Some(3));
    }

    #[test]
    fn after_a_failed_sync_nothing_is_acknowledged_and_nothing_of_it_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, shared) = Writer::new(open::open(folder.path(), &SledOptions::default()).unwrap()).unwrap();
        let submit = |writer: &mut Writer, value| write(writer, put(value));
        let seen = || shared.view.read().payload(&rows::shelf_row(Shelf::Jobs, b"k")).unwrap();
        submit(&mut writer, "stored").unwrap();
        // A device that cannot be synced: the engine writes, and the sync fails.
        let disk = std::mem::replace(&mut writer.data, File::open("/dev/null").unwrap());
        let failed = submit(&mut writer, "lost").unwrap_err().to_string();
        assert!(failed.contains("until mailquotad is started again"), "{failed}");
        assert_eq!(seen().as_deref(), Some(&b"stored"[..]));
        writer.data = disk;
        assert_eq!(submit(&mut writer, "later").unwrap_err().to_string(), failed);
        assert_eq!(seen().as_deref(), Some(&b"stored"[..]));
        shared.queue.close();
        assert_eq!(writer.run().unwrap_err().to_string(), failed);
    }
}
