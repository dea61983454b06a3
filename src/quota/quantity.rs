//! Numbers as Dovecot's quota rules write them: `-`, digits, and a unit or `%`.
//!
//! ```text
//! quantity = ["-"] digits [ B / K / M / G / T / "%" ]     1024-based, upper or lower case
//! ```
//!
//! `GB`, `Gi` and `GiB` (and so on) are taken for `G`, as they are in Dovecot, where all that follows the
//! first letter is dropped unread; any other letter there is refused here. Nothing wraps round: what
//! does not fit in 63 bits and a sign is refused.

/// What a rule does to a limit, or what a threshold is: so many bytes or messages, or a part of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Amount(i64),
    Percent(i32),
}

impl Change {
    /// The change in bytes or messages, for a limit of `whole`. Parts are cut off towards zero.
    pub fn of(self, whole: u64) -> i128 {
        match self {
            Change::Amount(amount) => amount.into(),
            Change::Percent(percent) => i128::from(whole) * i128::from(percent) / 100,
        }
    }

    /// This change where `known` was said before: the later one counts, but Dovecot never forgets a
    /// percentage for a number.
    pub fn after(self, known: Option<Change>) -> Change {
        match (known, self) {
            (Some(Change::Percent(percent)), Change::Amount(_)) if percent != 0 => Change::Percent(percent),
            _ => self,
        }
    }

    pub fn is_negative(self) -> bool {
        match self {
            Change::Amount(amount) => amount < 0,
            Change::Percent(percent) => percent < 0,
        }
    }

    /// Reads one quantity; `plain` is what a number without a unit counts in.
    pub fn parse(text: &str, plain: i64) -> Result<Change, QuantityError> {
        let sign = usize::from(text.starts_with('-'));
        let digits = text[sign..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - sign);
        let end = sign + digits;
        let fail = |at, fault| QuantityError { at, fault };
        let number: i64 = text[..end].parse().map_err(|_| fail(0, QuantityFault::NotANumber))?;
        let factor = match text[end..].chars().next().map(|c| c.to_ascii_uppercase()) {
            None => return amount(number, plain).ok_or(fail(0, QuantityFault::TooLarge)),
            Some('%') => None,
            Some(letter) => {
                let unknown = || fail(end, QuantityFault::Unit(text[end..].into()));
                Some(factor(letter).ok_or_else(unknown)?)
            }
        };
        let rest = &text[end + 1..];
        if !is_complete(rest, factor) {
            return Err(fail(end + 1, QuantityFault::Trailing(rest.into())));
        }
        match factor {
            Some(factor) => amount(number, factor).ok_or(fail(0, QuantityFault::TooLarge)),
            None if number <= -100 || number >= i64::from(u32::MAX) => Err(fail(0, QuantityFault::Percentage)),
            None => i32::try_from(number).map(Change::Percent).map_err(|_| fail(0, QuantityFault::LargePercentage)),
        }
    }
}

fn amount(number: i64, factor: i64) -> Option<Change> {
    number.checked_mul(factor).map(Change::Amount)
}

fn factor(letter: char) -> Option<i64> {
    Some(match letter {
        'B' => 1,
        'K' => 1 << 10,
        'M' => 1 << 20,
        'G' => 1 << 30,
        'T' => 1 << 40,
        _ => return None,
    })
}

/// Whether `rest` may follow the first letter of a unit, or `%`, which has no factor.
fn is_complete(rest: &str, factor: Option<i64>) -> bool {
    let long = factor.is_some_and(|factor| factor > 1);
    rest.is_empty() || long && ["i", "b", "ib"].iter().any(|known| rest.eq_ignore_ascii_case(known))
}

/// `quota_max_mail_size`, which Dovecot reads with another parser: no sign, no `%`, a space before the
/// unit, and nothing is dropped unread. 0 is no maximum.
pub fn parse_mail_size(text: &str) -> Result<Option<u64>, MailSizeFault> {
    let invalid = || MailSizeFault::Invalid(text.into());
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Err(invalid());
    }
    let number: u64 = text[..end].parse().map_err(|_| invalid())?;
    let unit = text[end..].trim_start_matches(' ');
    let factor = match unit.chars().next() {
        None => 1,
        Some(letter) => {
            let factor = factor(letter.to_ascii_uppercase()).ok_or_else(invalid)?;
            if !is_complete(&unit[1..], Some(factor)) {
                return Err(invalid());
            }
            factor.unsigned_abs()
        }
    };
    let bytes = number.checked_mul(factor).ok_or_else(|| MailSizeFault::TooLarge(text.into()))?;
    Ok(Some(bytes).filter(|bytes| *bytes > 0))
}

/// What is wrong with a quantity, and at which byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantityError {
    pub at: usize,
    pub fault: QuantityFault,
}

/// The words before the semicolon are Dovecot's where it has any, so that a search for them leads here too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityFault {
    #[error("not a number; accepted: digits up to {}, then B, K, M, G, T or %", i64::MAX)]
    NotANumber,
    #[error("Unknown unit: {0}; accepted: B, K, M, G, T or %")]
    Unit(Box<str>),
    #[error("Invalid percentage; accepted: -99% to {}%", i32::MAX)]
    Percentage,
    #[error("the percentage does not fit in 31 bits; accepted: -99% to {}%", i32::MAX)]
    LargePercentage,
    #[error("`{0}` follows the unit; accepted: B, K, M, G, T or %, where G may be written Gi, GB or GiB")]
    Trailing(Box<str>),
    #[error("the number does not fit in 63 bits; accepted: up to {} bytes", i64::MAX)]
    TooLarge,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailSizeFault {
    #[error("Invalid size: {0}; accepted: digits, then B, K, M, G or T, where G may be written Gi, GB or GiB")]
    Invalid(Box<str>),
    #[error("Size is too large: {0}; accepted: up to {max} bytes", max = u64::MAX)]
    TooLarge(Box<str>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Change, QuantityError> {
        Change::parse(text, 1024)
    }

    #[test]
    fn units() {
        for (text, bytes) in [
            ("1", 1024),
            ("0", 0),
            ("-3", -3072),
            ("7b", 7),
            ("7B", 7),
            ("2k", 2048),
            ("1M", 1 << 20),
            ("1GB", 1 << 30),
            ("1gib", 1 << 30),
            ("1Ti", 1 << 40),
            ("-1T", -(1 << 40)),
            ("9223372036854775807B", i64::MAX),
            ("-9223372036854775808B", i64::MIN),
        ] {
            assert_eq!(read(text), Ok(Change::Amount(bytes)), "{text}");
        }
        assert_eq!(read("-99%"), Ok(Change::Percent(-99)));
        assert_eq!(read("2147483647%"), Ok(Change::Percent(i32::MAX)));
    }

    #[test]
    fn what_is_refused_and_where() {
        use QuantityFault::*;
        for (text, at, fault) in [
            ("", 0, NotANumber),
            ("-", 0, NotANumber),
            ("+1", 0, NotANumber),
            ("--1", 0, NotANumber),
            (" 1", 0, NotANumber),
            ("9223372036854775808", 0, NotANumber),
            ("1P", 1, Unit("P".into())),
            ("1.5M", 1, Unit(".5M".into())),
            ("50 M", 2, Unit(" M".into())),
            ("1µ", 1, Unit("µ".into())),
            ("-100%", 0, Percentage),
            ("4294967295%", 0, Percentage),
            ("4294967294%", 0, LargePercentage),
            ("1Gxyz", 2, Trailing("xyz".into())),
            ("1BB", 2, Trailing("B".into())),
            ("1%x", 2, Trailing("x".into())),
            ("16777216T", 0, TooLarge),
            ("9007199254740992", 0, TooLarge),
        ] {
            assert_eq!(read(text), Err(QuantityError { at, fault }), "{text}");
        }
    }

    #[test]
    fn a_part_is_cut_off_towards_zero() {
        assert_eq!([Change::Percent(33).of(1 << 20), Change::Percent(-33).of(1 << 20)], [346_030, -346_030]);
        assert_eq!(Change::Percent(i32::MAX).of(u64::MAX) / i128::from(u64::MAX), 21_474_836);
    }

    #[test]
    fn mail_sizes() {
        let size = |text| parse_mail_size(text).map_err(|fault| fault.to_string());
        for (text, bytes) in [("1", 1), ("100K", 102_400), ("100kb", 102_400), ("100 KiB", 102_400), ("2 B", 2)] {
            assert_eq!(size(text), Ok(Some(bytes)), "{text}");
        }
        assert_eq!(size("0"), Ok(None));
        for text in ["", "-1", "1P", "1Bi", "1K ", "ten", "18446744073709551616"] {
            assert!(size(text).unwrap_err().starts_with(&format!("Invalid size: {text};")), "{text}");
        }
        assert!(size("16777216T").unwrap_err().starts_with("Size is too large: 16777216T;"));
    }

    proptest! {
        #[test]
        fn never_panics_and_names_a_place_inside(text in "[-+0-9KMGTBib%µ .]{0,22}") {
            if let Err(error) = read(&text) {
                prop_assert!(text.is_char_boundary(error.at));
            }
            let _ = parse_mail_size(&text);
        }
    }
}
