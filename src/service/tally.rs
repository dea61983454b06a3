//! How many accounts and domains stand where.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::quota::Level;

/// A count for each level but `under`, kept as things change: counting ten million accounts for every
/// scrape is out of the question.
#[derive(Default)]
pub struct Tally([AtomicI64; 4]);

impl Tally {
    pub(super) fn moved(&self, from: Level, to: Level) {
        if from != to {
            self.0[from as usize].fetch_sub(1, Ordering::Relaxed);
            self.0[to as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn at(&self, level: Level) -> i64 {
        self.0[level as usize].load(Ordering::Relaxed)
    }
}
