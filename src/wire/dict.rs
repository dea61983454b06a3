//! Dovecot's dict protocol, the server's side: commands in, replies out.
//!
//! A command is one character and parameters that TABs separate, ended by LF. Within a parameter 0x01 escapes:
//! `\x01t` TAB, `\x01n` LF, `\x01r` CR, `\x010` NUL, `\x011` itself; what follows it otherwise stands for itself.
//!
//! ```text
//! H major minor value-type user name     no reply        S id key value      no reply
//! L key [user]                           a reply         U id key            no reply
//! I flags max-rows path [user]           rows, an end    A id key difference no reply
//! B id [user [expire]]                   no reply        P id key value      no reply
//! T id seconds nanoseconds               no reply        V id yes|no         no reply
//! C id, D id                             a reply         R id                no reply
//! ```
//!
//! Majors 2 (Dovecot 2.2 to 2.3.16), 3 (to 2.3.21) and 4 (2.4) differ in where the user stands: in major 2 he is
//! named once, in HELLO, and ITERATE may name several paths instead. What a later minor version adds behind the
//! parameters that we know is ignored.
//!
//! Replies are written in the order of the commands, without the ids and timings that a server may add: every
//! client takes a plain reply for that to its oldest command.
//!
//! Bytes that are not UTF-8 are replaced: a folder of such a name is measured by the next scan of its mailbox.

use std::borrow::Cow;

pub mod key;
#[cfg(test)]
mod tests;

/// The longest line that a client may send (Dovecot's `DICT_CLIENT_MAX_LINE_LENGTH`), its end included.
pub const LINE_LIMIT: usize = 64 * 1024;

/// The major versions that are understood.
pub const MAJORS: std::ops::RangeInclusive<u32> = 2..=4;

/// Where users are named in the commands themselves.
const USERS_IN_COMMANDS: u32 = 3;

/// Flags of ITERATE that change what is answered.
pub mod flags {
    pub const RECURSE: u32 = 1;
    pub const NO_VALUE: u32 = 8;
    pub const EXACT_KEY: u32 = 16;
}

pub type Text<'a> = Cow<'a, str>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    Hello {
        major: u32,
        minor: u32,
        user: Option<Text<'a>>,
        name: Text<'a>,
    },
    Lookup {
        key: Text<'a>,
        user: Option<Text<'a>>,
    },
    /// `most` is 0 for no limit.
    Iterate {
        flags: u32,
        most: u64,
        paths: Vec<Text<'a>>,
        user: Option<Text<'a>>,
    },
    Begin {
        id: u32,
        user: Option<Text<'a>>,
    },
    Set {
        id: u32,
        key: Text<'a>,
        value: Text<'a>,
    },
    Unset {
        id: u32,
        key: Text<'a>,
    },
    Increase {
        id: u32,
        key: Text<'a>,
        by: i64,
    },
    Append {
        id: u32,
        key: Text<'a>,
    },
    /// TIMESTAMP and whether failures are to be hidden (V): nothing that we act on.
    Aside {
        id: u32,
    },
    /// `old`: by the command D of major 2 and 3, whose reply is marked.
    Commit {
        id: u32,
        old: bool,
    },
    Rollback {
        id: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("a line of more than {LINE_LIMIT} bytes")]
    TooLong,
    #[error("an empty line")]
    Empty,
    #[error("the command {:?} is not known", char::from(*.0))]
    Command(u8),
    #[error("{0} lacks a parameter")]
    Short(&'static str),
    #[error("{command}: {value:?} is no number that fits")]
    Number { command: &'static str, value: String },
}

/// Reads the line at the beginning of `bytes` as a client of version `major` means it: the command, and the
/// length of the line. `None`: more bytes are needed.
pub fn parse(bytes: &[u8], major: u32) -> Result<Option<(Command<'_>, usize)>, Invalid> {
    let end = bytes.iter().take(LINE_LIMIT).position(|byte| *byte == b'\n');
    match end {
        Some(end) => Ok(Some((command(&bytes[..end], major)?, end + 1))),
        None if bytes.len() >= LINE_LIMIT => Err(Invalid::TooLong),
        None => Ok(None),
    }
}

fn command(line: &[u8], major: u32) -> Result<Command<'_>, Invalid> {
    let (&which, rest) = line.split_first().ok_or(Invalid::Empty)?;
    let named = |name| Parameters { name, rest: Some(rest) };
    let in_commands = major >= USERS_IN_COMMANDS;
    Ok(match which {
        b'H' => {
            let mut of = named("HELLO");
            let (major, minor) = (of.number()?, of.number()?);
            let _value_type = of.text()?;
            Command::Hello { major, minor, user: of.user(), name: of.text().unwrap_or_default() }
        }
        b'L' => {
            let mut of = named("LOOKUP");
            Command::Lookup { key: of.text()?, user: of.user().filter(|_| in_commands) }
        }
        b'I' => {
            let mut of = named("ITERATE");
            let (flags, most, first) = (of.number()?, of.number()?, of.text()?);
            let user = if in_commands { of.user() } else { None };
            let further = std::iter::from_fn(|| of.text().ok()).filter(|_| !in_commands);
            Command::Iterate { flags, most, paths: std::iter::once(first).chain(further).collect(), user }
        }
        b'B' => {
            let mut of = named("BEGIN");
            Command::Begin { id: of.number()?, user: of.user().filter(|_| in_commands) }
        }
        b'S' => {
            let mut of = named("SET");
            Command::Set { id: of.number()?, key: of.text()?, value: of.text()? }
        }
        b'U' => {
            let mut of = named("UNSET");
            Command::Unset { id: of.number()?, key: of.text()? }
        }
        b'A' => {
            let mut of = named("ATOMIC_INC");
            Command::Increase { id: of.number()?, key: of.text()?, by: of.number()? }
        }
        b'P' => {
            let mut of = named("APPEND");
            let (id, key) = (of.number()?, of.text()?);
            of.text()?;
            Command::Append { id, key }
        }
        b'T' => Command::Aside { id: named("TIMESTAMP").number()? },
        b'V' => Command::Aside { id: named("HIDE_LOG_VALUES").number()? },
        b'C' => Command::Commit { id: named("COMMIT").number()?, old: false },
        b'D' => Command::Commit { id: named("COMMIT_ASYNC").number()?, old: true },
        b'R' => Command::Rollback { id: named("ROLLBACK").number()? },
        other => return Err(Invalid::Command(other)),
    })
}

/// The parameters of a command, one after the other.
struct Parameters<'a> {
    name: &'static str,
    rest: Option<&'a [u8]>,
}

impl<'a> Parameters<'a> {
    fn raw(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let (one, left) = match rest.iter().position(|byte| *byte == b'\t') {
            Some(tab) => (&rest[..tab], Some(&rest[tab + 1..])),
            None => (rest, None),
        };
        self.rest = left;
        Some(one)
    }

    fn text(&mut self) -> Result<Text<'a>, Invalid> {
        self.raw().map(unescape).ok_or(Invalid::Short(self.name))
    }

    /// Empty is nobody.
    fn user(&mut self) -> Option<Text<'a>> {
        self.text().ok().filter(|user| !user.is_empty())
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N, Invalid> {
        let text = self.text()?;
        text.parse().map_err(|_| Invalid::Number { command: self.name, value: text.chars().take(40).collect() })
    }
}

const ESCAPE: u8 = 1;

fn unescape(bytes: &[u8]) -> Text<'_> {
    if !bytes.contains(&ESCAPE) {
        return String::from_utf8_lossy(bytes);
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(&byte) = rest.next() {
        let escaped = if byte == ESCAPE { rest.next() } else { None };
        plain.push(match escaped {
            None => byte,
            Some(b'0') => 0,
            Some(b'1') => ESCAPE,
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(other) => *other,
        });
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

fn escape(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        let letter = match byte {
            0 => b'0',
            ESCAPE => b'1',
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            plain => {
                out.push(plain);
                continue;
            }
        };
        out.extend([ESCAPE, letter]);
    }
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    Done,
    /// Something to be increased was not there: a client of `quota = dict` then counts for itself.
    NotFound,
    Failed(String),
}

/// Replies to LOOKUP: the value, that there is none, or why it cannot be told.
pub fn looked_up(out: &mut Vec<u8>, value: Result<Option<&str>, &str>) {
    match value {
        Ok(Some(value)) => {
            out.push(b'O');
            escape(out, value);
        }
        Ok(None) => out.push(b'N'),
        Err(why) => {
            out.push(b'F');
            escape(out, why);
        }
    }
    out.push(b'\n');
}

/// One row of the reply to ITERATE; without a value where none is wanted.
pub fn row(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    out.push(b'O');
    escape(out, key);
    out.push(b'\t');
    escape(out, value.unwrap_or_default());
    out.push(b'\n');
}

pub fn rows_end(out: &mut Vec<u8>) {
    out.push(b'\n');
}

/// Replies to COMMIT; `old` as the command said.
pub fn committed(out: &mut Vec<u8>, id: u32, old: bool, committed: &Committed) {
    if old {
        out.push(b'A');
    }
    let (letter, why) = match committed {
        Committed::Done => (b'O', None),
        Committed::NotFound => (b'N', None),
        Committed::Failed(why) => (b'F', Some(why)),
    };
    out.push(letter);
    out.extend_from_slice(id.to_string().as_bytes());
    if let Some(why) = why {
        out.push(b'\t');
        escape(out, why);
    }
    out.push(b'\n');
}
