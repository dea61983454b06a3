//! The verdict: one pure function that says what to do with a message, and why.
//!
//! Every answer of the daemon comes from [`decide`]: policy server, lookups, HTTP API, `explain`. The
//! rules are tried in the order of [`Rule`]; the first that speaks decides. What waits in the MTA's queue is
//! [`decide_queue`]d beside it, and the [`stricter`] of the two stands.

mod queue;

pub use queue::{Waiting, decide_queue, stricter};

use crate::account::{Status, Statuses};

use super::standing::{Grace, Standing, Starts};
use super::{Limit, Moment, Usage};

/// What is to become of the message, from lenient to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    Pass,
    Defer,
    Reject,
}

impl Action {
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Pass => "pass",
            Action::Defer => "defer",
            Action::Reject => "reject",
        }
    }
}

/// How far over its limit the last message may take a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    None,
    /// Any one message that is no larger than the limit itself (Oracle's overdraft).
    OneMessage,
    Percent(u32),
    Bytes(u64),
}

/// The settings that a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub enforce: bool,
    /// The largest message that the site takes at all.
    pub max_size: Option<u64>,
    pub allowance: Allowance,
    pub grace: Grace,
    pub domain_grace: Grace,
}

/// A limit with what is in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filling {
    pub limit: Limit,
    pub used: Usage,
    /// Room held for messages that were accepted and have not reached the store yet.
    pub reserved: Usage,
    pub standing: Standing,
    /// How far over this root the last message may go, in the place of the policy's allowance. Such a
    /// root is Dovecot's: a message larger than its limit is refused for good only if it does not fit,
    /// and without a grace period one that does not fit is refused for good.
    pub allowance: Option<Allowance>,
    /// Counted and shown, but no reason to refuse anything (Dovecot's `noenforcing`).
    pub advisory: bool,
}

/// What is known of the recipient. `roots` holds, for every quota root, the bucket that the message
/// would fall in; the strictest root decides. `standing` is that of the account as a whole.
#[derive(Clone, Copy, Debug)]
pub enum Recipient<'a> {
    Unknown,
    Exempt,
    Account { statuses: Statuses, standing: Standing, domain: Option<Filling>, roots: &'a [Filling] },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    Unknown,
    Exempt,
    LargerThanSite,
    LargerThanLimit,
    Status(Status),
    DomainOver,
    Over,
    NoRoom,
    Room,
    LargerThanQueue,
    QueueFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub action: Action,
    pub reason: Reason,
}

impl Verdict {
    const fn new(action: Action, reason: Reason) -> Verdict {
        Verdict { action, reason }
    }
}

/// The rules in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Known,
    Exempt,
    SiteSize,
    LimitSize,
    Status,
    Domain,
    Full,
    Room,
    /// Tried by nobody: what file systems say is among the roots. Who puts it there tells of it.
    Unix,
    Queue,
}

impl Rule {
    pub const fn as_str(self) -> &'static str {
        match self {
            Rule::Known => "recipient",
            Rule::Exempt => "exempt",
            Rule::SiteSize => "maximum message size",
            Rule::LimitSize => "size against the whole limit",
            Rule::Status => "status",
            Rule::Domain => "domain quota",
            Rule::Full => "used against the limit",
            Rule::Room => "room for the message",
            Rule::Unix => "file-system quotas",
            Rule::Queue => "queue quota",
        }
    }
}

/// Hears of every rule that was tried. The hot path passes [`Untold`], which costs nothing.
pub trait Trace {
    fn step(&mut self, rule: Rule, spoke: Option<Verdict>, told: impl FnOnce() -> String);
}

pub struct Untold;

impl Trace for Untold {
    fn step(&mut self, _: Rule, _: Option<Verdict>, _: impl FnOnce() -> String) {}
}

/// Decides about a message of `size` bytes (0, an unannounced size, counts as 1).
pub fn decide(size: u64, recipient: &Recipient, policy: &Policy, now: Moment, trace: &mut impl Trace) -> Verdict {
    let size = size.max(1);
    let mut case = Case { size, policy, now, trace };
    case.verdict(recipient)
}

struct Case<'a, T> {
    size: u64,
    policy: &'a Policy,
    now: Moment,
    trace: &'a mut T,
}

impl<T: Trace> Case<'_, T> {
    fn verdict(&mut self, recipient: &Recipient) -> Verdict {
        let (statuses, standing, domain, roots) = match recipient {
            Recipient::Unknown => {
                return self
                    .spoken(Rule::Known, Action::Pass, Reason::Unknown, || "no account, alias or group here".into());
            }
            Recipient::Exempt => {
                return self.spoken(Rule::Exempt, Action::Pass, Reason::Exempt, || "an exempt sender or client".into());
            }
            Recipient::Account { statuses, standing, domain, roots } => (statuses, *standing, domain, *roots),
        };
        self.silent(Rule::Known, || "an account here".into());
        self.silent(Rule::Exempt, || "not exempt".into());
        if let Some(verdict) = self.sizes(roots) {
            return verdict;
        }
        if !self.policy.enforce {
            let told = || "enforcement is off: nothing further is tried".into();
            return self.spoken(Rule::Status, Action::Pass, Reason::Room, told);
        }
        self.status(statuses, standing, domain.as_ref())
            .or_else(|| self.domain(domain.as_ref()))
            .or_else(|| self.full(roots))
            .unwrap_or_else(|| self.room(roots))
    }

    fn sizes(&mut self, roots: &[Filling]) -> Option<Verdict> {
        let size = self.size;
        if let Some(max) = self.policy.max_size.filter(|max| size > *max) {
            let told = || format!("{size} bytes are more than the {max} that this site takes");
            return Some(self.spoken(Rule::SiteSize, Action::Reject, Reason::LargerThanSite, told));
        }
        let max = self.policy.max_size;
        self.silent(Rule::SiteSize, || match max {
            Some(max) => format!("{size} of at most {max} bytes"),
            None => "no maximum is set".into(),
        });
        let allowance = self.policy.allowance;
        let refuses = |root: &Filling| root.limit.reached_by(root.used) || !fits(root, root.used, size, allowance);
        let cramped = enforced(roots).any(refuses);
        let speaks = |root: &&Filling| cramped || root.allowance.is_none();
        let limit = enforced(roots).filter(speaks).filter_map(|root| root.limit.bytes).min();
        if let Some(limit) = limit.filter(|limit| size > *limit) {
            let told = || format!("{size} bytes would not fit in the limit of {limit}, however empty");
            return Some(self.spoken(Rule::LimitSize, Action::Reject, Reason::LargerThanLimit, told));
        }
        self.silent(Rule::LimitSize, || match limit {
            Some(limit) => format!("{size} bytes against a limit of {limit}"),
            None => "unlimited".into(),
        });
        None
    }

    fn status(&mut self, statuses: &Statuses, standing: Standing, domain: Option<&Filling>) -> Option<Verdict> {
        let Some((attribute, status)) = statuses.first_not_active() else {
            self.silent(Rule::Status, || "all active".into());
            return None;
        };
        let action = match status {
            Status::Active | Status::Hold => Action::Pass,
            Status::Inactive => Action::Defer,
            Status::Disabled | Status::Deleted | Status::Removed => Action::Reject,
            Status::OverQuota => {
                let (standing, grace) = match attribute.is_domain() {
                    true => (domain.map_or(Standing::UNDER, |domain| domain.standing), self.policy.domain_grace),
                    false => (standing, self.policy.grace),
                };
                // A status with no clock behind it was set by hand or survived its clock: no grace is left.
                let in_grace = standing.since.is_some() && !standing.grace_over(grace, self.now);
                if in_grace { Action::Defer } else { Action::Reject }
            }
        };
        let reason = match (status, attribute.is_domain()) {
            (Status::OverQuota, true) => Reason::DomainOver,
            (Status::OverQuota, false) => Reason::Over,
            _ => Reason::Status(status),
        };
        let told = || format!("{} is {}", attribute.as_str(), status.as_str());
        Some(self.spoken(Rule::Status, action, reason, told))
    }

    fn domain(&mut self, domain: Option<&Filling>) -> Option<Verdict> {
        let Some(domain) = domain else {
            self.silent(Rule::Domain, || "the domain has no entry".into());
            return None;
        };
        let told = || format!("the domain uses {}", show(domain));
        if !domain.limit.reached_by(domain.used) {
            self.silent(Rule::Domain, told);
            return None;
        }
        let action = self.while_over(domain.standing, self.policy.domain_grace);
        Some(self.spoken(Rule::Domain, action, Reason::DomainOver, told))
    }

    fn full(&mut self, roots: &[Filling]) -> Option<Verdict> {
        let full = enforced(roots).filter(|root| root.limit.reached_by(root.used));
        let strictest = full
            .map(|root| (self.while_over(root.standing, self.policy.grace), root))
            .max_by_key(|(action, _)| *action);
        match strictest {
            None => {
                self.silent(Rule::Full, || roots.iter().map(show).collect::<Vec<_>>().join("; "));
                None
            }
            Some((action, root)) => {
                let (grace, now) = (self.policy.grace, self.now);
                let told = || format!("{}; {}", show(root), show_grace(root.standing, grace, now));
                Some(self.spoken(Rule::Full, action, Reason::Over, told))
            }
        }
    }

    fn room(&mut self, roots: &[Filling]) -> Verdict {
        let (size, grace, now, allowance) = (self.size, self.policy.grace, self.now, self.policy.allowance);
        let cramped = enforced(roots).filter(|root| !fits(root, root.used + root.reserved, size, allowance));
        let strictest = cramped
            .map(|root| {
                let ran_out = grace.starts == Starts::AtThreshold && root.standing.grace_over(grace, now);
                let for_good = ran_out || root.allowance.is_some() && grace.period.is_zero();
                (if for_good { Action::Reject } else { Action::Defer }, root)
            })
            .max_by_key(|(action, _)| *action);
        match strictest {
            Some((action, root)) => {
                let told = || format!("{size} bytes do not fit: {}", show(root));
                self.spoken(Rule::Room, action, Reason::NoRoom, told)
            }
            None => self.spoken(Rule::Room, Action::Pass, Reason::Room, || format!("{size} bytes fit")),
        }
    }

    /// Defers in the grace period, which for a standing that has not been advanced yet begins now.
    fn while_over(&self, standing: Standing, grace: Grace) -> Action {
        match standing.grace_over(grace, self.now) || grace.period.is_zero() {
            true => Action::Reject,
            false => Action::Defer,
        }
    }

    fn spoken(&mut self, rule: Rule, action: Action, reason: Reason, told: impl FnOnce() -> String) -> Verdict {
        let verdict = Verdict::new(action, reason);
        self.trace.step(rule, Some(verdict), told);
        verdict
    }

    fn silent(&mut self, rule: Rule, told: impl FnOnce() -> String) {
        self.trace.step(rule, None, told);
    }
}

fn enforced(roots: &[Filling]) -> impl Iterator<Item = &Filling> {
    roots.iter().filter(|root| !root.advisory)
}

/// Whether a message of `size` bytes fits beside what is taken.
fn fits(root: &Filling, taken: Usage, size: u64, policy: Allowance) -> bool {
    let messages = root.limit.messages.is_none_or(|limit| taken.messages < limit);
    let bytes = root.limit.bytes.is_none_or(|limit| {
        let wanted = u128::from(taken.bytes) + u128::from(size);
        let limit = u128::from(limit);
        match root.allowance.unwrap_or(policy) {
            Allowance::None => wanted <= limit,
            Allowance::OneMessage => u128::from(taken.bytes) < limit,
            Allowance::Percent(percent) => wanted <= limit + limit * u128::from(percent) / 100,
            Allowance::Bytes(more) => wanted <= limit + u128::from(more),
        }
    });
    messages && bytes
}

fn show(filling: &Filling) -> String {
    let of = |used: u64, limit: Option<u64>, what: &str| match limit {
        Some(limit) => format!("{used} of {limit} {what}"),
        None => format!("{used} {what}, unlimited"),
    };
    let (used, limit, reserved) = (filling.used, filling.limit, filling.reserved);
    let mut text =
        format!("{}, {}", of(used.bytes, limit.bytes, "bytes"), of(used.messages, limit.messages, "messages"));
    if filling.advisory {
        text.push_str(", not enforced");
    }
    if reserved != Usage::ZERO {
        text.push_str(&format!(", {} bytes in {} messages on their way", reserved.bytes, reserved.messages));
    }
    text
}

fn show_grace(standing: Standing, grace: Grace, now: Moment) -> String {
    match standing.since {
        Some(since) if standing.grace_over(grace, now) => format!("over since {since}, the grace period has run out"),
        Some(since) => format!("over since {since}, in the grace period until {}", since.after(grace.period)),
        None if grace.period.is_zero() => "there is no grace period".into(),
        None => "the grace period begins".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::Level;
    use proptest::prelude::*;
    use std::time::Duration;

    fn policy(allowance: Allowance) -> Policy {
        let grace = Grace { threshold: 90, period: Duration::from_secs(10), starts: Starts::AtLimit };
        Policy {
            enforce: true,
            max_size: None,
            allowance,
            grace,
            domain_grace: Grace { period: Duration::ZERO, ..grace },
        }
    }

    fn account(roots: &[Filling]) -> Recipient<'_> {
        Recipient::Account { statuses: Statuses::default(), standing: roots[0].standing, domain: None, roots }
    }

    fn filling(limit: u64, used: u64, reserved: u64) -> Filling {
        let limit = Limit { bytes: Some(limit), messages: None };
        Filling { limit, used: Usage::new(used, 1), reserved: Usage::new(reserved, 0), ..Filling::default() }
    }

    fn action(size: u64, roots: &[Filling], allowance: Allowance) -> Action {
        decide(size, &account(roots), &policy(allowance), Moment(0), &mut Untold).action
    }

    #[test]
    fn an_unannounced_size_counts_as_one_byte() {
        assert_eq!(action(0, &[filling(100, 99, 0)], Allowance::None), Action::Pass);
        assert_eq!(action(0, &[filling(100, 100, 0)], Allowance::None), Action::Defer);
        assert_eq!(action(0, &[filling(0, 0, 0)], Allowance::None), Action::Reject);
    }

    #[test]
    fn one_message_may_go_over_but_not_a_second_on_its_way() {
        assert_eq!(action(100, &[filling(100, 99, 0)], Allowance::OneMessage), Action::Pass);
        assert_eq!(action(100, &[filling(100, 50, 50)], Allowance::OneMessage), Action::Defer);
        assert_eq!(action(101, &[filling(100, 0, 0)], Allowance::OneMessage), Action::Reject);
    }

    #[test]
    fn the_strictest_root_decides() {
        let blocked = Standing { level: Level::Blocked, since: Some(Moment(0)) };
        let roots = [filling(100, 0, 0), Filling { standing: blocked, ..filling(50, 50, 0) }, filling(10, 10, 0)];
        assert_eq!(action(1, &roots, Allowance::None), Action::Reject);
    }

    #[test]
    fn an_advisory_root_refuses_nothing() {
        let advisory = Filling { advisory: true, ..filling(10, 10, 0) };
        assert_eq!(action(50, &[advisory, filling(100, 0, 0)], Allowance::None), Action::Pass);
        assert_eq!(action(50, &[advisory, filling(100, 100, 0)], Allowance::None), Action::Defer);
    }

    #[test]
    fn a_root_with_an_allowance_of_its_own_takes_what_is_larger_than_its_limit_if_it_fits() {
        let root = |used| Filling { allowance: Some(Allowance::Bytes(50)), ..filling(100, used, 0) };
        let verdict = |size, roots: &[Filling]| {
            let mut policy = policy(Allowance::None);
            policy.grace.period = Duration::ZERO;
            let verdict = decide(size, &account(roots), &policy, Moment(0), &mut Untold);
            (verdict.action, verdict.reason)
        };
        assert_eq!(verdict(150, &[root(0)]), (Action::Pass, Reason::Room));
        assert_eq!(verdict(150, &[root(1)]), (Action::Reject, Reason::LargerThanLimit));
        assert_eq!(verdict(100, &[root(51)]), (Action::Reject, Reason::NoRoom));
        assert_eq!(verdict(1, &[root(100)]), (Action::Reject, Reason::Over));
        assert_eq!(verdict(101, &[root(100)]), (Action::Reject, Reason::LargerThanLimit));
        // Too large for the first root, refused because of the second.
        assert_eq!(verdict(120, &[root(0), filling(500, 500, 0)]), (Action::Reject, Reason::LargerThanLimit));
        let on_its_way = Filling { reserved: Usage::new(60, 1), ..root(0) };
        assert_eq!(verdict(110, &[on_its_way]), (Action::Reject, Reason::NoRoom));
    }

    #[test]
    fn nothing_wraps_round_at_the_largest_numbers() {
        let root = filling(u64::MAX, u64::MAX - 1, u64::MAX);
        assert_eq!(action(u64::MAX, &[root], Allowance::Percent(u32::MAX)), Action::Pass);
        assert_eq!(action(u64::MAX, &[root], Allowance::None), Action::Defer);
    }

    fn allowances() -> impl Strategy<Value = Allowance> {
        prop_oneof![
            Just(Allowance::None),
            Just(Allowance::OneMessage),
            (0u32..200).prop_map(Allowance::Percent),
            (0u64..300).prop_map(Allowance::Bytes)
        ]
    }

    proptest! {
        #[test]
        fn an_advisory_root_never_changes_a_verdict(
            limit in 0u64..200, used in 0u64..250, size in 0u64..250, other in 0u64..200, own in proptest::option::of(allowances()),
            allowance in allowances(),
        ) {
            let root = Filling { allowance: own, ..filling(limit, used, 0) };
            let advisory = Filling { advisory: true, ..filling(other, used, 0) };
            let verdict = |roots: &[Filling]| {
                decide(size, &account(roots), &policy(allowance), Moment(0), &mut Untold)
            };
            prop_assert_eq!(verdict(&[root]), verdict(&[root, advisory]));
        }

        #[test]
        fn more_usage_never_makes_it_more_lenient(
            limit in 0u64..200, used in 0u64..250, more in 0u64..100, reserved in 0u64..50, size in 0u64..250,
            allowance in allowances(), clock in proptest::option::of(0u64..30_000), at_threshold: bool,
        ) {
            let mut policy = policy(allowance);
            policy.grace.starts = if at_threshold { Starts::AtThreshold } else { Starts::AtLimit };
            let standing = Standing { level: Level::Warned, since: clock.map(Moment) };
            let verdict = |used| {
                let roots = [Filling { standing, ..filling(limit, used, reserved) }];
                decide(size, &account(&roots), &policy, Moment(20_000), &mut Untold).action
            };
            prop_assert!(verdict(used) <= verdict(used + more));
        }
    }
}
