//! The ledger on the sled engine: one folder, one process, one writer thread.
//!
//! [`rows`] is what is stored, [`queue`] what waits, [`stage`] turns batches into rows, [`writer`] makes them
//! durable and says what happens when that fails, [`view`] is what readers see, [`open`] the way in.

mod keys;
mod open;
mod queue;
mod rows;
mod stage;
mod view;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use ::sled::IVec;
use parking_lot::Mutex;

use self::writer::{Shared, Writer};
use super::{Batch, Health, KEYS_KEPT, Ledger, LedgerError, Receipt, Record, Shelf};

#[derive(Clone, Debug)]
pub struct SledOptions {
    /// Memory that the engine may fill with what was read and written last.
    pub cache_bytes: u64,
    /// How many idempotency keys are remembered, at least.
    pub keys_kept: usize,
}

impl Default for SledOptions {
    fn default() -> SledOptions {
        SledOptions { cache_bytes: 128 << 20, keys_kept: KEYS_KEPT }
    }
}

pub struct SledLedger {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<Result<(), LedgerError>>>>,
}

impl SledLedger {
    /// Opens the ledger in the folder `path`, which is created, for its owner alone, if it is missing.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Locked`] if it is open elsewhere, [`LedgerError::Damaged`] if its data cannot be
    /// trusted (they are left as they are), [`LedgerError::TooNew`] if a later release wrote them.
    pub fn open(path: &Path) -> Result<SledLedger, LedgerError> {
        SledLedger::open_with(path, &SledOptions::default())
    }

    pub fn open_with(path: &Path, options: &SledOptions) -> Result<SledLedger, LedgerError> {
        let (writer, shared) = Writer::new(open::open(path, options)?)?;
        let spawned = std::thread::Builder::new().name("ledger".into()).spawn(|| writer.run());
        let thread = spawned.map_err(|error| LedgerError::Write(format!("no thread to write with: {error}")))?;
        Ok(SledLedger { shared, writer: Mutex::new(Some(thread)) })
    }

    fn each(
        &self,
        prefix: &[u8],
        each: &mut dyn FnMut(view::Found) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let mut after: Option<IVec> = None;
        loop {
            // The lock is not held while the caller looks at a piece: it may take its time, or write.
            let piece = self.shared.view.read().piece(prefix, after.as_deref())?;
            let Some(last) = piece.last() else { return Ok(()) };
            after = Some(last.row.clone());
            piece.into_iter().try_for_each(&mut *each)?;
        }
    }
}

impl Ledger for SledLedger {
    fn submit(&self, batch: Batch) -> Receipt {
        self.shared.queue.submit(batch)
    }

    fn seen(&self, key: u128) -> Result<bool, LedgerError> {
        Ok(self.shared.keys.read().contains(key))
    }

    fn health(&self) -> Health {
        self.shared.health.lock().clone()
    }

    fn read(&self, account: &str) -> Result<Option<Record>, LedgerError> {
        self.shared.view.read().record(account)
    }

    fn read_all(&self, each: &mut dyn FnMut(&str, Record)) -> Result<(), LedgerError> {
        self.each(rows::ACCOUNTS, &mut |found| {
            let fault = |fault| self.shared.view.read().fault(fault);
            let record = rows::read_record(&found.payload).map_err(fault)?;
            let account = found.row.get(rows::ACCOUNTS.len()..).unwrap_or_default();
            let unreadable = |_| fault(rows::Fault::Unreadable("an account whose name is not UTF-8".into()));
            each(std::str::from_utf8(account).map_err(unreadable)?, record);
            Ok(())
        })
    }

    fn shelf_get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.shared.view.read().payload(&rows::shelf_row(shelf, key))
    }

    fn shelf_all(&self, shelf: Shelf, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), LedgerError> {
        let prefix = rows::shelf_rows(shelf);
        self.each(&prefix, &mut |found| {
            each(found.row.get(prefix.len()..).unwrap_or_default(), &found.payload);
            Ok(())
        })
    }

    fn close(&self) -> Result<(), LedgerError> {
        self.shared.queue.close();
        match self.writer.lock().take() {
            Some(writer) => writer.join().unwrap_or_else(|panic| Err(LedgerError::Write(open::said(&*panic)))),
            None => Ok(()),
        }
    }
}

impl Drop for SledLedger {
    fn drop(&mut self) {
        // Whoever needs to know whether everything was written calls `close`.
        let _ = self.close();
    }
}
