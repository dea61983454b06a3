//! One codec a file: bytes in, a value or "incomplete" or "invalid" out. No I/O here.

pub mod content_type;
pub mod mutf7;
pub mod template;
