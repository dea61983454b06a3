//! A ledger whose disk fails now and then: the one fake of this port. Everything else is the real engine
//! behind it.
#![allow(dead_code, reason = "each test uses another part")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mailquotad::ledger::{Batch, Health, Ledger, LedgerError, Receipt, Record, Shelf};

pub struct FailingLedger<L> {
    inner: L,
    submitted: AtomicU64,
    failed: AtomicU64,
    failing: AtomicBool,
    fails: Box<dyn Fn(u64) -> bool + Send + Sync>,
}

impl<L: Ledger> FailingLedger<L> {
    /// The n-th batch, counted from 0, is not stored if `fails(n)`.
    pub fn new(inner: L, fails: impl Fn(u64) -> bool + Send + Sync + 'static) -> FailingLedger<L> {
        FailingLedger {
            inner,
            submitted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            fails: Box::new(fails),
        }
    }
}

impl<L: Ledger> Ledger for FailingLedger<L> {
    fn submit(&self, batch: Batch) -> Receipt {
        if (self.fails)(self.submitted.fetch_add(1, Ordering::SeqCst)) {
            self.failed.fetch_add(1, Ordering::SeqCst);
            self.failing.store(true, Ordering::SeqCst);
            let (answer, receiver) = tokio::sync::oneshot::channel();
            let _ = answer.send(Err(LedgerError::Write("no space left on device (injected)".into())));
            return Receipt::waiting(receiver);
        }
        self.failing.store(false, Ordering::SeqCst);
        self.inner.submit(batch)
    }

    fn seen(&self, key: u128) -> Result<bool, LedgerError> {
        self.inner.seen(key)
    }

    fn health(&self) -> Health {
        let mut health = self.inner.health();
        health.errors += self.failed.load(Ordering::SeqCst);
        if self.failing.load(Ordering::SeqCst) {
            health.trouble = Some("no space left on device (injected)".into());
        }
        health
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

    fn shelf_all(&self, shelf: Shelf, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), LedgerError> {
        self.inner.shelf_all(shelf, each)
    }

    fn close(&self) -> Result<(), LedgerError> {
        self.inner.close()
    }
}
