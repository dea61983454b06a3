//! What is known of a message, and what a condition may ask about it.
//!
//! Addresses, domains and host names are compared in lower case: senders write them as they like.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::wire::cel::{Scope, Type, Value, Variable};

/// What the client told while the message came in. Empty or 0 for mail that came in another way, and for what
/// Postfix does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Session<'a> {
    /// The client's address.
    pub client: &'a str,
    pub client_name: &'a str,
    pub helo: &'a str,
    pub login: &'a str,
    /// `policy_context` of the service that asks.
    pub context: &'a str,
    /// The port of ours that the client is connected to.
    pub port: u16,
}

#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// In lower case; empty for a bounce.
    pub sender: &'a str,
    /// Bytes.
    pub size: u64,
    pub session: Session<'a>,
}

/// A message with one of its recipients. The recipient is in lower case, and empty where none is known.
pub struct Addressed<'a> {
    pub message: &'a Message<'a>,
    pub rcpt: &'a str,
}

macro_rules! variables {
    ($($name:literal $kind:ident $what:literal => $value:expr,)*) => {
        /// The names that a condition may use.
        pub const VARIABLES: [Variable; [$($name),*].len()] = [$(($name, Type::$kind)),*];

        /// What each of them is, for the documents.
        pub const MEANINGS: [(&str, &str); VARIABLES.len()] = [$(($name, $what)),*];

        impl Scope for Addressed<'_> {
            fn value(&self, variable: usize) -> Value<'_> {
                type Reader = for<'s> fn(&'s Addressed<'s>) -> Value<'s>;
                const READERS: [Reader; VARIABLES.len()] = [$($value),*];
                READERS.get(variable).map_or(Value::Bool(false), |read| read(self))
            }
        }
    };
}

variables! {
    "sender" Text "the return path; '' for a bounce" => |a| text(a.message.sender),
    "sender_domain" Text "its domain" => |a| text(domain(a.message.sender)),
    "rcpt" Text "the recipient, with its extension" => |a| text(a.rcpt),
    "recipient" Text "the same" => |a| text(a.rcpt),
    "rcpt_domain" Text "its domain" => |a| text(domain(a.rcpt)),
    "recipient_domain" Text "the same" => |a| text(domain(a.rcpt)),
    "size" Int "bytes: at RCPT what SIZE= announced (0 if nothing), then the real size" =>
        |a| Value::Int(i64::try_from(a.message.size).unwrap_or(i64::MAX)),
    "client" Text "the client's address" => |a| text(a.message.session.client),
    "client_name" Text "its verified host name, or 'unknown'" => |a| text(a.message.session.client_name),
    "helo" Text "how it introduced itself" => |a| text(a.message.session.helo),
    "login" Text "the name that it has logged in with, or ''" => |a| text(a.message.session.login),
    "context" Text "smtpd_policy_service_policy_context of the service that asks" => |a| text(a.message.session.context),
    "port" Int "our port that the client is connected to, or 0" => |a| Value::Int(a.message.session.port.into()),
}

/// The variables that only the session knows, not the queue.
pub fn is_of_session(variable: usize) -> bool {
    const NAMES: [&str; 6] = ["client", "client_name", "helo", "login", "context", "port"];
    VARIABLES.get(variable).is_some_and(|(name, _)| NAMES.contains(name))
}

/// The variables that differ from one recipient of a message to the next.
pub(super) fn is_of_recipient(variable: usize) -> bool {
    VARIABLES.get(variable).is_some_and(|(name, _)| name.starts_with("rcpt") || name.starts_with("recipient"))
}

fn text(text: &str) -> Value<'_> {
    Value::Text(Cow::Borrowed(text))
}

/// What stands behind the last `@`; nothing for a bounce, or for an address without a domain.
pub fn domain(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

/// Room for the lower case of an address; on the heap only where it is longer than RFC 5321 allows for.
pub type Room = SmallVec<[u8; 320]>;

/// The lower case of an address; itself where it has no capitals, else in `room`.
pub fn lower<'a>(text: &'a str, room: &'a mut Room) -> &'a str {
    if !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return text;
    }
    room.clear();
    room.extend_from_slice(text.as_bytes());
    room.make_ascii_lowercase();
    // Only ASCII letters have changed, so it is UTF-8 as before.
    std::str::from_utf8(room).unwrap_or(text)
}
