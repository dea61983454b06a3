//! Dovecot's script protocol: how Dovecot hands the arguments of a `quota_warning` to a socket, and how we hand
//! ours to a script service of Dovecot's.
//!
//! ```text
//! VERSION <TAB> script <TAB> 4 <TAB> minor
//! alarm=seconds                 may be absent
//! noreply | -                   "-": the caller waits for + or -
//! argument ...                  a line each
//!                               an empty line ends the call
//! ```
//!
//! Arguments carry what would break a line in the form of Dovecot's `str_tabescape`: 0x01 and a character. Majors
//! 3 and 4 are read (2.2 to 2.4), 4 is written. Bounded by [`CALL_LIMIT`] and [`ARGUMENTS`].

use std::fmt::Write;

/// The most bytes of one call.
pub const CALL_LIMIT: usize = 8192;
/// The most arguments of one call.
pub const ARGUMENTS: usize = 64;

const MARK: char = '\u{1}';

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub arguments: Vec<String>,
    /// The caller waits to hear how it went.
    pub replies: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the call does not begin with VERSION, script and a version that is known (3 or 4)")]
    Version,
    #[error("neither noreply nor - stands before the arguments")]
    Mode,
    #[error("a line is not UTF-8")]
    NotUtf8,
    #[error("more than {ARGUMENTS} arguments")]
    Arguments,
    #[error("longer than {CALL_LIMIT} bytes")]
    Long,
}

/// Prints a call that waits for no reply.
pub fn print<'a>(arguments: impl IntoIterator<Item = &'a str>) -> String {
    let mut call = String::from("VERSION\tscript\t4\t0\nnoreply\n");
    for argument in arguments {
        // An empty line would end the call; a mark with nothing behind it reads as nothing.
        if argument.is_empty() {
            call.push(MARK);
        }
        for character in argument.chars() {
            // A String takes whatever is written to it.
            let _ = match character {
                '\0' => write!(call, "{MARK}0"),
                MARK => write!(call, "{MARK}1"),
                '\t' => write!(call, "{MARK}t"),
                '\r' => write!(call, "{MARK}r"),
                '\n' => write!(call, "{MARK}n"),
                other => write!(call, "{other}"),
            };
        }
        call.push('\n');
    }
    call.push('\n');
    call
}

/// Reads the call at the beginning of `bytes` and says how long it is; `None` while more is to come.
pub fn parse(bytes: &[u8]) -> Result<Option<(Call, usize)>, Invalid> {
    let mut lines = Lines { bytes, at: 0 };
    let Some(version) = lines.next()? else { return lines.more() };
    let mut words = version.split('\t');
    if (words.next(), words.next()) != (Some("VERSION"), Some("script")) || !matches!(words.next(), Some("3" | "4")) {
        return Err(Invalid::Version);
    }
    let mut mode = lines.next()?;
    if mode.is_some_and(|line| line.starts_with("alarm=")) {
        mode = lines.next()?;
    }
    let replies = match mode {
        None => return lines.more(),
        Some("noreply") => false,
        Some("-") => true,
        Some(_) => return Err(Invalid::Mode),
    };
    let mut arguments = Vec::new();
    loop {
        match lines.next()? {
            None => return lines.more(),
            Some("") => return Ok(Some((Call { arguments, replies }, lines.at))),
            Some(_) if arguments.len() == ARGUMENTS => return Err(Invalid::Arguments),
            Some(line) => arguments.push(unescape(line)),
        }
    }
}

struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<Option<&'a str>, Invalid> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map(Some).map_err(|_| Invalid::NotUtf8)
    }

    fn more(&self) -> Result<Option<(Call, usize)>, Invalid> {
        if self.bytes.len() >= CALL_LIMIT { Err(Invalid::Long) } else { Ok(None) }
    }
}

/// An unknown character behind the mark stands for itself, as in Dovecot.
fn unescape(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            MARK => text.extend(characters.next().map(|escaped| match escaped {
                '0' => '\0',
                '1' => MARK,
                't' => '\t',
                'r' => '\r',
                'n' => '\n',
                other => other,
            })),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arguments(bytes: &str) -> Vec<String> {
        parse(bytes.as_bytes()).unwrap().unwrap().0.arguments
    }

    #[test]
    fn a_call_of_dovecots() {
        let call = "VERSION\tscript\t4\t0\nnoreply\n95\nu1@example.org\n\n";
        assert_eq!(arguments(call), ["95", "u1@example.org"]);
        assert_eq!(print(["95", "u1@example.org"]), call);
        let waits = parse(b"VERSION\tscript\t3\t1\nalarm=30\n-\n\nVERSION").unwrap().unwrap();
        assert_eq!(waits, (Call { arguments: Vec::new(), replies: true }, 31));
    }

    #[test]
    fn an_empty_argument_does_not_end_a_call() {
        assert_eq!(arguments(&print(["95", "", "u1@example.org", ""])), ["95", "", "u1@example.org", ""]);
    }

    #[test]
    fn what_is_no_call() {
        for (bytes, fault) in [
            (&b"GET / HTTP/1.1\n"[..], Invalid::Version),
            (b"VERSION\tscript\t5\t0\n", Invalid::Version),
            (b"VERSION\tdict\t4\t0\n", Invalid::Version),
            (b"VERSION\tscript\t4\t0\nyes\n", Invalid::Mode),
            (b"VERSION\tscript\t4\t0\nnoreply\n\xff\n", Invalid::NotUtf8),
        ] {
            assert_eq!(parse(bytes), Err(fault), "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(parse(&[b'x'; CALL_LIMIT]), Err(Invalid::Long));
        let many = format!("VERSION\tscript\t4\t0\nnoreply\n{}", "x\n".repeat(ARGUMENTS + 1));
        assert_eq!(parse(many.as_bytes()), Err(Invalid::Arguments));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back_however_it_is_cut(
            given in proptest::collection::vec("[^\u{0}]{0,20}", 0..8), cut in 0usize..200,
        ) {
            let call = print(given.iter().map(String::as_str));
            prop_assert_eq!(arguments(&call), given);
            let cut = cut.min(call.len() - 1);
            prop_assert_eq!(parse(&call.as_bytes()[..cut]).ok().flatten(), None);
        }

        #[test]
        fn any_bytes_at_all_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
