//! Idempotency keys of changes that are on their way to the ledger.

use hashbrown::HashSet;

use parking_lot::Mutex;

/// The keys that are under way: a repetition that arrives
/// meanwhile waits for the first to be safe, and is then found in the ledger.
#[derive(Default)]
pub struct Keys {
    busy: Mutex<HashSet<u128>>,
    freed: tokio::sync::Notify,
}

pub struct Turn<'a> {
    keys: &'a Keys,
    key: u128,
}

impl Keys {
    /// Waits until nobody else has `key` under way.
    pub async fn turn(&self, key: u128) -> Turn<'_> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.busy.lock().insert(key) {
                return Turn { keys: self, key };
            }
            freed.await;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.keys.busy.lock().remove(&self.key);
        self.keys.freed.notify_waiters();
    }
}
