//! Notices on demand, by the rules of a rule file: what `imquotacheck -n` asks for. Of the rules whose
//! percentage an account has reached, the highest decides, with its text and its interval. It shares its
//! memory with the dynamic notices: who has just been told by one is not told by the other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::queue::{self, Order};
use super::stage::{Event, Stage, Told};
use super::{Look, Notices, attribute_of};
use crate::ledger::Batch;
use crate::quota::Moment;
use crate::service::account::Seat;
use crate::service::outbox::Subject;
use crate::service::settings::Settings;

/// One rule, with the text that its message file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TellRule {
    pub percentage: u32,
    pub interval_seconds: u64,
    /// A message file: header lines, an empty line, a text with `%U%` and the like.
    pub text: String,
}

/// What was done about one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub account: String,
    pub bucket: String,
    /// Percent of the limit in use.
    pub percent: u64,
    pub rule: u32,
    /// Whether a notice was made; if not, one has been sent too recently.
    pub told: bool,
}

impl Notices {
    /// Looks at an account under its lock. `rules` in any order; `extended` adds every folder to the details.
    pub fn by_rules(
        &self,
        address: &str,
        seat: &Seat,
        (rules, extended): (&[TellRule], bool),
        settings: &Settings,
        now: Moment,
        batch: &mut Batch,
    ) -> Vec<Outcome> {
        let subject = Subject::Account(address.into());
        let known = self.accounts.read().get(address).cloned().unwrap_or_default();
        let mut kept = known.clone();
        let mut outcomes = Vec::new();
        for (bucket, used) in seat.limits.buckets().iter().zip(seat.filled().map(|one| one.used)) {
            let percent = bucket.limit.percent(used).unwrap_or(0);
            let name = bucket.name.to_string();
            let reached = rules.iter().filter(|rule| u64::from(rule.percentage) <= percent);
            let Some(rule) = reached.max_by_key(|rule| rule.percentage) else { continue };
            let before = kept.iter().position(|told| *told.bucket == *name);
            let interval = Duration::from_secs(rule.interval_seconds);
            let stage = if rule.percentage >= 100 { Stage::Over } else { Stage::Threshold(rule.percentage) };
            let tell = before.is_none_or(|at| kept[at].stage < stage || now >= kept[at].at.after(interval));
            if tell {
                let look = Look {
                    subject: &subject,
                    domain: &seat.domain.name,
                    bucket: name.clone(),
                    used,
                    limit: bucket.limit,
                    attribute: attribute_of(seat, settings),
                };
                let details = if extended { folders(seat, settings) } else { String::new() };
                let order = Order { text: &rule.text, details };
                queue::make(&look, Event::Rule(rule.percentage), &settings.notify, now, Some(&order), batch);
                // Told of more than the rule's stage before: that stays the last word of the dynamic notices.
                let stage = before.map_or(stage, |at| kept[at].stage.max(stage));
                let told = Told { bucket: name.as_str().into(), stage, at: now };
                match before {
                    Some(at) => kept[at] = told,
                    None => kept.push(told),
                }
            }
            outcomes.push(Outcome {
                account: address.into(),
                bucket: name,
                percent,
                rule: rule.percentage,
                told: tell,
            });
        }
        self.remember(&subject, known, kept, batch);
        outcomes
    }

    /// The dynamic notices, for a check that asks for them whether or not they are switched on. Whether any
    /// was made.
    pub fn by_stages(&self, address: &str, seat: &Seat, settings: &Settings, now: Moment, batch: &mut Batch) -> bool {
        let before = queue::in_batch(batch).len();
        self.account_now(address, seat, settings, now, batch, &Default::default());
        queue::in_batch(batch).len() > before
    }
}

/// A line for each folder.
fn folders(seat: &Seat, settings: &Settings) -> String {
    let line = |(cell, used): (&crate::quota::CellKey, crate::quota::Usage)| {
        let kind = cell.kind.as_deref().map(|kind| format!(" (#{kind})")).unwrap_or_default();
        format!("{}{kind}: {} in {} messages\n", cell.folder, settings.units.rounded(used.bytes), used.messages)
    };
    seat.cells.iter().map(line).collect()
}
