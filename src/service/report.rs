//! What `show`, `check` and `explain` say: plain data, the same for the HTTP API and the command line.
//! The field names are a contract (`--format json` is stable); fields may be added.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::accounting::Accounting;
use super::admission::{Admission, Message, put_in_words};
use super::domain::Domain;
use super::settings::Settings;
use crate::account::{Status, Statuses};
use crate::quota::verdict::{Reason, Recipient, Rule, Trace, decide, stricter};
use crate::quota::{Action, Level, Limit, Standing, Usage, Verdict};
use crate::wire::policy::{Reply, Request};

/// Bytes and messages; as a limit, `null` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Both<T> {
    pub bytes: T,
    pub messages: T,
}

impl From<Usage> for Both<u64> {
    fn from(usage: Usage) -> Self {
        Both { bytes: usage.bytes, messages: usage.messages }
    }
}

impl From<Limit> for Both<Option<u64>> {
    fn from(limit: Limit) -> Self {
        Both { bytes: limit.bytes, messages: limit.messages }
    }
}

impl Both<Option<u64>> {
    pub fn limit(self) -> Limit {
        Limit { bytes: self.bytes, messages: self.messages }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketReport {
    pub name: String,
    pub used: Both<u64>,
    pub limit: Both<Option<u64>>,
    pub standing: Level,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountReport {
    pub account: String,
    pub domain: String,
    /// The status in force: the first that is not active.
    pub status: String,
    pub standing: Level,
    pub since: Option<String>,
    pub buckets: Vec<BucketReport>,
    /// Further quota roots, where the site has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<RootReport>,
    /// When the mailbox was last measured as a whole.
    pub measured: Option<String>,
    /// Why the directory's quota could not be read; the last good one is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternates: Vec<String>,
    /// Only where they are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<FolderReport>,
}

/// What lies in one folder, a line for each type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderReport {
    pub folder: String,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub used: Both<u64>,
}

/// A further quota root, or a file system that has a quota of the account's Unix user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootReport {
    pub name: String,
    pub used: Both<u64>,
    pub limit: Both<Option<u64>>,
    pub standing: Level,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainReport {
    pub domain: String,
    pub status: String,
    pub standing: Level,
    pub since: Option<String>,
    pub accounts: u64,
    pub used: Both<u64>,
    pub limit: Both<Option<u64>>,
    /// The sum of the accounts' own byte limits, and how many accounts have none.
    pub committed: u64,
    pub uncommitted: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub rule: String,
    /// `null` where the rule had nothing to say.
    pub verdict: Option<String>,
    pub why: String,
    /// Whose: an address may lead to several accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub verdict: String,
    pub reply: String,
    pub bucket: Option<String>,
    pub steps: Vec<Step>,
}

fn since(standing: Standing) -> Option<String> {
    standing.since.map(|since| since.to_string())
}

pub fn account(accounting: &Accounting, account: &Account) -> AccountReport {
    let settings = accounting.settings.load();
    let seat = account.lock();
    let domain = seat.domain.lock();
    let statuses = Statuses {
        inet_domain: domain.inet_status,
        mail_domain: domain.mail_status,
        inet_user: seat.inet_status,
        mail_user: seat.mail_status,
    };
    drop(domain);
    let buckets = seat.limits.buckets().iter().zip(seat.filled());
    let level = accounting.level(&seat, &settings);
    AccountReport {
        account: account.address.to_string(),
        domain: seat.domain.name.to_string(),
        status: statuses.first_not_active().map_or(Status::Active, |(_, status)| status).as_str().into(),
        standing: level,
        since: seat.filled().map(|one| one.standing).find(|standing| standing.level == level).and_then(since),
        buckets: buckets
            .map(|(bucket, one)| BucketReport {
                name: bucket.name.to_string(),
                used: one.used.into(),
                limit: bucket.limit.into(),
                standing: one.standing.level,
                since: since(one.standing),
            })
            .collect(),
        roots: seat
            .roots()
            .into_iter()
            .flat_map(|roots| roots.shown())
            .map(|(name, used, limit, standing)| RootReport {
                name: name.into(),
                used: used.into(),
                limit: limit.into(),
                standing: standing.level,
            })
            .chain(seat.unix().into_iter().flat_map(|unix| unix.shown(settings.unix, accounting.clock.now())).map(
                |(name, used, limit, standing)| RootReport {
                    name,
                    used: used.into(),
                    limit: limit.into(),
                    standing: standing.level,
                },
            ))
            .collect(),
        measured: seat.measured().map(|at| at.to_string()),
        problem: seat.problem().map(Into::into),
        folders: Vec::new(),
        alternates: seat.links().alternates.iter().map(|a| a.to_string()).collect(),
    }
}

pub fn folders(account: &Account) -> Vec<FolderReport> {
    let seat = account.lock();
    let report = |(cell, used): (&crate::quota::CellKey, Usage)| FolderReport {
        folder: cell.folder.to_string(),
        kind: cell.kind.as_deref().map(Into::into),
        used: used.into(),
    };
    seat.cells.iter().map(report).collect()
}

pub fn domain(domain: &Domain) -> DomainReport {
    let state = domain.lock();
    let statuses = Statuses { inet_domain: state.inet_status, mail_domain: state.mail_status, ..Statuses::default() };
    DomainReport {
        domain: domain.name.to_string(),
        status: statuses.first_not_active().map_or(Status::Active, |(_, status)| status).as_str().into(),
        standing: state.standing.level,
        since: since(state.standing),
        accounts: state.accounts() as u64,
        used: state.held.usage().into(),
        limit: state.limit.into(),
        committed: u64::try_from(state.committed).unwrap_or(u64::MAX),
        uncommitted: state.uncommitted,
        problem: state.problem.as_deref().map(Into::into),
    }
}

/// Answers as the policy server would, step by step, for every account behind the address.
///
/// `request` is what is known of the client: who is exempt passes whatever the message is.
pub fn explain(
    admission: &Admission,
    accounting: &Accounting,
    request: &Request<'_>,
    message: Message<'_>,
) -> Explanation {
    let settings = admission.settings();
    let now = accounting.clock.now();
    let mut steps = Vec::new();
    let (mailbox, account) = explain_mailbox(admission, accounting, request, message, &mut steps);
    let bucket = account.as_ref().map(|account| {
        let seat = account.lock();
        seat.limits.buckets()[seat.limits.bucket_of(message.folder, message.kind)].name.to_string()
    });
    let (queues, accounts) = (admission.queues(), admission.expand(&settings, request.recipient).accounts);
    let verdict = match queues.are_limited() && !admission.is_stopped_by_nothing(request, &accounts, &settings, now) {
        true => {
            let mut told = Told { steps: &mut steps, account: None };
            stricter(mailbox, queues.at_rcpt(request, &settings.policy, &mut told))
        }
        false => mailbox,
    };
    let reply = reply_to(&settings, verdict, account.as_ref().or(accounts.first()));
    Explanation { verdict: verdict.action.as_str().into(), reply, bucket, steps }
}

/// The verdict as far as mailboxes go, and the account that it is about.
fn explain_mailbox(
    admission: &Admission,
    accounting: &Accounting,
    request: &Request<'_>,
    message: Message<'_>,
    steps: &mut Vec<Step>,
) -> (Verdict, Option<Arc<Account>>) {
    let settings = admission.settings();
    let now = accounting.clock.now();
    let found = admission.expand(&settings, request.recipient);
    let several = found.accounts.len() > 1;
    if !found.is_unknown() && admission.is_exempt(request, &found.accounts, &settings, now) {
        let mut told = Told { steps, account: None };
        return (decide(message.size, &Recipient::Exempt, &settings.policy, now, &mut told), None);
    }
    let mut best: Option<(Verdict, Arc<Account>)> = None;
    for account in &found.accounts {
        let mut told = Told { steps, account: several.then(|| account.address.to_string()) };
        let verdict = admission.judge(account, message, &settings, now, &mut told);
        if best.as_ref().is_none_or(|(known, _)| verdict.action < known.action) {
            best = Some((verdict, account.clone()));
        }
    }
    let Some((verdict, account)) = best else {
        let mut told = Told { steps, account: None };
        return (decide(message.size, &Recipient::Unknown, &settings.policy, now, &mut told), None);
    };
    if verdict.action == Action::Pass || !found.others || verdict.reason == Reason::LargerThanSite {
        return (verdict, Some(account));
    }
    steps.push(Step {
        rule: "expansion".into(),
        verdict: Some(Action::Pass.as_str().into()),
        why: "the address also leads elsewhere, so the message is not refused".into(),
        account: None,
    });
    (Verdict { action: Action::Pass, reason: Reason::Room }, Some(account))
}

/// The reply as the policy server gives it.
fn reply_to(settings: &Settings, verdict: Verdict, account: Option<&Arc<Account>>) -> String {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out);
    put_in_words(settings, verdict, account.map(|account| &**account), &mut reply);
    reply.action().to_owned()
}

struct Told<'a> {
    steps: &'a mut Vec<Step>,
    account: Option<String>,
}

impl Trace for Told<'_> {
    fn step(&mut self, rule: Rule, spoke: Option<Verdict>, told: impl FnOnce() -> String) {
        self.steps.push(Step {
            rule: rule.as_str().into(),
            verdict: spoke.map(|verdict| verdict.action.as_str().into()),
            why: told(),
            account: self.account.clone(),
        });
    }
}
