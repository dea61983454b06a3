//! Sizes as a `mailQuota` writes them: digits and at most one of K, M, G, T, in either case.
//!
//! Sun's servers counted in 1024s (the 4096G ceiling of a 32-bit KiB counter shows it); `Units::Decimal`
//! is for sites that meant 1000. Everything is checked: a size never wraps round.

use std::fmt;

/// What K, M, G and T multiply by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Units {
    #[default]
    Binary,
    Decimal,
}

const LETTERS: [char; 4] = ['K', 'M', 'G', 'T'];

impl Units {
    const fn base(self) -> u64 {
        match self {
            Units::Binary => 1024,
            Units::Decimal => 1000,
        }
    }

    fn factor(self, letter: char) -> Option<u64> {
        let power = LETTERS.iter().position(|l| *l == letter.to_ascii_uppercase())? as u32 + 1;
        Some(self.base().pow(power))
    }

    /// Reads `20M`. The error says what was wrong and at which byte of `text`.
    pub fn parse(self, text: &str) -> Result<u64, SizeError> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number = digits(&text[..end], text)?;
        let mut rest = text[end..].chars();
        let Some(letter) = rest.next() else { return Ok(number) };
        let factor = self.factor(letter).ok_or(SizeError { at: end, fault: SizeFault::Unit(letter) })?;
        if rest.next().is_some() {
            let at = end + letter.len_utf8();
            return Err(SizeError { at, fault: SizeFault::Trailing });
        }
        number.checked_mul(factor).ok_or(SizeError { at: 0, fault: SizeFault::TooLarge })
    }

    /// The shortest exact spelling: `20M`, `1536K`, `1000`. Parsing it gives `bytes` again.
    pub fn exact(self, bytes: u64) -> impl fmt::Display {
        let mut shown = (bytes, None);
        for letter in LETTERS {
            if shown.0 == 0 || shown.0 % self.base() != 0 {
                break;
            }
            shown = (shown.0 / self.base(), Some(letter));
        }
        Exact(shown.0, shown.1)
    }

    /// For people: one decimal where it helps, `19.4M`. Not meant to be parsed.
    pub fn rounded(self, bytes: u64) -> String {
        let (mut one, mut unit) = (1, None);
        for letter in LETTERS {
            // The last of them is far from the end of a u64.
            let next = one * self.base();
            if bytes < next {
                break;
            }
            (one, unit) = (next, Some(letter));
        }
        let (whole, rest) = (bytes / one, bytes % one);
        match unit {
            None => bytes.to_string(),
            Some(letter) if rest == 0 || whole >= 100 => format!("{}{letter}", whole + u64::from(rest * 2 >= one)),
            Some(letter) => {
                let tenths = whole * 10 + (rest * 10 + one / 2) / one;
                format!("{}.{}{letter}", tenths / 10, tenths % 10)
            }
        }
    }
}

/// Plain digits, as in `mailMsgQuota`.
pub fn parse_count(text: &str) -> Result<u64, SizeError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = digits(&text[..end], text)?;
    match end == text.len() {
        true => Ok(number),
        false => Err(SizeError { at: end, fault: SizeFault::UnitOfCount }),
    }
}

fn digits(number: &str, whole: &str) -> Result<u64, SizeError> {
    if number.is_empty() {
        let fault = match whole.chars().next() {
            None => SizeFault::Empty,
            Some('+' | '-') => SizeFault::Sign,
            Some(_) => SizeFault::NotANumber,
        };
        return Err(SizeError { at: 0, fault });
    }
    number.parse().map_err(|_| SizeError { at: 0, fault: SizeFault::TooLarge })
}

struct Exact(u64, Option<char>);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.1.map_or(Ok(()), |letter| write!(f, "{letter}"))
    }
}

/// What is wrong with a size, and at which byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeError {
    pub at: usize,
    pub fault: SizeFault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeFault {
    #[error("a quota is missing; accepted: a number, -1 (unlimited) or -2 (the default)")]
    Empty,
    #[error("not a number; accepted: digits, then K, M, G or T")]
    NotANumber,
    #[error("a sign is accepted only in -1 (unlimited) and -2 (the default)")]
    Sign,
    #[error("unknown unit `{0}`; accepted: K, M, G or T")]
    Unit(char),
    #[error("a message count takes digits only, no unit")]
    UnitOfCount,
    #[error("something follows the unit; accepted: digits, then K, M, G or T")]
    Trailing,
    #[error("the number does not fit in 64 bits")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    macro_rules! good { ($($name:ident: $units:ident $text:literal => $bytes:expr,)*) => { $(
        #[test] fn $name() { assert_eq!(Units::$units.parse($text), Ok($bytes)); }
    )* } }
    good! {
        plain: Binary "0" => 0,
        kilo: Binary "1K" => 1024,
        lower_case: Binary "3m" => 3 << 20,
        giga: Binary "2G" => 2 << 30,
        tera: Binary "16T" => 16 << 40,
        decimal: Decimal "2G" => 2_000_000_000,
        largest: Binary "18446744073709551615" => u64::MAX,
        largest_tera: Binary "16777215T" => 16_777_215 << 40,
    }

    macro_rules! bad { ($($name:ident: $text:literal => $at:literal $fault:expr,)*) => { $(
        #[test] fn $name() { assert_eq!(Units::Binary.parse($text), Err(SizeError { at: $at, fault: $fault })); }
    )* } }
    bad! {
        empty: "" => 0 SizeFault::Empty,
        plus: "+1" => 0 SizeFault::Sign,
        minus: "-3" => 0 SizeFault::Sign,
        word: "lots" => 0 SizeFault::NotANumber,
        space: " 1" => 0 SizeFault::NotANumber,
        peta: "1P" => 1 SizeFault::Unit('P'),
        fraction: "1.5G" => 1 SizeFault::Unit('.'),
        two_letters: "1GB" => 2 SizeFault::Trailing,
        past_64_bits: "18446744073709551616" => 0 SizeFault::TooLarge,
        wraps_in_dovecot: "16777216T" => 0 SizeFault::TooLarge,
        not_ascii: "1µ" => 1 SizeFault::Unit('µ'),
    }

    #[test]
    fn counts_take_no_unit() {
        assert_eq!(parse_count("5000"), Ok(5000));
        assert_eq!(parse_count("5K"), Err(SizeError { at: 1, fault: SizeFault::UnitOfCount }));
        assert_eq!(parse_count("-1"), Err(SizeError { at: 0, fault: SizeFault::Sign }));
    }

    #[test]
    fn rounds_for_people() {
        let shown = |b| Units::Binary.rounded(b);
        assert_eq!([shown(0), shown(1023), shown(1536), shown(20 << 20)], ["0", "1023", "1.5K", "20M"]);
    }

    proptest! {
        #[test]
        fn exact_spelling_parses_back(bytes: u64, decimal: bool) {
            let units = if decimal { Units::Decimal } else { Units::Binary };
            prop_assert_eq!(units.parse(&units.exact(bytes).to_string()), Ok(bytes));
        }

        #[test]
        fn never_panics(text in ".{0,24}") {
            let _ = Units::Binary.parse(&text);
            let _ = parse_count(&text);
        }
    }
}
