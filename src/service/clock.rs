//! The only place that reads the wall clock. Everything else takes a [`Clock`].

use std::time::{SystemTime, UNIX_EPOCH};

use crate::quota::Moment;

pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Moment;
}

/// The system's clock. One that stands before 1970 reads as 1970.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    fn now(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that stands where it is put, for tests.
#[derive(Default)]
pub struct SetClock(std::sync::atomic::AtomicU64);

impl SetClock {
    pub fn set(&self, now: Moment) {
        self.0.store(now.0, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Moment {
        Moment(self.0.load(std::sync::atomic::Ordering::Relaxed))
    }
}
