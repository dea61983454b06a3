//! Waiting for a condition, never for a time.
#![allow(dead_code, reason = "each test uses another part")]

use std::time::{Duration, Instant};

/// Far beyond what anything here takes on a loaded machine: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(180);

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
