//! The socketmap protocol (Sendmail; socketmap_table(5)): `name key` in a netstring, and back, in a netstring,
//! a status word, a space, and a value or a reason.
//!
//! A key may hold spaces, a name may not. Replies are made of typed values; control characters become
//! spaces, because what a lookup yields ends up in the MTA's logs and replies.

use super::netstring;

/// The longest request: a name and an address as long as SMTP lines make them, with room to spare.
pub const REQUEST_LIMIT: usize = 8 * 1024;

/// The longest reply that Postfix reads (`socketmap_max_reply_size` in its source).
pub const REPLY_LIMIT: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    pub map: &'a str,
    pub key: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    Found(&'a str),
    NotFound,
    /// Ask again later.
    Temporary(&'a str),
    /// Asking again is of no use.
    Permanent(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("{0}")]
    Netstring(#[from] netstring::Invalid),
    #[error("a request is not UTF-8")]
    NotUtf8,
    #[error("a request is not a map's name, a space and a key")]
    NoKey,
}

/// Reads the request at the beginning of `bytes`, with its length. `None`: more bytes are needed.
pub fn parse(bytes: &[u8]) -> Result<Option<(Query<'_>, usize)>, Invalid> {
    let Some((content, length)) = netstring::parse(bytes, REQUEST_LIMIT)? else { return Ok(None) };
    let text = str::from_utf8(content).map_err(|_| Invalid::NotUtf8)?;
    match text.split_once(' ') {
        Some((map, key)) if !map.is_empty() => Ok(Some((Query { map, key }, length))),
        _ => Err(Invalid::NoKey),
    }
}

/// Appends the request to `out`, for clients such as a self-check. `query.map` holds no space.
pub fn ask(out: &mut Vec<u8>, query: Query<'_>) {
    netstring::write(out, &[query.map.as_bytes(), b" ", query.key.as_bytes()]);
}

/// Appends the reply to `out`. A value too long for a reply is a temporary failure rather than half a value;
/// a reason is cut.
pub fn reply(out: &mut Vec<u8>, answer: Answer<'_>) {
    let (word, text) = match answer {
        Answer::Found(value) if value.len() + 3 > REPLY_LIMIT => ("TEMP ", "the value is too long"),
        Answer::Found(value) => ("OK ", value),
        // The space is part of the reply even with nothing behind it.
        Answer::NotFound => ("NOTFOUND ", ""),
        Answer::Temporary(reason) => ("TEMP ", reason),
        Answer::Permanent(reason) => ("PERM ", reason),
    };
    let text = shortened(text, REPLY_LIMIT - word.len());
    let begin = out.len();
    netstring::write(out, &[word.as_bytes(), text.as_bytes()]);
    // All control characters of ASCII are one byte, and no other character holds such a byte.
    out[begin..].iter_mut().filter(|byte| byte.is_ascii_control()).for_each(|byte| *byte = b' ');
}

/// As many whole characters of `text` as `limit` bytes hold.
fn shortened(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replied(answer: Answer) -> String {
        let mut out = Vec::new();
        reply(&mut out, answer);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_key_may_hold_spaces() {
        let query = Query { map: "status", key: "a b@example.org" };
        assert_eq!(parse(b"22:status a b@example.org,"), Ok(Some((query, 26))));
    }

    #[test]
    fn a_request_without_key_is_refused() {
        assert_eq!(parse(b"6:status,"), Err(Invalid::NoKey));
        assert_eq!(parse(b"2: k,"), Err(Invalid::NoKey));
        assert_eq!(parse(b"3:a \xff,"), Err(Invalid::NotUtf8));
    }

    #[test]
    fn replies_read_as_postfix_expects() {
        assert_eq!(replied(Answer::Found("active")), "9:OK active,");
        assert_eq!(replied(Answer::NotFound), "9:NOTFOUND ,");
        assert_eq!(replied(Answer::Temporary("no\ndirectory")), "17:TEMP no directory,");
        assert_eq!(replied(Answer::Permanent("no such map")), "16:PERM no such map,");
    }

    #[test]
    fn half_a_value_is_no_value() {
        let long = "é".repeat(REPLY_LIMIT);
        assert_eq!(replied(Answer::Found(&long)), "26:TEMP the value is too long,");
        let cut = replied(Answer::Temporary(&long));
        assert!(cut.len() <= REPLY_LIMIT + "100000:,".len() && cut.ends_with("é,"));
    }

    proptest! {
        #[test]
        fn what_is_asked_is_read(map in "[!-~]{1,12}", key in ".{0,60}") {
            let mut out = Vec::new();
            let query = Query { map: &map, key: &key };
            ask(&mut out, query);
            prop_assert_eq!(parse(&out), Ok(Some((query, out.len()))));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
