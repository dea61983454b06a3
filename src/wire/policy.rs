//! The Postfix policy delegation protocol (SMTPD_POLICY_README): requests in, replies out.
//!
//! A request is lines of `name=value` in any order, ended by an empty line; a line ends with LF or CRLF.
//! Unknown names are ignored, as the protocol demands, and the first of a repeated name counts: what comes
//! later cannot take back what has been said. A reply is one line `action=...` and an empty line, and not a
//! byte more: Postfix takes a byte that nobody asked for as a sign of a broken server.
//!
//! A value that is not UTF-8 reads as [`NOT_UTF8`]. Only the recipient's makes a difference: no directory
//! knows such an address, so it is an unknown recipient and not the empty one, which has a meaning.
//!
//! Nothing here allocates. A [`Parser`] looks at every byte once, however the bytes are cut up on their way.

mod reply;
mod request;

pub use reply::{ACTION_LIMIT, ActionFault, Code, CodeError, Reply, check_action};
pub use request::{Invalid, LINE_LIMIT, NOT_UTF8, Parser, REQUEST_LIMIT, Request, State};

#[cfg(test)]
mod tests;
