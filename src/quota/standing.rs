//! How an account or a domain stands against a limit, and since when.
//!
//! ```text
//! under --threshold--> warned --limit--> over --grace period--> blocked
//!   ^---------------------^-----------------^---below the limit----+
//! ```
//!
//! Only stored usage moves a standing; what a sender announces never does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Limit, Moment, Usage};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    #[default]
    Under,
    Warned,
    Over,
    Blocked,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Under => "under",
            Level::Warned => "warned",
            Level::Over => "over",
            Level::Blocked => "blocked",
        }
    }
}

/// When the grace clock starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Starts {
    #[default]
    AtLimit,
    /// At the threshold, as Oracle's servers do without overdraft.
    AtThreshold,
}

/// The settings that move a standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// Percent of the limit from which an account is warned.
    pub threshold: u32,
    /// How long an account may be over before it is blocked.
    pub period: Duration,
    pub starts: Starts,
}

/// The level and the moment at which the grace clock started, while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standing {
    pub level: Level,
    pub since: Option<Moment>,
}

impl Standing {
    pub const UNDER: Standing = Standing { level: Level::Under, since: None };

    /// The standing after `usage` was measured against `limit` at `now`.
    pub fn next(self, usage: Usage, limit: Limit, grace: Grace, now: Moment) -> Standing {
        let started = Some(self.since.unwrap_or(now));
        if limit.reached_by(usage) {
            let blocked = self.level == Level::Blocked || started.is_some_and(|at| now.since(at) >= grace.period);
            return Standing { level: if blocked { Level::Blocked } else { Level::Over }, since: started };
        }
        if limit.reached_in_part(usage, grace.threshold) {
            let since = started.filter(|_| grace.starts == Starts::AtThreshold);
            return Standing { level: Level::Warned, since };
        }
        Standing::UNDER
    }

    /// When the standing will change by itself: the moment at which the grace period ends.
    pub fn due(self, grace: Grace) -> Option<Moment> {
        self.since.filter(|_| self.level == Level::Over).map(|since| since.after(grace.period))
    }

    /// Whether the grace clock has been started and has run out.
    pub fn grace_over(self, grace: Grace, now: Moment) -> bool {
        self.level == Level::Blocked || self.since.is_some_and(|since| now.since(since) >= grace.period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: Limit = Limit { bytes: Some(100), messages: None };

    fn grace(seconds: u64, starts: Starts) -> Grace {
        Grace { threshold: 90, period: Duration::from_secs(seconds), starts }
    }

    /// Runs (second, bytes used) steps and writes each standing as `level@since`.
    fn story(grace: Grace, steps: &[(u64, u64)]) -> Vec<String> {
        let mut standing = Standing::UNDER;
        let mut told = Vec::new();
        for (second, bytes) in steps {
            standing = standing.next(Usage::new(*bytes, 1), LIMIT, grace, Moment(second * 1000));
            let since = standing.since.map_or(String::new(), |at| format!("@{}", at.0 / 1000));
            told.push(format!("{}{since}", standing.level.as_str()));
        }
        told
    }

    #[test]
    fn up_and_down() {
        let steps = [(0, 10), (1, 90), (2, 100), (3, 120), (11, 120), (12, 100), (13, 99), (14, 100), (15, 0)];
        let told = story(grace(10, Starts::AtLimit), &steps);
        assert_eq!(told, ["under", "warned", "over@2", "over@2", "over@2", "blocked@2", "warned", "over@14", "under"]);
    }

    #[test]
    fn the_clock_may_start_at_the_threshold() {
        let steps = [(0, 90), (5, 100), (9, 100), (10, 100), (11, 95), (12, 10), (13, 100)];
        let told = story(grace(10, Starts::AtThreshold), &steps);
        assert_eq!(told, ["warned@0", "over@0", "over@0", "blocked@0", "warned@0", "under", "over@13"]);
    }

    #[test]
    fn no_grace_blocks_at_once() {
        assert_eq!(story(grace(0, Starts::AtLimit), &[(7, 100), (8, 99)]), ["blocked@7", "warned"]);
    }

    #[test]
    fn a_clock_that_jumps_back_neither_restarts_nor_shrinks_the_grace_period() {
        let steps = [(1000, 100), (10, 100), (1009, 100), (1010, 100), (10, 100)];
        let told = story(grace(10, Starts::AtLimit), &steps);
        assert_eq!(told, ["over@1000", "over@1000", "over@1000", "blocked@1000", "blocked@1000"]);
    }

    #[test]
    fn a_quota_of_nothing_is_over_at_once_and_no_quota_never() {
        let next = |limit| Standing::UNDER.next(Usage::ZERO, limit, grace(10, Starts::AtLimit), Moment(1)).level;
        assert_eq!(next(Limit { bytes: Some(0), messages: None }), Level::Over);
        assert_eq!(next(Limit::NONE), Level::Under);
    }

    proptest! {
        #[test]
        fn what_is_due_happens_then_and_not_before(used in 100u64..200, at in 0u64..1000, period in 1u64..1000) {
            let grace = grace(period, Starts::AtLimit);
            let over = Standing::UNDER.next(Usage::new(used, 1), LIMIT, grace, Moment(at));
            let due = over.due(grace).unwrap();
            let level = |now| over.next(Usage::new(used, 1), LIMIT, grace, now).level;
            prop_assert_eq!(level(Moment(due.0 - 1)), Level::Over);
            prop_assert_eq!(level(due), Level::Blocked);
        }
    }
}
