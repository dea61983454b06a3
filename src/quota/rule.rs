//! One quota rule in Dovecot's syntax:
//!
//! ```text
//! rule   = mask ":" ( "ignore" / limits )
//! mask   = "*" / "?"                    the default rule; any other mask names folders
//! limits = limit *( ":" limit )
//! limit  = ( "storage" / "bytes" / "messages" ) "=" [ "+" / "-" ] quantity
//! ```
//!
//! `storage` counts in KiB unless it has a unit. The default rule sets a limit, all others change it: by
//! an amount, or by a percentage of it. The mask ends at the first colon. Values and error texts follow
//! Dovecot 2.3.19; what mailquotad refuses beyond that stands in `docs/dovecot-deviations.md`.

use super::mask::Mask;
use super::quantity::{Change, QuantityFault};

/// What a rule says about the two resources; `None` where it is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub bytes: Option<Change>,
    pub messages: Option<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `*` (`force`: instead of what the account has) or `?` (where the account has no limit).
    Default {
        force: bool,
    },
    Folders(Mask),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What lies in these folders is not counted and never refused.
    Ignore,
    Change(Changes),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub target: Target,
    pub effect: Effect,
    /// What an admin should mend although it works.
    pub notes: Vec<String>,
}

impl Rule {
    pub fn parse(text: &str) -> Result<Rule, RuleError> {
        let fail = |(at, fault)| RuleError { rule: text.into(), at, fault };
        let (mask, limits) = text.split_once(':').ok_or_else(|| fail((0, RuleFault::NoColon)))?;
        let target = match mask {
            "*" => Target::Default { force: true },
            "?" => Target::Default { force: false },
            _ if mask.eq_ignore_ascii_case("INBOX") => Target::Folders(Mask::new("INBOX")),
            _ => Target::Folders(Mask::new(mask)),
        };
        let at = mask.len() + 1;
        let mut notes = Vec::new();
        let effect = if limits == "ignore" {
            if matches!(target, Target::Default { .. }) {
                notes.push(format!("rule {text}: ignore has no effect on the default rule"));
            }
            Effect::Ignore
        } else if limits.starts_with("backend=") {
            return Err(fail((at, RuleFault::Backend)));
        } else {
            let reading = match target {
                Target::Default { .. } => Reading::Default,
                Target::Folders(_) => Reading::Relative,
            };
            Effect::Change(reading.limits(limits, at, |obsolete| notes.push(obsolete.note(text))).map_err(fail)?)
        };
        Ok(Rule { target, effect, notes })
    }
}

/// Which of the three kinds of limits is read: they differ in the signs and percentages that they take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Default,
    Relative,
    Threshold,
}

/// A change without a sign, which Dovecot adds but has declared obsolete.
pub(super) struct Obsolete<'a> {
    limit: &'a str,
    key: &'a str,
    value: &'a str,
}

impl Obsolete<'_> {
    fn note(&self, rule: &str) -> String {
        let Obsolete { limit, key, value } = self;
        format!("rule {rule}: obsolete configuration for rule '{limit}' should be changed to '{key}=+{value}'")
    }
}

type Fault = (usize, RuleFault);

impl Reading {
    /// Reads `limits`, which begins at byte `at` of the whole text. Nothing at all sets nothing.
    pub(super) fn limits(self, limits: &str, at: usize, mut obsolete: impl FnMut(Obsolete)) -> Result<Changes, Fault> {
        let mut changes = Changes::default();
        if limits.is_empty() {
            return Ok(changes);
        }
        let (mut start, mut bytes_at, mut messages_at) = (at, at, at);
        for limit in limits.split(':') {
            let (key, value) = limit.split_once('=').unwrap_or((limit, ""));
            let value_at = (start + key.len() + 1).min(start + limit.len());
            let value = self.unsigned(value, value_at)?;
            if value.missing_sign {
                obsolete(Obsolete { limit, key, value: value.text });
            }
            let (slot, place, plain, what) = match key {
                "storage" => (&mut changes.bytes, &mut bytes_at, 1024, "storage limit"),
                "bytes" => (&mut changes.bytes, &mut bytes_at, 1, "bytes limit"),
                "messages" => (&mut changes.messages, &mut messages_at, 1, "bytes messages"),
                _ => return Err((start, RuleFault::Name(key.into()))),
            };
            *slot = Some(self.change(limit, &value, plain, what)?.after(*slot));
            *place = value_at;
            start += limit.len() + 1;
        }
        self.check_signs(&changes, bytes_at, messages_at)?;
        Ok(changes)
    }

    fn unsigned(self, text: &str, at: usize) -> Result<Value<'_>, Fault> {
        match (text.strip_prefix('+'), self) {
            (Some(_), Reading::Default | Reading::Threshold) => Err((at, RuleFault::Plus)),
            (Some(rest), Reading::Relative) => Ok(Value { text: rest, at: at + 1, plus: true, missing_sign: false }),
            (None, _) => {
                let missing_sign = self == Reading::Relative && !text.starts_with('-');
                Ok(Value { text, at, plus: false, missing_sign })
            }
        }
    }

    fn change(self, limit: &str, value: &Value, plain: i64, what: &'static str) -> Result<Change, Fault> {
        let change = Change::parse(value.text, plain).map_err(|error| {
            let fault = match error.fault {
                QuantityFault::NotANumber => RuleFault::Number { what, value: value.text.into() },
                fault => RuleFault::Quantity { limit: limit.into(), fault },
            };
            (value.at + error.at, fault)
        })?;
        if value.plus && value.text.starts_with('-') {
            return Err((value.at, RuleFault::TwoSigns));
        }
        if self == Reading::Default && matches!(change, Change::Percent(_)) {
            return Err((value.at, RuleFault::DefaultPercentage { limit: limit.into() }));
        }
        Ok(change)
    }

    fn check_signs(self, changes: &Changes, bytes_at: usize, messages_at: usize) -> Result<(), Fault> {
        if self == Reading::Relative {
            return Ok(());
        }
        for (change, at, fault) in [
            (changes.bytes, bytes_at, RuleFault::NegativeBytes),
            (changes.messages, messages_at, RuleFault::NegativeMessages),
        ] {
            match change {
                Some(Change::Percent(percent)) if percent < 0 => return Err((at, RuleFault::NegativePart)),
                Some(change) if change.is_negative() => return Err((at, fault)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The value of a limit without its `+`.
struct Value<'a> {
    text: &'a str,
    at: usize,
    plus: bool,
    missing_sign: bool,
}

/// A rule that cannot be used: the rule, the byte of it where reading stopped, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid rule {rule}: {fault}; at character {}", character(.rule, *.at))]
pub struct RuleError {
    pub rule: Box<str>,
    pub at: usize,
    pub fault: RuleFault,
}

/// The place as a person counts it, from 1.
pub(super) fn character(text: &str, at: usize) -> usize {
    text.char_indices().take_while(|(index, _)| *index < at).count() + 1
}

/// The words before the semicolon are Dovecot's where it has any, so that a search for them leads here too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    #[error("Invalid rule; accepted: folder:limits, as in *:storage=1G or Trash:storage=+100M")]
    NoColon,
    #[error("Rule limit cannot have '+'; accepted: a number here, + and - in the rules of single folders")]
    Plus,
    #[error("Invalid {what}: {value}; accepted: digits, then B, K, M, G, T or %, up to 63 bits")]
    Number { what: &'static str, value: Box<str> },
    #[error("Unknown rule limit name: {0}; accepted: storage, bytes or messages, or ignore alone")]
    Name(Box<str>),
    #[error("Invalid rule limit value '{limit}': {fault}")]
    Quantity { limit: Box<str>, fault: QuantityFault },
    #[error("Invalid rule limit value '{limit}': Default rule can't be a percentage; accepted: a number")]
    DefaultPercentage { limit: Box<str> },
    #[error("Bytes limit can't be negative; accepted: a number, where 0 is unlimited")]
    NegativeBytes,
    #[error("Count limit can't be negative; accepted: a number, where 0 is unlimited")]
    NegativeMessages,
    #[error("a threshold can't be a negative percentage; accepted: 0% and above, with the - before its name")]
    NegativePart,
    #[error("two signs; accepted: one + or one -")]
    TwoSigns,
    #[error("backend rule not supported; accepted: storage=, bytes=, messages= or ignore")]
    Backend,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn changes(rule: &str) -> Changes {
        match Rule::parse(rule).unwrap().effect {
            Effect::Change(changes) => changes,
            Effect::Ignore => panic!("{rule} ignores"),
        }
    }

    #[test]
    fn default_rules_set() {
        let bytes = |rule| changes(rule).bytes;
        assert_eq!(bytes("*:storage=1G:messages=5000"), Some(Change::Amount(1 << 30)));
        assert_eq!(changes("*:storage=1G:messages=5K").messages, Some(Change::Amount(5120)));
        assert_eq!(bytes("?:bytes=1000:storage=2"), Some(Change::Amount(2048)));
        assert_eq!(changes("*:"), Changes::default());
        assert_eq!(Rule::parse("?:ignore").unwrap().notes.len(), 1);
        assert_eq!(Rule::parse("?:storage=1").unwrap().target, Target::Default { force: false });
    }

    #[test]
    fn other_rules_change() {
        assert_eq!(changes("Trash:storage=+100M").bytes, Some(Change::Amount(100 << 20)));
        assert_eq!(changes("Spam:storage=-20%:messages=+3").bytes, Some(Change::Percent(-20)));
        assert_eq!(Rule::parse("SPAM:ignore").unwrap().effect, Effect::Ignore);
        assert_eq!(Rule::parse("inBOX:ignore").unwrap().target, Target::Folders(Mask::new("INBOX")));
        assert_eq!(Rule::parse("**:ignore").unwrap().target, Target::Folders(Mask::new("**")));
    }

    #[test]
    fn a_missing_sign_is_taken_for_plus_and_noted() {
        let rule = Rule::parse("Trash:storage=1M").unwrap();
        assert_eq!(rule.effect, Effect::Change(Changes { bytes: Some(Change::Amount(1 << 20)), messages: None }));
        assert!(rule.notes[0].ends_with("'storage=1M' should be changed to 'storage=+1M'"), "{:?}", rule.notes);
    }

    macro_rules! bad { ($($name:ident: $text:literal => $message:literal at $character:literal,)*) => { $(
        #[test] fn $name() {
            let message = Rule::parse($text).unwrap_err().to_string();
            assert!(message.starts_with(concat!("Invalid rule ", $text, ": ", $message)), "{message}");
            assert!(message.ends_with(concat!("; at character ", $character)), "{message}");
        }
    )* } }
    bad! {
        no_colon: "storage=1G" => "Invalid rule;" at 1,
        plus: "*:storage=+1G" => "Rule limit cannot have '+';" at 11,
        no_number: "*:storage=" => "Invalid storage limit: ;" at 11,
        no_value: "*:storage" => "Invalid storage limit: ;" at 10,
        word: "Ä:messages=+lots" => "Invalid bytes messages: lots;" at 13,
        name: "*:storage=1:Storage=1" => "Unknown rule limit name: Storage;" at 13,
        empty_name: "*:storage=1G:" => "Unknown rule limit name: ;" at 14,
        unit: "*:storage=1P" => "Invalid rule limit value 'storage=1P': Unknown unit: P;" at 12,
        trailing: "*:storage=1Gxyz" => "Invalid rule limit value 'storage=1Gxyz': `xyz` follows the unit;" at 13,
        wraps_in_dovecot: "*:storage=16777216T" => "Invalid rule limit value 'storage=16777216T': the number" at 11,
        default_part: "*:storage=10%" => "Invalid rule limit value 'storage=10%': Default rule can't be" at 11,
        negative: "*:messages=-1:storage=1" => "Count limit can't be negative;" at 12,
        two_signs: "Trash:storage=+-10M" => "two signs;" at 16,
        part: "Trash:storage=-100%" => "Invalid rule limit value 'storage=-100%': Invalid percentage;" at 15,
        backend: "*:backend=1000S" => "backend rule not supported;" at 3,
    }

    proptest! {
        #[test]
        fn never_panics_and_names_a_place_inside(text in "[*?A-Zä]{0,2}(:(storage|bytes|x)?=?[+-]?[0-9KGTü%]{0,20}){0,3}") {
            if let Err(error) = Rule::parse(&text) {
                prop_assert!(error.at <= text.len());
                let _ = error.to_string();
            }
        }
    }
}
