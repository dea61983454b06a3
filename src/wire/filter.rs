//! LDAP search filters (RFC 4515), parsed and matched against an entry's attributes.
//!
//! ```text
//! (&(objectClass=inetMailUser)(!(mailHost=old*))(|(mail=*)(uid=ann)))
//! ```
//!
//! Values are compared as caseIgnoreMatch does: without regard to case and to spaces at the ends. `>=`
//! and `<=` compare numbers where both sides are numbers. `~=` is taken as `=`. Not knowing a schema, an
//! absent attribute simply does not match. Extensible matches (`cn:dn:=x`) are refused.

use std::fmt;

/// Deeper than any filter that a person writes; bounds the recursion on hostile ones.
const DEEPEST: usize = 64;

/// One name and one value; an attribute with several values comes several times.
pub trait Attribute {
    fn name(&self) -> &str;
    fn value(&self) -> &[u8];
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Attribute for (N, V) {
    fn name(&self) -> &str {
        self.0.as_ref()
    }

    fn value(&self) -> &[u8] {
        self.1.as_ref()
    }
}

/// Displayed, it is a filter that parses to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Test(Test),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    attribute: Box<str>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Present,
    Equal(Vec<u8>),
    Approximately(Vec<u8>),
    AtLeast(Vec<u8>),
    AtMost(Vec<u8>),
    /// The parts between the stars, empty ones at the ends where a star leads or trails.
    Like(Vec<Vec<u8>>),
}

impl Filter {
    /// `(attribute=value)`, whatever characters the value has.
    pub fn equal(attribute: &str, value: &str) -> Filter {
        Filter::Test(Test { attribute: attribute.into(), kind: Kind::Equal(value.into()) })
    }

    /// `(attribute=*)`
    pub fn present(attribute: &str) -> Filter {
        Filter::Test(Test { attribute: attribute.into(), kind: Kind::Present })
    }

    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        let mut reader = Reader { text, at: 0 };
        let filter = reader.filter(0)?;
        match reader.at == text.len() {
            true => Ok(filter),
            false => Err(reader.fault(FilterFault::Trailing)),
        }
    }

    pub fn matches(&self, entry: &[impl Attribute]) -> bool {
        match self {
            Filter::And(all) => all.iter().all(|filter| filter.matches(entry)),
            Filter::Or(any) => any.iter().any(|filter| filter.matches(entry)),
            Filter::Not(filter) => !filter.matches(entry),
            Filter::Test(test) => {
                let named = entry.iter().filter(|attribute| is_named(attribute.name(), &test.attribute));
                named.into_iter().any(|attribute| test.kind.matches(attribute.value()))
            }
        }
    }

    /// The attributes that deciding it takes.
    pub fn attributes(&self) -> Vec<&str> {
        match self {
            Filter::And(filters) | Filter::Or(filters) => filters.iter().flat_map(Filter::attributes).collect(),
            Filter::Not(filter) => filter.attributes(),
            Filter::Test(test) => vec![&test.attribute],
        }
    }
}

/// Whether `name` is `attribute`, with or without options (RFC 4512 section 2.5).
fn is_named(name: &str, attribute: &str) -> bool {
    let longer = name.get(attribute.len()..).filter(|rest| rest.is_empty() || rest.starts_with(';'));
    longer.is_some() && name[..attribute.len()].eq_ignore_ascii_case(attribute)
}

impl Kind {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Kind::Present => true,
            Kind::Equal(wanted) | Kind::Approximately(wanted) => is_same(value, wanted),
            Kind::AtLeast(least) => compare(value, least).is_ge(),
            Kind::AtMost(most) => compare(value, most).is_le(),
            Kind::Like(parts) => is_like(&fold(value), parts),
        }
    }
}

fn is_same(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (a.trim_ascii(), b.trim_ascii());
    match a.is_ascii() && b.is_ascii() {
        true => a.eq_ignore_ascii_case(b),
        false => lower(a) == lower(b),
    }
}

fn fold(value: &[u8]) -> Vec<u8> {
    lower(value.trim_ascii())
}

fn lower(value: &[u8]) -> Vec<u8> {
    std::str::from_utf8(value).map_or_else(|_| value.to_vec(), |text| text.to_lowercase().into_bytes())
}

fn compare(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    let number = |value: &[u8]| std::str::from_utf8(value.trim_ascii()).ok()?.parse::<i128>().ok();
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => fold(a).cmp(&fold(b)),
    }
}

fn is_like(value: &[u8], parts: &[Vec<u8>]) -> bool {
    let [first, middle @ .., last] = parts else { return false };
    let Some(mut rest) = value.strip_prefix(lower(first).as_slice()) else { return false };
    for part in middle.iter().filter(|part| !part.is_empty()) {
        let part = lower(part);
        match rest.windows(part.len()).position(|window| window == part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(&lower(last))
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, sign, filters: &[Filter]| {
            write!(f, "({sign}")?;
            filters.iter().try_for_each(|filter| write!(f, "{filter}"))?;
            f.write_str(")")
        };
        match self {
            Filter::And(all) => list(f, '&', all),
            Filter::Or(any) => list(f, '|', any),
            Filter::Not(filter) => write!(f, "(!{filter})"),
            Filter::Test(Test { attribute, kind }) => {
                let (sign, value) = match kind {
                    Kind::Present => ("=", "*".to_owned()),
                    Kind::Equal(value) => ("=", escaped(value)),
                    Kind::Approximately(value) => ("~=", escaped(value)),
                    Kind::AtLeast(value) => (">=", escaped(value)),
                    Kind::AtMost(value) => ("<=", escaped(value)),
                    Kind::Like(parts) => ("=", parts.iter().map(|part| escaped(part)).collect::<Vec<_>>().join("*")),
                };
                write!(f, "({attribute}{sign}{value})")
            }
        }
    }
}

/// A value as a filter may hold it: nothing in it can end the filter or widen it.
pub fn escaped(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '(' | ')' | '*' | '\\' | '\0' => out.push_str(&format!("\\{:02x}", u32::from(c))),
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\{byte:02x}")));
    }
    out
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{filter}`, at character {}: {fault}", self.character())]
pub struct FilterError {
    pub filter: Box<str>,
    /// The byte where reading stopped.
    pub at: usize,
    pub fault: FilterFault,
}

impl FilterError {
    /// The place as a person counts it, from 1.
    pub fn character(&self) -> usize {
        self.filter.get(..self.at).map_or(1, |before| before.chars().count() + 1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterFault {
    #[error("a filter begins with (; accepted: (attribute=value), (&…), (|…) or (!…)")]
    Open,
    #[error("a ) is missing")]
    Close,
    #[error("something follows the filter; accepted: one filter, several of them inside (&…) or (|…)")]
    Trailing,
    #[error("an attribute name is missing or has other characters than letters, digits, - and .")]
    Attribute,
    #[error("accepted here: =, >=, <= or ~=")]
    Sign,
    #[error("an extensible match is not accepted; accepted: =, >=, <= or ~=")]
    Extensible,
    #[error("`\\` wants two hex digits, as in \\2a for a star")]
    Escape,
    #[error("a ( in a value is written \\28")]
    Parenthesis,
    #[error("a * is accepted only with =; a star itself is written \\2a")]
    Star,
    #[error("nested deeper than 64 levels")]
    Deep,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn fault(&self, fault: FilterFault) -> FilterError {
        FilterError { filter: self.text.into(), at: self.at, fault }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8, fault: FilterFault) -> Result<(), FilterError> {
        if self.peek() != Some(byte) {
            return Err(self.fault(fault));
        }
        self.at += 1;
        Ok(())
    }

    fn filter(&mut self, depth: usize) -> Result<Filter, FilterError> {
        if depth > DEEPEST {
            return Err(self.fault(FilterFault::Deep));
        }
        self.expect(b'(', FilterFault::Open)?;
        let filter = match self.peek() {
            Some(b'&') => Filter::And(self.list(depth)?),
            Some(b'|') => Filter::Or(self.list(depth)?),
            Some(b'!') => {
                self.at += 1;
                Filter::Not(Box::new(self.filter(depth + 1)?))
            }
            _ => Filter::Test(self.test()?),
        };
        self.expect(b')', FilterFault::Close)?;
        Ok(filter)
    }

    /// May be empty: `(&)` is true and `(|)` false (RFC 4526).
    fn list(&mut self, depth: usize) -> Result<Vec<Filter>, FilterError> {
        self.at += 1;
        let mut filters = Vec::new();
        while self.peek() == Some(b'(') {
            filters.push(self.filter(depth + 1)?);
        }
        Ok(filters)
    }

    fn test(&mut self) -> Result<Test, FilterError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-._;".contains(&byte)) {
            self.at += 1;
        }
        let attribute = &self.text[start..self.at];
        if attribute.is_empty() || attribute.starts_with(['-', '.', ';', '_']) {
            self.at = start;
            return Err(self.fault(FilterFault::Attribute));
        }
        let sign = self.peek();
        let make: fn(Vec<u8>) -> Kind = match sign {
            Some(b'=') => Kind::Equal,
            Some(b'~') => Kind::Approximately,
            Some(b'>') => Kind::AtLeast,
            Some(b'<') => Kind::AtMost,
            Some(b':') => return Err(self.fault(FilterFault::Extensible)),
            _ => return Err(self.fault(FilterFault::Sign)),
        };
        if sign != Some(b'=') {
            self.at += 1;
        }
        self.expect(b'=', FilterFault::Sign)?;
        let value_at = self.at;
        let mut parts = self.value()?;
        let kind = match (parts.len(), sign) {
            (1, _) => make(parts.swap_remove(0)),
            (2, Some(b'=')) if parts.iter().all(Vec::is_empty) => Kind::Present,
            (_, Some(b'=')) => Kind::Like(parts),
            _ => {
                self.at = value_at;
                return Err(self.fault(FilterFault::Star));
            }
        };
        Ok(Test { attribute: attribute.into(), kind })
    }

    /// The value's parts between stars, unescaped.
    fn value(&mut self) -> Result<Vec<Vec<u8>>, FilterError> {
        let mut parts = Vec::new();
        let mut part = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b')' => break,
                b'(' => return Err(self.fault(FilterFault::Parenthesis)),
                b'*' => parts.push(std::mem::take(&mut part)),
                b'\\' => {
                    let digit = |at: usize| char::from(*self.text.as_bytes().get(at)?).to_digit(16);
                    let (Some(high), Some(low)) = (digit(self.at + 1), digit(self.at + 2)) else {
                        return Err(self.fault(FilterFault::Escape));
                    };
                    part.push((high << 4 | low) as u8);
                    self.at += 2;
                }
                byte => part.push(byte),
            }
            self.at += 1;
        }
        parts.push(part);
        Ok(parts)
    }
}

#[cfg(test)]
mod tests;
