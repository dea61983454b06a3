//! Warnings by thresholds of the site's own: what is done beside the notices of `[notify]`.
//!
//! A warning goes off when usage comes to its threshold, or with `-` when it falls below, and just so when the
//! limit moves while usage stays. It is judged under the account's lock, in the step that every change takes, so
//! one change sets it off once. What is to be done is stored with that change, a notice as notices are and all else by
//! [`due`]; [`run`] carries it out. Which thresholds an account has reached is kept by [`reached`], so that what moved
//! while the daemon was down is found at its start.

mod carrier;
mod due;
mod reached;

use std::path::PathBuf;
use std::sync::Arc;

use super::account::Seat;
use super::accounting::Accounting;
use super::notify::Notices;
use super::settings::Settings;
use crate::ledger::{Batch, Ledger, LedgerError};
use crate::quota::warning::{Measured, Which};
use crate::quota::{Moment, Warning};
use crate::telemetry::events;

pub use self::carrier::run;
pub use self::due::in_batch;
use self::due::{Due, Waiting};
use self::reached::Reached;

/// The site's warnings.
#[derive(Clone, Debug, Default)]
pub struct Warnings {
    pub rules: Vec<Arc<Rule>>,
    pub which: Which,
}

#[derive(Clone, Debug)]
pub struct Rule {
    /// As it stands in the configuration.
    pub when: Box<str>,
    pub warning: Warning,
    /// The account gets a notice.
    pub notice: bool,
    pub acts: Vec<Act>,
}

/// What is done; in the words, `%u` is the account, `%n` and `%d` its parts, `%p` the percentage in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Program(Vec<String>),
    Script { socket: PathBuf, arguments: Vec<String> },
    Webhook(String),
}

/// What an act is called where it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    Program,
    Script,
    Webhook,
}

impl Act {
    fn kind(&self) -> Kind {
        match self {
            Act::Program(_) => Kind::Program,
            Act::Script { .. } => Kind::Script,
            Act::Webhook(_) => Kind::Webhook,
        }
    }
}

/// What was set off and is to be carried out, and what is known of who has reached what.
#[derive(Default)]
pub struct Raised {
    waiting: Waiting,
    reached: Reached,
}

/// How an account's default bucket stands.
pub fn measured(seat: &Seat) -> Measured {
    let limit = seat.limits.buckets().first().map(|bucket| bucket.limit).unwrap_or_default();
    Measured { used: seat.used(0), limit }
}

/// What moved across a threshold while the daemon was down has been set off for everybody: from now on all rules are
/// known.
pub fn caught_up(accounting: &Accounting) {
    let (settings, raised) = (accounting.settings.load(), &accounting.raised);
    if settings.warnings.rules.is_empty() && raised.reached.is_empty() {
        return;
    }
    let mut batch = Batch::new();
    let exists = |address: &str| accounting.book.account(address).is_some();
    raised.reached.know(&settings.warnings.rules, exists, &mut batch);
    drop(accounting.submit(batch));
}

impl Raised {
    /// Reads what earlier runs of the daemon have left.
    pub fn load(ledger: &dyn Ledger) -> Result<Raised, LedgerError> {
        Ok(Raised { waiting: Waiting::load(ledger)?, reached: Reached::load(ledger)? })
    }

    /// Looks at an account that stood `before` and has just been brought up to date.
    pub fn account(
        &self,
        address: &str,
        seat: &Seat,
        before: Measured,
        settings: &Settings,
        told: (&Notices, Moment),
        batch: &mut Batch,
    ) {
        let after = measured(seat);
        if after == before || settings.warnings.rules.is_empty() {
            return;
        }
        self.set_off(address, seat, settings, told, batch, |rule| rule.warning.goes_off(before, after));
        self.reached.remember(address, &settings.warnings.rules, after, batch);
    }

    /// Looks at an account whose usage or limit may have moved while the daemon was down, as often as you like. Rules
    /// that are new since then go off for nobody: else all who are above their thresholds would be told at once.
    pub fn catch_up(
        &self,
        address: &str,
        seat: &Seat,
        settings: &Settings,
        told: (&Notices, Moment),
        batch: &mut Batch,
    ) {
        if settings.warnings.rules.is_empty() && self.reached.is_empty() {
            return;
        }
        let after = measured(seat);
        let before = self.reached.of(address);
        self.set_off(address, seat, settings, told, batch, |rule| {
            let (was, is) = (before.contains(&rule.when), rule.warning.reached(after));
            self.reached.knows(&rule.when) && if rule.warning.falling { was && !is } else { is && !was }
        });
        self.reached.remember(address, &settings.warnings.rules, after, batch);
    }

    fn set_off(
        &self,
        address: &str,
        seat: &Seat,
        settings: &Settings,
        (notices, now): (&Notices, Moment),
        batch: &mut Batch,
        goes_off: impl Fn(&Rule) -> bool,
    ) {
        let Warnings { rules, which } = &settings.warnings;
        let most = if *which == Which::First { 1 } else { usize::MAX };
        let after = measured(seat);
        for (number, rule) in rules.iter().enumerate().filter(|(_, rule)| goes_off(rule)).take(most) {
            events::warning_set_off(address, &rule.when, after.used);
            if rule.notice {
                notices.warn(address, seat, rule.warning.falling, settings, now, batch);
            }
            if !rule.acts.is_empty() && self.waiting.is_full() {
                events::warning_failed(address, &rule.when, "all", &"too many are waiting");
                continue;
            }
            // Of rules with one threshold, the number tells which it is.
            let alike = rules[..number].iter().filter(|other| other.when == rule.when).count();
            for act in &rule.acts {
                Due::new(address, &rule.when, alike, act.kind(), after, now).put(batch);
            }
        }
    }

    /// Forgets what an account that is gone for good had reached.
    pub fn forget(&self, address: &str, batch: &mut Batch) {
        self.reached.forget(address, batch);
    }

    /// Takes over what a batch that has been submitted stores for it.
    pub fn stored(&self, due: Vec<(Box<[u8]>, Due)>) {
        self.waiting.add(due);
    }
}
