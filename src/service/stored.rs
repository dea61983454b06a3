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
