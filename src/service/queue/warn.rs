//! Tells admins of groups that have reached their threshold: an event for each, and one letter for all of them,
//! no more often than `queue.warn_interval`.

use std::fmt::Write;

use super::Queues;
use crate::quota::Moment;
use crate::quota::queue::GroupName;
use crate::service::accounting::Accounting;
use crate::service::notify::digest;
use crate::telemetry::events;

/// Groups that a letter names, and events at a time: a flood of mail must not become a flood of these.
const NAMED: usize = 100;

/// What has not been told by letter yet, and when the last letter was made.
#[derive(Default)]
pub(super) struct Told {
    waiting: Vec<String>,
    more: usize,
    letter: Option<Moment>,
}

/// Tells of what has come up since it was asked last.
pub fn tell(queues: &Queues, accounting: &Accounting) {
    let settings = accounting.settings.load_full();
    let (crossings, set) = {
        let mut occupancy = queues.occupancy();
        (occupancy.crossings(), occupancy.set().clone())
    };
    let mut told = queues.told.lock();
    for (index, crossing) in crossings.iter().enumerate() {
        let Some(quota) = set.quota(crossing.slot) else { continue };
        let group = GroupName { key: quota.key, group: &crossing.group };
        let used = queues.occupancy().usage(crossing.slot, &crossing.group);
        if index < NAMED {
            events::queue_crowded(&quota.name, &group, used, quota.limit);
        }
        if told.waiting.len() < NAMED {
            let of =
                |used: u64, limit: Option<u64>| limit.map_or(used.to_string(), |limit| format!("{used} of {limit}"));
            let (messages, bytes) = (of(used.messages, quota.limit.messages), of(used.bytes, quota.limit.bytes));
            told.waiting.push(format!("{}  {group}  {messages} messages, {bytes} bytes", quota.name));
        } else {
            told.more += 1;
        }
    }
    let now = accounting.clock.now();
    let due = told.letter.is_none_or(|letter| now.since(letter) >= settings.queue.warn_interval);
    if told.waiting.is_empty() || !due {
        return;
    }
    let mut body = String::from("These queue quotas have reached their threshold:\n\n");
    // A String takes whatever is written to it.
    for line in &told.waiting {
        let _ = writeln!(body, "  {line}");
    }
    if told.more > 0 {
        let _ = writeln!(body, "  and {} more", told.more);
    }
    body.push_str("\nHow they are now: mailquotad queue\n");
    let summary = format!("{} groups near their limit", told.waiting.len() + told.more);
    *told = Told { letter: Some(now), ..Told::default() };
    drop(told);
    if settings.notify.dynamic {
        digest::tell(accounting, "Mail queue", &summary, &body);
    }
}
