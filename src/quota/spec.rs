//! The `mailQuota` / `mailMsgQuota` grammar:
//!
//! ```text
//! spec   = quota *( ";" name "%" quota )
//! name   = "#" type / folder            folder levels are separated by "/"
//! quota  = number [ K / M / G / T ]     a unit in mailQuota only
//!        / "-1"                         unlimited
//!        / "-2"                         the default
//! ```
//!
//! Source: Oracle Messaging Server's schema reference and quota chapter. Where those are silent
//! (repeated names, signs, spaces, empty names, overflow) a value is an error rather than a guess.
//! A name may contain `%`: the last one of a part separates it from its quota.

use std::fmt;

use super::bucket::BucketName;
use super::size::{self, SizeError, SizeFault, Units};

/// One quota of a spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Amount {
    Number(u64),
    Unlimited,
    /// What the domain, or else the configuration, gives.
    Default,
}

/// Which of the two attributes a text comes from: they differ in whether units are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Bytes(Units),
    Messages,
}

/// A parsed value: the quota of the default bucket and those of the named ones, in written order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    pub default: Amount,
    pub named: Vec<(BucketName, Amount)>,
}

impl Spec {
    /// What an absent attribute means.
    pub const ABSENT: Spec = Spec { default: Amount::Default, named: Vec::new() };

    pub fn parse(text: &str, measure: Measure) -> Result<Spec, SpecError> {
        let fail = |at: usize, fault: SpecFault| SpecError { value: text.into(), at, fault };
        let mut spec = Spec::ABSENT;
        let mut at = 0;
        for (index, part) in text.split(';').enumerate() {
            let quota_at = if index == 0 {
                at
            } else {
                let percent = part.rfind('%').ok_or_else(|| fail(at, SpecFault::NoPercent))?;
                let name: BucketName = part[..percent].parse().map_err(|fault| fail(at, fault))?;
                if spec.named.iter().any(|(known, _)| *known == name) {
                    return Err(fail(at, SpecFault::Repeated(name)));
                }
                spec.named.push((name, Amount::Default));
                at + percent + 1
            };
            let amount = Amount::parse(&text[quota_at..at + part.len()], measure)
                .map_err(|error| fail(quota_at + error.at, SpecFault::Size(error.fault)))?;
            match spec.named.last_mut() {
                Some((_, slot)) => *slot = amount,
                None => spec.default = amount,
            }
            at += part.len() + 1;
        }
        Ok(spec)
    }

    /// The text that parses back to this spec.
    pub fn display(&self, measure: Measure) -> impl fmt::Display + '_ {
        Written { spec: self, measure }
    }

    pub fn amount(&self, name: &BucketName) -> Option<Amount> {
        match name {
            BucketName::Default => Some(self.default),
            _ => self.named.iter().find(|(known, _)| known == name).map(|(_, amount)| *amount),
        }
    }
}

impl Amount {
    fn parse(text: &str, measure: Measure) -> Result<Amount, SizeError> {
        match (text, measure) {
            ("-1", _) => Ok(Amount::Unlimited),
            ("-2", _) => Ok(Amount::Default),
            (_, Measure::Bytes(units)) => units.parse(text).map(Amount::Number),
            (_, Measure::Messages) => size::parse_count(text).map(Amount::Number),
        }
    }

    fn write(self, measure: Measure, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, measure) {
            (Amount::Unlimited, _) => f.write_str("-1"),
            (Amount::Default, _) => f.write_str("-2"),
            (Amount::Number(n), Measure::Bytes(units)) => write!(f, "{}", units.exact(n)),
            (Amount::Number(n), Measure::Messages) => write!(f, "{n}"),
        }
    }
}

struct Written<'a> {
    spec: &'a Spec,
    measure: Measure,
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec.default.write(self.measure, f)?;
        for (name, amount) in &self.spec.named {
            write!(f, ";{name}%")?;
            amount.write(self.measure, f)?;
        }
        Ok(())
    }
}

/// A value that is no spec: the value, the byte in it where reading stopped, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}`, at character {}: {fault}", self.character())]
pub struct SpecError {
    pub value: Box<str>,
    pub at: usize,
    pub fault: SpecFault,
}

impl SpecError {
    /// The place as a person counts it, from 1.
    pub fn character(&self) -> usize {
        self.value[..self.at].chars().count() + 1
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecFault {
    #[error(transparent)]
    Size(SizeFault),
    #[error("`%` is missing; accepted: name%quota, as in #voice%20M or Archive%100M")]
    NoPercent,
    #[error("the name is empty; accepted: a folder, or # and a message type")]
    EmptyName,
    #[error("the folder name has an empty level; accepted: levels separated by one /")]
    EmptyLevel,
    #[error("`{0}` stands here a second time; each name may have one quota")]
    Repeated(BucketName),
    #[error("a control character is not accepted in a name")]
    Control,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTES: Measure = Measure::Bytes(Units::Binary);

    fn folder(name: &str) -> BucketName {
        BucketName::Folder(name.into())
    }

    fn kind(name: &str) -> BucketName {
        BucketName::Type(name.into())
    }

    #[test]
    fn folders_and_types() {
        let spec = Spec::parse("2G;#voice%20M;Archive%100M", BYTES).unwrap();
        let named = vec![(kind("voice"), Amount::Number(20 << 20)), (folder("Archive"), Amount::Number(100 << 20))];
        assert_eq!(spec, Spec { default: Amount::Number(2 << 30), named });
    }

    #[test]
    fn special_values_and_inbox() {
        let spec = Spec::parse("-1;inbox/old%-2;a%b%0", BYTES).unwrap();
        let named = vec![(folder("INBOX/old"), Amount::Default), (folder("a%b"), Amount::Number(0))];
        assert_eq!(spec, Spec { default: Amount::Unlimited, named });
    }

    macro_rules! bad { ($($name:ident: $text:literal => $message:literal,)*) => { $(
        #[test] fn $name() {
            let message = Spec::parse($text, BYTES).unwrap_err().to_string();
            assert!(message.starts_with($message), "{message}");
        }
    )* } }
    bad! {
        empty: "" => "``, at character 1: a quota is missing",
        only_names: ";a%1" => "`;a%1`, at character 1: a quota is missing",
        no_percent: "2G;Archive" => "`2G;Archive`, at character 4: `%` is missing",
        trailing_semicolon: "2G;" => "`2G;`, at character 4: `%` is missing",
        empty_name: "2G;%1M" => "`2G;%1M`, at character 4: the name is empty",
        empty_type: "2G;#%1M" => "`2G;#%1M`, at character 4: the name is empty",
        empty_level: "2G;a//b%1M" => "`2G;a//b%1M`, at character 4: the folder name has an empty level",
        trailing_slash: "2G;a/%1M" => "`2G;a/%1M`, at character 4: the folder name has an empty level",
        repeated: "2G;Ä%1M;Ä%2M" => "`2G;Ä%1M;Ä%2M`, at character 9: `Ä` stands here a second time",
        repeated_inbox: "2G;INBOX%1M;inbox%2M" => "`2G;INBOX%1M;inbox%2M`, at character 13: `INBOX` stands here",
        sign: "-3" => "`-3`, at character 1: a sign is accepted only in",
        unit_in_bucket: "2G;Ä%1X" => "`2G;Ä%1X`, at character 7: unknown unit `X`",
        past_64_bits: "2G;a%99999999T" => "`2G;a%99999999T`, at character 6: the number does not fit",
        space: "2 G" => "`2 G`, at character 2: unknown unit ` `",
    }

    #[test]
    fn messages_take_no_unit() {
        assert!(Spec::parse("5000;#text%2000", Measure::Messages).is_ok());
        let error = Spec::parse("5000;#text%2K", Measure::Messages).unwrap_err();
        assert_eq!((error.character(), error.fault), (13, SpecFault::Size(SizeFault::UnitOfCount)));
    }

    fn amounts() -> impl Strategy<Value = Amount> {
        prop_oneof![any::<u64>().prop_map(Amount::Number), Just(Amount::Unlimited), Just(Amount::Default)]
    }

    proptest! {
        #[test]
        fn a_printed_spec_parses_back(
            default in amounts(),
            named in proptest::collection::btree_map("#?[^;/\\p{Cc}]{1,6}(/[^;/\\p{Cc}]{1,4})?", amounts(), 0..5),
            decimal: bool,
        ) {
            let measure = Measure::Bytes(if decimal { Units::Decimal } else { Units::Binary });
            let mut spec = Spec { default, named: Vec::new() };
            for (name, amount) in named {
                if let Ok(name) = name.parse::<BucketName>() && spec.amount(&name).is_none() {
                    spec.named.push((name, amount));
                }
            }
            let text = spec.display(measure).to_string();
            prop_assert_eq!(Spec::parse(&text, measure), Ok(spec));
        }

        #[test]
        fn never_panics_and_names_a_place_inside(text in "[0-9a-zA-Z#%;/ÄKMGT+-]{0,16}") {
            if let Err(error) = Spec::parse(&text, BYTES) {
                prop_assert!(error.at <= text.len());
                let _ = error.to_string();
            }
        }
    }
}
