//! What is to be told of a bucket, given what has been told: a pure decision.
//!
//! ```text
//! nothing told -> threshold -> a higher one -> over -> blocked     each told once, when it is reached
//!                     \___________ told again at the interval ______/
//! over, blocked -> below the limit                                 told once: mail comes in again
//! ```
//!
//! A bucket that wavers must not flood its owner. Below what was told nothing more is said before the
//! interval has passed, and "below the limit again" is said only when it has been so for [`CALM`]. Only
//! one thing is always told at once: that the limit is reached, for that is when mail stops.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quota::{Bucket, Level, Moment, Standing, Usage};

/// How far a bucket has got, in the order in which it gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Percent of the limit.
    Threshold(u32),
    Over,
    Blocked,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Event {
    Reached(Stage),
    /// Below the limit again.
    Back,
    /// A rule of a rule file, by its percentage.
    Rule(u32),
    /// What an admin is told once a day.
    Digest,
}

impl Event {
    pub const fn as_str(self) -> &'static str {
        match self {
            Event::Reached(Stage::Threshold(_)) => "warned",
            Event::Reached(Stage::Over) => "over",
            Event::Reached(Stage::Blocked) => "blocked",
            Event::Back => "back",
            Event::Rule(_) => "rule",
            Event::Digest => "digest",
        }
    }
}

/// The memory of what was told of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub bucket: Box<str>,
    pub stage: Stage,
    pub at: Moment,
}

/// How long a bucket must have been below its limit, counted from when it was told to be over.
pub const CALM: Duration = Duration::from_secs(15 * 60);

/// What is to be done about a bucket now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub tell: Option<Event>,
    /// What is remembered from here on.
    pub told: Option<(Stage, Moment)>,
    /// When to look again even if nothing changes.
    pub again: Option<Moment>,
}

/// How far a bucket has got.
pub fn stage(bucket: &Bucket, used: Usage, standing: Standing, thresholds: &[u32], enforced: bool) -> Option<Stage> {
    match standing.level {
        Level::Blocked if enforced => Some(Stage::Blocked),
        Level::Blocked | Level::Over => Some(Stage::Over),
        // The last word on the limit itself has the standing.
        _ => {
            let reached = |percent: &&u32| bucket.limit.reached_in_part(used, **percent);
            thresholds.iter().rev().find(reached).map(|percent| Stage::Threshold(*percent))
        }
    }
}

pub fn next(
    told: Option<(Stage, Moment)>,
    stage: Option<Stage>,
    thresholds: &[u32],
    interval: Duration,
    now: Moment,
) -> Step {
    let tell = |stage: Stage| Step {
        tell: Some(Event::Reached(stage)),
        told: Some((stage, now)),
        again: Some(now.after(interval)),
    };
    match (told, stage) {
        (None, None) => Step { tell: None, told: None, again: None },
        (None, Some(stage)) => tell(stage),
        (Some((before, _)), Some(stage)) if stage > before => tell(stage),
        (Some((before, at)), stage) if before >= Stage::Over && stage.is_none_or(|stage| stage < Stage::Over) => {
            let calm = at.after(CALM);
            if now < calm {
                return Step { tell: None, told, again: Some(calm) };
            }
            // Over is news again from here on; the thresholds below it are not, until the interval has passed.
            let lower = thresholds.last().map(|percent| (Stage::Threshold(*percent), now));
            Step { tell: Some(Event::Back), told: lower, again: lower.map(|_| now.after(interval)) }
        }
        (Some((_, at)), stage) => {
            let due = at.after(interval);
            match stage {
                _ if now < due => Step { tell: None, told, again: Some(due) },
                Some(stage) => tell(stage),
                None => Step { tell: None, told: None, again: None },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const INTERVAL: Duration = Duration::from_secs(7 * DAY);

    /// Replays (second, stage) and says what was told when.
    fn story(steps: &[(u64, Option<Stage>)]) -> Vec<String> {
        let mut told = None;
        let mut heard = Vec::new();
        for (second, stage) in steps {
            let step = next(told, *stage, &[80, 90], INTERVAL, Moment(second * 1000));
            told = step.told;
            let name = |event: Event| match event {
                Event::Reached(Stage::Threshold(percent)) => format!("{percent}@{second}"),
                other => format!("{}@{second}", other.as_str()),
            };
            heard.extend(step.tell.map(name));
        }
        heard
    }

    const T80: Option<Stage> = Some(Stage::Threshold(80));
    const T90: Option<Stage> = Some(Stage::Threshold(90));
    const OVER: Option<Stage> = Some(Stage::Over);
    const BLOCKED: Option<Stage> = Some(Stage::Blocked);

    #[test]
    fn each_stage_is_told_once_on_the_way_up() {
        let steps = [(0, None), (1, T80), (2, T80), (3, T90), (4, OVER), (5, OVER), (6, BLOCKED), (7, BLOCKED)];
        assert_eq!(story(&steps), ["80@1", "90@3", "over@4", "blocked@6"]);
    }

    #[test]
    fn what_lasts_is_told_again_at_the_interval() {
        let steps =
            [(0, T80), (DAY, T80), (7 * DAY, T80), (8 * DAY, T80), (14 * DAY, T80), (22 * DAY, OVER), (30 * DAY, OVER)];
        assert_eq!(story(&steps), ["80@0", "80@604800", "80@1209600", "over@1900800", "over@2592000"]);
    }

    #[test]
    fn a_mailbox_that_wavers_at_a_threshold_is_told_of_once() {
        let steps = [(0, T80), (10, None), (20, T80), (30, None), (40, T80), (50, T90), (60, T80), (70, T90)];
        assert_eq!(story(&steps), ["80@0", "90@50"]);
        let later = [(0, T80), (10, None), (8 * DAY, None), (9 * DAY, T80)];
        assert_eq!(story(&later), ["80@0", "80@777600"]);
    }

    #[test]
    fn room_again_is_told_once_it_lasts_and_full_again_at_once() {
        let steps = [
            (0, OVER),
            (10, T90),
            (20, OVER),
            (30, T80),
            (900, T80),
            (910, T80),
            (920, OVER),
            (930, None),
            (1820, None),
        ];
        assert_eq!(story(&steps), ["over@0", "back@900", "over@920", "back@1820"]);
    }

    #[test]
    fn a_clock_that_jumps_back_tells_nothing_twice() {
        let steps = [(10 * DAY, T80), (0, T80), (DAY, T80), (10 * DAY, T80)];
        assert_eq!(story(&steps), ["80@864000"]);
    }

    #[test]
    fn without_thresholds_only_the_limit_is_told() {
        let step = next(Some((Stage::Over, Moment(0))), None, &[], INTERVAL, Moment(DAY * 1000));
        assert_eq!((step.tell, step.told, step.again), (Some(Event::Back), None, None));
    }
}
