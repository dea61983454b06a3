//! Moments at which a standing changes by itself, because a grace period ends.
//!
//! An entry is only a hint to look again: looking too often is harmless, so nothing is ever removed
//! or moved, and an account that has come back under its limit simply has nothing to change.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::outbox::Subject;
use crate::quota::Moment;

#[derive(Default)]
pub struct Timers {
    due: Mutex<BTreeSet<(Moment, Subject)>>,
    earlier: Notify,
}

impl Timers {
    pub fn at(&self, moment: Moment, subject: Subject) {
        let mut due = self.due.lock();
        let earliest = due.first().is_none_or(|(first, _)| moment < *first);
        due.insert((moment, subject));
        if earliest {
            self.earlier.notify_one();
        }
    }

    /// Takes out everything that is due at `now`.
    pub fn take_due(&self, now: Moment) -> Vec<Subject> {
        let mut due = self.due.lock();
        let mut taken = Vec::new();
        while due.first().is_some_and(|(moment, _)| *moment <= now) {
            taken.extend(due.pop_first().map(|(_, subject)| subject));
        }
        taken
    }

    pub fn next(&self) -> Option<Moment> {
        self.due.lock().first().map(|(moment, _)| *moment)
    }

    /// Returns when an earlier moment than all before has been set.
    pub async fn changed(&self) {
        self.earlier.notified().await;
    }
}
