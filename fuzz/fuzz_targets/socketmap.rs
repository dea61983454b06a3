//! What parses prints to the same bytes; a reply is one netstring without control characters.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::netstring;
use mailquotad::wire::socketmap::{self, Answer, REPLY_LIMIT};

fuzz_target!(|bytes: &[u8]| {
    let mut out = Vec::new();
    if let Ok(Some((query, length))) = socketmap::parse(bytes) {
        socketmap::ask(&mut out, query);
        assert_eq!(out, bytes[..length]);
    }
    if let Ok(text) = str::from_utf8(bytes) {
        for answer in [Answer::Found(text), Answer::Temporary(text), Answer::Permanent(text)] {
            out.clear();
            socketmap::reply(&mut out, answer);
            assert!(!out.iter().any(u8::is_ascii_control));
            let whole = out.len();
            assert!(matches!(netstring::parse(&out, REPLY_LIMIT), Ok(Some((_, length))) if length == whole));
        }
    }
});
