//! Distinguished names (RFC 4514), as far as telling whether two name the same entry.
//!
//! Compared without regard to case and to spaces that are not escaped, as the matching rules of all
//! usual naming attributes do. A schema is not consulted: an attribute that is named by its OID or an
//! alias (`commonName`) is taken as another one. Quoted values and `;` between the parts, which RFC 2253
//! still allowed, are read.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dn(Vec<Rdn>);

/// One level; more than one pair for `cn=Ann+uid=ann`, in order of the attribute.
type Rdn = Vec<(String, Vec<u8>)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at} of the dn: {fault}")]
pub struct DnError {
    pub at: usize,
    pub fault: DnFault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnFault {
    #[error("no attribute name (letters, digits, - . and _); accepted: attribute=value, separated by commas")]
    NoAttribute,
    #[error("`\\` is followed by nothing to escape; accepted: \\, and a special character or two hex digits")]
    Escape,
    #[error("a quote is not closed")]
    Quote,
}

impl Dn {
    pub fn parse(text: &str) -> Result<Dn, DnError> {
        let mut reader = Reader { text: text.as_bytes(), at: 0 };
        let mut rdns = Vec::new();
        if text.trim().is_empty() {
            return Ok(Dn(rdns));
        }
        loop {
            let mut rdn = vec![reader.pair()?];
            while reader.peek() == Some(b'+') {
                reader.at += 1;
                rdn.push(reader.pair()?);
            }
            rdn.sort();
            rdns.push(rdn);
            match reader.peek() {
                None => return Ok(Dn(rdns)),
                Some(_) => reader.at += 1,
            }
        }
    }

    /// The entry above; `None` for a root.
    pub fn parent(&self) -> Option<Dn> {
        self.0.split_first().map(|(_, above)| Dn(above.to_vec()))
    }

    /// The DNS name that the `dc` parts spell (RFC 2247): `example.org`.
    pub fn domain(&self) -> Option<String> {
        let labels = self.0.iter().filter_map(|rdn| match rdn.as_slice() {
            [(attribute, value)] if attribute == "dc" => std::str::from_utf8(value).ok(),
            _ => None,
        });
        let name = labels.collect::<Vec<_>>().join(".");
        Some(name).filter(|name| !name.is_empty())
    }
}

/// One spelling for all spellings of a DN.
impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (level, rdn) in self.0.iter().enumerate() {
            for (number, (attribute, value)) in rdn.iter().enumerate() {
                let separator = if number > 0 { "+" } else { "," };
                write!(f, "{}{attribute}=", if level + number > 0 { separator } else { "" })?;
                write_value(value, f)?;
            }
        }
        Ok(())
    }
}

/// The normal spelling of `text`; where it is no DN, `text` itself in lower case, so that two equal
/// spellings of it still compare equal.
pub fn normal(text: &str) -> String {
    Dn::parse(text).map_or_else(|_| text.trim().to_lowercase(), |dn| dn.to_string())
}

/// Whether a DN is `base` or lies below it; both in their normal spelling. Everything lies below the root, "".
pub fn lies_below(dn: &str, base: &str) -> bool {
    let Some(rest) = dn.strip_suffix(base) else { return false };
    // An escaped comma is part of a value, and ends no name.
    let escapes = rest.strip_suffix(',').map(|rest| rest.len() - rest.trim_end_matches('\\').len());
    rest.is_empty() || base.is_empty() || escapes.is_some_and(|escapes| escapes % 2 == 0)
}

fn write_value(value: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | ',' | '+' | '"' | ';' | '<' | '>' | '#' | '=' => write!(f, "\\{c}")?,
                c if c.is_control() => c.encode_utf8(&mut [0; 4]).bytes().try_for_each(|b| write!(f, "\\{b:02x}"))?,
                c => write!(f, "{c}")?,
            }
        }
        chunk.invalid().iter().try_for_each(|byte| write!(f, "\\{byte:02x}"))?;
    }
    Ok(())
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn pair(&mut self) -> Result<(String, Vec<u8>), DnError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| !matches!(byte, b'=' | b',' | b';' | b'+')) {
            self.at += 1;
        }
        let name = String::from_utf8_lossy(&self.text[start..self.at]).trim().to_ascii_lowercase();
        // RFC 2253 put it before an object identifier; elsewhere it belongs to the name.
        let number = name.strip_prefix("oid.").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let name = number.unwrap_or(&name);
        let spelt = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if name.is_empty() || !name.chars().all(spelt) || self.peek() != Some(b'=') {
            return Err(DnError { at: start, fault: DnFault::NoAttribute });
        }
        self.at += 1;
        Ok((name.to_owned(), fold(self.value()?)))
    }

    fn value(&mut self) -> Result<Vec<u8>, DnError> {
        let mut value = Vec::new();
        let mut quote = None;
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' => {
                    value.push(self.escape()?);
                    continue;
                }
                b'"' if quote.is_some() => quote = None,
                b'"' => quote = Some(self.at),
                b',' | b';' | b'+' if quote.is_none() => break,
                byte => value.push(byte),
            }
            self.at += 1;
        }
        match quote {
            Some(at) => Err(DnError { at, fault: DnFault::Quote }),
            None => Ok(value),
        }
    }

    fn escape(&mut self) -> Result<u8, DnError> {
        let fault = DnError { at: self.at, fault: DnFault::Escape };
        let first = *self.text.get(self.at + 1).ok_or(fault)?;
        let hex = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        if let Some(high) = hex(first) {
            let low = self.text.get(self.at + 2).copied().and_then(hex).ok_or(fault)?;
            self.at += 3;
            return Ok(high << 4 | low);
        }
        self.at += 2;
        Ok(first)
    }
}

/// Lower case, no spaces at the ends, one where several stand. caseIgnoreMatch ignores escaped spaces
/// just so: an escape only carries them through the syntax.
fn fold(value: Vec<u8>) -> Vec<u8> {
    let mut folded = Vec::with_capacity(value.len());
    for word in value.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
        if !folded.is_empty() {
            folded.push(b' ');
        }
        folded.extend_from_slice(word);
    }
    match String::from_utf8(folded) {
        Ok(text) => text.to_lowercase().into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below() {
        assert!(lies_below("uid=a,dc=x", "dc=x") && lies_below("dc=x", "dc=x") && lies_below("dc=x", ""));
        assert!(!lies_below("dc=ax", "dc=x") && !lies_below("dc=x", "uid=a,dc=x"));
        assert!(!lies_below("cn=a\\,dc=x", "dc=x") && lies_below("cn=a\\\\,dc=x", "dc=x"));
    }
    use proptest::prelude::*;

    macro_rules! same { ($($name:ident: $a:literal == $b:literal,)*) => { $(
        #[test] fn $name() { assert_eq!(normal($a), normal($b)); }
    )* } }
    same! {
        case: "UID=Ann,DC=Example,DC=Org" == "uid=ann,dc=example,dc=org",
        spaces: " uid = ann , dc=example" == "uid=ann,dc=example",
        inner_spaces: "cn=Ann  Lee,dc=x" == "cn=ann lee,dc=x",
        semicolons: "uid=ann;dc=x" == "uid=ann,dc=x",
        hex_and_character_escape: "cn=Lee\\2C Ann,dc=x" == "cn=Lee\\, Ann,dc=x",
        quotes: "cn=\"Lee, Ann\",dc=x" == "cn=Lee\\, Ann,dc=x",
        order_of_a_pair: "uid=ann+cn=Ann,dc=x" == "cn=Ann+uid=ann,dc=x",
        utf8_in_hex: "cn=J\\c3\\bcrgen,dc=x" == "CN=JÜRGEN,dc=x",
        oid_prefix: "OID.2.5.4.3=a,dc=x" == "2.5.4.3=a,dc=x",
    }

    #[test]
    fn an_escaped_comma_does_not_part() {
        assert_ne!(normal("cn=a\\,dc=x"), normal("cn=a,dc=x"));
        assert_eq!(normal("cn=a\\,dc=x"), "cn=a\\,dc\\=x");
    }

    #[test]
    fn an_attribute_is_a_word() {
        for text in ["=v", "c n=v", "a\nb=v", "\u{e4}=v", "\"a\"=v"] {
            assert_eq!(Dn::parse(text), Err(DnError { at: 0, fault: DnFault::NoAttribute }), "{text:?}");
        }
        // The normal spelling is that of itself.
        for text in ["oid.=v", "oid.oid.1=v", "oid.x=v"] {
            assert_eq!(normal(text), text);
        }
    }

    #[test]
    fn parents_and_domains() {
        let dn = Dn::parse("uid=ann,ou=People,dc=Example,dc=org").unwrap();
        assert_eq!(dn.parent().unwrap().to_string(), "ou=people,dc=example,dc=org");
        assert_eq!(dn.domain().as_deref(), Some("example.org"));
        assert_eq!(Dn::parse("o=example.org").unwrap().domain(), None);
        assert_eq!(Dn::parse("").unwrap().parent(), None);
    }

    #[test]
    fn errors_name_the_place() {
        let error = |text| Dn::parse(text).unwrap_err();
        assert_eq!(error("uid=ann,,dc=x"), DnError { at: 8, fault: DnFault::NoAttribute });
        assert_eq!(error("ann"), DnError { at: 0, fault: DnFault::NoAttribute });
        assert_eq!(error("cn=a\\"), DnError { at: 4, fault: DnFault::Escape });
        assert_eq!(error("cn=a\\4"), DnError { at: 4, fault: DnFault::Escape });
        assert_eq!(error("cn=\"a"), DnError { at: 3, fault: DnFault::Quote });
    }

    proptest! {
        #[test]
        fn the_normal_spelling_is_its_own(text in "([a-z]{1,3}[ ]?=[ a-zA-ZÄ\\\\,+\"0-9=#]{0,8}[,+;]?){0,4}") {
            if let Ok(dn) = Dn::parse(&text) {
                let normal = dn.to_string();
                prop_assert_eq!(Dn::parse(&normal), Ok(dn), "{}", normal);
            }
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = normal(&text);
        }
    }
}
