//! One codec a file: bytes in, a value or "incomplete" or "invalid" out. No I/O here.

pub mod cel;
pub mod content_type;
pub mod dict;
pub mod dn;
pub mod endpoint;
pub mod filter;
pub mod imap;
pub mod ldif;
pub mod listed;
pub mod mountinfo;
pub mod mutf7;
pub mod netstring;
pub mod network;
pub mod notice;
pub mod policy;
pub mod postqueue;
pub mod rquota;
pub mod script;
pub mod showq;
pub mod socketmap;
pub mod stalwart;
pub mod template;
