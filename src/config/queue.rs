//! `[queue]`: how much mail may wait in the MTA's queue, and where that is read.

use std::path::PathBuf;
use std::time::Duration;

use crate::quota::queue::message::VARIABLES;
use crate::quota::queue::{Key, Part, QueueQuota};
use crate::quota::{Limit, Units};
use crate::service::queue::{QueueSettings, Source};
use crate::wire::cel::Expression;

use super::reader::Section;
use super::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    pub settings: QueueSettings,
    /// The queues that are read; none where `read` is false.
    pub sources: Vec<QueueSource>,
    /// For one reading.
    pub timeout: Duration,
}

/// A queue and how it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSource {
    pub source: Source,
    /// showq's socket. Where there is a command too, that is for when the socket cannot be reached.
    pub showq: Option<PathBuf>,
    pub command: Vec<String>,
    /// Postfix's queue directory, to be watched.
    pub spool: Option<PathBuf>,
}

const SPOOL: &str = "/var/spool/postfix";

impl QueueSource {
    /// This machine's Postfix, as Debian sets it up.
    fn local() -> QueueSource {
        let spool = PathBuf::from(SPOOL);
        QueueSource {
            source: Source { name: "postfix".into(), ..Source::default() },
            showq: Some(spool.join("public/showq")),
            command: vec!["postqueue".into(), "-j".into()],
            spool: Some(spool),
        }
    }
}

pub(super) fn read(section: Section, units: Units) -> Queue {
    let read = section.flag("read", true);
    let quotas = read_quotas(&section, units);
    let sources = read_sources(&section);
    let queue = Queue {
        settings: QueueSettings {
            quotas,
            interval: section.text("interval", "10s", words::delay),
            settle: section.text("settle", "5s", words::duration),
            decay: section.text("decay", "1h", words::delay),
            stale: section.text("stale", "10m", words::delay),
            warn_interval: section.text("warn_interval", "1h", words::delay),
        },
        timeout: section.text("timeout", "60s", words::delay),
        sources: match (read, sources.is_empty()) {
            (false, _) => Vec::new(),
            (true, true) => vec![QueueSource::local()],
            (true, false) => sources,
        },
    };
    section.finish();
    queue
}

fn read_quotas(section: &Section, units: Units) -> Vec<QueueQuota> {
    const NAME: &str = "a name of its own for each quota";
    section.known(&["quota.name", "quota.enable", "quota.key", "quota.match", "quota.messages", "quota.size"]);
    section.known(&["quota.threshold"]);
    let mut quotas: Vec<QueueQuota> = Vec::new();
    let mut names = Vec::new();
    for section in section.sections("quota") {
        let name = section.required("name", NAME, words::any).unwrap_or_default();
        if !name.is_empty() && names.contains(&name) {
            section.refuse("name", format!("`{name}` is the name of an earlier quota; accepted: {NAME}"));
        }
        names.push(name.clone());
        let enabled = section.flag("enable", true);
        let limit =
            Limit { bytes: section.optional("size", size(units)), messages: section.optional("messages", messages) };
        if limit.is_unlimited() && !section.is_set("size") && !section.is_set("messages") {
            section.refuse("messages", "is missing, and so is size; accepted: one of them or both");
        }
        let quota = QueueQuota {
            name: name.into(),
            key: Key::of(section.list("key", &[], part)),
            condition: section.optional("match", condition),
            limit,
            threshold: section.number("threshold", 90, 1..=100),
        };
        quotas.extend(enabled.then_some(quota));
        section.finish();
    }
    quotas
}

fn part(text: &str) -> Result<Part, String> {
    let words = Part::ALL.map(|part| (part.as_str(), part));
    words::one_of(&words)(text)
}

fn condition(text: &str) -> Result<Expression, String> {
    Expression::condition(text, &VARIABLES)
        .map_err(|error| format!("at line {}, column {} of the expression: {}", error.line, error.column, error.what))
}

fn size(units: Units) -> impl Fn(&str) -> Result<u64, String> {
    move |text| match units.parse(text) {
        Ok(0) => Err("`0` would refuse every message; accepted: a size as in 5M".into()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(format!("`{text}`, at character {}: {}", error.at + 1, error.fault)),
    }
}

fn messages(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("`{text}` is no number of messages; accepted: 1 and more"))
}

fn read_sources(section: &Section) -> Vec<QueueSource> {
    const NAME: &str = "a name of its own for each queue";
    section.known(&["source.name", "source.showq", "source.command", "source.spool"]);
    section.known(&["source.hosts", "source.policy_contexts"]);
    let mut sources: Vec<QueueSource> = Vec::new();
    for section in section.sections("source") {
        let name = section.required("name", NAME, words::any).unwrap_or_default();
        if !name.is_empty() && sources.iter().any(|source| *source.source.name == *name) {
            section.refuse("name", format!("`{name}` is the name of an earlier queue; accepted: {NAME}"));
        }
        let showq = section.optional("showq", words::absolute);
        let command = section.list("command", &[], words::any);
        if showq.is_none() && command.is_empty() && !section.is_set("showq") && !section.is_set("command") {
            section.refuse(
                "showq",
                format!("is missing, and so is command; accepted: {SPOOL}/public/showq, or [\"postqueue\", \"-j\"]"),
            );
        }
        let spool = section.optional("spool", words::absolute);
        // public/showq lies in the queue directory.
        let spool = spool.or_else(|| showq.as_deref().and_then(|showq| Some(showq.parent()?.parent()?.to_owned())));
        let source = Source {
            name: name.into(),
            hosts: section.list("hosts", &[], words::parsed),
            contexts: section.list("policy_contexts", &[], |text| words::any(text).map(Into::into)),
        };
        let is_open = |source: &Source| source.hosts.is_empty() && source.contexts.is_empty();
        let told_apart = section.is_set("hosts") || section.is_set("policy_contexts");
        if !told_apart && sources.iter().any(|earlier| is_open(&earlier.source)) {
            section.refuse(
                "hosts",
                "is missing, as it is in an earlier queue, so that requests cannot be told apart; \
                 accepted: the addresses that this one's smtpd asks from, or policy_contexts",
            );
        }
        sources.push(QueueSource { source, showq, command, spool });
        section.finish();
    }
    sources
}
