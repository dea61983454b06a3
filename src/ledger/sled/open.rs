//! Opening and creating the folder of a ledger.
//!
//! ```text
//! lock             held exclusively while the ledger is open
//! format           written last at creation: from then on a folder without data is a damaged one
//! reached          how many groups of batches were in the ledger when somebody last looked
//! db, conf, blobs  the engine's
//! ```
//!
//! The engine takes data that it cannot read for the end of its log and goes on from there, without a word.
//! The number in `reached` tells such a loss from a crash, which takes nothing that was ever in there.

use std::any::Any;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sled::Db;

use super::SledOptions;
use super::keys::Keys;
use super::rows::{self, Fault, State};
use super::stage::Keyed;
use crate::ledger::LedgerError;
use crate::ledger::atomic::{folder_of, write_whole};

/// The folder of a ledger. Nobody else opens it while this lives.
pub struct Folder {
    path: PathBuf,
    cache_bytes: u64,
    _lock: File,
}

pub struct Opened {
    pub folder: Folder,
    pub db: Db,
    pub keys: Keys,
    pub state: State,
}

pub fn open(path: &Path, options: &SledOptions) -> Result<Opened, LedgerError> {
    let lock = lock_file(path).map_err(|error| unreadable(path, &error))?;
    hold(&lock, path)?;
    let folder = Folder { path: path.into(), cache_bytes: options.cache_bytes, _lock: lock };
    let complete = folder.is_complete()?;
    let db = folder.engine()?;
    folder.check(&db, complete)?;
    let state = folder.read(&db, rows::STATE_ROW)?.map(|row| rows::read_state(&row)).transpose();
    let state = state.map_err(|fault| folder.fault(fault))?.unwrap_or_default();
    folder.compare(state.groups)?;
    let mut keys = Keys::new(options.keys_kept);
    for row in db.scan_prefix(rows::KEYS) {
        let (row, value) = row.map_err(|error| folder.damaged(error.to_string()))?;
        let key = rows::read_key(&row, &value).map_err(|fault| folder.fault(fault))?;
        keys.take_in(Keyed { added: vec![key], dropped: Vec::new() });
    }
    folder.note(state.groups)?;
    Ok(Opened { folder, db, keys, state })
}

/// A program that a daemon has just started shares its lock until it runs, so the lock may outlive the daemon
/// for a moment.
fn hold(lock: &File, path: &Path) -> Result<(), LedgerError> {
    for _ in 0..200 {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::Error(error)) => return Err(unreadable(path, &error)),
        }
    }
    Err(LedgerError::Locked { path: path.display().to_string() })
}

impl Folder {
    pub fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// The file that the engine keeps its data in.
    pub fn data(&self) -> io::Result<File> {
        File::open(self.path.join("db"))
    }

    /// Whether the ledger was created to the end. Refuses one whose data have gone since.
    fn is_complete(&self) -> Result<bool, LedgerError> {
        let format = match fs::read_to_string(self.path.join("format")) {
            Ok(format) => format,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(unreadable(&self.path, &error)),
        };
        let number = format.strip_prefix(FORMAT_FILE).and_then(|rest| rest.trim_end().parse::<u8>().ok());
        match number {
            None => return Err(self.damaged(format!("its format file says {:?}", format.trim_end()))),
            Some(found) if found > rows::FORMAT => return Err(self.fault(Fault::TooNew(found))),
            Some(_) => {}
        }
        match fs::metadata(self.path.join("db")) {
            Ok(data) if data.len() > 0 => Ok(true),
            Ok(_) => Err(self.damaged("its file db is empty".into())),
            Err(error) => Err(self.damaged(format!("its file db: {error}"))),
        }
    }

    /// Opens the engine, which panics on some kinds of damage.
    pub fn engine(&self) -> Result<Db, LedgerError> {
        // A former instance of the engine lets go of its file only when its last background task has ended,
        // a moment after it was dropped. Our own lock says that there is no other process.
        for _ in 0..400 {
            let config = sled::Config::new().path(&self.path).cache_capacity(self.cache_bytes);
            // The writer does all the flushing: see `writer.rs`.
            match catch_unwind(AssertUnwindSafe(move || config.flush_every_ms(None).open())) {
                Ok(Ok(db)) => return Ok(db),
                Ok(Err(sled::Error::Io(error))) if error.to_string().contains("could not acquire lock") => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(Err(sled::Error::Io(error))) => return Err(unreadable(&self.path, &error)),
                Ok(Err(error)) => return Err(self.damaged(error.to_string())),
                Err(panic) => return Err(self.damaged(said(&*panic))),
            }
        }
        Err(LedgerError::Locked { path: self.shown() })
    }

    /// Looks at the format of the data; finishes a creation that never got to the end.
    fn check(&self, db: &Db, complete: bool) -> Result<(), LedgerError> {
        match self.read(db, rows::FORMAT_ROW)?.as_deref() {
            Some([1..=rows::FORMAT]) if complete => return Ok(()),
            Some([1..=rows::FORMAT]) => {}
            Some([later, ..]) if *later > rows::FORMAT => return Err(self.fault(Fault::TooNew(*later))),
            Some(other) => return Err(self.damaged(format!("its data are of format {other:?}"))),
            None if complete => return Err(self.damaged("its data have lost their beginning".into())),
            None if !db.is_empty() => return Err(self.damaged("it holds data of another program".into())),
            None => {}
        }
        let created = || -> io::Result<()> {
            db.insert(rows::FORMAT_ROW, &[rows::FORMAT])?;
            db.flush()?;
            self.data()?.sync_all()?;
            // Without this a power cut can leave an empty conf, and then the engine does not start.
            for name in ["conf", "blobs", "."] {
                File::open(self.path.join(name))?.sync_all()?;
            }
            let format = format!("{FORMAT_FILE}{}\n", rows::FORMAT);
            write_whole(&self.path.join("format"), |file| file.write_all(format.as_bytes()))
        };
        created().map_err(|error| LedgerError::Write(format!("{}: {error}", self.shown())))
    }

    /// Notes how many groups of batches are in the ledger for good.
    pub fn note(&self, groups: u64) -> Result<(), LedgerError> {
        write_whole(&self.path.join("reached"), |file| file.write_all(format!("{groups}\n").as_bytes()))
            .map_err(|error| LedgerError::Write(format!("{}: {error}", self.shown())))
    }

    /// Refuses a ledger that has lost what was in it before.
    fn compare(&self, groups: u64) -> Result<(), LedgerError> {
        let noted = match fs::read_to_string(self.path.join("reached")) {
            Ok(noted) => noted,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(&self.path, &error)),
        };
        match noted.trim_end().parse::<u64>() {
            Ok(reached) if groups >= reached => Ok(()),
            Ok(reached) => Err(self.damaged(format!("it ends at write {groups}, but had reached {reached}"))),
            Err(_) => Err(self.damaged(format!("its file reached says {:?}", noted.trim_end()))),
        }
    }

    fn read(&self, db: &Db, row: &[u8]) -> Result<Option<sled::IVec>, LedgerError> {
        db.get(row).map_err(|error| self.damaged(error.to_string()))
    }

    fn damaged(&self, why: String) -> LedgerError {
        self.fault(Fault::Unreadable(why))
    }

    fn fault(&self, fault: Fault) -> LedgerError {
        let path = self.shown();
        match fault {
            Fault::TooNew(found) => LedgerError::TooNew { path, found, known: rows::FORMAT },
            Fault::Unreadable(why) => LedgerError::Damaged { path, why },
        }
    }
}

const FORMAT_FILE: &str = "mailquotad ledger, format ";

/// Creates the folder if it is missing.
fn lock_file(path: &Path) -> io::Result<File> {
    if !path.is_dir() {
        let parent = folder_of(path);
        fs::create_dir_all(&parent)?;
        DirBuilder::new().mode(0o700).create(path)?;
        File::open(parent)?.sync_all()?;
    }
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"))
}

fn unreadable(path: &Path, error: &io::Error) -> LedgerError {
    LedgerError::Read(format!("{}: {error}", path.display()))
}

/// What a panic said.
pub fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    text.unwrap_or("the engine panicked").to_owned()
}
