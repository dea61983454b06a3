//! A folder has one spelling, and folders that differ are called differently.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::mutf7::{decode, encode, folder_level};

fuzz_target!(|input: (&str, &[u8], &[u8])| {
    let (name, raw, other) = input;
    let spelt = encode(name);
    assert!(spelt.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    assert_eq!(decode(spelt.as_bytes()).as_deref(), Some(name));
    if let Some(name) = decode(raw) {
        assert_eq!(encode(&name).as_bytes(), raw);
    }
    let level = folder_level(raw);
    assert!(!level.chars().any(char::is_control));
    // One folder may be spelt in both encodings.
    if raw != other && decode(raw).is_some() == decode(other).is_some() {
        assert_ne!(level, folder_level(other));
    }
});
