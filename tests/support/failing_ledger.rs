//! A ledger whose disk fails now and then: the one fake of this port. Everything else is the real engine
//! behind it.
#![allow(dead_code, reason = "each test uses another part")]

use std::sync::atomic::{AtomicU64, Ordering};

use mailquotad::ledger::{Batch, Health, Ledger, LedgerError, Receipt, Record, Shelf};

pub struct FailingLedger<L> {
    inner: L,
    submitted: AtomicU64,
    fails: Box<dyn Fn(u64) -> bool + Send + Sync>,
}

impl<L: Ledger> FailingLedger<L> {
    /// The n-th batch, counted from 0, is not stored if `fails(n)`.
    pub fn new(inner: L, fails: impl Fn(u64) -> bool + Send + Sync + 'static) -> FailingLedger<L> {
        FailingLedger { inner, submitted: AtomicU64::new(0), fails: Box::new(fails) }
    }
}

impl<L: Ledger> Ledger for FailingLedger<L> {
    fn submit(&self, batch: Batch) -> Receipt {
        if (self.fails)(self.submitted.fetch_add(1, Ordering::SeqCst)) {
            let (answer, receiver) = tokio::sync::oneshot::channel();
            let _ = answer.send(Err(LedgerError::Write("no space left on device (injected)".into())));
            return Receipt(receiver);
        }
        self.inner.submit(batch)
    }

    fn seen(&self, key: u128) -> Result<bool, LedgerError> {
        self.inner.seen(key)
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn read(&self, account: &str) -> Result<Option<Record>, LedgerError> {
        self.inner.read(account)
    }

    fn read_all(&self, each: &mut dyn FnMut(&str, Record)) -> Result<(), LedgerError> {
        self.inner.read_all(each)
    }

    fn shelf_get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.inner.shelf_get(shelf, key)
    }

    fn shelf_all(&self, shelf: Shelf, each: &mut dyn FnMut(&[u8], Vec<u8>)) -> Result<(), LedgerError> {
        self.inner.shelf_all(shelf, each)
    }

    fn close(&self) -> Result<(), LedgerError> {
        self.inner.close()
    }
}
