//! A message's type is found in its first bytes only if the rest does not change it, and is one word with a slash.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::content_type::content_type;

fuzz_target!(|input: (usize, &[u8])| {
    let (cut, bytes) = input;
    let whole = content_type(bytes, true).expect("a whole message has a type");
    let first = &bytes[..cut.min(bytes.len())];
    if let Some(early) = content_type(first, false) {
        assert_eq!(early, whole);
    }
    let (kind, subtype) = whole.split_once('/').expect("a slash");
    for part in [kind, subtype] {
        assert!(!part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()), "{whole:?}");
    }
});
