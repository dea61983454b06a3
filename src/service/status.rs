//! How the directory does: when it was last heard of, and which entries could not be read.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;

use crate::quota::Moment;

/// More than this many bad entries are counted, not listed.
const LISTED: usize = 1000;

#[derive(Default)]
pub struct DirectoryStatus(Mutex<State>);

#[derive(Clone, Debug, Default, Serialize)]
pub struct State {
    /// When the source was last heard of, or, since it is lost, when it was lost.
    pub current_at: Option<Moment>,
    /// Why the source cannot be reached, while it cannot.
    pub lost: Option<String>,
    pub bad: BTreeMap<Box<str>, Box<str>>,
    /// Those, and the accounts and domains that have a value that cannot be used.
    pub bad_count: u64,
}

impl State {
    /// When all that is known was last known to be current: now, as long as the source can be followed.
    pub fn current(&self, now: Moment) -> Option<Moment> {
        self.current_at.map(|at| if self.lost.is_none() { now } else { at })
    }
}

impl DirectoryStatus {
    /// Says whether it had been lost.
    pub fn heard(&self, now: Moment) -> bool {
        let mut state = self.0.lock();
        state.current_at = Some(now);
        state.lost.take().is_some()
    }

    pub fn lost(&self, why: String, now: Moment) {
        let mut state = self.0.lock();
        if state.current_at.is_some() {
            state.current_at = state.current(now);
        }
        state.lost = Some(why);
    }

    pub fn bad(&self, dn: Box<str>, why: Box<str>) {
        let mut state = self.0.lock();
        if let Some(known) = state.bad.get_mut(&dn) {
            *known = why;
            return;
        }
        state.bad_count += 1;
        if state.bad.len() < LISTED {
            state.bad.insert(dn, why);
        }
    }

    pub fn mended(&self, dn: &str) {
        let mut state = self.0.lock();
        state.bad.remove(dn);
        state.bad_count = state.bad_count.saturating_sub(1);
    }

    /// Keeps count of entries that can be read and have a value that cannot be used.
    pub fn problem(&self, before: bool, after: bool) {
        match (before, after) {
            (false, true) => self.0.lock().bad_count += 1,
            (true, false) => {
                let mut state = self.0.lock();
                state.bad_count = state.bad_count.saturating_sub(1);
            }
            _ => {}
        }
    }

    pub fn state(&self) -> State {
        self.0.lock().clone()
    }
}
