//! The lookup server: for MTAs that ask tables and no policy service, over the socketmap protocol.
//!
//! | map | key | value |
//! |---|---|---|
//! | `status` | address or domain, perhaps a space and a size | what access(5) understands: `452 4.2.2 Mailbox is full`; not found where mail may come in |
//! | `verdict` | the same | `pass room`, or `defer over 452 4.2.2 Mailbox is full`; not found where nobody is known |
//! | `quota` | address or domain | `used=… limit=… messages=… message_limit=… standing=… status=…`, -1 without a limit |
//!
//! An address is looked up as the policy server does: any case, with an extension, an alias, a group. Nobody says
//! here who sends, so no exemption of `[exempt]` applies and no queue quota is asked; and nobody says whether the
//! message was taken in the end, so no room is held. Whoever asks `status` is about to deliver: the mailbox is measured soon after.

use std::fmt::Write;
use std::sync::Arc;

use super::admission::{Admission, INBOX, Message, folder_of};
use super::conversation::{Protocol, Tally, converse};
use super::domain::Domain;
use super::expansion::Expansion;
use super::listener::{Connection, Session};
use super::paced::Pace;
use super::report;
use super::settings::{OnFailure, Settings, Text};
use crate::quota::{Moment, Reason, Verdict};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{events, word};
use crate::wire::socketmap::{self, Answer, Invalid, Query, REQUEST_LIMIT};

/// The tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Map {
    Status,
    Verdict,
    Quota,
}

impl Map {
    fn named(name: &str) -> Option<Map> {
        [Map::Status, Map::Verdict, Map::Quota].into_iter().find(|map| map.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Map::Status => "status",
            Map::Verdict => "verdict",
            Map::Quota => "quota",
        }
    }
}

/// Who a key means.
enum Meant<'k> {
    /// With the folder that their mail lands in.
    Accounts(Expansion, &'k str),
    Domain(Arc<Domain>),
    Nobody,
}

/// What is known, for whoever looks it up.
pub struct Lookups {
    admission: Arc<Admission>,
}

impl Lookups {
    pub fn new(admission: Arc<Admission>) -> Lookups {
        Lookups { admission }
    }

    /// Answers a query; `value` is where a value is put together.
    pub fn answer<'a>(&self, query: Query<'_>, value: &'a mut String) -> Answer<'a> {
        value.clear();
        let accounting = self.admission.accounting();
        let Some(map) = Map::named(query.map) else {
            accounting.metrics.lookup("unknown", "error");
            events::looked_up(query.map, query.key, &"no such map");
            return Answer::Permanent("no such map; there are status, verdict and quota");
        };
        let settings = accounting.settings.load();
        let (key, size) = sized(query.key);
        let meant = self.meant(key, &settings);
        let found = match (&meant, map) {
            (Meant::Nobody, _) if !accounting.loaded() && settings.on_failure == OnFailure::Defer => {
                not_loaded(map, &settings.texts.unavailable, value)
            }
            (Meant::Nobody, _) => false,
            (_, Map::Quota) => self.figures(&meant, value),
            (_, Map::Status) => self.status(&meant, size, &settings, value),
            (_, Map::Verdict) => self.verdict(&meant, size, &settings, value),
        };
        let result = if found { "found" } else { "not-found" };
        accounting.metrics.lookup(map.name(), result);
        events::looked_up(map.name(), query.key, if found { value } else { &"not found" });
        match found {
            true => Answer::Found(value),
            false => Answer::NotFound,
        }
    }

    fn meant<'k>(&self, key: &'k str, settings: &Settings) -> Meant<'k> {
        // `<>` and the like are nobody; brackets around an address are Sendmail's.
        let key = key.strip_prefix('<').and_then(|key| key.strip_suffix('>')).unwrap_or(key);
        if key.contains('@') {
            let found = self.admission.expand(settings, key);
            let folder = folder_of(settings, key, found.extended);
            return if found.is_unknown() { Meant::Nobody } else { Meant::Accounts(found, folder) };
        }
        let known = self.admission.accounting().book.domain(&key.to_lowercase());
        let named = known.filter(|domain| domain.lock().entry.is_some());
        named.map_or(Meant::Nobody, Meant::Domain)
    }

    fn judge(&self, meant: &Meant<'_>, size: u64, settings: &Settings, now: Moment) -> Verdict {
        let message = |folder| Message { size, folder, kind: None };
        match meant {
            Meant::Accounts(found, folder) => {
                let message = message(folder);
                self.admission.judge_found(&found.accounts, found.others, message, settings, now, None).verdict
            }
            Meant::Domain(domain) => self.admission.judge_domain(domain, size, settings, now),
            Meant::Nobody => self.admission.judge_found(&[], false, message(INBOX), settings, now, None).verdict,
        }
    }

    fn status(&self, meant: &Meant<'_>, size: u64, settings: &Settings, value: &mut String) -> bool {
        let accounting = self.admission.accounting();
        let now = accounting.clock.now();
        let verdict = self.judge(meant, size, settings, now);
        accounting.metrics.verdict(verdict);
        let refusal = settings.texts.reply(verdict);
        if let Meant::Accounts(found, _) = meant {
            match refusal {
                Some(_) => self.admission.look_again(verdict, &found.accounts, now),
                None => self.admission.announce(&found.accounts),
            }
        }
        if let Some(text) = refusal {
            let _ = write!(value, "{text}");
        }
        refusal.is_some()
    }

    fn verdict(&self, meant: &Meant<'_>, size: u64, settings: &Settings, value: &mut String) -> bool {
        let verdict = self.judge(meant, size, settings, self.admission.accounting().clock.now());
        let _ = write!(value, "{} {}", verdict.action.as_str(), word(verdict.reason));
        if let Some(text) = settings.texts.reply(verdict) {
            let _ = write!(value, " {text}");
        }
        verdict.reason != Reason::Unknown
    }

    /// An address that leads to several accounts has no figures of its own.
    fn figures(&self, meant: &Meant<'_>, value: &mut String) -> bool {
        let accounting = self.admission.accounting();
        let (used, limit, standing, status) = match meant {
            Meant::Accounts(found, _) => {
                let [account] = found.accounts.as_slice() else { return false };
                let report = report::account(accounting, account);
                let Some(bucket) = report.buckets.first() else { return false };
                (bucket.used, bucket.limit, report.standing, report.status)
            }
            Meant::Domain(domain) => {
                let report = report::domain(domain);
                (report.used, report.limit, report.standing, report.status)
            }
            Meant::Nobody => return false,
        };
        let _ = write!(value, "used={} limit={}", used.bytes, Limit(limit.bytes));
        let _ = write!(value, " messages={} message_limit={}", used.messages, Limit(limit.messages));
        let _ = write!(value, " standing={} status={status}", standing.as_str());
        true
    }
}

/// As `mailQuota` writes it.
struct Limit(Option<u64>);

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(limit) => limit.fmt(f),
            None => f.write_str("-1"),
        }
    }
}

/// Nothing was ever loaded, and mail is to wait until it is.
fn not_loaded(map: Map, text: &Text, value: &mut String) -> bool {
    let _ = match map {
        Map::Status => write!(value, "{text}"),
        Map::Verdict => write!(value, "defer unavailable {text}"),
        Map::Quota => return false,
    };
    true
}

/// A key's address and, behind the last space, the size of the message. A local part may hold spaces, but no
/// domain does.
fn sized(key: &str) -> (&str, u64) {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match key.rsplit_once(' ').filter(|(_, size)| is_number(size)) {
        // More than 64 bits hold is larger than everything else.
        Some((address, size)) => (address.trim_end(), size.parse().unwrap_or(u64::MAX)),
        None => (key.trim_end(), 0),
    }
}

/// The socketmap protocol on one connection.
pub struct LookupProtocol<'a> {
    lookups: &'a Lookups,
    value: String,
}

impl<'a> LookupProtocol<'a> {
    pub fn new(lookups: &'a Lookups) -> LookupProtocol<'a> {
        LookupProtocol { lookups, value: String::with_capacity(512) }
    }
}

/// A request in its netstring: digits of the length, a colon and a comma around it.
const WHOLE_REQUEST: usize = REQUEST_LIMIT + 16;

impl Protocol for LookupProtocol<'_> {
    type Invalid = Invalid;

    const REQUEST_LIMIT: usize = WHOLE_REQUEST;

    fn answer(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Option<usize>, Invalid> {
        let Some((query, length)) = socketmap::parse(input)? else { return Ok(None) };
        socketmap::reply(output, self.lookups.answer(query, &mut self.value));
        Ok(Some(length))
    }
}

/// Serves the protocol on a thread a connection.
pub struct LookupSession {
    pub lookups: Lookups,
    pub pace: Pace,
    pub metrics: Arc<Metrics>,
}

impl Session for LookupSession {
    fn talk(&self, connection: &Connection) {
        let tally = Tally { open: &self.metrics.lookup_connections, garbage: &self.metrics.lookup_garbage };
        converse("lookup", connection, self.pace, LookupProtocol::new(&self.lookups), tally);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_stands_behind_the_last_space() {
        for (key, expected) in [
            ("anna@example.org", ("anna@example.org", 0)),
            ("anna@example.org 2000", ("anna@example.org", 2000)),
            ("\"a 1\"@example.org 7", ("\"a 1\"@example.org", 7)),
            ("\"a 1\"@example.org", ("\"a 1\"@example.org", 0)),
            ("anna@example.org ", ("anna@example.org", 0)),
            ("anna@example.org +5", ("anna@example.org +5", 0)),
            ("anna@example.org 99999999999999999999", ("anna@example.org", u64::MAX)),
            ("", ("", 0)),
        ] {
            assert_eq!(sized(key), expected, "{key}");
        }
    }
}
