//! How the directory does: when it was last heard of, and which entries could not be read.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;

use crate::quota::Moment;
use crate::telemetry::events;

/// More than this many bad entries are counted, not listed.
const LISTED: usize = 1000;

#[derive(Default)]
pub struct DirectoryStatus(Mutex<State>);

#[derive(Clone, Debug, Default, Serialize)]
pub struct State {
    /// The last time that everything known was known to be current.
    pub current_at: Option<Moment>,
    /// Why the source cannot be reached, while it cannot.
    pub lost: Option<String>,
    pub bad: BTreeMap<Box<str>, Box<str>>,
    pub bad_count: u64,
}

impl DirectoryStatus {
    pub fn heard(&self, now: Moment) {
        let mut state = self.0.lock();
        state.current_at = Some(now);
        if state.lost.take().is_some() {
            events::directory_back();
        }
    }

    /// A load begins: what was bad in the last one will be named again if it still is.
    pub fn begin(&self) {
        let mut state = self.0.lock();
        state.bad.clear();
        state.bad_count = 0;
    }

    pub fn complete(&self, now: Moment) {
        self.heard(now);
    }

    pub fn lost(&self, why: String) {
        self.0.lock().lost = Some(why);
    }

    pub fn bad(&self, dn: Box<str>, why: Box<str>) {
        let mut state = self.0.lock();
        state.bad_count += 1;
        if state.bad.len() < LISTED {
            state.bad.insert(dn, why);
        }
    }

    pub fn state(&self) -> State {
        self.0.lock().clone()
    }
}
