//! What a file name in `cur` or `new` tells: `unique,S=physical,W=virtual:2,flags`.

use serde::{Deserialize, Serialize};

/// Which size counts, as the server that delivers understands its quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SizeKind {
    /// The bytes of the file as delivered (`S=`).
    #[default]
    Physical,
    /// The bytes as IMAP shows them, with CRLF at each line's end (`W=`). Where the name does not tell, the
    /// physical size stands in, which is short of it by one byte a line.
    Virtual,
}

/// The part that a message keeps for life; what follows the colon changes with its flags.
pub fn unique(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == b':').next().unwrap_or(name)
}

/// The size that the name tells. One that is not a plain number that ends at `,` or `:`, or that is past
/// 64 bits, is not believed.
pub fn size(name: &[u8], kind: SizeKind) -> Option<u64> {
    match kind {
        SizeKind::Physical => field(name, b'S'),
        SizeKind::Virtual => field(name, b'W').or_else(|| field(name, b'S')),
    }
}

fn field(name: &[u8], key: u8) -> Option<u64> {
    let mut at = 0;
    loop {
        match name.get(at)? {
            b':' => return None,
            b',' if name.get(at + 1) == Some(&key) && name.get(at + 2) == Some(&b'=') => break,
            _ => at += 1,
        }
    }
    let digits = &name[at + 3..];
    let mut size = 0u64;
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => size = size.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            b',' | b':' if at > 0 => return Some(size),
            _ => return None,
        }
    }
    (!digits.is_empty()).then_some(size)
}

/// Stands for one message through renames, in a scan and in the stored memory of types. The inode is in it
/// because hand-made mailboxes use one name in many folders; a copy of a message is another message.
///
/// The result is stored: a change here means another version in `memory.rs`.
pub fn key(name: &[u8], inode: u64) -> u64 {
    hash(unique(name), inode)
}

/// A 64-bit hash that is the same on every machine.
pub fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut state = fold(seed ^ ODD[0], (bytes.len() as u64) ^ ODD[1]);
    for chunk in bytes.chunks(16) {
        let (low, high) = chunk.split_at(chunk.len().min(8));
        state = fold(state ^ word(low) ^ ODD[2], word(high) ^ ODD[3]);
    }
    fold(state, ODD[1])
}

const ODD: [u64; 4] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03, 0x8cb9_2ba7_2f3d_8dd7, 0xaef1_7502_108e_f2d9];

/// Multiplies to 128 bits and folds the halves together: every bit of both factors spreads.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn sizes_in_names() {
        use SizeKind::{Physical, Virtual};
        for (name, kind, expected) in [
            ("1700000000.M1P2.host,S=1234,W=1260:2,S", Physical, Some(1234)),
            ("1700000000.M1P2.host,S=1234,W=1260:2,S", Virtual, Some(1260)),
            ("1700000000.M1P2.host,S=1234:2,S", Virtual, Some(1234)),
            ("1,S=0", Physical, Some(0)),
            ("1,W=7,S=5", Physical, Some(5)),
            ("1.V801I2M3.host", Physical, None),
            ("1:2,S", Physical, None),
            ("1:2,S=5", Physical, None),
            ("1,S=", Physical, None),
            ("1,S=:2,", Physical, None),
            ("1,S=12x", Physical, None),
            ("1,S=-3", Physical, None),
            ("1,s=3", Physical, None),
            ("1S=3", Physical, None),
            ("1,S=18446744073709551615", Physical, Some(u64::MAX)),
            ("1,S=18446744073709551616", Physical, None),
            ("1,S=99999999999999999999999", Physical, None),
            ("", Physical, None),
            (",S", Physical, None),
        ] {
            assert_eq!(size(name.as_bytes(), kind), expected, "{name} {kind:?}");
        }
    }

    #[test]
    fn a_key_outlives_flags_and_tells_messages_apart() {
        assert_eq!(key(b"17.M1.host,S=5:2,", 9), key(b"17.M1.host,S=5:2,FRS", 9));
        assert_eq!(key(b"17.M1.host,S=5", 9), key(b"17.M1.host,S=5:2,", 9));
        let names = (0..2000u32).flat_map(|n| [format!("17.M{n}.host"), format!("{n}"), "x".repeat(n as usize)]);
        let keys: HashSet<u64> = names.flat_map(|name| [1, 2].map(|inode| key(name.as_bytes(), inode))).collect();
        // "1" made of digits never meets "x", and the empty name is there once for each inode.
        assert_eq!(keys.len(), 2000 * 3 * 2);
    }

    #[test]
    fn a_key_is_the_same_in_every_release() {
        assert_eq!(key(b"1700000000.M1P2.host,S=1234", 42), 0xf82b_d698_310f_a257);
    }
}
