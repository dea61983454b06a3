//! The bytes of a notice: RFC 5322 header and a text/plain body (RFC 2045), marked as RFC 3834 wants it.
//!
//! Only typed values go into a header: an [`Address`] cannot hold what would end a line or begin another
//! address, every other value is freed of control characters, and what is not ASCII becomes encoded words
//! (RFC 2047). Deliberately not done: quoted local parts and address literals, which no account here has.

use std::fmt::{self, Write};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike};

use crate::quota::Moment;

/// The longest address: RFC 5321 section 4.5.3.1 allows 64 + 1 + 255 bytes.
const LONGEST_ADDRESS: usize = 320;
/// Where header lines are folded, and how long an encoded word may be (RFC 2047 section 2).
const LINE: usize = 76;
/// The longest line that may be sent as it is (RFC 5322 section 2.1.1).
const LONGEST_LINE: usize = 998;

/// `local@domain`, both dot-atoms (RFC 5322 section 3.2.3), letters of other alphabets allowed (RFC 6532).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address(Box<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no address that mail can be sent to; accepted: local@domain", .0.escape_debug())]
pub struct AddressError(pub String);

impl Address {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let atom = |atom: &str| {
            let good = |c: char| {
                c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii() && c.is_alphanumeric()
            };
            !atom.is_empty() && atom.chars().all(good)
        };
        let sound = text.len() <= LONGEST_ADDRESS
            && text.split_once('@').is_some_and(|(local, domain)| {
                local.split('.').all(atom) && domain.split('.').all(|label| atom(label) && !label.starts_with('-'))
            });
        if sound { Ok(Address(text.into())) } else { Err(AddressError(text.into())) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a letter is from: `postmaster@example.org`, or `Mail quota <postmaster@example.org>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    pub name: Box<str>,
    pub address: Address,
}

impl FromStr for Sender {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Sender, AddressError> {
        let (name, address) = match text.trim().strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
            Some((name, address)) => (name.trim().trim_matches('"'), address),
            None => ("", text.trim()),
        };
        if name.chars().any(char::is_control) {
            return Err(AddressError(text.into()));
        }
        Ok(Sender { name: name.into(), address: address.parse()? })
    }
}

/// One message to one recipient.
pub struct Letter<'a> {
    pub message_id: &'a str,
    pub date: Moment,
    pub from: &'a Sender,
    pub to: &'a Address,
    /// Subject and what else the template gives, each value on one line.
    pub headers: Vec<(&'a str, String)>,
    pub body: String,
}

impl Letter<'_> {
    /// The message with CRLF line ends, as SMTP takes it (dots are the transport's business).
    pub fn print(&self) -> Vec<u8> {
        let mut text = String::new();
        let date = i64::try_from(self.date.0).ok().and_then(DateTime::from_timestamp_millis);
        // RFC 2822 has years of four digits, and chrono panics at others.
        let date = date.filter(|date| date.year() <= 9999).unwrap_or_default();
        // A String takes whatever is written to it.
        let _ = write!(text, "Date: {}\r\n", date.to_rfc2822());
        let address = &self.from.address;
        match &*self.from.name {
            "" => field(&mut text, "From", address.as_str(), false),
            name => field(&mut text, "From", &format!("{} <{address}>", phrase(name)), false),
        }
        field(&mut text, "To", self.to.as_str(), false);
        for (name, value) in &self.headers {
            field(&mut text, name, value, true);
        }
        let _ = write!(text, "Message-ID: <{}>\r\n", self.message_id);
        text.push_str("Auto-Submitted: auto-generated\r\nPrecedence: bulk\r\nX-Auto-Response-Suppress: All\r\n");
        text.push_str("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n");
        let lines: Vec<&str> = self.body.split('\n').map(|line| line.trim_end_matches('\r')).collect();
        let whole = lines.join("\r\n");
        let plain =
            |line: &&str| line.len() <= LONGEST_LINE && line.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
        if lines.iter().all(plain) {
            text.push_str("Content-Transfer-Encoding: 7bit\r\n\r\n");
            text.push_str(&whole);
        } else {
            text.push_str("Content-Transfer-Encoding: base64\r\n\r\n");
            let encoded = STANDARD.encode(whole);
            for line in encoded.as_bytes().chunks(LINE) {
                text.push_str(std::str::from_utf8(line).unwrap_or_default());
                text.push_str("\r\n");
            }
        }
        if !text.ends_with("\r\n") {
            text.push_str("\r\n");
        }
        text.into_bytes()
    }
}

/// A display name: encoded where it is not ASCII, else quoted (RFC 5322 section 3.2.4).
fn phrase(name: &str) -> String {
    match is_plain(name) {
        true => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
        false => encoded_words(name, 0),
    }
}

/// What a reader would not take for an encoded word.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && !text.contains("=?")
}

/// One header field, folded. `encode`: free text, where other alphabets become encoded words.
fn field(text: &mut String, name: &str, value: &str, encode: bool) {
    let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let too_long = value.split(' ').any(|word| word.len() + name.len() + 3 > LONGEST_LINE);
    let value = match encode && (!is_plain(&value) || too_long) {
        true => encoded_words(&value, name.len() + 2),
        false => value,
    };
    text.push_str(name);
    text.push(':');
    let mut column = name.len() + 1;
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        if column + 1 + word.len() > LINE && column > name.len() + 1 {
            text.push_str("\r\n");
            column = 0;
        }
        text.push(' ');
        text.push_str(word);
        column += 1 + word.len();
    }
    text.push_str("\r\n");
}

/// `=?utf-8?B?...?=`, as many as it takes, none of them cutting a character in two. The white space
/// between them is not part of what they say.
fn encoded_words(text: &str, used: usize) -> String {
    const FRAME: usize = "=?utf-8?B??=".len();
    let mut words: Vec<String> = Vec::new();
    let mut chunk = String::new();
    let mut room = (LINE - FRAME - used.min(20)) / 4 * 3;
    for c in text.chars() {
        if chunk.len() + c.len_utf8() > room {
            words.push(std::mem::take(&mut chunk));
            room = (LINE - FRAME - 1) / 4 * 3;
        }
        chunk.push(c);
    }
    words.push(chunk);
    let encoded: Vec<String> = words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect();
    encoded.join(" ")
}

#[cfg(test)]
#[path = "letter_tests.rs"]
mod tests;
