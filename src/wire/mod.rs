//! One codec a file: bytes in, a value or "incomplete" or "invalid" out. No I/O here.

pub mod endpoint;
pub mod netstring;
pub mod policy;
pub mod socketmap;
