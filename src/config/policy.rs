//! `[policy]`: the Postfix policy server and what it says.

use std::time::Duration;

use crate::account::Status;
use crate::quota::{Action, Reason, Verdict};

use super::reader::Section;
use super::words::{self, Endpoint};

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

/// What is answered while nothing is known because nothing was ever loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    Dunno,
    Defer,
}

pub(super) fn read(section: Section) -> Policy {
    let on_failure = [("dunno", OnFailure::Dunno), ("defer", OnFailure::Defer)];
    let policy = Policy {
        listen: section.list("listen", &["127.0.0.1:12340", "unix:/run/mailquotad/policy.sock"], words::endpoint),
        access: SocketAccess::read(&section),
        max_connections: section.number("max_connections", 1000, 1..=65_535) as usize,
        idle_timeout: section.text("idle_timeout", "10m", words::delay),
        request_timeout: section.text("request_timeout", "30s", words::delay),
        on_failure: section.text("on_failure", "dunno", words::one_of(&on_failure)),
        texts: Texts::read(section.section("texts")),
    };
    section.finish();
    policy
}

/// The replies, each a code, an enhanced code and a text. One for each reason to refuse, and two where
/// a message is deferred in the grace period and rejected after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    pub larger_than_site: String,
    pub larger_than_limit: String,
    pub inactive: String,
    pub disabled: String,
    pub deleted: String,
    pub removed: String,
    pub over_in_grace: String,
    pub over: String,
    pub domain_over_in_grace: String,
    pub domain_over: String,
    pub no_room: String,
    pub no_room_after_grace: String,
    pub unavailable: String,
}

impl Texts {
    fn read(section: Section) -> Texts {
        let (defer, reject) = (reply('4'), reply('5'));
        let texts = Texts {
            larger_than_site: section.text(
                "larger_than_site",
                "552 5.3.4 Message is larger than this site accepts",
                &reject,
            ),
            larger_than_limit: section.text(
                "larger_than_limit",
                "552 5.2.3 Message is larger than the mailbox may hold",
                &reject,
            ),
            inactive: section.text("inactive", "450 4.2.1 Mailbox is inactive, try again later", &defer),
            disabled: section.text("disabled", "550 5.2.1 Mailbox is disabled", &reject),
            deleted: section.text("deleted", "550 5.1.1 No such mailbox", &reject),
            removed: section.text("removed", "550 5.1.1 No such mailbox", &reject),
            over_in_grace: section.text("over_in_grace", "452 4.2.2 Mailbox is full, try again later", &defer),
            over: section.text("over", "552 5.2.2 Mailbox is full", &reject),
            domain_over_in_grace: section.text(
                "domain_over_in_grace",
                "452 4.2.2 Mail storage of this domain is full, try again later",
                &defer,
            ),
            domain_over: section.text("domain_over", "552 5.2.2 Mail storage of this domain is full", &reject),
            no_room: section.text("no_room", "452 4.2.2 Mailbox has no room for this message, try again later", &defer),
            no_room_after_grace: section.text(
                "no_room_after_grace",
                "552 5.2.2 Mailbox has no room for this message",
                &reject,
            ),
            unavailable: section.text("unavailable", "451 4.3.0 Quota is not known yet, try again later", &defer),
        };
        section.finish();
        texts
    }

    /// The reply to a verdict; `None` for one that passes.
    pub fn reply(&self, verdict: Verdict) -> Option<&str> {
        let either = |defer, reject| if verdict.action == Action::Defer { defer } else { reject };
        let over = || either(&self.over_in_grace, &self.over);
        let text = match (verdict.action, verdict.reason) {
            (Action::Pass, _) => return None,
            (_, Reason::LargerThanSite) => &self.larger_than_site,
            (_, Reason::LargerThanLimit) => &self.larger_than_limit,
            (_, Reason::Status(Status::Inactive)) => &self.inactive,
            (_, Reason::Status(Status::Disabled)) => &self.disabled,
            (_, Reason::Status(Status::Deleted)) => &self.deleted,
            (_, Reason::Status(Status::Removed)) => &self.removed,
            (_, Reason::Status(_) | Reason::Over) => over(),
            (_, Reason::DomainOver) => either(&self.domain_over_in_grace, &self.domain_over),
            (_, Reason::NoRoom) => either(&self.no_room, &self.no_room_after_grace),
            (_, Reason::Unknown | Reason::Exempt | Reason::Room) => &self.unavailable,
        };
        Some(text)
    }
}

/// The longest reply that fits in an SMTP line with its code and line end (RFC 5321 section 4.5.3.1.5).
const LONGEST: usize = 510;

/// A reply of one class: `4` defers, `5` rejects. RFC 5321 section 4.2, RFC 3463 section 2.
fn reply(class: char) -> impl Fn(&str) -> Result<String, String> {
    move |text| {
        let wrong = |why: &str| {
            let word = if class == '4' { "452 4.2.2 Mailbox is full" } else { "552 5.2.2 Mailbox is full" };
            format!(
                "`{text}` {why}; accepted: a code and an enhanced code of class {class}, then a text, as in \"{word}\""
            )
        };
        let mut parts = text.splitn(3, ' ');
        let mut part = || parts.next().unwrap_or_default();
        let (code, enhanced, words) = (part(), part(), part());
        let in_class = |text: &str| text.starts_with(class);
        if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_digit()) || !in_class(code) || code.as_bytes()[1] > b'5'
        {
            return Err(wrong(&format!("does not begin with a {class}xx code")));
        }
        let numbers: Vec<&str> = enhanced.split('.').collect();
        let number = |n: &&str| !n.is_empty() && n.len() <= 3 && n.bytes().all(|b| b.is_ascii_digit());
        if numbers.len() != 3 || !numbers.iter().all(number) || numbers[0].len() != 1 || !in_class(enhanced) {
            return Err(wrong(&format!("has no enhanced code {class}.x.x after its code")));
        }
        if words.trim().is_empty() {
            return Err(wrong("says nothing after its codes"));
        }
        if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(wrong("holds a character that SMTP replies may not: not ASCII, or a control"));
        }
        if text.len() > LONGEST {
            return Err(wrong(&format!("is longer than {LONGEST} characters")));
        }
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_carry_two_codes_of_their_class_and_a_text() {
        assert!(reply('4')("452 4.2.2 Full").is_ok() && reply('5')("552 5.2.2 Full, Joe").is_ok());
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
            "452 44.2.2 Full",
            "462 4.2.2 Full",
            "4522 4.2.2 Full",
            "452  4.2.2 Full",
            "452 4.2.2 Full\r\n250 ok",
            "452 4.2.2 Völlig voll",
        ] {
            assert!(reply('4')(bad).unwrap_err().contains("accepted: a code"), "{bad}");
        }
        assert!(reply('4')(&format!("452 4.2.2 {}", "x".repeat(510))).is_err());
    }
}
