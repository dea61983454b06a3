//! `[policy]`: the Postfix policy server and what it says. `[lookup]`: the socketmap server.

use std::time::Duration;

use crate::quota::replies::{EXCEEDED, Replies, Texts as Words};
use crate::service::quota_status::{OwnWords, QuotaStatus};
use crate::service::settings::{OnFailure, Text, Texts};
use crate::wire::endpoint::Endpoint;
use crate::wire::policy::check_action;

use super::reader::Section;
use super::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub listen: Vec<Endpoint>,
    pub access: SocketAccess,
    pub max_connections: usize,
    /// How long a connection may be silent between requests.
    pub idle_timeout: Duration,
    /// How long a request that has begun may take to come in.
    pub request_timeout: Duration,
    pub on_failure: OnFailure,
    pub texts: Texts,
    /// Replies in Dovecot's words.
    pub quota_status: Option<QuotaStatus>,
}

/// Who may use a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    pub mode: u32,
    /// `None` leaves the group that the daemon runs with.
    pub group: Option<String>,
}

impl SocketAccess {
    pub(super) fn read(section: &Section) -> SocketAccess {
        SocketAccess { mode: section.text("mode", "0660", words::mode), group: section.optional("group", words::group) }
    }
}

pub(super) fn read(section: Section) -> Policy {
    let on_failure = [("dunno", OnFailure::Dunno), ("defer", OnFailure::Defer)];
    let policy = Policy {
        listen: section.list("listen", &["127.0.0.1:12340", "unix:/run/mailquotad/policy.sock"], words::parsed),
        access: SocketAccess::read(&section),
        max_connections: section.number("max_connections", 1000, 1..=65_535) as usize,
        idle_timeout: section.text("idle_timeout", "10m", words::delay),
        request_timeout: section.text("request_timeout", "30s", words::delay),
        on_failure: section.text("on_failure", "dunno", words::one_of(&on_failure)),
        texts: read_texts(section.section("texts")),
        quota_status: read_quota_status(section.section("quota_status"), section.section("quota_status_attributes")),
    };
    section.finish();
    policy
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// None by default: most sites ask the policy server.
    pub listen: Vec<Endpoint>,
    pub access: SocketAccess,
    pub max_connections: usize,
    pub idle_timeout: Duration,
    pub request_timeout: Duration,
}

pub(super) fn read_lookup(section: Section) -> Lookup {
    let lookup = Lookup {
        listen: section.list("listen", &[], words::parsed),
        access: SocketAccess::read(&section),
        max_connections: section.number("max_connections", 1000, 1..=65_535) as usize,
        idle_timeout: section.text("idle_timeout", "10m", words::delay),
        request_timeout: section.text("request_timeout", "30s", words::delay),
    };
    section.finish();
    lookup
}

fn read_texts(section: Section) -> Texts {
    let texts = Texts::read(|key, default| {
        let class = if default.code.is_temporary() { Class::Defer } else { Class::Reject };
        section.text(key, &default.to_string(), reply(class))
    });
    section.finish();
    texts
}

/// The keys are those of Dovecot without `quota_status_`. What passes, and who is unknown, is not answered as there:
/// OK would skip the restrictions that follow, and the next of them may be the one against open relays; and of an
/// address that is unknown here others may know more.
fn read_quota_status(section: Section, attributes: Section) -> Option<QuotaStatus> {
    let enabled = section.flag("enabled", false);
    let success = section.text("success", "DUNNO", action);
    let nouser = section.text("nouser", "DUNNO", action);
    let overquota = section.optional("overquota", action);
    let toolarge = section.optional("toolarge", action);
    let exceeded = section.text("exceeded_message", EXCEEDED, words::any);
    let name = |key: &str| attributes.optional(key, words::attribute).map(Into::into);
    let own = OwnWords {
        success: name("success"),
        overquota: name("overquota"),
        toolarge: name("toolarge"),
        exceeded: name("exceeded_message"),
    };
    let site = Replies::new(Words {
        success: Some(&success),
        nouser: Some(&nouser),
        overquota: overquota.as_deref(),
        toolarge: toolarge.as_deref(),
        exceeded: Some(&exceeded),
    });
    let site = site.unwrap_or_else(|error| {
        section.refuse_all(error.to_string());
        Replies::default()
    });
    section.finish();
    attributes.finish();
    enabled.then_some(QuotaStatus { site, own })
}

/// Any action of access(5).
fn action(text: &str) -> Result<String, String> {
    let accepted = "accepted: an action of access(5), as in DUNNO or 552 5.2.2 Mailbox is full";
    let checked = check_action(text).map(|()| text.to_owned());
    checked.map_err(|fault| format!("`{}`: {fault}; {accepted}", text.escape_debug()))
}

/// The longest reply that fits in an SMTP line with its code and line end (RFC 5321 section 4.5.3.1.5).
const LONGEST: usize = 510;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Defer,
    Reject,
}

/// A reply of the class that its reason calls for, in the characters that SMTP has.
fn reply(class: Class) -> impl Fn(&str) -> Result<Text, String> {
    move |text| {
        let accepted = match class {
            Class::Defer => {
                "accepted: a code and an enhanced code of class 4, then a text: \"452 4.2.2 Mailbox is full\""
            }
            Class::Reject => {
                "accepted: a code and an enhanced code of class 5, then a text: \"552 5.2.2 Mailbox is full\""
            }
        };
        let shown = text.escape_debug();
        let read = Text::read(text).map_err(|error| format!("`{shown}`: {}; {accepted}", error.fault))?;
        if read.code.is_temporary() != (class == Class::Defer) {
            return Err(format!("`{shown}` is of the other class; {accepted}"));
        }
        if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(format!("`{shown}` holds what SMTP replies may not: they are ASCII; {accepted}"));
        }
        match text.len() > LONGEST {
            true => Err(format!("is longer than {LONGEST} characters; {accepted}")),
            false => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_carry_two_codes_of_their_class_and_a_text() {
        assert!(reply(Class::Defer)("452 4.2.2 Full").is_ok() && reply(Class::Reject)("552 5.2.2 Full, Joe").is_ok());
        for bad in [
            "",
            "Full",
            "452 Full",
            "452 4.2.2",
            "452 4.2.2 ",
            "452 5.2.2 Full",
            "552 4.2.2 Full",
            "452 4.2 Full",
            "452 4.2.2.2 Full",
            "452 4..2 Full",
            "4522 4.2.2 Full",
            "452  4.2.2 Full",
            "452 4.2.2 Full\r\n250 ok",
            "452 4.2.2 Völlig voll",
        ] {
            assert!(reply(Class::Defer)(bad).unwrap_err().contains("accepted: a code"), "{bad}");
        }
        assert!(reply(Class::Defer)(&format!("452 4.2.2 {}", "x".repeat(510))).is_err());
    }
}
