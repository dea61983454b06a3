//! `[http]`, `[jobs]` and `[log]`.

use std::path::PathBuf;

use crate::schedule::Schedule;
use crate::telemetry::log::{Format, Level, LogOptions, Rotation, Target};
use crate::wire::endpoint::Endpoint;

use super::policy::SocketAccess;
use super::reader::Section;
use super::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Besides the socket; none by default.
    pub listen: Vec<Endpoint>,
    /// What callers by `listen` have to show.
    pub token_file: Option<PathBuf>,
    /// How the commands reach the daemon.
    pub socket: PathBuf,
    pub access: SocketAccess,
}

pub(super) fn read_http(section: Section) -> Http {
    let http = Http {
        listen: section.list("listen", &[], words::parsed),
        token_file: section.optional("token_file", words::absolute),
        socket: section.text("socket", "/run/mailquotad/api.sock", words::absolute),
        access: SocketAccess::read(&section),
    };
    if !http.listen.is_empty() && !section.is_set("token_file") {
        section
            .refuse("token_file", "is missing; accepted: with listen, a file that holds the token that callers show");
    }
    section.finish();
    http
}

/// When scheduled work is done; `None` is never.
#[derive(Clone, Debug, PartialEq)]
pub struct Jobs {
    /// Moves the standings of accounts and writes their statuses.
    pub enforce: Option<Schedule>,
    /// The same for domains.
    pub enforce_domains: Option<Schedule>,
    /// Measures every mailbox.
    pub resync: Option<Schedule>,
    /// Sends the digest to `notify.admins`.
    pub digest: Option<Schedule>,
    /// Compares over-quota flags with standings.
    pub compare_flags: Option<Schedule>,
}

pub(super) fn read_jobs(section: Section) -> Jobs {
    let line = |key: &str, default: &str| section.text(key, default, schedule);
    let jobs = Jobs {
        enforce: line("enforce", "*/5 * * * *"),
        enforce_domains: line("enforce_domains", "*/15 * * * *"),
        resync: line("resync", "30 3 * * *"),
        digest: line("digest", "0 7 * * *"),
        compare_flags: line("compare_flags", "20 * * * *"),
    };
    section.finish();
    jobs
}

fn schedule(text: &str) -> Result<Option<Schedule>, String> {
    match text {
        "never" => Ok(None),
        line => line.parse().map(Some).map_err(|error| format!("{error}; or never")),
    }
}

pub(super) fn read_log(section: Section) -> LogOptions {
    let directory = section.optional("directory", words::absolute);
    section.only(directory.is_some(), "directory");
    let rotation = section.text("rotation", "daily", words::one_of(&Rotation::WORDS));
    let keep = section.number("keep", 14, 0..=10_000) as usize;
    section.only(directory.is_none(), "no directory");
    let journald = [("auto", Target::Auto), ("always", Target::Journal), ("never", Target::Stderr)];
    let stderr = section.text("journald", "auto", words::one_of(&journald));
    section.always();
    let target = match directory {
        Some(directory) => Target::Files { directory, rotation, keep },
        None => stderr,
    };
    let log = LogOptions {
        level: section.text("level", "info", words::one_of(&Level::WORDS)),
        format: section.text("format", "text", words::one_of(&Format::WORDS)),
        target,
    };
    section.finish();
    log
}
