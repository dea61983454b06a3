//! LDIF content records (RFC 2849), read with the place of every line and edited without touching
//! any other byte.
//!
//! ```text
//! version: 1                       optional, first
//! # a comment, which may be folded
//! dn: uid=ann,dc=example,dc=org    or  dn:: base64
//! changetype: add                  optional
//! mail: ann@example.org            or  attribute:: base64
//! description: a long value that
//!   goes on after a line break and one space
//! ```
//!
//! Records end at an empty line. Lines end in LF or CR LF. Values outside ASCII are accepted as plain
//! UTF-8, as every tool writes them, though the RFC asks for base64; a byte order mark is skipped.
//! Folding may split a UTF-8 character, so UTF-8 is checked after unfolding.
//!
//! Deliberately not here: change records other than `add`, controls, and `:<` (a value read from a
//! URL), which would let a data file name any file of the machine.

mod edit;
mod print;

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

pub use edit::{Edit, Refusal, set_value, splice};
pub use print::{LineEnd, write_line, write_record};

/// One entry. Positions are byte offsets in the whole text, lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub dn: Cow<'a, str>,
    /// The line of the DN.
    pub line: usize,
    /// From the DN to the end of the last line, with its line end.
    pub span: Range<usize>,
    pub lines: Vec<Line<'a>>,
}

/// One attribute with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// As spelled, with options: `cn;lang-en`.
    pub name: Cow<'a, str>,
    pub value: Cow<'a, [u8]>,
    pub line: usize,
    /// All its folded lines, with their line ends.
    pub span: Range<usize>,
}

impl super::filter::Attribute for Line<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn value(&self) -> &[u8] {
        &self.value
    }
}

impl Record<'_> {
    /// The lines of `attribute`, in any case.
    pub fn of<'r>(&'r self, attribute: &'r str) -> impl Iterator<Item = &'r Line<'r>> {
        self.lines.iter().filter(move |line| line.name.eq_ignore_ascii_case(attribute))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {fault}")]
pub struct LdifError {
    pub line: usize,
    pub fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("version `{0}` is unknown; accepted: version: 1")]
    Version(String),
    #[error("a record begins with `{0}`; accepted: dn: or dn::")]
    NoDn(String),
    #[error("a second dn: in one record; accepted: an empty line between records")]
    SecondDn,
    #[error("a record has nothing but its dn; accepted: at least one attribute right below it")]
    NoAttributes,
    #[error("no `:` in the line; accepted: attribute: value, attribute:: base64, # comment, or a space to go on")]
    NoColon,
    #[error("`{0}` is no attribute name; accepted: letters, digits, - and ., then ;options")]
    Name(String),
    #[error("`{0}:<` takes a value from a URL, which is not accepted; write the value itself, as {0}: or {0}::")]
    Url(String),
    #[error("`changetype: {0}` is a change record; accepted: content records, or changetype: add right below the dn")]
    ChangeType(String),
    #[error("a control belongs to change records; accepted: content records, or changetype: add")]
    Control,
    #[error("a line that begins with a space goes on a line above, and there is none")]
    NothingToGoOn,
    #[error("the value of `{0}` is no base64: {1}")]
    Base64(String, String),
    #[error("{0} is not UTF-8; write the value in base64, with ::")]
    NotUtf8(String),
    #[error("a {0} stands in the line; write the value in base64, with ::")]
    Unwritable(&'static str),
}

/// Reads the records of a text. After an error it goes on with the next record, so that one pass finds
/// all errors.
pub struct Records<'a> {
    text: &'a [u8],
    at: usize,
    /// The number of the line at `at`.
    line: usize,
    begun: bool,
}

impl<'a> Records<'a> {
    pub fn new(text: &'a [u8]) -> Records<'a> {
        let at = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Records { text, at, line: 1, begun: false }
    }

    /// The next logical line: unfolded, without its line end; `None` at the end of the text.
    fn logical(&mut self) -> Option<Logical<'a>> {
        let (line, start) = (self.line, self.at);
        let mut text = Cow::Borrowed(self.physical()?);
        while !text.is_empty() && self.text.get(self.at) == Some(&b' ') {
            let more = self.physical().unwrap_or_default();
            text.to_mut().extend_from_slice(&more[1..]);
        }
        Some(Logical { text, line, span: start..self.at })
    }

    fn physical(&mut self) -> Option<&'a [u8]> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        self.at += length;
        self.line += 1;
        let line = &rest[..length];
        let line = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        Some(line)
    }

    fn record(&mut self, first: Logical<'a>) -> Result<Record<'a>, LdifError> {
        let line = first.line;
        let mut span = first.span.clone();
        let dn = match first.read()? {
            read if read.name.eq_ignore_ascii_case("dn") => utf8(read.value, "the dn").map_err(at(line))?,
            read => return Err(LdifError { line, fault: Fault::NoDn(read.name.into_owned()) }),
        };
        let mut lines = Vec::new();
        let mut change_type_may_come = true;
        while let Some(logical) = self.logical() {
            if logical.text.is_empty() {
                break;
            }
            if logical.text.starts_with(b"#") {
                continue;
            }
            let read = logical.read()?;
            let fault = |fault| Err(LdifError { line: read.line, fault });
            match read.name.to_ascii_lowercase().as_str() {
                "dn" => return fault(Fault::SecondDn),
                "control" if change_type_may_come => return fault(Fault::Control),
                "changetype" if change_type_may_come && read.value.eq_ignore_ascii_case(b"add") => {}
                "changetype" => {
                    let value = String::from_utf8_lossy(&read.value).into_owned();
                    return fault(Fault::ChangeType(value));
                }
                _ => {
                    span.end = read.span.end;
                    lines.push(read);
                }
            }
            change_type_may_come = false;
        }
        if lines.is_empty() {
            return Err(LdifError { line, fault: Fault::NoAttributes });
        }
        Ok(Record { dn, line, span, lines })
    }

    /// Skips to the end of a record that could not be read.
    fn skip_record(&mut self) {
        while self.physical().is_some_and(|line| !line.is_empty()) {}
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, LdifError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let logical = self.logical()?;
            if logical.text.is_empty() || logical.text.starts_with(b"#") {
                continue;
            }
            if !self.begun {
                self.begun = true;
                match logical.version() {
                    Some(Ok(())) => continue,
                    Some(Err(error)) => return Some(Err(error)),
                    None => {}
                }
            }
            let record = self.record(logical);
            // `NoAttributes` is found at the record's end, every other fault within it.
            if record.as_ref().is_err_and(|error| error.fault != Fault::NoAttributes) {
                self.skip_record();
            }
            return Some(record);
        }
    }
}

struct Logical<'a> {
    text: Cow<'a, [u8]>,
    line: usize,
    span: Range<usize>,
}

impl<'a> Logical<'a> {
    /// `None` for a line that is something else than a version line.
    fn version(&self) -> Option<Result<(), LdifError>> {
        let colon = self.text.iter().position(|byte| *byte == b':')?;
        if !self.text[..colon].eq_ignore_ascii_case(b"version") {
            return None;
        }
        match self.text[colon + 1..].trim_ascii() {
            b"1" => Some(Ok(())),
            other => {
                let version = String::from_utf8_lossy(other).into_owned();
                Some(Err(LdifError { line: self.line, fault: Fault::Version(version) }))
            }
        }
    }

    fn read(self) -> Result<Line<'a>, LdifError> {
        let line = self.line;
        self.split().map_err(at(line))
    }

    fn split(self) -> Result<Line<'a>, Fault> {
        let Logical { text, line, span } = self;
        if text.starts_with(b" ") {
            return Err(Fault::NothingToGoOn);
        }
        let colon = text.iter().position(|byte| *byte == b':').ok_or(Fault::NoColon)?;
        let name = utf8(part(&text, 0..colon), "the attribute name")?;
        if !is_attribute(&name) {
            return Err(Fault::Name(name.into_owned()));
        }
        let kind = text.get(colon + 1).copied();
        let mark = if matches!(kind, Some(b':' | b'<')) { 2 } else { 1 };
        let spaces = text[colon + mark..].iter().take_while(|byte| **byte == b' ').count();
        let value = part(&text, colon + mark + spaces..text.len());
        let value = match kind {
            Some(b'<') => return Err(Fault::Url(name.into_owned())),
            Some(b':') => match BASE64.decode(value.trim_ascii_end()) {
                Ok(value) => Cow::Owned(value),
                Err(error) => return Err(Fault::Base64(name.into_owned(), error.to_string())),
            },
            _ => plain(value, &name)?,
        };
        Ok(Line { name, value, line, span })
    }
}

/// A value written as it is. NUL and CR can only be meant as base64; LF cannot come here.
fn plain<'a>(value: Cow<'a, [u8]>, name: &str) -> Result<Cow<'a, [u8]>, Fault> {
    for byte in value.iter() {
        match byte {
            0 => return Err(Fault::Unwritable("NUL")),
            b'\r' => return Err(Fault::Unwritable("carriage return")),
            _ => {}
        }
    }
    if std::str::from_utf8(&value).is_err() {
        return Err(Fault::NotUtf8(format!("the value of `{name}`")));
    }
    Ok(value)
}

/// RFC 4512 `attributedescription`, and `_`, which 389 Directory Server lets through.
pub(super) fn is_attribute(name: &str) -> bool {
    let (base, options) = name.split_once(';').map_or((name, None), |(base, options)| (base, Some(options)));
    let word = |text: &str, more: &[char]| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
    };
    word(base, &['-', '.', '_'])
        && base.starts_with(|c: char| c.is_ascii_alphanumeric())
        && options.is_none_or(|options| options.split(';').all(|option| word(option, &['-', '_'])))
}

fn part<'a>(text: &Cow<'a, [u8]>, range: Range<usize>) -> Cow<'a, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
        Cow::Owned(text) => Cow::Owned(text[range].to_vec()),
    }
}

fn utf8<'a>(bytes: Cow<'a, [u8]>, what: &str) -> Result<Cow<'a, str>, Fault> {
    let bad = || Fault::NotUtf8(what.to_owned());
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| bad()),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| bad()),
    }
}

fn at(line: usize) -> impl Fn(Fault) -> LdifError {
    move |fault| LdifError { line, fault }
}

#[cfg(test)]
mod tests;
