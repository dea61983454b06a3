//! The numbers of Dovecot's own unit test of quota transactions (`test-quota-util.c`, the same from 2.3.19 to
//! 2.4.1). What a transaction has added so far is room reserved here; what it has removed is not used.

use mailquotad::account::Statuses;
use mailquotad::quota::standing::{Grace, Standing, Starts};
use mailquotad::quota::verdict::{Allowance, Filling, Policy, Recipient, Untold, decide};
use mailquotad::quota::{Action, Delta, Limit, Moment, Usage};

const MAX: u64 = u64::MAX;

/// Limit, used before, change in the transaction, one more, whether that is over. For messages and bytes.
const EITHER: [(u64, u64, i64, u64, bool); 8] = [
    (1, 0, 0, 1, false),
    (MAX, MAX, 0, 1, true),
    (MAX, MAX - 1, 0, 1, false),
    (MAX, MAX - 1, 1, 1, true),
    (MAX - 1, MAX - 1, 0, 1, true),
    (MAX - 1, MAX - 1, -1, 1, false),
    (MAX - 2, MAX - 1, -1, 1, true),
    (MAX - 2, MAX - 1, -2, 1, false),
];

/// For bytes. The rows of size 0 are left out: no message is of size 0 here, it counts as 1 byte.
const BYTES: [(u64, u64, i64, u64, bool); 9] = [
    (MAX, MAX, 0, 1, true),
    (MAX, 0, 0, MAX, false),
    (MAX, 1, 0, MAX, true),
    (MAX, 0, 1, MAX, true),
    (MAX - 1, 0, 0, MAX, true),
    (MAX - 1, 0, 0, MAX - 1, false),
    (MAX - 1, 1, 0, MAX - 1, true),
    (MAX - 1, 1, -1, MAX - 1, false),
    (MAX, MAX, 0, MAX, true),
];

fn is_over(filling: Filling, size: u64) -> bool {
    let grace = Grace { threshold: 100, period: std::time::Duration::ZERO, starts: Starts::AtLimit };
    let policy = Policy { enforce: true, max_size: None, allowance: Allowance::None, grace, domain_grace: grace };
    let (statuses, standing) = (Statuses::default(), Standing::UNDER);
    let recipient = Recipient::Account { statuses, standing, domain: None, roots: &[filling] };
    decide(size, &recipient, &policy, Moment(0), &mut Untold).action != Action::Pass
}

#[test]
fn bytes() {
    for row in EITHER.into_iter().chain(BYTES) {
        let (limit, used, change, size, over) = row;
        let delta = Delta { bytes: change.min(0), messages: 0 };
        let filling = Filling {
            limit: Limit { bytes: Some(limit), messages: None },
            used: Usage::new(used, 0).changed(delta),
            reserved: Usage::new(change.max(0).unsigned_abs(), 0),
            ..Filling::default()
        };
        assert_eq!(is_over(filling, size), over, "{row:?}");
    }
}

#[test]
fn messages() {
    for row in EITHER {
        let (limit, used, change, _, over) = row;
        let delta = Delta { bytes: 0, messages: change.min(0) };
        let filling = Filling {
            limit: Limit { bytes: None, messages: Some(limit) },
            used: Usage::new(0, used).changed(delta),
            reserved: Usage::new(0, change.max(0).unsigned_abs()),
            ..Filling::default()
        };
        assert_eq!(is_over(filling, 1), over, "{row:?}");
    }
}
