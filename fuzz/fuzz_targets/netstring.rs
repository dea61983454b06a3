//! What parses prints to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::netstring;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some((content, length))) = netstring::parse(bytes, 1000) {
        let mut out = Vec::new();
        netstring::write(&mut out, &[content]);
        assert_eq!(out, bytes[..length]);
    }
});
