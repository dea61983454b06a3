//! What `mailquotad queue` says: plain data, the same for the HTTP API and the command line. The field names
//! are a contract; fields may be added.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Queues;
use crate::quota::queue::GroupName;
use crate::quota::queue::set::Slot;
use crate::quota::{Limit, Moment, Usage};
use crate::service::report::Both;

/// One queue that is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    pub source: String,
    /// In the queue, and accepted but not seen there yet.
    pub messages: u64,
    /// When it was last read as a whole.
    pub read: Option<String>,
    pub took_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One group of a quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    pub quota: String,
    /// The parts of the quota's key, each with its value; none in a quota for everything.
    pub group: BTreeMap<String, String>,
    pub used: Both<u64>,
    pub limit: Both<Option<u64>>,
    /// Of the scarcer resource.
    pub percent: u64,
    /// Whether mail is refused because of it.
    pub full: bool,
}

/// One line of the report, told apart by its first field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Source(SourceReport),
    Group(GroupReport),
}

/// How one quota is, for metrics.
pub struct Summary {
    pub quota: Arc<str>,
    pub groups: usize,
    /// Percent of its fullest group.
    pub fullest: u64,
}

impl Queues {
    /// The queues, then the groups: those of `quota`, or of all, the fullest first and `most` of each quota.
    pub fn report(&self, quota: Option<&str>, full: bool, most: usize) -> Vec<Line> {
        let looks = self.looks.lock().clone();
        let occupancy = self.occupancy();
        let mut lines: Vec<Line> = (self.sources.iter().zip(looks).enumerate())
            .map(|(host, (source, look))| {
                Line::Source(SourceReport {
                    source: source.name.to_string(),
                    messages: occupancy.messages(host) as u64,
                    read: look.at.map(|at: Moment| at.to_string()),
                    took_ms: u64::try_from(look.took.as_millis()).unwrap_or(u64::MAX),
                    problem: look.trouble,
                })
            })
            .collect();
        let set = occupancy.set().clone();
        // Only pointers are copied under the lock.
        let held: Vec<_> = (set.slots().iter())
            .filter(|slot| quota.is_none_or(|quota| *slot.quota.name == *quota))
            .map(|slot| {
                let groups: Vec<_> = occupancy.groups(slot.id).map(|(key, used)| (key.clone(), used)).collect();
                (slot, occupancy.is_ripe(slot.id), groups)
            })
            .collect();
        drop(occupancy);
        for (slot, ripe, groups) in held {
            let mut groups: Vec<_> = groups
                .iter()
                .map(|(key, used)| report(slot, key, *used, ripe))
                .filter(|group| group.full || !full)
                .collect();
            groups.sort_by(|a, b| b.percent.cmp(&a.percent).then_with(|| a.group.cmp(&b.group)));
            lines.extend(groups.into_iter().take(most).map(Line::Group));
        }
        lines
    }

    pub fn summaries(&self) -> Vec<Summary> {
        let occupancy = self.occupancy();
        let summary = |slot: &Slot| {
            let percents = occupancy.groups(slot.id).map(|(_, used)| percent(slot.quota.limit, used));
            let (groups, fullest) = percents.fold((0, 0), |(count, most), percent| (count + 1, most.max(percent)));
            Summary { quota: slot.quota.name.clone(), groups, fullest }
        };
        occupancy.set().slots().iter().map(summary).collect()
    }

    /// Each queue with how many messages it holds and when it was last read.
    pub fn states(&self) -> Vec<(&str, usize, super::Look)> {
        let looks = self.looks.lock().clone();
        let occupancy = self.occupancy();
        let state = |(host, (source, look))| {
            let source: &super::Source = source;
            (&*source.name, occupancy.messages(host), look)
        };
        self.sources.iter().zip(looks).enumerate().map(state).collect()
    }
}

fn percent(limit: Limit, used: Usage) -> u64 {
    limit.percent(used).unwrap_or(0)
}

fn report(slot: &Slot, group: &[u8], used: Usage, ripe: bool) -> GroupReport {
    let name = GroupName { key: slot.quota.key, group };
    GroupReport {
        quota: slot.quota.name.to_string(),
        group: name.values().map(|(part, value)| (part.as_str().to_owned(), value.to_owned())).collect(),
        used: used.into(),
        limit: slot.quota.limit.into(),
        percent: percent(slot.quota.limit, used),
        full: ripe && slot.quota.limit.reached_by(used),
    }
}
