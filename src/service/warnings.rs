//! Warnings by thresholds of the site's own: what is done beside the notices of `[notify]`.
//!
//! A warning goes off when usage comes to its threshold, or with `-` when it falls below, and just so when the
//! limit moves while usage stays. It is judged under the account's lock, in the step that every change takes, so
//! one change sets it off once. A notice is stored with that change; a program, script or webhook is handed to
//! [`run`], which does a few at a time. Those are not stored: what had not begun when the daemon was killed does
//! not happen, as with Dovecot's.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::account::Seat;
use super::accounting::Accounting;
use super::notify::Notices;
use super::settings::Settings;
use crate::account::domain_of;
use crate::alarm::{Alarm, Alarms};
use crate::ledger::Batch;
use crate::quota::warning::{Measured, Which};
use crate::quota::{Moment, Warning};
use crate::telemetry::events;

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

/// A rule that an account has set off.
struct SetOff {
    rule: Arc<Rule>,
    account: Box<str>,
    now: Measured,
}

/// How many may wait to be carried out: a limit lowered for a whole site sets off one for each account.
const WAITING: usize = 100_000;

/// What was set off and is to be carried out.
pub struct Raised {
    sender: mpsc::Sender<SetOff>,
    receiver: Mutex<Option<mpsc::Receiver<SetOff>>>,
}

impl Default for Raised {
    fn default() -> Raised {
        let (sender, receiver) = mpsc::channel(WAITING);
        Raised { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

/// How an account's default bucket stands.
pub fn measured(seat: &Seat) -> Measured {
    let limit = seat.limits.buckets().first().map(|bucket| bucket.limit).unwrap_or_default();
    Measured { used: seat.used(0), limit }
}

impl Raised {
    /// Looks at an account that stood `before` and has just been brought up to date.
    pub fn account(
        &self,
        address: &str,
        seat: &Seat,
        before: Measured,
        settings: &Settings,
        (notices, now): (&Notices, Moment),
        batch: &mut Batch,
    ) {
        let Warnings { rules, which } = &settings.warnings;
        let after = measured(seat);
        if after == before || rules.is_empty() {
            return;
        }
        let most = if *which == Which::First { 1 } else { usize::MAX };
        for rule in rules.iter().filter(|rule| rule.warning.goes_off(before, after)).take(most) {
            events::warning_set_off(address, &rule.when, after.used);
            if rule.notice {
                notices.warn(address, seat, rule.warning.falling, settings, now, batch);
            }
            let set_off = SetOff { rule: rule.clone(), account: address.into(), now: after };
            if !rule.acts.is_empty() && self.sender.try_send(set_off).is_err() {
                events::warning_failed(address, &rule.when, "all", &"too many are waiting");
            }
        }
    }
}

/// Carries out what is set off until `stop`, `at_once` at a time. What runs then is killed.
pub async fn run(accounting: Arc<Accounting>, alarms: Arc<dyn Alarms>, at_once: usize, stop: CancellationToken) {
    let Some(mut set_off) = accounting.raised.receiver.lock().take() else { return };
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(next) = set_off.recv(), if running.len() < at_once => {
                let (accounting, alarms) = (accounting.clone(), alarms.clone());
                running.spawn(async move { carry_out(&accounting, &*alarms, &next).await });
            }
            Some(_) = running.join_next(), if !running.is_empty() => {}
        }
    }
}

async fn carry_out(accounting: &Accounting, alarms: &dyn Alarms, set_off: &SetOff) {
    for act in &set_off.rule.acts {
        let alarm = set_off.alarm(act);
        let result = match alarms.raise(&alarm).await {
            Ok(()) => "done",
            Err(why) => {
                events::warning_failed(&set_off.account, &set_off.rule.when, alarm.as_str(), &why);
                "failed"
            }
        };
        accounting.metrics.warning(alarm.as_str(), result);
    }
}

impl SetOff {
    fn alarm(&self, act: &Act) -> Alarm {
        let filled = |words: &[String]| words.iter().map(|word| self.fill(word)).collect();
        match act {
            Act::Program(words) => Alarm::Program(filled(words)),
            Act::Script { socket, arguments } => Alarm::Script { socket: socket.clone(), arguments: filled(arguments) },
            Act::Webhook(url) => Alarm::Webhook { url: url.clone(), body: self.body() },
        }
    }

    fn percent(&self) -> u64 {
        self.now.limit.percent(self.now.used).unwrap_or(0)
    }

    /// What stands for a variable is not looked at again.
    fn fill(&self, word: &str) -> String {
        let mut filled = String::with_capacity(word.len());
        let mut parts = word.split('%');
        filled.push_str(parts.next().unwrap_or_default());
        while let Some(part) = parts.next() {
            let rest = match part.chars().next() {
                Some('u') => {
                    filled.push_str(&self.account);
                    &part[1..]
                }
                Some('n') => {
                    filled.push_str(self.account.rsplit_once('@').map_or(&self.account, |(local, _)| local));
                    &part[1..]
                }
                Some('d') => {
                    filled.push_str(domain_of(&self.account));
                    &part[1..]
                }
                Some('p') => {
                    filled.push_str(&self.percent().to_string());
                    &part[1..]
                }
                // %% is a percent sign.
                None => {
                    filled.push('%');
                    parts.next().unwrap_or_default()
                }
                Some(_) => {
                    filled.push('%');
                    part
                }
            };
            filled.push_str(rest);
        }
        filled
    }

    fn body(&self) -> String {
        let Measured { used, limit } = self.now;
        json!({
            "account": self.account,
            "domain": domain_of(&self.account),
            "warning": self.rule.when,
            "direction": if self.rule.warning.falling { "falling" } else { "rising" },
            "used": { "bytes": used.bytes, "messages": used.messages },
            "limit": { "bytes": limit.bytes, "messages": limit.messages },
            "percent": limit.percent(used),
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{Limit, Usage};

    #[test]
    fn words_are_filled_once() {
        let warning = Warning::parse("storage=80% -").unwrap();
        let rule = Rule { when: "storage=80%".into(), warning, notice: false, acts: Vec::new() };
        let now = Measured { used: Usage::new(90, 1), limit: Limit { bytes: Some(100), messages: None } };
        let set_off = SetOff { rule: Arc::new(rule), account: "a%n@b.example".into(), now };
        for (word, filled) in [
            ("%u", "a%n@b.example"),
            ("x-%n-%d-%p%%", "x-a%n-b.example-90%"),
            ("100%", "100%"),
            ("%%u", "%u"),
            ("%x%", "%x%"),
            ("", ""),
        ] {
            assert_eq!(set_off.fill(word), filled, "{word}");
        }
    }
}
