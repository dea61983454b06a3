//! The verdict as far as the MTA's queue goes.

use super::{Action, Filling, Policy, Reason, Rule, Trace, Verdict, show};
use crate::quota::queue::GroupName;
use crate::quota::{Limit, Usage};

/// A group of a queue quota that the message would go into, without that message.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    pub quota: &'a str,
    pub group: GroupName<'a>,
    pub limit: Limit,
    pub used: Usage,
    /// Whether `used` is what is in the queue: not before the queue has been read.
    pub known: bool,
}

/// Decides by the queue quotas alone: every group that the message would go into must have room for it. The
/// second value is the place in `groups` of the one that speaks.
///
/// A message that would not fit into a group however empty is refused for good: to be tried again would only
/// keep it from its sender.
pub fn decide_queue(
    size: u64,
    groups: &[Waiting],
    policy: &Policy,
    trace: &mut impl Trace,
) -> (Verdict, Option<usize>) {
    let size = size.max(1);
    let mut decided = (Verdict::new(Action::Pass, Reason::Room), None);
    for (at, group) in groups.iter().enumerate() {
        let fits = |used: u64, limit: Option<u64>, more: u64| {
            limit.is_none_or(|limit| u128::from(used) + u128::from(more) <= u128::from(limit))
        };
        let verdict = match group.limit {
            _ if !group.known || !policy.enforce => None,
            Limit { bytes, .. } if !fits(0, bytes, size) => Some((Action::Reject, Reason::LargerThanQueue)),
            Limit { bytes, messages }
                if !fits(group.used.bytes, bytes, size) || !fits(group.used.messages, messages, 1) =>
            {
                Some((Action::Defer, Reason::QueueFull))
            }
            _ => None,
        };
        let verdict = verdict.map(|(action, reason)| Verdict::new(action, reason));
        trace.step(Rule::Queue, verdict, || {
            let held = show(&Filling { limit: group.limit, used: group.used, ..Filling::default() });
            let not = match (group.known, policy.enforce) {
                (false, _) => "; nothing is refused before the queue has been read",
                (_, false) => "; enforcement is off",
                _ => "",
            };
            format!("{} for {}: {held}, and {size} bytes more{not}", group.quota, group.group)
        });
        if let Some(verdict) = verdict.filter(|verdict| verdict.action > decided.0.action) {
            decided = (verdict, Some(at));
        }
    }
    decided
}

/// Mailbox and queue must both have room: the stricter verdict stands, and of two alike the first.
pub fn stricter(mailbox: Verdict, queue: Verdict) -> Verdict {
    if queue.action > mailbox.action { queue } else { mailbox }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::quota::queue::{Key, Part};
    use crate::quota::standing::{Grace, Starts};
    use crate::quota::verdict::{Allowance, Untold};

    fn policy(enforce: bool) -> Policy {
        let grace = Grace { threshold: 90, period: Duration::ZERO, starts: Starts::AtLimit };
        Policy { enforce, max_size: None, allowance: Allowance::None, grace, domain_grace: grace }
    }

    fn waiting(limit: (Option<u64>, Option<u64>), used: (u64, u64)) -> Waiting<'static> {
        let limit = Limit { bytes: limit.0, messages: limit.1 };
        let group = GroupName { key: Key::of([Part::Rcpt]), group: b"anna@example.org" };
        Waiting { quota: "q", group, limit, used: Usage::new(used.0, used.1), known: true }
    }

    #[test]
    fn the_limit_itself_still_fits_and_nothing_more() {
        for (limit, used, size, expected) in [
            ((None, Some(10)), (0, 9), 1, (Action::Pass, None)),
            ((None, Some(10)), (0, 10), 1, (Action::Defer, Some(0))),
            ((None, Some(10)), (0, 50), 1, (Action::Defer, Some(0))),
            ((Some(100), None), (60, 1), 40, (Action::Pass, None)),
            ((Some(100), None), (60, 1), 41, (Action::Defer, Some(0))),
            ((Some(100), None), (100, 1), 0, (Action::Defer, Some(0))),
            ((Some(100), None), (0, 0), 101, (Action::Reject, Some(0))),
            ((Some(100), Some(1)), (0, 1), 1, (Action::Defer, Some(0))),
            ((Some(u64::MAX), None), (u64::MAX, 1), u64::MAX, (Action::Defer, Some(0))),
        ] {
            let (verdict, by) = decide_queue(size, &[waiting(limit, used)], &policy(true), &mut Untold);
            assert_eq!((verdict.action, by), expected, "{limit:?} {used:?} {size}");
        }
    }

    #[test]
    fn every_group_must_have_room_and_the_strictest_speaks() {
        let groups = [
            waiting((None, Some(5)), (0, 1)),
            waiting((None, Some(5)), (0, 5)),
            waiting((Some(10), None), (0, 0)),
            waiting((None, Some(5)), (0, 9)),
        ];
        let decided = |groups: &[Waiting], enforce| {
            let (verdict, by) = decide_queue(20, groups, &policy(enforce), &mut Untold);
            (verdict.action, verdict.reason, by)
        };
        assert_eq!(decided(&groups, true), (Action::Reject, Reason::LargerThanQueue, Some(2)));
        assert_eq!(decided(&groups[..2], true), (Action::Defer, Reason::QueueFull, Some(1)));
        assert_eq!(decided(&groups, false).0, Action::Pass);
        assert_eq!(decided(&groups.map(|group| Waiting { known: false, ..group }), true).0, Action::Pass);
        assert_eq!(decided(&[], true).0, Action::Pass);
    }

    #[test]
    fn of_mailbox_and_queue_the_stricter_stands() {
        let verdict = |action, reason| Verdict { action, reason };
        let (pass, full) = (verdict(Action::Pass, Reason::Unknown), verdict(Action::Defer, Reason::Over));
        let queue = verdict(Action::Defer, Reason::QueueFull);
        assert_eq!(stricter(pass, queue), queue);
        assert_eq!(stricter(full, queue), full);
        assert_eq!(stricter(verdict(Action::Reject, Reason::Over), queue).action, Action::Reject);
        assert_eq!(stricter(full, verdict(Action::Pass, Reason::Room)), full);
    }
}
