//! Warnings in Dovecot's syntax: which of them a change of usage, or of a limit, sets off.
//!
//! ```text
//! warning = [ "+" / "-" ] limits " " command      limits as in a rule, without signs
//! ```
//!
//! A warning goes off when usage comes to a threshold from below, with `-` when it falls below. Unlike
//! Dovecot's they are also tried when a limit changes: a lowered quota warns at once.

use super::quantity::Change;
use super::rule::{Changes, Reading, RuleFault, character};
use super::{Limit, Usage};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Goes off on the way down.
    pub falling: bool,
    /// Percentages are of the account's limit as a whole, not of any folder's.
    pub threshold: Changes,
    /// As written; how it is carried out is not the model's business.
    pub command: Box<str>,
}

/// Usage, and the limit of the default bucket that it stands against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    pub used: Usage,
    pub limit: Limit,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The first in written order alone, as in Dovecot: so the highest threshold should stand first.
    #[default]
    First,
    All,
}

impl Warning {
    pub fn parse(text: &str) -> Result<Warning, WarningError> {
        let fail = |(at, fault)| WarningError { warning: text.into(), at, fault };
        let end = text.find(' ').filter(|end| !text[end + 1..].trim_matches(' ').is_empty());
        let end = end.ok_or_else(|| fail((text.len(), WarningFault::NoCommand)))?;
        let signed = usize::from(text.starts_with(['+', '-']));
        let limits = text.get(signed..end).unwrap_or_default();
        if limits.is_empty() {
            return Err(fail((signed, WarningFault::NoThreshold)));
        }
        let threshold =
            Reading::Threshold.limits(limits, signed, |_| {}).map_err(|(at, fault)| fail((at, fault.into())))?;
        Ok(Warning { falling: text.starts_with('-'), threshold, command: text[end + 1..].into() })
    }

    /// The command's words; there is no quoting.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.command.split(' ').filter(|word| !word.is_empty())
    }

    pub fn goes_off(&self, before: Measured, after: Measured) -> bool {
        let (low, high) = if self.falling { (after, before) } else { (before, after) };
        let (low, high) = (self.thresholds_reached(low), self.thresholds_reached(high));
        low.into_iter().zip(high).any(|(low, high)| !low && high)
    }

    /// Whether usage is at a threshold or above.
    pub fn reached(&self, level: Measured) -> bool {
        self.thresholds_reached(level).contains(&true)
    }

    /// By size, and by messages.
    fn thresholds_reached(&self, level: Measured) -> [bool; 2] {
        let reached = |threshold: Option<Change>, used: u64, limit: Option<u64>| {
            let at = threshold.map_or(0, |threshold| threshold.of(limit.unwrap_or(0)));
            at > 0 && i128::from(used) >= at
        };
        let Measured { used, limit } = level;
        [
            reached(self.threshold.bytes, used.bytes, limit.bytes),
            reached(self.threshold.messages, used.messages, limit.messages),
        ]
    }
}

/// The warnings that the step from `before` to `after` sets off, in written order.
pub fn set_off(
    warnings: &[Warning],
    before: Measured,
    after: Measured,
    which: Which,
) -> impl Iterator<Item = &Warning> {
    let most = if which == Which::First { 1 } else { usize::MAX };
    warnings.iter().filter(move |warning| warning.goes_off(before, after)).take(most)
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid warning rule: {warning}: {fault}; at character {}", character(.warning, *.at))]
pub struct WarningError {
    pub warning: Box<str>,
    pub at: usize,
    pub fault: WarningFault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WarningFault {
    #[error("No command specified; accepted: a threshold, a space and a command, as in storage=80% quota-warning 80")]
    NoCommand,
    #[error("there is no threshold; accepted: storage=, bytes= or messages= before the first space")]
    NoThreshold,
    #[error(transparent)]
    Limits(#[from] RuleFault),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn level(bytes: u64, messages: u64, limit: u64) -> Measured {
        Measured { used: Usage::new(bytes, messages), limit: Limit { bytes: Some(limit), messages: None } }
    }

    fn names(warnings: &[&str], before: Measured, after: Measured, which: Which) -> Vec<String> {
        let warnings: Vec<_> = warnings.iter().map(|text| Warning::parse(text).unwrap()).collect();
        set_off(&warnings, before, after, which).map(|warning| warning.command.to_string()).collect()
    }

    const LADDER: [&str; 4] = ["storage=95% 95", "+storage=80% 80", "-storage=100% below", "messages=5 five"];

    #[test]
    fn up_and_down() {
        let first = |before, after| names(&LADDER, level(before, 0, 1000), level(after, 0, 1000), Which::First);
        assert_eq!(first(799, 800), ["80"]);
        assert_eq!(first(800, 801), [""; 0]);
        assert_eq!(first(700, 960), ["95"]);
        assert_eq!(first(1000, 999), ["below"]);
        assert_eq!(first(1001, 1000), [""; 0]);
    }

    #[test]
    fn all_of_them_on_request() {
        assert_eq!(names(&LADDER, level(0, 4, 1000), level(960, 5, 1000), Which::All), ["95", "80", "five"]);
    }

    #[test]
    fn a_changed_limit_sets_them_off_too() {
        assert_eq!(names(&LADDER, level(500, 0, 1000), level(500, 0, 600), Which::First), ["80"]);
        assert_eq!(names(&LADDER, level(500, 0, 400), level(500, 0, 600), Which::First), ["below"]);
    }

    #[test]
    fn a_threshold_of_nothing_never_goes_off() {
        let unlimited = Measured { limit: Limit::NONE, ..level(0, 0, 0) };
        let full = Measured { used: Usage::new(u64::MAX, 9), ..unlimited };
        assert_eq!(names(&["storage=0 w", "storage=80% w", "messages=0% w"], unlimited, full, Which::All), [""; 0]);
    }

    #[test]
    fn parts_of_a_warning() {
        let warning = Warning::parse("-storage=80%:messages=90%  quota-warning  below user").unwrap();
        assert_eq!(warning.words().collect::<Vec<_>>(), ["quota-warning", "below", "user"]);
        let threshold = Changes { bytes: Some(Change::Percent(80)), messages: Some(Change::Percent(90)) };
        assert_eq!((warning.falling, warning.threshold), (true, threshold));
    }

    macro_rules! bad { ($($name:ident: $text:literal => $message:literal at $character:literal,)*) => { $(
        #[test] fn $name() {
            let message = Warning::parse($text).unwrap_err().to_string();
            assert!(message.starts_with(concat!("Invalid warning rule: ", $text, ": ", $message)), "{message}");
            assert!(message.ends_with(concat!("; at character ", $character)), "{message}");
        }
    )* } }
    bad! {
        no_command: "storage=80%" => "No command specified;" at 12,
        blank_command: "storage=80%  " => "No command specified;" at 14,
        empty_command: "storage=80% " => "No command specified;" at 13,
        no_threshold: " storage=80% w" => "there is no threshold;" at 1,
        sign_alone: "- w" => "there is no threshold;" at 2,
        plus: "-storage=+80% w" => "Rule limit cannot have '+';" at 10,
        negative: "storage=-80% w" => "a threshold can't be a negative percentage;" at 9,
        with_mask: "*:storage=80% w" => "Unknown rule limit name: *;" at 1,
        unit: "messages=5P w" => "Invalid rule limit value 'messages=5P': Unknown unit: P;" at 11,
    }

    proptest! {
        #[test]
        fn a_way_up_and_down_again_rings_both_ways_or_neither(low in 0u64..2000, high in 0u64..2000, percent in 0u32..150) {
            let rings = |sign, from, to| {
                let text = format!("{sign}storage={percent}% w");
                !names(&[&text], level(from, 0, 1000), level(to, 0, 1000), Which::First).is_empty()
            };
            prop_assert_eq!(rings("", low, high), rings("-", high, low));
            prop_assert!(!(rings("", low, high) && rings("", high, low)));
        }
    }
}
