//! What a Unix file system's quota of a user or a group comes to as a limit. Pure: who reads it says so here.

use super::verdict::{Allowance, Filling};
use super::{Limit, Moment, Usage};

/// Which of the two limits of a file system counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counts {
    /// The soft limit, and the hard one where there is no soft one.
    Soft,
    /// The hard limit: the kernel lets nobody past it.
    #[default]
    Hard,
    /// The hard limit, and the soft one once the file system's own grace period has run out: then the kernel
    /// treats it as a hard one.
    SoftAfterGrace,
}

/// One resource of a file system: bytes or files. A limit of 0 is none, as in quotactl(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    pub used: u64,
    pub soft: u64,
    pub hard: u64,
    /// When the file system's grace period ends; `None` while it does not run.
    pub grace_ends: Option<Moment>,
}

impl Resource {
    fn limit(&self, counts: Counts, now: Moment) -> Option<u64> {
        let (soft, hard) = (set(self.soft), set(self.hard));
        match counts {
            Counts::Hard => hard,
            Counts::Soft => soft.or(hard),
            Counts::SoftAfterGrace => {
                let expired = self.grace_ends.is_some_and(|end| end <= now);
                soft.filter(|soft| self.used > *soft && expired).or(hard)
            }
        }
    }
}

fn set(limit: u64) -> Option<u64> {
    Some(limit).filter(|limit| *limit > 0)
}

/// What a file system says of a user or a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub bytes: Resource,
    pub files: Resource,
}

impl Reading {
    pub fn used(&self) -> Usage {
        Usage::new(self.bytes.used, self.files.used)
    }

    /// A message is at least a file, so the limit of files stands for that of messages.
    pub fn limit(&self, counts: Counts, now: Moment) -> Limit {
        Limit { bytes: self.bytes.limit(counts, now), messages: self.files.limit(counts, now) }
    }

    /// As a root of the verdict; room held and standing are the caller's to add. Between a soft limit and the
    /// hard one lies all the room that the last message may take; past the hard one there is none.
    pub fn filling(&self, counts: Counts, now: Moment) -> Filling {
        let limit = self.limit(counts, now);
        let allowance = match limit.bytes {
            Some(limit) if self.bytes.hard > limit => Some(Allowance::Bytes(self.bytes.hard - limit)),
            Some(limit) if self.bytes.hard == limit => Some(Allowance::None),
            _ => None,
        };
        Filling { limit, used: self.used(), allowance, ..Filling::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(used: u64, soft: u64, hard: u64, grace_ends: Option<u64>) -> Reading {
        let bytes = Resource { used, soft, hard, grace_ends: grace_ends.map(Moment) };
        Reading { bytes, files: Resource::default() }
    }

    #[test]
    fn the_limit_is_the_one_that_counts() {
        use Counts::{Hard, Soft, SoftAfterGrace};
        let now = Moment(100);
        for (reading, counts, expected) in [
            (bytes(5, 10, 20, None), Hard, Some(20)),
            (bytes(5, 10, 0, None), Hard, None),
            (bytes(5, 10, 20, None), Soft, Some(10)),
            (bytes(5, 0, 20, None), Soft, Some(20)),
            (bytes(5, 0, 0, None), Soft, None),
            (bytes(15, 10, 20, Some(101)), SoftAfterGrace, Some(20)),
            (bytes(15, 10, 20, Some(100)), SoftAfterGrace, Some(10)),
            (bytes(15, 10, 0, Some(100)), SoftAfterGrace, Some(10)),
            (bytes(15, 10, 20, None), SoftAfterGrace, Some(20)),
            // A clock that was left behind by an account that is below again.
            (bytes(5, 10, 20, Some(100)), SoftAfterGrace, Some(20)),
        ] {
            assert_eq!(reading.limit(counts, now).bytes, expected, "{reading:?} {counts:?}");
        }
    }

    #[test]
    fn nothing_may_go_past_the_hard_limit() {
        let allowance = |reading: Reading, counts| reading.filling(counts, Moment(0)).allowance;
        assert_eq!(allowance(bytes(5, 10, 20, None), Counts::Hard), Some(Allowance::None));
        assert_eq!(allowance(bytes(5, 10, 25, None), Counts::Soft), Some(Allowance::Bytes(15)));
        assert_eq!(allowance(bytes(5, 10, 0, None), Counts::Soft), None);
    }

    proptest! {
        #[test]
        fn a_stricter_choice_never_has_more_room(used: u64, soft: u64, hard: u64, ends: Option<u64>, now: u64) {
            // mkfs and setquota refuse a soft limit above the hard one.
            let (soft, hard) = if hard > 0 { (soft.min(hard), hard) } else { (soft, 0) };
            let reading = bytes(used, soft, hard, ends);
            let limit = |counts| reading.limit(counts, Moment(now)).bytes.unwrap_or(u64::MAX);
            prop_assert!(limit(Counts::Soft) <= limit(Counts::SoftAfterGrace));
            prop_assert!(limit(Counts::SoftAfterGrace) <= limit(Counts::Hard));
            let _ = reading.filling(Counts::Soft, Moment(now));
        }
    }
}
