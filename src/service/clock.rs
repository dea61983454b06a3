//! The only place that reads the wall clock. Everything else takes a [`Clock`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::quota::Moment;

pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Moment;

    /// How long it has been running, which nobody sets: a wall clock that is put right makes no difference to it.
    fn ran(&self) -> Duration;
}

/// The system's clock. One that stands before 1970 reads as 1970.
pub struct SystemClock {
    begun: Instant,
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock { begun: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    fn now(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn ran(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// A clock that stands where it is put, for tests.
#[derive(Default)]
pub struct SetClock {
    now: AtomicU64,
    ran: AtomicU64,
}

impl SetClock {
    /// Puts the hands somewhere.
    pub fn set(&self, now: Moment) {
        self.now.store(now.0, Ordering::Relaxed);
    }

    /// Lets time go by.
    pub fn pass(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.now.fetch_add(millis, Ordering::Relaxed);
        self.ran.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Moment {
        Moment(self.now.load(Ordering::Relaxed))
    }

    fn ran(&self) -> Duration {
        Duration::from_millis(self.ran.load(Ordering::Relaxed))
    }
}
