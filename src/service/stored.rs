//! How the service writes small values on the ledger's shelves: a version, then postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

const VERSION: u8 = 1;

pub fn write<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising plain data into memory has no way to fail.
    postcard::to_extend(value, vec![VERSION]).unwrap_or_default()
}

/// `None` for what another release wrote in a form that this one does not know.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
        _ => None,
    }
}

/// Tells values apart by what they are about, the same in every release: FNV-1a.
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>) -> u128 {
    let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash: u128, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}
