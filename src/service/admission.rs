//! Who asks what may come in gets the answer here: the one place that puts a question to the model.
//!
//! The hot path: no I/O, no ledger, no directory, no lock that anybody holds for long, and nothing
//! allocated for a request about one recipient.

mod asked;

use std::sync::Arc;
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::account::{Account, Seat};
use super::accounting::Accounting;
use super::domain::Domain;
use super::expansion::{Expansion, expand, extension};
use super::hints::Hints;
use super::queue::Queues;
use super::roots::Fillings;
use super::settings::Settings;
use super::transactions::Transactions;
use crate::account::{Status, Statuses};
use crate::quota::verdict::{Filling, Recipient, Rule, Trace, Untold, decide, stricter};
use crate::quota::{Action, Moment, Reason, Standing, Verdict};
use crate::telemetry::metrics::Metrics;
use crate::wire::policy::{Reply, Request};

/// The folder that new mail lands in when nobody says otherwise.
pub const INBOX: &str = "INBOX";

pub struct Admission {
    accounting: Arc<Accounting>,
    transactions: Transactions,
    hints: Hints,
    metrics: Arc<Metrics>,
    queues: Arc<Queues>,
}

/// A message in question.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub size: u64,
    pub folder: &'a str,
    pub kind: Option<&'a str>,
}

impl Admission {
    pub fn new(accounting: Arc<Accounting>, hints: Hints, metrics: Arc<Metrics>) -> Admission {
        let queues = Arc::new(Queues::new(Vec::new(), metrics.clone()));
        Admission { accounting, transactions: Transactions::default(), hints, metrics, queues }
    }

    /// Asks these queues as well.
    pub fn with_queues(self, queues: Arc<Queues>) -> Admission {
        Admission { queues, ..self }
    }

    pub fn queues(&self) -> &Arc<Queues> {
        &self.queues
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.accounting.settings.load_full()
    }

    pub fn accounting(&self) -> &Accounting {
        &self.accounting
    }

    /// The verdict on a message for one account.
    pub fn judge(
        &self,
        account: &Account,
        message: Message<'_>,
        settings: &Settings,
        now: Moment,
        trace: &mut impl Trace,
    ) -> Verdict {
        self.judge_and_hold(account, message, settings, now, None, trace)
    }

    /// The same, and where it passes room is held for the message until `hold`. Both under one lock: of many
    /// messages that end at once none may take the room that another has just been promised.
    fn judge_and_hold(
        &self,
        account: &Account,
        message: Message<'_>,
        settings: &Settings,
        now: Moment,
        hold: Option<Moment>,
        trace: &mut impl Trace,
    ) -> Verdict {
        let mut seat = account.lock();
        let bucket = seat.limits.bucket_of(message.folder, message.kind);
        let own = filling(&mut seat, bucket, now);
        let roots: Fillings = match seat.roots() {
            Some(roots) => roots.fillings(&seat.limits, message.folder, message.kind, own),
            None => smallvec![own],
        };
        let standing = seat.standing(0);
        let mut all = SmallVec::<[Filling; 8]>::new();
        let roots: &[Filling] = match seat.unix() {
            Some(unix) => {
                all.extend(roots.iter().copied().chain(unix.fillings(settings.unix, own.reserved, now)));
                trace.step(Rule::Unix, None, || unix.show(settings.unix, now));
                &all
            }
            None => &roots,
        };
        let domain = seat.domain.lock();
        let statuses = Statuses {
            inet_domain: domain.inet_status,
            mail_domain: in_force(domain.mail_status, domain.wished),
            inet_user: seat.inet_status,
            mail_user: in_force(seat.mail_status, seat.wished),
        };
        let over_domain = domain.entry.is_some().then(|| domain.filling());
        drop(domain);
        let recipient = Recipient::Account { statuses, standing, domain: over_domain, roots };
        let Some(until) = hold else {
            drop(seat);
            return decide(message.size, &recipient, &settings.policy, now, trace);
        };
        let verdict = decide(message.size, &recipient, &settings.policy, now, trace);
        if verdict.action == Action::Pass {
            seat.reserve(message.size.max(1), until);
        }
        verdict
    }

    /// The accounts behind an address.
    pub fn expand(&self, settings: &Settings, address: &str) -> Expansion {
        expand(&self.accounting.book, &settings.delimiter, address)
    }

    /// The verdict on an address: that of its most fortunate account, because what one of them may have must not be
    /// refused. Mail that also goes elsewhere always passes. With `hold`, what passes has room held for it until then, in
    /// every account that it goes to. Nobody is exempt.
    pub fn judge_found(
        &self,
        accounts: &[Arc<Account>],
        others: bool,
        message: Message<'_>,
        settings: &Settings,
        now: Moment,
        hold: Option<Moment>,
    ) -> Judged {
        let judge = |account: &Arc<Account>| self.judge_and_hold(account, message, settings, now, hold, &mut Untold);
        let verdicts: SmallVec<[Verdict; 4]> = accounts.iter().map(judge).collect();
        let best = verdicts.iter().zip(accounts).min_by_key(|(verdict, _)| verdict.action);
        let account = best.map(|(_, account)| account.clone());
        let verdict = match best {
            Some((verdict, _)) if !others || verdict.reason == Reason::LargerThanSite => *verdict,
            Some(_) => Verdict { action: Action::Pass, reason: Reason::Room },
            None => decide(message.size, &Recipient::Unknown, &settings.policy, now, &mut Untold),
        };
        if let Some(until) = hold.filter(|_| verdict.action == Action::Pass) {
            // Who alone would have been refused gets the message with the others.
            for (account, _) in accounts.iter().zip(&verdicts).filter(|(_, own)| own.action != Action::Pass) {
                account.lock().reserve(message.size.max(1), until);
            }
        }
        Judged { verdict, account }
    }

    /// The verdict on a domain, whoever of its accounts is meant.
    pub fn judge_domain(&self, domain: &Domain, size: u64, settings: &Settings, now: Moment) -> Verdict {
        let state = domain.lock();
        let statuses = Statuses {
            inet_domain: state.inet_status,
            mail_domain: in_force(state.mail_status, state.wished),
            ..Statuses::default()
        };
        let over = state.entry.is_some().then(|| state.filling());
        drop(state);
        let recipient = Recipient::Account { statuses, standing: Standing::UNDER, domain: over, roots: &[] };
        decide(size, &recipient, &settings.policy, now, &mut Untold)
    }

    /// Says that mail for these accounts is probably on its way, so that they are measured soon.
    pub fn announce(&self, accounts: &[Arc<Account>]) {
        for account in accounts {
            self.hints.soon(account, &mut account.lock());
        }
    }

    /// Who is refused may have deleted mail since: nobody tells us of that, so we look.
    pub fn look_again(&self, verdict: Verdict, accounts: &[Arc<Account>], now: Moment) {
        if !matches!(verdict.reason, Reason::Over | Reason::NoRoom | Reason::DomainOver) {
            return;
        }
        for account in accounts {
            let mut seat = account.lock();
            if seat.measured().is_none_or(|measured| now.since(measured) >= LOOK_AGAIN) {
                self.hints.soon(account, &mut seat);
            }
        }
    }

    /// Whether no quota stops the message: an exempt client or sender, or a notice of our own, which must
    /// reach the full mailbox that it is about.
    pub fn is_exempt(
        &self,
        request: &Request<'_>,
        accounts: &[Arc<Account>],
        settings: &Settings,
        now: Moment,
    ) -> bool {
        let notices = &self.accounting.notices;
        let told = |account: &Arc<Account>| notices.is_expected(&account.address, now);
        settings.exempt.include(request)
            || settings.notify.is_own(request.sender, request.size)
                && (accounts.iter().all(told) || notices.is_expected(request.recipient, now))
    }

    /// Whether not even the queue may stop the message: the same as with mailboxes, and whoever is exempt also where
    /// the recipient is none of ours.
    pub fn is_stopped_by_nothing(
        &self,
        request: &Request<'_>,
        accounts: &[Arc<Account>],
        settings: &Settings,
        now: Moment,
    ) -> bool {
        settings.exempt.include(request) || !accounts.is_empty() && self.is_exempt(request, accounts, settings, now)
    }
}

/// The folder that mail for an address lands in.
pub fn folder_of<'a>(settings: &Settings, address: &'a str, extended: bool) -> &'a str {
    let named = if settings.extension_folders && extended { extension(&settings.delimiter, address) } else { None };
    named.filter(|name| !name.eq_ignore_ascii_case(INBOX)).unwrap_or(INBOX)
}

/// A verdict, and the account that decided it.
pub struct Judged {
    pub verdict: Verdict,
    pub account: Option<Arc<Account>>,
}

impl Judged {
    /// With what the queue says: of nobody's mailbox, if that is the stricter.
    fn beside(self, queue: Verdict) -> Judged {
        match stricter(self.verdict, queue) == self.verdict {
            true => self,
            false => Judged { verdict: queue, account: None },
        }
    }
}

/// What a status comes to while it is about to be written. `overquota` that is to be taken back has lost its
/// reason: mail comes in again at once, also while the directory cannot be written to.
fn in_force(status: Status, wished: Option<Status>) -> Status {
    match (status, wished) {
        (Status::OverQuota, Some(Status::Active)) => Status::Active,
        _ => status,
    }
}

/// A mailbox that mail is refused for is measured again, but not within this time.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

fn filling(seat: &mut Seat, bucket: usize, now: Moment) -> Filling {
    let reserved = seat.reserved(now);
    Filling {
        limit: seat.limits.buckets()[bucket].limit,
        used: seat.used(bucket),
        // What is on its way is new mail: it will land where new mail lands.
        reserved: if bucket == seat.limits.bucket_of(INBOX, None) { reserved } else { Default::default() },
        standing: seat.standing(bucket),
        ..Filling::default()
    }
}

/// What a verdict on this account is answered with.
pub fn put_in_words(settings: &Settings, verdict: Verdict, account: Option<&Account>, reply: &mut Reply<'_>) {
    if settings.quota_status.as_ref().is_some_and(|words| words.say(verdict, account, reply)) {
        return;
    }
    match settings.texts.reply(verdict) {
        Some(text) => reply.refuse(text.code, &text.words),
        None => reply.dunno(),
    }
}
