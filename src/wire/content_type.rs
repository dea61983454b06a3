//! The Content-Type of a message as a whole (RFC 2045 section 5, RFC 5322 section 2.2), and the table that
//! gives some of them a name of their own.
//!
//! Only `type/subtype` matters here: parameters are not looked at, comments are skipped. A message without
//! the field, or with one that cannot be read, is `text/plain` (RFC 2045 section 5.2). Of several fields
//! the first counts. Compressed or encrypted files have no head that can be read and so are `text/plain`.

use std::sync::Arc;

/// Nothing reasonable has a longer head; what lies beyond is not looked at.
pub const HEAD_LIMIT: usize = 256 * 1024;

const FIELD: &[u8] = b"content-type";
const DEFAULT: &str = "text/plain";

/// The type in lower case, such as `multipart/voice-message`, from the first bytes of a message.
/// `whole` says that no more are to come. `None`: more bytes are needed.
pub fn content_type(head: &[u8], whole: bool) -> Option<String> {
    let whole = whole || head.len() >= HEAD_LIMIT;
    let mut rest = head;
    while let Some(end) = field_end(rest, whole) {
        let (field, tail) = rest.split_at(end);
        if field.is_empty() || matches!(field, b"\n" | b"\r\n") {
            return Some(DEFAULT.into());
        }
        if let Some(body) = body_of(field) {
            return Some(read(body).unwrap_or_else(|| DEFAULT.into()));
        }
        rest = tail;
    }
    None
}

/// Where the field that `text` begins with ends, its folded lines included. Whether a line is the last one
/// of its field is only known from the byte after it.
fn field_end(text: &[u8], whole: bool) -> Option<usize> {
    let mut at = 0;
    while let Some(length) = text[at..].iter().position(|byte| *byte == b'\n') {
        let blank = matches!(&text[at..at + length], b"" | b"\r");
        at += length + 1;
        if blank && at == length + 1 {
            return Some(at);
        }
        match text.get(at) {
            Some(b' ' | b'\t') => {}
            Some(_) => return Some(at),
            None => break,
        }
    }
    whole.then_some(text.len())
}

fn body_of(field: &[u8]) -> Option<&[u8]> {
    let (name, rest) = field.split_at_checked(FIELD.len())?;
    let body = rest.trim_ascii_start().strip_prefix(b":")?;
    name.eq_ignore_ascii_case(FIELD).then_some(body)
}

fn read(body: &[u8]) -> Option<String> {
    let (kind, rest) = token(skip(body)?)?;
    let rest = skip(rest)?.strip_prefix(b"/")?;
    let (subkind, rest) = token(skip(rest)?)?;
    // `audio/wav garbage` is as unreadable as `audio`.
    match skip(rest)?.first() {
        None | Some(b';') => Some(format!("{kind}/{subkind}")),
        Some(_) => None,
    }
}

fn token(text: &[u8]) -> Option<(String, &[u8])> {
    let special = |byte: &u8| !byte.is_ascii_graphic() || b"()<>@,;:\\\"/[]?=".contains(byte);
    let end = text.iter().position(special).unwrap_or(text.len());
    let (token, rest) = text.split_at(end);
    let token = str::from_utf8(token).ok().filter(|token| !token.is_empty())?;
    Some((token.to_ascii_lowercase(), rest))
}

/// Skips white space and comments, which nest. `None` if a comment does not end.
fn skip(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = text.trim_ascii_start();
        let Some(mut comment) = text.strip_prefix(b"(") else { return Some(text) };
        let mut depth = 1u32;
        while depth > 0 {
            let (byte, rest) = comment.split_first()?;
            comment = rest;
            match byte {
                b'(' => depth = depth.checked_add(1)?,
                b')' => depth -= 1,
                b'\\' => comment = comment.get(1..)?,
                _ => {}
            }
        }
        text = comment;
    }
}

/// Which Content-Types have which name: `voice = ["multipart/voice-message", "audio/*"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeTable {
    names: Vec<Arc<str>>,
    /// In lower case, with the number of the name.
    exact: Vec<(Box<str>, u8)>,
    /// The part before `/*`.
    wild: Vec<(Box<str>, u8)>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeTableError {
    #[error("type {0:?}: a name is not empty and has no control character, ; % or # in it")]
    Name(String),
    #[error("type {0} is there twice")]
    Repeated(String),
    #[error("type {name}: {pattern:?} is no Content-Type; type/subtype and type/* are accepted")]
    Pattern { name: String, pattern: String },
    #[error("{0} types; at most {max} are accepted", max = TypeTable::MAX)]
    TooMany(usize),
}

impl TypeTable {
    pub const MAX: usize = 200;

    /// The names in the order of the configuration, each with its patterns.
    pub fn new<N: AsRef<str>, P: AsRef<str>>(
        types: impl IntoIterator<Item = (N, impl IntoIterator<Item = P>)>,
    ) -> Result<TypeTable, TypeTableError> {
        let mut table = TypeTable::default();
        for (name, patterns) in types {
            let name = name.as_ref();
            if name.is_empty() || name.contains([';', '%', '#']) || name.contains(char::is_control) {
                return Err(TypeTableError::Name(name.into()));
            }
            if table.names.iter().any(|known| **known == *name) {
                return Err(TypeTableError::Repeated(name.into()));
            }
            let number = u8::try_from(table.names.len()).ok().filter(|number| usize::from(*number) < Self::MAX);
            let number = number.ok_or(TypeTableError::TooMany(Self::MAX + 1))?;
            table.names.push(name.into());
            for pattern in patterns {
                table.put(name, pattern.as_ref(), number)?;
            }
        }
        Ok(table)
    }

    fn put(&mut self, name: &str, pattern: &str, number: u8) -> Result<(), TypeTableError> {
        let fail = || TypeTableError::Pattern { name: name.into(), pattern: pattern.into() };
        let (kind, subkind) = pattern.split_once('/').ok_or_else(fail)?;
        let whole = |text: &str| token(text.as_bytes()).filter(|(_, rest)| rest.is_empty()).map(|(token, _)| token);
        let kind = whole(kind).filter(|kind| !kind.contains('*')).ok_or_else(fail)?;
        if subkind == "*" {
            self.wild.push((kind.into(), number));
        } else {
            let subkind = whole(subkind).filter(|subkind| !subkind.contains('*')).ok_or_else(fail)?;
            self.exact.push((format!("{kind}/{subkind}").into(), number));
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The number, in [`TypeTable::names`], of the type that a Content-Type in lower case belongs to. An
    /// exact pattern beats a wildcard; of two that fit the first in the configuration counts.
    pub fn find(&self, content_type: &str) -> Option<u8> {
        let kind = content_type.split('/').next().unwrap_or_default();
        let exact = self.exact.iter().find(|(pattern, _)| **pattern == *content_type);
        let wild = || self.wild.iter().find(|(pattern, _)| **pattern == *kind);
        exact.or_else(wild).map(|(_, number)| *number)
    }

    /// Names and patterns in one text: tables with the same text judge alike. No name and no pattern has a
    /// control character, so those keep them apart.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        for (number, name) in self.names.iter().enumerate() {
            text.push_str(name);
            let of = |list: &[(Box<str>, u8)], end: &str| -> String {
                let own = list.iter().filter(|(_, owner)| usize::from(*owner) == number);
                own.map(|(pattern, _)| format!("\t{pattern}{end}")).collect()
            };
            text.push_str(&of(&self.exact, ""));
            text.push_str(&of(&self.wild, "/*"));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
#[path = "content_type_tests.rs"]
mod tests;
