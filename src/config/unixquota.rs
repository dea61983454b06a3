//! `[unix_quota]`: file-system quotas of accounts that are Unix users.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::quota::unix::Counts;
use crate::unixquota::{Kind, Place, Transport};

use super::reader::Section;
use super::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixQuota {
    /// Whose accounts are Unix users; empty: nobody's, and nothing is read.
    pub domains: BTreeSet<Box<str>>,
    pub user_attribute: Option<Box<str>>,
    pub places: Vec<Place>,
    pub kinds: Vec<Kind>,
    pub counts: Counts,
    pub interval: Duration,
    pub max_age: Duration,
    pub timeout: Duration,
    pub transport: Transport,
}

pub(super) fn read(section: Section) -> UnixQuota {
    let kinds = [("user", Kind::User), ("group", Kind::Group)];
    let limits = [("hard", Counts::Hard), ("soft", Counts::Soft), ("soft-after-grace", Counts::SoftAfterGrace)];
    let transports = [("udp", Transport::Udp), ("tcp", Transport::Tcp)];
    let unix = UnixQuota {
        domains: section.list("domains", &[], domain).into_iter().collect(),
        user_attribute: section.optional("user_attribute", words::attribute).map(Into::into),
        places: section.list("file_systems", &["/var/mail"], place),
        kinds: section.list("kinds", &["user"], words::one_of(&kinds)),
        counts: section.text("limit", "hard", words::one_of(&limits)),
        interval: section.text("interval", "5m", words::delay),
        max_age: section.text("max_age", "1h", words::delay),
        timeout: section.text("timeout", "10s", words::delay),
        transport: section.text("rquota_transport", "udp", words::one_of(&transports)),
    };
    if !unix.domains.is_empty() && unix.places.is_empty() {
        section.refuse("file_systems", "is empty; accepted: one path or several, or nfs://host/path");
    }
    if unix.max_age < unix.interval {
        section.refuse("max_age", "is shorter than interval, so readings would be too old before they are renewed; accepted: interval or longer");
    }
    section.finish();
    unix
}

fn domain(text: &str) -> Result<Box<str>, String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "@/*".contains(c);
    match text.is_empty() || text.contains(odd) {
        true => Err(format!("`{}` is no domain; accepted: a name such as example.org", text.escape_debug())),
        false => Ok(text.to_lowercase().into()),
    }
}

fn place(text: &str) -> Result<Place, String> {
    match text.starts_with("nfs:") {
        true => text.parse().map(Place::Export),
        false => words::absolute(text).map(Place::Path),
    }
}
