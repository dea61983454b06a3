//! Modified UTF-7, the names of IMAP mailboxes (RFC 3501 section 5.1.3).
//!
//! Printable US-ASCII stands for itself, `&` is `&-`, all else is UTF-16 in base64 between `&` and `-`,
//! with `,` for `/` and without padding. [`decode`] is strict: a name that this codec would not have
//! written is none of its names. [`folder_level`] is what a mail store needs: it yields a name for
//! whatever bytes it meets, because such a folder holds mail that counts.

use std::fmt::Write;

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{GeneralPurpose, general_purpose::NO_PAD};

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// Marks a byte of a name that is no text: `\u{FFFD}` and two hexadecimal digits.
const MARK: char = char::REPLACEMENT_CHARACTER;

pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if printable(c) {
            out.push(c);
            if c == '&' {
                out.push('-');
            }
            rest = &rest[1..];
            continue;
        }
        let end = rest.find(printable).unwrap_or(rest.len());
        let utf16: Vec<u8> = rest[..end].encode_utf16().flat_map(u16::to_be_bytes).collect();
        out.push('&');
        BASE64.encode_string(utf16, &mut out);
        out.push('-');
        rest = &rest[end..];
    }
    out
}

/// `None` for anything that [`encode`] would not have written.
pub fn decode(name: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    let mut after_base64 = false;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'&' {
            if !printable(char::from(byte)) {
                return None;
            }
            out.push(char::from(byte));
            rest = tail;
            after_base64 = false;
            continue;
        }
        let end = tail.iter().position(|byte| *byte == b'-')?;
        if end == 0 {
            out.push('&');
        } else {
            // Two runs side by side would give one name two spellings.
            if after_base64 {
                return None;
            }
            decode_run(&tail[..end], &mut out)?;
        }
        after_base64 = end > 0;
        rest = &tail[end + 1..];
    }
    Some(out)
}

fn decode_run(run: &[u8], out: &mut String) -> Option<()> {
    let bytes = BASE64.decode(run).ok()?;
    let (units, []) = bytes.as_chunks::<2>() else { return None };
    for c in char::decode_utf16(units.iter().map(|unit| u16::from_be_bytes(*unit))) {
        let c = c.ok().filter(|c| !printable(*c))?;
        out.push(c);
    }
    Some(())
}

fn printable(c: char) -> bool {
    matches!(c, ' '..='~')
}

/// One level of a folder's name from what it is called on disk: modified UTF-7; else UTF-8, which Dovecot
/// can be told to write; else the text in it with its other bytes marked. Control characters are marked
/// too, for the name goes into lines of logs and reports. Names that differ on disk differ here, save that
/// one folder may be spelt in both encodings.
pub fn folder_level(raw: &[u8]) -> String {
    let decoded = decode(raw);
    let text = match &decoded {
        Some(text) => text.as_bytes(),
        None => raw,
    };
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == MARK {
                mark(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut out);
            } else {
                out.push(c);
            }
        }
        mark(chunk.invalid(), &mut out);
    }
    out
}

fn mark(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{MARK}{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_in_both_forms() {
        for (text, encoded) in [
            ("INBOX", "INBOX"),
            ("", ""),
            ("A&B", "A&-B"),
            ("&&", "&-&-"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("台北", "&U,BTFw-"),
            ("~peter/mail/日本語/台北", "~peter/mail/&ZeVnLIqe-/&U,BTFw-"),
            ("📧", "&2D3c5w-"),
            ("é&é", "&AOk-&-&AOk-"),
        ] {
            assert_eq!(encode(text), encoded);
            assert_eq!(decode(encoded.as_bytes()).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_not_modified_utf_7() {
        for raw in [
            "R&D",        // no end
            "a&b-",       // base64 of a wrong length
            "&AGE-",      // printable US-ASCII in base64
            "&AOk-&AOk-", // two runs side by side
            "&2D0-",      // half a surrogate pair
            "&AOl-",      // bits left over that are not zero
            "&AOk=-",     // padding
            "\u{7f}",
            "é",
        ] {
            assert_eq!(decode(raw.as_bytes()), None, "{raw}");
        }
    }

    #[test]
    fn folder_levels() {
        for (raw, name) in [
            (&b"Entw&APw-rfe"[..], "Entwürfe"),
            ("Entwürfe".as_bytes(), "Entwürfe"),
            (b"R&D", "R&D"),
            (b"caf\xe9", "caf\u{fffd}E9"),
            (b"a\nb", "a\u{fffd}0Ab"),
            (b"a&AAo-b", "a\u{fffd}0Ab"),
            ("\u{fffd}".as_bytes(), "\u{fffd}EF\u{fffd}BF\u{fffd}BD"),
        ] {
            assert_eq!(folder_level(raw), name);
        }
    }

    proptest! {
        #[test]
        fn encoded_and_decoded_again(name in any::<String>()) {
            let encoded = encode(&name);
            prop_assert!(encoded.chars().all(printable));
            prop_assert_eq!(decode(encoded.as_bytes()), Some(name));
        }

        #[test]
        fn only_one_spelling_decodes(raw in "[A-Da-d0,&-]{0,12}") {
            if let Some(name) = decode(raw.as_bytes()) {
                prop_assert_eq!(encode(&name), raw);
            }
        }

        #[test]
        fn names_that_are_no_modified_utf_7_stay_apart(
            a in proptest::collection::vec(prop_oneof![Just(0xe9), Just(0xc3), Just(0xa9), Just(b'E'), Just(b'9')], 0..6),
            b in proptest::collection::vec(prop_oneof![Just(0xe9), Just(0xc3), Just(0xa9), Just(b'E'), Just(b'9')], 0..6),
        ) {
            prop_assert_eq!(a == b, folder_level(&a) == folder_level(&b));
        }
    }
}
