//! Standings move by themselves when a grace period ends: exactly then by a timer, and by schedule as
//! the safety net.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::accounting::Accounting;
use super::outbox::Subject;

/// The longest sleep: a clock that was set forward is noticed within this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

pub async fn run(accounting: Arc<Accounting>, stop: CancellationToken) {
    loop {
        for subject in accounting.timers.take_due(accounting.clock.now()) {
            settle(&accounting, &subject);
        }
        let now = accounting.clock.now();
        let sleep = accounting.timers.next().map_or(LONGEST_SLEEP, |next| next.since(now).min(LONGEST_SLEEP));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(sleep) => {}
            () = accounting.timers.changed() => {}
        }
    }
}

fn settle(accounting: &Accounting, subject: &Subject) {
    match subject {
        Subject::Account(address) | Subject::Flag(address) => {
            if let Some(account) = accounting.book.account(address) {
                drop(accounting.settle(&account));
            }
        }
        Subject::Domain(name) => {
            if let Some(domain) = accounting.book.domain(name) {
                drop(accounting.settle_domain(&domain));
            }
        }
    }
}
