//! One function for each event that an operator may search for. `event=` names it; the same thing has the
//! same key in every event, and `docs/monitoring.md` lists them. A change here is a change of interface.

use std::fmt::Display;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::quota::{Level, Limit, Moment, Usage, Verdict};

use super::word;

pub fn started(version: &str, config: &dyn Display) {
    info!(event = "started", version, %config);
}

/// The directory has been read. Requests are answered before that, from what is known.
pub fn ready(accounts: usize, domains: usize, after: Duration) {
    info!(event = "ready", accounts, domains, ms = millis(after));
}

pub fn listening(service: &str, endpoint: &dyn Display) {
    info!(event = "listening", service, %endpoint);
}

pub fn stopping(signal: &str) {
    info!(event = "stopping", signal);
}

/// A second signal came before everything was done.
pub fn forced() {
    warn!(event = "forced");
}

pub fn stopped() {
    info!(event = "stopped");
}

/// `restart` names what has changed and takes a restart to be in force.
pub fn reloaded(config: &dyn Display, restart: &[String]) {
    match restart {
        [] => info!(event = "reloaded", %config),
        keys => warn!(event = "reloaded", %config, restart_needed_for = keys.join(",")),
    }
}

/// The old configuration stays in force.
pub fn reload_failed(why: &dyn Display) {
    error!(event = "reload-failed", %why);
}

/// A message was deferred or rejected.
pub fn refused(recipient: &str, sender: &str, size: u64, verdict: Verdict, reply: &dyn Display) {
    let (action, reason) = (verdict.action.as_str(), word(verdict.reason));
    info!(event = "refused", recipient, sender, size, action, reason, %reply);
}

pub fn passed(recipient: &str, sender: &str, size: u64, verdict: Verdict) {
    debug!(event = "passed", recipient, sender, size, action = verdict.action.as_str(), reason = word(verdict.reason));
}

/// An MTA looked something up.
pub fn looked_up(map: &str, key: &str, answer: &dyn Display) {
    debug!(event = "looked-up", map, key, %answer);
}

/// A client sent what is not the protocol, or sent it too slowly, and was disconnected.
pub fn garbage(service: &str, client: &dyn Display, why: &dyn Display) {
    warn!(event = "garbage", service, %client, %why);
}

/// A client said nothing for as long as it may, and was disconnected. Postfix does well without.
pub fn idle(service: &str, client: &dyn Display) {
    info!(event = "idle", service, %client);
}

/// A connection broke, or the client hung up within a request.
pub fn client_lost(service: &str, client: &dyn Display, why: &dyn Display) {
    info!(event = "client-lost", service, %client, %why);
}

/// A bug: the thread of a connection panicked. That connection is closed, the others go on.
pub fn session_panicked(service: &str, client: &dyn Display) {
    error!(event = "session-panicked", service, %client);
}

/// The loop that accepts connections of a service has ended by a bug: nobody new gets in.
pub fn accept_loop_died(service: &str, why: &dyn Display) {
    error!(event = "accept-loop-died", service, %why);
}

/// Work in the background has ended by a bug.
pub fn task_died(why: &dyn Display) {
    error!(event = "task-died", %why);
}

/// A connection to the API broke, or was idle for too long.
pub fn http_ended(why: &dyn Display) {
    debug!(event = "http-ended", %why);
}

/// All connections that are allowed are in use; the next client waits until one of them ends.
pub fn crowded(service: &str, connections: usize) {
    warn!(event = "crowded", service, connections);
}

/// A connection could not be accepted; the next one is waited for.
pub fn accept_failed(service: &str, why: &dyn Display) {
    warn!(event = "accept-failed", service, %why);
}

pub fn directory_loaded(accounts: usize, domains: usize, took: Duration) {
    info!(event = "directory-loaded", accounts, domains, ms = millis(took));
}

/// What was known stays in force.
pub fn directory_lost(why: &dyn Display) {
    warn!(event = "directory-lost", %why);
}

pub fn directory_back() {
    info!(event = "directory-back");
}

/// The server tells of no changes by itself, so it is asked for them. OpenLDAP's syncprov overlay is missing.
pub fn directory_polled(url: &str) {
    warn!(event = "directory-polled", url);
}

/// The server could not go on from where it was left, so everything is read anew. Answers go on meanwhile.
pub fn directory_reread(url: &str) {
    warn!(event = "directory-reread", url);
}

/// An entry cannot be read; its last good state stays in force.
pub fn entry_bad(dn: &str, why: &dyn Display) {
    warn!(event = "entry-bad", dn, %why);
}

/// A value is no quota; the last good limits stay in force. `why` begins with the attribute.
pub fn value_bad(of: &str, why: &str) {
    warn!(event = "value-bad", of, why);
}

/// An account's or a domain's bucket moved from one standing to another.
pub fn standing_changed(of: &str, bucket: &dyn Display, from: Level, to: Level, since: Option<Moment>, used: Usage) {
    let since = since.map(|since| since.to_string());
    info!(
        event = "standing-changed",
        of,
        %bucket,
        from = from.as_str(),
        to = to.as_str(),
        since,
        bytes = used.bytes,
        messages = used.messages
    );
}

pub fn status_written(dn: &str, attribute: &dyn Display, from: &str, to: &str) {
    info!(event = "status-written", dn, %attribute, from, to);
}

/// Somebody else has set another value; it was left alone.
pub fn status_overruled(dn: &str, attribute: &dyn Display, found: &str, to: &str) {
    info!(event = "status-overruled", dn, %attribute, found, to);
}

/// A write did not go through; it is tried again after `retry`, or, without, when an admin has acted.
pub fn status_failed(dn: &str, attribute: &dyn Display, why: &dyn Display, retry: Option<Duration>) {
    match retry {
        Some(retry) => warn!(event = "status-failed", dn, %attribute, %why, retry_ms = millis(retry)),
        None => error!(event = "status-refused", dn, %attribute, %why),
    }
}

/// Verdicts go on; updates are lost until the next resync.
pub fn ledger_failed(why: &dyn Display) {
    error!(event = "ledger-failed", %why);
}

pub fn ledger_back() {
    info!(event = "ledger-back");
}

pub fn scanned(account: &str, used: Usage, files: u64, took: Duration) {
    debug!(event = "scanned", account, bytes = used.bytes, messages = used.messages, files, ms = millis(took));
}

/// Folders that were seen changing; `used` is what the whole account holds now.
pub fn folders_scanned(account: &str, folders: usize, used: Usage, files: u64, took: Duration) {
    let (bytes, messages, ms) = (used.bytes, used.messages, millis(took));
    debug!(event = "folders-scanned", account, folders, bytes, messages, files, ms);
}

/// Changes in the mail store are seen from now on; `why` is what kept a better means from being used.
pub fn watching(by: &str, why: Option<&str>) {
    match why {
        Some(why) => info!(event = "watching", by, why),
        None => info!(event = "watching", by),
    }
}

/// The mail store is not watched. Usage follows deliveries that the policy server hears of, and the jobs.
pub fn not_watching(why: &dyn Display, retry: Duration) {
    warn!(event = "not-watching", %why, retry_ms = millis(retry));
}

/// The kernel had more changes to tell than it could keep.
pub fn watch_overflow() {
    warn!(event = "watch-overflow");
}

/// Mailboxes that may have changed unseen were looked at, and `changed` of them are measured.
pub fn watch_swept(accounts: usize, changed: usize, took: Duration) {
    info!(event = "watch-swept", accounts, changed, ms = millis(took));
}

/// The mailbox could not be measured as a whole; its old usage stays.
pub fn scan_incomplete(account: &str, why: &dyn Display) {
    warn!(event = "scan-incomplete", account, %why);
}

/// A file system's quotas cannot be read; the last readings count until they are too old. Said once.
pub fn unix_quota_failed(place: &str, why: &str) {
    warn!(event = "unix-quota-failed", place, why);
}

pub fn unix_quota_back(place: &str) {
    info!(event = "unix-quota-back", place);
}

/// `resync` of everything, by schedule.
pub fn resync_done(done: u64, failed: u64, changed: u64, files: u64) {
    info!(event = "resync-done", done, failed, changed, files);
}

/// Nothing was ever loaded, and `policy.on_failure` is `defer`.
pub fn not_loaded(recipient: &str, reply: &dyn Display) {
    warn!(event = "not-loaded", recipient, %reply);
}

pub fn job_done(job: &str, took: Duration) {
    debug!(event = "job-done", job, ms = millis(took));
}

/// The over-quota flag of an account was found wrong, and is put right.
pub fn flag_drifted(account: &str, found: Option<&str>, wanted: Option<&str>) {
    let shown = |value: Option<&str>| value.unwrap_or("(absent)").to_owned();
    warn!(event = "flag-drifted", account, found = shown(found), wanted = shown(wanted));
}

/// The over-quota flag of an account could not be compared.
pub fn flag_unread(account: &str, why: &dyn Display) {
    warn!(event = "flag-unread", account, %why);
}

/// An account has set off a warning of `[warnings]`.
pub fn warning_set_off(account: &str, when: &str, used: Usage) {
    info!(event = "warning-set-off", account, when, bytes = used.bytes, messages = used.messages);
}

/// What a warning leads to could not be done; it is not tried again.
pub fn warning_failed(account: &str, when: &str, action: &str, why: &dyn Display) {
    warn!(event = "warning-failed", account, when, action, %why);
}

/// Dovecot has called with a warning of its own.
pub fn warning_heard(arguments: &str, known: bool) {
    info!(event = "warning-heard", arguments, known);
}

/// The mail server cannot be reached; notices wait.
pub fn mailer_away(why: &dyn Display, retry: Duration) {
    warn!(event = "mailer-away", %why, retry_ms = millis(retry));
}

/// A mail server asks about a notice that an earlier life of the daemon was handing over when it was killed. It is
/// put off, and sent again by this life.
pub fn notice_left_over(to: &str) {
    info!(event = "notice-left-over", to);
}

/// The mail server has taken a notice over.
pub fn notice_sent(to: &str, about: &str, message_id: &str) {
    info!(event = "notice-sent", to, about, message_id);
}

/// It was put off and is tried again.
pub fn notice_deferred(to: &str, about: &str, message_id: &str, why: &dyn Display, retry: Duration) {
    warn!(event = "notice-deferred", to, about, message_id, %why, retry_ms = millis(retry));
}

/// It was refused for good and is dropped.
pub fn notice_refused(to: &str, about: &str, message_id: &str, why: &dyn Display) {
    error!(event = "notice-refused", to, about, message_id, %why);
}

/// Dovecot's total is not what was measured, so the mailbox is measured again. Time and again of one account:
/// the two count in other units (`mailstore.sizes`) or other folders.
pub fn totals_differ(account: &str, ours: Usage, their_bytes: Option<u64>, their_messages: Option<u64>) {
    info!(event = "totals-differ", account, bytes = ours.bytes, messages = ours.messages, their_bytes, their_messages);
}

/// After a start: mailboxes that were looked at, and those of them that had changed and were measured.
pub fn caught_up(looked_at: usize, measured: usize, took: Duration) {
    info!(event = "caught-up", looked_at, measured, ms = millis(took));
}

/// Dovecot has a user who is no account.
pub fn dict_stranger(user: &str) {
    debug!(event = "dict-stranger", user);
}

/// The ledger knows of accounts that the directory does not have; they count as gone from now on.
pub fn gone_found(accounts: usize) {
    info!(event = "gone-found", accounts);
}

/// What was known of an account that has been gone since then.
pub fn forgotten(account: &str, since: Moment) {
    info!(event = "forgotten", account, %since);
}

/// An admin has set a limit by IMAP.
pub fn limit_set(dn: &str, attribute: &dyn Display, from: &str, to: &str) {
    info!(event = "limit-set", dn, %attribute, from, to);
}

/// A process that is not to set limits tried to.
pub fn limit_refused(account: &str, client: &dyn Display) {
    warn!(event = "limit-refused", account, %client);
}

/// The mail queue was read as a whole.
pub fn queue_read(source: &str, messages: u64, took: Duration) {
    debug!(event = "queue-read", source, messages, ms = millis(took));
}

/// It cannot be read; what was read last is believed for a while.
pub fn queue_lost(source: &str, why: &dyn Display) {
    warn!(event = "queue-lost", source, %why);
}

pub fn queue_back(source: &str) {
    info!(event = "queue-back", source);
}

/// Parts of a queue's list could not be read; the rest counts.
pub fn queue_unread(source: &str, parts: u64) {
    warn!(event = "queue-unread", source, parts);
}

/// The folders of a queue are closed to us: that messages have left shows only when it is read.
pub fn queue_unwatched(source: &str, why: &dyn Display) {
    info!(event = "queue-unwatched", source, %why);
}

/// A group of a queue quota has reached its threshold.
pub fn queue_crowded(quota: &str, group: &dyn Display, used: Usage, limit: Limit) {
    warn!(
        event = "queue-crowded",
        quota,
        %group,
        bytes = used.bytes,
        messages = used.messages,
        limit_bytes = limit.bytes,
        limit_messages = limit.messages
    );
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
