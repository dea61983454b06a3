//! One codec a file: bytes in, a value or "incomplete" or "invalid" out. No I/O here.

pub mod dn;
pub mod endpoint;
pub mod filter;
pub mod ldif;
pub mod netstring;
pub mod policy;
pub mod socketmap;
