//! The reply: what Postfix is told to do.
//!
//! access(5) has traps, and each of them lets the mail through or breaks the connection: an action that is
//! only a number (`action=452`) permits, an empty one permits, a line break inside begins a second answer,
//! invalid UTF-8 brings the default action, and 421 and 521 hang up on the client and all its other
//! recipients. [`Code`] and [`Reply`] cannot express them.

use std::fmt::{self, Write};
use std::str::FromStr;

/// The longest action in bytes; the rest of its text is cut off. Postfix cuts its SMTP reply at 510 bytes and
/// puts the recipient and a phrase of its own before the text.
pub const ACTION_LIMIT: usize = 480;

/// An SMTP reply code with its enhanced status code (RFC 3463), both of the same class: `452 4.2.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    smtp: u16,
    subject: u16,
    detail: u16,
}

impl Code {
    /// `smtp` from 400 to 599, but not 421 and 521; `subject` and `detail` up to 999. The class of the
    /// enhanced code is the first digit of `smtp`.
    pub const fn new(smtp: u16, subject: u16, detail: u16) -> Option<Code> {
        let refuses = matches!(smtp, 400..=599) && !matches!(smtp, 421 | 521);
        match refuses && subject <= 999 && detail <= 999 {
            true => Some(Code { smtp, subject, detail }),
            false => None,
        }
    }

    pub const fn smtp(self) -> u16 {
        self.smtp
    }

    /// Whether the client may try again later.
    pub const fn is_temporary(self) -> bool {
        self.smtp < 500
    }

    /// Splits a configured reply, `452 4.2.2 Mailbox full`, in code and text.
    pub fn split(reply: &str) -> Result<(Code, &str), CodeError> {
        let bad = |fault| CodeError { reply: reply.into(), fault };
        let mut words = reply.splitn(3, ' ');
        let (smtp, status, text) = (words.next(), words.next(), words.next());
        let smtp = smtp.and_then(|digits| short(digits, 3)).ok_or(bad(CodeFault::Smtp))?;
        let mut numbers = status.unwrap_or("").split('.').map(|digits| short(digits, 1));
        let (class, subject, detail, end) = (numbers.next(), numbers.next(), numbers.next(), numbers.next());
        let (Some(Some(class)), Some(Some(subject)), Some(Some(detail)), None) = (class, subject, detail, end) else {
            return Err(bad(CodeFault::Status));
        };
        let code = Code::new(smtp, subject, detail).ok_or(bad(CodeFault::Smtp))?;
        if class != smtp / 100 {
            return Err(bad(CodeFault::Class));
        }
        let text = text.unwrap_or("").trim();
        match text.is_empty() || text.chars().any(char::is_control) {
            true => Err(bad(CodeFault::Text)),
            false => Ok((code, text)),
        }
    }
}

fn short(digits: &str, least: usize) -> Option<u16> {
    let fits = (least..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| digits.parse().ok()).flatten()
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}.{}", self.smtp, self.smtp / 100, self.subject, self.detail)
    }
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Code, CodeError> {
        match Code::split(&format!("{text} -")) {
            Ok((code, "-")) => Ok(code),
            Ok(_) => Err(CodeError { reply: text.into(), fault: CodeFault::Status }),
            Err(error) => Err(CodeError { reply: text.into(), ..error }),
        }
    }
}

/// A configured reply that Postfix would not take, or not as it is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{reply}`: {fault}; accepted: a code, an enhanced code and a text, as in `452 4.2.2 Mailbox full`")]
pub struct CodeError {
    pub reply: String,
    pub fault: CodeFault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeFault {
    #[error("the code is not one from 400 to 599 other than 421 and 521 (which disconnect the client)")]
    Smtp,
    #[error("the enhanced code is not three numbers with dots between")]
    Status,
    #[error("the enhanced code is of another class than the code")]
    Class,
    #[error("the text is missing, or holds a control character")]
    Text,
}

/// Why an admin's own action cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionFault {
    #[error("an empty action lets the message pass with a warning")]
    Empty,
    #[error("an action that is only a number lets the message pass")]
    Number,
    #[error("421 and 521 hang up on the client and all its other recipients")]
    HangsUp,
    #[error("a control character would break the reply")]
    Control,
    #[error("it is longer than {ACTION_LIMIT} bytes")]
    Long,
}

/// Whether `action` can be sent as it stands: one line of access(5) that does what it says.
pub fn check_action(action: &str) -> Result<(), ActionFault> {
    let first = action.split(' ').next().unwrap_or_default();
    match action {
        _ if action.trim().is_empty() => Err(ActionFault::Empty),
        _ if action.chars().any(char::is_control) => Err(ActionFault::Control),
        _ if action.len() > ACTION_LIMIT => Err(ActionFault::Long),
        _ if matches!(first, "421" | "521") => Err(ActionFault::HangsUp),
        _ if action.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ') => Err(ActionFault::Number),
        _ => Ok(()),
    }
}

/// Writes one reply at the end of a buffer. Who says nothing says DUNNO; who speaks twice is taken at the
/// last word.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
}

const ACTION: &[u8] = b"action=";

impl<'a> Reply<'a> {
    /// The most bytes that one reply takes.
    pub const LIMIT: usize = ACTION.len() + ACTION_LIMIT + 2;

    pub fn new(out: &'a mut Vec<u8>) -> Reply<'a> {
        let begin = out.len();
        Reply { out, begin }
    }

    /// No opinion: the restrictions that follow decide. Never OK, which would skip them.
    pub fn dunno(&mut self) {
        self.restart();
        self.out.extend_from_slice(b"DUNNO");
    }

    /// Refuses with `code` and `text`. Control characters become spaces, as they would in Postfix.
    pub fn refuse(&mut self, code: Code, text: impl fmt::Display) {
        self.restart();
        let room = ACTION_LIMIT;
        // A Display that fails has nothing more to say; the code is written by then.
        let _ = write!(Clean { out: self.out, room }, "{code} {text}");
    }

    /// An action in an admin's own words. Nothing is written if it cannot be sent.
    pub fn act(&mut self, action: &str) -> Result<(), ActionFault> {
        check_action(action)?;
        self.restart();
        self.out.extend_from_slice(action.as_bytes());
        Ok(())
    }

    /// The action as it stands so far.
    pub fn action(&self) -> &str {
        let written = self.out.get(self.begin + ACTION.len()..).unwrap_or_default();
        std::str::from_utf8(written).unwrap_or_default()
    }

    /// Ends the reply with the empty line.
    pub fn finish(mut self) {
        if self.out.len() == self.begin {
            self.dunno();
        }
        self.out.extend_from_slice(b"\n\n");
    }

    fn restart(&mut self) {
        self.out.truncate(self.begin);
        self.out.extend_from_slice(ACTION);
    }
}

/// Takes up to `room` bytes of whole characters, none of them a control character.
struct Clean<'a> {
    out: &'a mut Vec<u8>,
    room: usize,
}

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let character = if character.is_control() { ' ' } else { character };
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).as_bytes();
            let Some(room) = self.room.checked_sub(bytes.len()) else {
                // Nothing shorter may slip in behind the cut.
                self.room = 0;
                return Ok(());
            };
            self.room = room;
            self.out.extend_from_slice(bytes);
        }
        Ok(())
    }
}
