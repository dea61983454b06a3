//! IMAP4rev1 and IMAP4rev2 (RFC 3501, RFC 9051), as much of it as measuring a mailbox takes: responses in,
//! [commands](command) out.
//!
//! ```text
//! * OK [code] text                  * CAPABILITY word ...          * LIST (flags) separator name
//! tag OK|NO|BAD [code] text         * NAMESPACE own others shared  * STATUS name (word number ...)
//! + text                            * number EXISTS|EXPUNGE        * number FETCH (word value ...)
//! ```
//!
//! Strings are atoms, `"quoted"`, or literals: `{7}` at a line's end, and 7 bytes after it. A response ends at the end of
//! a line that announces no literal. What else servers tell unasked is [`Response::Other`]; items of FETCH and STATUS
//! that nobody asked for are skipped, in whatever order they come.
//!
//! Names of mailboxes stay the bytes that they are: `wire/mutf7.rs` knows what they mean. Numbers are 64 bits wide
//! where RFC 9051 lets them be. Lines may end in LF alone.

pub mod command;
mod cursor;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use self::cursor::Cursor;

/// The longest response, its literals included. The longest that we ask for is a message's Content-Type, of
/// [`HEAD_LIMIT`](super::content_type::HEAD_LIMIT) bytes at most.
pub const RESPONSE_LIMIT: usize = 1 << 20;

/// How much of what a server says is shown.
const SHOWN: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("a response of more than {RESPONSE_LIMIT} bytes")]
    TooLong,
    #[error("`{0}` is not IMAP")]
    Malformed(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response<'a> {
    /// The end of the command of that tag.
    Done {
        tag: &'a [u8],
        outcome: Outcome,
        said: Said,
    },
    /// Said of no command.
    Untagged {
        outcome: Outcome,
        said: Said,
    },
    /// The server waits for the rest of a command.
    Continue,
    Capabilities(Capabilities),
    Mailbox(Mailbox<'a>),
    Status(Status<'a>),
    Namespaces(Namespaces),
    /// How many messages the mailbox that is selected holds.
    Exists(u64),
    Expunged,
    Message(Message<'a>),
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    No,
    Bad,
    Bye,
    Preauth,
}

/// What stands behind OK, NO, BAD, BYE or PREAUTH.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub code: Option<Code>,
    /// The code and the text, in one line without control characters.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    Capabilities(Capabilities),
    UidValidity(u32),
    UidNext(u32),
    NonExistent,
    Other,
}

/// What a server can do that matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    pub starttls: bool,
    pub login_disabled: bool,
    pub auth_plain: bool,
    /// The first answer of a login may come with the command (RFC 4959).
    pub sasl_ir: bool,
    /// RFC 2342.
    pub namespace: bool,
    /// LIST returns the figures of STATUS as well (RFC 5819).
    pub list_status: bool,
    /// STATUS tells sizes (RFC 8438).
    pub status_size: bool,
    /// Names are UTF-8, for the server speaks nothing but IMAP4rev2.
    pub utf8: bool,
}

/// A line of LIST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox<'a> {
    pub name: Cow<'a, [u8]>,
    /// What stands between levels; `None` where there are none.
    pub separator: Option<u8>,
    /// Whether it holds messages, and not only other mailboxes (`\Noselect`, `\NonExistent`).
    pub selectable: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status<'a> {
    pub name: Cow<'a, [u8]>,
    pub messages: Option<u64>,
    pub size: Option<u64>,
    pub uid_next: Option<u32>,
    pub uid_validity: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    pub own: Vec<Namespace>,
    pub others: Vec<Namespace>,
    pub shared: Vec<Namespace>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    pub prefix: Vec<u8>,
    pub separator: Option<u8>,
}

/// What FETCH told of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    pub number: u64,
    pub uid: Option<u32>,
    pub size: Option<u64>,
    /// The fields that `BODY[...]` asked for.
    pub head: Option<Cow<'a, [u8]>>,
}

/// Reads the response that `bytes` begin with, and its length. `None`: more bytes are needed. It is looked at as a
/// whole when it is there; until then only its lines' ends are.
pub fn parse(bytes: &[u8]) -> Result<Option<(Response<'_>, usize)>, Invalid> {
    let Some(length) = frame(bytes)? else { return Ok(None) };
    let whole = &bytes[..length];
    let response = read(whole).ok_or_else(|| Invalid::Malformed(shown(whole)))?;
    Ok(Some((response, length)))
}

/// Where the first response ends.
fn frame(bytes: &[u8]) -> Result<Option<usize>, Invalid> {
    let mut begin = 0;
    loop {
        let Some(length) = bytes.get(begin..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) else {
            return if bytes.len() > RESPONSE_LIMIT { Err(Invalid::TooLong) } else { Ok(None) };
        };
        let (line, end) = (&bytes[begin..begin + length], begin + length + 1);
        if end > RESPONSE_LIMIT {
            return Err(Invalid::TooLong);
        }
        // Text for people may end like the announcement of a literal, and is none.
        let literal = if begin == 0 && is_text(line) { None } else { announced(line)? };
        let Some(literal) = literal else { return Ok(Some(end)) };
        begin = end.checked_add(literal).filter(|begin| *begin < RESPONSE_LIMIT).ok_or(Invalid::TooLong)?;
    }
}

/// The length of the literal that a line ends with the announcement of.
fn announced(line: &[u8]) -> Result<Option<usize>, Invalid> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(line) = line.strip_suffix(b"}") else { return Ok(None) };
    let line = line.strip_suffix(b"+").unwrap_or(line);
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = line.split_at(line.len() - digits);
    if digits.is_empty() || !before.ends_with(b"{") {
        return Ok(None);
    }
    cursor::decimal(digits).and_then(|length| usize::try_from(length).ok()).ok_or(Invalid::TooLong).map(Some)
}

/// Whether a line is text after its first words: continuations, and what begins with OK, NO, BAD, BYE or PREAUTH.
fn is_text(line: &[u8]) -> bool {
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\r'));
    words.next() == Some(&b"+"[..]) || words.next().is_some_and(|word| outcome(word).is_some())
}

fn outcome(word: &[u8]) -> Option<Outcome> {
    let known = [
        ("OK", Outcome::Ok),
        ("NO", Outcome::No),
        ("BAD", Outcome::Bad),
        ("BYE", Outcome::Bye),
        ("PREAUTH", Outcome::Preauth),
    ];
    known.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, outcome)| outcome)
}

fn read(whole: &[u8]) -> Option<Response<'_>> {
    let mut cursor = Cursor::new(whole);
    let tag = cursor.word();
    if tag == b"+" {
        return Some(Response::Continue);
    }
    cursor.space().filter(|()| !tag.is_empty())?;
    let word = cursor.word();
    if let Some(outcome) = outcome(word) {
        let said = said(&cursor);
        return Some(match tag {
            b"*" => Response::Untagged { outcome, said },
            tag => Response::Done { tag, outcome, said },
        });
    }
    if tag != b"*" || word.is_empty() {
        return None;
    }
    if let Some(number) = cursor::decimal(word) {
        cursor.space()?;
        return numbered(number, cursor);
    }
    match word.to_ascii_uppercase().as_slice() {
        b"CAPABILITY" => Some(Response::Capabilities(capabilities(cursor.rest_of_line()))),
        b"LIST" => mailbox(cursor).map(Response::Mailbox),
        b"STATUS" => status(cursor).map(Response::Status),
        b"NAMESPACE" => namespaces(cursor).map(Response::Namespaces),
        _ => Some(Response::Other),
    }
}

fn said(cursor: &Cursor<'_>) -> Said {
    let line = cursor.rest_of_line().trim_ascii();
    Said { code: line.strip_prefix(b"[").and_then(code), text: shown(line) }
}

/// A response code, of `CODE ...] text`.
fn code(text: &[u8]) -> Option<Code> {
    let end = text.iter().position(|byte| *byte == b']')?;
    let (name, rest) = text[..end].split_at(text[..end].iter().position(|byte| *byte == b' ').unwrap_or(end));
    let number = || cursor::decimal(rest.trim_ascii()).and_then(|number| u32::try_from(number).ok());
    Some(match name.to_ascii_uppercase().as_slice() {
        b"CAPABILITY" => Code::Capabilities(capabilities(rest)),
        b"UIDVALIDITY" => Code::UidValidity(number()?),
        b"UIDNEXT" => Code::UidNext(number()?),
        b"NONEXISTENT" => Code::NonExistent,
        _ => Code::Other,
    })
}

fn capabilities(words: &[u8]) -> Capabilities {
    let has = |name: &str| words.split(u8::is_ascii_whitespace).any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    // All of these are part of IMAP4rev2. A server that speaks both lists those that go with IMAP4rev1, which is what
    // is spoken with it.
    let only_rev2 = has("IMAP4rev2") && !has("IMAP4rev1");
    Capabilities {
        starttls: has("STARTTLS"),
        login_disabled: has("LOGINDISABLED"),
        auth_plain: has("AUTH=PLAIN"),
        sasl_ir: has("SASL-IR") || only_rev2,
        namespace: has("NAMESPACE") || only_rev2,
        list_status: has("LIST-STATUS") || only_rev2,
        status_size: has("STATUS=SIZE") || only_rev2,
        utf8: only_rev2,
    }
}

fn mailbox(mut cursor: Cursor<'_>) -> Option<Mailbox<'_>> {
    cursor.space()?;
    cursor.eat(b'(')?;
    let mut selectable = true;
    while cursor.eat(b')').is_none() {
        let flag = cursor.word();
        let not = [&b"\\Noselect"[..], b"\\NonExistent"].iter().any(|not| flag.eq_ignore_ascii_case(not));
        selectable &= !not;
        if flag.is_empty() {
            cursor.space()?;
        }
    }
    cursor.space()?;
    let separator = separator(&mut cursor)?;
    cursor.space()?;
    Some(Mailbox { name: cursor.string()?, separator, selectable })
}

/// A separator as LIST and NAMESPACE tell it: one character in quotes, or NIL. `Some(None)` is NIL.
fn separator(cursor: &mut Cursor<'_>) -> Option<Option<u8>> {
    match cursor.optional_string()? {
        None => Some(None),
        Some(text) => match *text {
            [separator] => Some(Some(separator)),
            _ => None,
        },
    }
}

fn status(mut cursor: Cursor<'_>) -> Option<Status<'_>> {
    cursor.space()?;
    let mut status = Status { name: cursor.string()?, ..Status::default() };
    cursor.space()?;
    cursor.eat(b'(')?;
    while cursor.eat(b')').is_none() {
        let name = cursor.word();
        if name.is_empty() {
            cursor.space()?;
            continue;
        }
        cursor.space()?;
        match name.to_ascii_uppercase().as_slice() {
            b"MESSAGES" => status.messages = Some(cursor.number()?),
            b"SIZE" => status.size = Some(cursor.number()?),
            b"UIDNEXT" => status.uid_next = Some(cursor.small()?),
            b"UIDVALIDITY" => status.uid_validity = Some(cursor.small()?),
            _ => cursor.skip()?,
        }
    }
    Some(status)
}

fn namespaces(mut cursor: Cursor<'_>) -> Option<Namespaces> {
    let mut kind = || {
        cursor.space()?;
        let mut found = Vec::new();
        if cursor.nil() {
            return Some(found);
        }
        cursor.eat(b'(')?;
        while cursor.eat(b')').is_none() {
            if cursor.space().is_some() {
                continue;
            }
            cursor.eat(b'(')?;
            let prefix = cursor.string()?.into_owned();
            cursor.space()?;
            found.push(Namespace { prefix, separator: separator(&mut cursor)? });
            // Extensions.
            while cursor.eat(b')').is_none() {
                cursor.space()?;
                cursor.skip()?;
            }
        }
        Some(found)
    };
    Some(Namespaces { own: kind()?, others: kind()?, shared: kind()? })
}

fn numbered(number: u64, mut cursor: Cursor<'_>) -> Option<Response<'_>> {
    match cursor.word().to_ascii_uppercase().as_slice() {
        b"EXISTS" => Some(Response::Exists(number)),
        b"EXPUNGE" => Some(Response::Expunged),
        b"FETCH" => message(number, cursor).map(Response::Message),
        _ => Some(Response::Other),
    }
}

fn message(number: u64, mut cursor: Cursor<'_>) -> Option<Message<'_>> {
    let mut message = Message { number, ..Message::default() };
    cursor.space()?;
    cursor.eat(b'(')?;
    while cursor.eat(b')').is_none() {
        let item = cursor.item()?;
        if item.is_empty() {
            cursor.space()?;
            continue;
        }
        cursor.space()?;
        if item.eq_ignore_ascii_case(b"UID") {
            message.uid = Some(cursor.small()?);
        } else if item.eq_ignore_ascii_case(b"RFC822.SIZE") {
            message.size = Some(cursor.number()?);
        } else if item.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"BODY[")) {
            message.head = Some(cursor.optional_string()?.unwrap_or_default());
        } else {
            cursor.skip()?;
        }
    }
    Some(message)
}

/// The beginning of what a server said, as it may stand in a line of a log.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes));
    text.trim().chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
