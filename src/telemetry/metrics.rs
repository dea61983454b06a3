//! Counters and gauges, each declared beside its help text; `docs/monitoring.md` lists them all.
//!
//! There is no global: who counts is handed a [`Metrics`]. Labels have few values, and never an account.

use std::sync::{Arc, OnceLock};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use crate::account::Status;
use crate::quota::{Action, Level, Reason, Verdict};

use super::word;

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
/// By a name that the configuration gives.
type Named<M> = Family<[(&'static str, String); 1], M>;
/// Counted while somebody waits for an answer: the name is shared, not copied.
type OfQuota = Family<[(&'static str, Arc<str>); 1], Counter>;

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    verdicts: Verdicts,
    pub policy_requests: Counter,
    pub policy_connections: Gauge,
    pub policy_garbage: Counter,
    lookups: Counters<2>,
    pub lookup_connections: Gauge,
    pub lookup_garbage: Counter,
    pub accounts: Gauge,
    pub domains: Gauge,
    pub bad_values: Gauge,
    standings: Gauges<2>,
    pub directory_up: Gauge,
    pub directory_reached: Gauge,
    pub directory_changes: Counter,
    pub gone: Gauge,
    pub forgotten: Counter,
    pub ledger_batches: Counter,
    pub ledger_operations: Counter,
    pub ledger_errors: Counter,
    pub ledger_up: Gauge,
    scans: Counters<1>,
    folder_scans: Counters<1>,
    pub scanned_files: Counter,
    watching: Gauges<1>,
    pub watch_changes: Counter,
    pub watch_overflows: Counter,
    unix_reads: Counters<1>,
    status_writes: Counters<1>,
    pub outbox: Gauge,
    jobs: Counters<1>,
    sent: Counters<1>,
    pub notices: Gauge,
    pub warnings_waiting: Gauge,
    pub dict_connections: Gauge,
    pub dict_garbage: Counter,
    pub dict_lookups: Counter,
    pub dict_marks: Counter,
    pub dict_strangers: Counter,
    dict_totals: Counters<1>,
    warnings: Counters<2>,
    pub flag_drift: Counter,
    pub warned_connections: Gauge,
    pub warned_garbage: Counter,
    queue_messages: Named<Gauge>,
    queue_read_at: Named<Gauge>,
    queue_read_millis: Named<Gauge>,
    queue_reads: Family<[(&'static str, String); 2], Counter>,
    queue_groups: Named<Gauge>,
    queue_fullest: Named<Gauge>,
    queue_refused: OfQuota,
    queue_faults: OfQuota,
}

/// How a measurement of a mailbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    Complete,
    /// Some folder could not be read; the old usage stays.
    Incomplete,
    Failed,
}

impl Scan {
    const fn as_str(self) -> &'static str {
        match self {
            Scan::Complete => "complete",
            Scan::Incomplete => "incomplete",
            Scan::Failed => "failed",
        }
    }
}

/// How reading an account's file-system quotas went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnixRead {
    Done,
    /// No such user, or no file system has quotas.
    None,
    /// Some file system could not be read.
    Failed,
}

/// What became of a write to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusWrite {
    Done,
    /// An admin's value was found and left alone.
    Overruled,
    /// The entry is gone.
    NoEntry,
    /// To be tried again.
    Failed,
    /// Not to be tried again before somebody acts.
    Refused,
}

/// What a total that Dovecot told came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// It is what was measured.
    Agreed,
    /// It is not: a reason to measure again.
    Differed,
    /// It is the usage now.
    Taken,
}

/// What became of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Done,
    /// To be tried again.
    Failed,
    /// Dropped.
    Refused,
}

/// Whose standing is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Account,
    Domain,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("mailquotad");
        let version = Gauges::<1>::default();
        version.get_or_create_owned(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("build", "The version that runs, as a label", version);
        let r = &mut registry;
        Metrics {
            verdicts: Verdicts::new(declare(r, "verdicts", "Verdicts given, by action and reason")),
            policy_requests: declare(r, "policy_requests", "Requests of the policy protocol answered"),
            policy_connections: declare(r, "policy_connections", "Connections of the policy protocol that are open"),
            policy_garbage: declare(
                r,
                "policy_garbage",
                "Connections of the policy protocol closed because of what was sent, or because it came too slowly",
            ),
            lookups: declare(r, "lookups", "Lookups answered, by map and result"),
            lookup_connections: declare(r, "lookup_connections", "Connections of the lookup server that are open"),
            lookup_garbage: declare(
                r,
                "lookup_garbage",
                "Connections of the lookup server closed because of what was sent, or because it came too slowly",
            ),
            accounts: declare(r, "accounts", "Accounts loaded from the directory"),
            domains: declare(r, "domains", "Domains loaded from the directory"),
            bad_values: declare(
                r,
                "bad_values",
                "Entries of the directory with a value that cannot be used; their last good limits are in force",
            ),
            standings: declare(r, "standings", "Accounts and domains that do not stand under, by standing"),
            directory_up: declare(r, "directory_up", "Whether the directory can be reached: 1 or 0"),
            directory_reached: declare(
                r,
                "directory_reached_timestamp_seconds",
                "When the directory was last heard of, in seconds since 1970",
            ),
            gone: declare(r, "gone_accounts", "Accounts that have gone from the directory and are not forgotten yet"),
            forgotten: declare(r, "forgotten_accounts", "Accounts that had gone and have been forgotten"),
            directory_changes: declare(
                r,
                "directory_changes",
                "Entries of the directory that were new, changed or gone",
            ),
            ledger_batches: declare(r, "ledger_batches", "Batches that the ledger has made durable"),
            ledger_operations: declare(r, "ledger_operations", "Operations in the batches that are durable"),
            ledger_errors: declare(r, "ledger_errors", "Batches that the ledger could not store"),
            ledger_up: declare(r, "ledger_up", "Whether the ledger can write: 1 or 0"),
            scans: declare(r, "scans", "Mailboxes measured, by result"),
            folder_scans: declare(
                r,
                "folder_scans",
                "Measurements of single folders that were seen changing, by result",
            ),
            scanned_files: declare(r, "scanned_files", "Files that measurements have counted"),
            watching: declare(
                r,
                "watching",
                "Whether changes in the mail store are seen as they happen: 1 or 0, by means",
            ),
            watch_changes: declare(r, "watch_changes", "Changes seen in folders and directories of the mail store"),
            watch_overflows: declare(
                r,
                "watch_overflows",
                "How often there were more changes than the kernel could keep; what may have been missed was looked at",
            ),
            unix_reads: declare(r, "unix_quota_reads", "File-system quotas read of accounts, by result"),
            status_writes: declare(r, "status_writes", "Writes of a status to the directory, by result"),
            outbox: declare(r, "outbox", "Writes to the directory that are waiting"),
            jobs: declare(r, "jobs", "Runs of scheduled jobs, by job"),
            sent: declare(r, "notices_sent", "Notices handed to the mail server, by result"),
            notices: declare(r, "notices_waiting", "Notices that are waiting to be sent"),
            warnings_waiting: declare(
                r,
                "warnings_waiting",
                "Programs, scripts and webhooks that are still to be done",
            ),
            dict_connections: declare(r, "dict_connections", "Connections of Dovecot's dict protocol that are open"),
            dict_garbage: declare(
                r,
                "dict_garbage",
                "Connections of the dict protocol closed because of what was sent, or because it came too slowly",
            ),
            dict_lookups: declare(r, "dict_lookups", "Lookups by Dovecot"),
            dict_marks: declare(r, "dict_marks", "Folders that Dovecot has marked as changed"),
            dict_strangers: declare(r, "dict_strangers", "Commands about users of Dovecot who are no accounts"),
            dict_totals: declare(r, "dict_totals", "Totals told by Dovecot, by what they came to"),
            flag_drift: declare(r, "flag_drift", "Over-quota flags that were found wrong and are put right"),
            warnings: declare(r, "warnings", "What warnings have led to, by action and result"),
            warned_connections: declare(r, "warned_connections", "Connections of Dovecot's warnings that are open"),
            warned_garbage: declare(
                r,
                "warned_garbage",
                "Connections of Dovecot's warnings closed because of what was sent, or because it came too slowly",
            ),
            queue_messages: declare(r, "queue_messages", "Messages in a mail queue, those just accepted included"),
            queue_read_at: declare(
                r,
                "queue_read_timestamp_seconds",
                "When a mail queue was last read as a whole, in seconds since 1970",
            ),
            queue_read_millis: declare(r, "queue_read_milliseconds", "How long reading a mail queue took last"),
            queue_reads: declare(r, "queue_reads", "Readings of mail queues, by result"),
            queue_groups: declare(r, "queue_groups", "Groups of a queue quota that hold messages"),
            queue_fullest: declare(r, "queue_fullest_percent", "How full the fullest group of a queue quota is"),
            queue_refused: declare(r, "queue_refused", "Refusals because of a queue quota"),
            queue_faults: declare(r, "queue_faults", "Conditions of a queue quota that had no value"),
            registry,
        }
    }
}

fn declare<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// Counts a verdict. On the hot path: after the first of its kind, one atomic addition.
    pub fn verdict(&self, verdict: Verdict) {
        self.verdicts.count(verdict);
    }

    pub fn lookup(&self, map: &'static str, result: &'static str) {
        self.lookups.get_or_create(&[("map", map), ("result", result)]).inc();
    }

    pub fn scan(&self, scan: Scan) {
        self.scans.get_or_create(&[("result", scan.as_str())]).inc();
    }

    pub fn folder_scan(&self, scan: Scan) {
        self.folder_scans.get_or_create(&[("result", scan.as_str())]).inc();
    }

    pub fn watching(&self, by: &'static str, on: bool) {
        self.watching.get_or_create(&[("by", by)]).set(i64::from(on));
    }

    pub fn unix_read(&self, read: UnixRead) {
        let result = match read {
            UnixRead::Done => "done",
            UnixRead::None => "none",
            UnixRead::Failed => "failed",
        };
        self.unix_reads.get_or_create(&[("result", result)]).inc();
    }

    pub fn status_write(&self, write: StatusWrite) {
        let result = match write {
            StatusWrite::Done => "done",
            StatusWrite::Overruled => "overruled",
            StatusWrite::NoEntry => "no-entry",
            StatusWrite::Failed => "failed",
            StatusWrite::Refused => "refused",
        };
        self.status_writes.get_or_create(&[("result", result)]).inc();
    }

    pub fn notice(&self, sent: Sent) {
        let result = match sent {
            Sent::Done => "done",
            Sent::Failed => "failed",
            Sent::Refused => "refused",
        };
        self.sent.get_or_create(&[("result", result)]).inc();
    }

    pub fn dict_total(&self, total: Total) {
        let result = match total {
            Total::Agreed => "agreed",
            Total::Differed => "differed",
            Total::Taken => "taken",
        };
        self.dict_totals.get_or_create(&[("result", result)]).inc();
    }

    pub fn warning(&self, action: &'static str, result: &'static str) {
        self.warnings.get_or_create(&[("action", action), ("result", result)]).inc();
    }

    /// How a mail queue was when it was last read.
    pub fn queue(&self, source: &str, messages: usize, read_at: Option<u64>, took: std::time::Duration) {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let labels = [("source", source.to_owned())];
        self.queue_messages.get_or_create(&labels).set(number(messages as u64));
        self.queue_read_at.get_or_create(&labels).set(number(read_at.unwrap_or(0)));
        self.queue_read_millis.get_or_create(&labels).set(i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
    }

    pub fn queue_read(&self, source: &str, well: bool) {
        let result = if well { "complete" } else { "failed" };
        self.queue_reads.get_or_create(&[("source", source.to_owned()), ("result", result.to_owned())]).inc();
    }

    /// How a queue quota stands.
    pub fn queue_quota(&self, quota: &str, groups: usize, fullest: u64) {
        let labels = [("quota", quota.to_owned())];
        self.queue_groups.get_or_create(&labels).set(i64::try_from(groups).unwrap_or(i64::MAX));
        self.queue_fullest.get_or_create(&labels).set(i64::try_from(fullest).unwrap_or(i64::MAX));
    }

    pub fn queue_refused(&self, quota: &Arc<str>) {
        self.queue_refused.get_or_create(&[("quota", quota.clone())]).inc();
    }

    pub fn queue_faults(&self, quota: &Arc<str>) {
        self.queue_faults.get_or_create(&[("quota", quota.clone())]).inc();
    }

    pub fn job(&self, job: &'static str) {
        self.jobs.get_or_create(&[("job", job)]).inc();
    }

    /// How many accounts or domains stand at `level` now.
    pub fn standing(&self, whose: Whose, level: Level, count: i64) {
        let of = match whose {
            Whose::Account => "account",
            Whose::Domain => "domain",
        };
        self.standings.get_or_create(&[("of", of), ("standing", level.as_str())]).set(count);
    }

    /// Takes over what the ledger counts itself.
    pub fn ledger(&self, batches: u64, operations: u64, errors: u64, up: bool) {
        for (counter, now) in
            [(&self.ledger_batches, batches), (&self.ledger_operations, operations), (&self.ledger_errors, errors)]
        {
            counter.inc_by(now.saturating_sub(counter.get()));
        }
        self.ledger_up.set(i64::from(up));
    }

    /// Everything, in the text form of OpenMetrics.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Only a writer can fail, and a String does not.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// The counters of verdicts, found by index: a family would take a lock and a hash for each request.
struct Verdicts {
    family: Counters<2>,
    found: [[OnceLock<Counter>; REASONS]; ACTIONS],
}

const ACTIONS: usize = 3;
const REASONS: usize = 17;

impl Verdicts {
    fn new(family: Counters<2>) -> Verdicts {
        Verdicts { family, found: Default::default() }
    }

    fn count(&self, verdict: Verdict) {
        let counter = &self.found[action(verdict.action)][reason(verdict.reason)];
        let labels = [("action", verdict.action.as_str()), ("reason", word(verdict.reason))];
        counter.get_or_init(|| self.family.get_or_create_owned(&labels)).inc();
    }
}

const fn action(action: Action) -> usize {
    match action {
        Action::Pass => 0,
        Action::Defer => 1,
        Action::Reject => 2,
    }
}

const fn reason(reason: Reason) -> usize {
    match reason {
        Reason::Unknown => 0,
        Reason::Exempt => 1,
        Reason::LargerThanSite => 2,
        Reason::LargerThanLimit => 3,
        Reason::DomainOver => 4,
        Reason::Over => 5,
        Reason::NoRoom => 6,
        Reason::Room => 7,
        Reason::Status(Status::Active) => 8,
        Reason::Status(Status::Inactive) => 9,
        Reason::Status(Status::Disabled) => 10,
        Reason::Status(Status::Deleted) => 11,
        Reason::Status(Status::Hold) => 12,
        Reason::Status(Status::OverQuota) => 13,
        Reason::Status(Status::Removed) => 14,
        Reason::LargerThanQueue => 15,
        Reason::QueueFull => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_counted_by_action_and_reason() {
        let metrics = Metrics::default();
        let over = Verdict { action: Action::Defer, reason: Reason::Over };
        let gone = Verdict { action: Action::Reject, reason: Reason::Status(Status::Removed) };
        [over, over, gone].into_iter().for_each(|verdict| metrics.verdict(verdict));
        let text = metrics.render();
        assert!(text.contains(r#"mailquotad_verdicts_total{action="defer",reason="over"} 2"#), "{text}");
        assert!(text.contains(r#"mailquotad_verdicts_total{action="reject",reason="status-removed"} 1"#), "{text}");
    }

    #[test]
    fn gauges_and_results_show() {
        let metrics = Metrics::default();
        metrics.standing(Whose::Domain, Level::Over, 3);
        metrics.status_write(StatusWrite::Overruled);
        metrics.scan(Scan::Incomplete);
        metrics.job("resync");
        metrics.outbox.set(2);
        let text = metrics.render();
        for line in [
            r#"mailquotad_standings{of="domain",standing="over"} 3"#,
            r#"mailquotad_status_writes_total{result="overruled"} 1"#,
            r#"mailquotad_scans_total{result="incomplete"} 1"#,
            r#"mailquotad_jobs_total{job="resync"} 1"#,
            "mailquotad_outbox 2",
            "# HELP mailquotad_outbox Writes to the directory that are waiting.",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
