//! One codec a file: bytes in, a value or "incomplete" or "invalid" out. No I/O here.

pub mod dn;
pub mod filter;
pub mod ldif;
