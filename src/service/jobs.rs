//! Work by schedule. A job runs at most once at a time; a run that was missed while the daemon was down
//! is made up for once, at the start.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeZone;
use tokio_util::sync::CancellationToken;

use super::accounting::Accounting;
use super::stored;
use crate::ledger::{Batch, Op, Shelf};
use crate::quota::Moment;
use crate::schedule::Schedule;
use crate::telemetry::events;

/// The longest sleep, so that a clock that jumps is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A last run that lies further ahead than this was noted by a clock that has been set right since.
const AHEAD: Duration = Duration::from_secs(3600);

/// Runs `work` whenever `schedule` says, until `stop`, which does not wait for it: measuring every mailbox
/// takes hours, and what is cut short counts as missed. The name is the job's key in the configuration.
pub async fn run<F: Future<Output = ()>>(
    name: &'static str,
    schedule: Schedule,
    accounting: Arc<Accounting>,
    work: impl Fn() -> F,
    stop: CancellationToken,
) {
    let mut last = last_run(&accounting, name);
    loop {
        let now = accounting.clock.now();
        let since = owed_since(last, now);
        if last.replace(since) != Some(since) {
            // What is missed before the first run is owed as well.
            keep(&accounting, name, since);
        }
        let Some(due) = next(&schedule, since) else { return };
        if due <= now {
            tokio::select! {
                () = stop.cancelled() => return,
                () = work() => {}
            }
            let done = accounting.clock.now();
            events::job_done(name, done.since(now));
            accounting.metrics.job(name);
            last = Some(done);
            keep(&accounting, name, done);
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(due.since(now).min(LONGEST_SLEEP)) => {}
        }
    }
}

/// A first start owes nothing, and neither does a last run that has not been yet.
fn owed_since(last: Option<Moment>, now: Moment) -> Moment {
    last.filter(|last| last.since(now) <= AHEAD).unwrap_or(now)
}

/// The next time by the wall clock of this machine, which is what an admin thinks in.
fn next(schedule: &Schedule, after: Moment) -> Option<Moment> {
    let after = chrono::Local.timestamp_millis_opt(i64::try_from(after.0).ok()?).single()?;
    let next = schedule.next_after(&after)?.timestamp_millis();
    u64::try_from(next).ok().map(Moment)
}

fn keep(accounting: &Accounting, name: &str, run: Moment) {
    let put = Op::Put { shelf: Shelf::Jobs, key: name.as_bytes().into(), value: stored::write(&run) };
    drop(accounting.ledger.submit(Batch::from([put])));
}

fn last_run(accounting: &Accounting, name: &str) -> Option<Moment> {
    let stored = accounting.ledger.shelf_get(Shelf::Jobs, name.as_bytes()).ok().flatten()?;
    stored::read(&stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_years_ahead_does_not_put_a_job_off_for_years() {
        let (minute, year) = (60_000, 365 * 24 * 3_600_000);
        let now = Moment(50 * year);
        let owed = |last| owed_since(Some(Moment(last)), now).0;
        assert_eq!(owed(80 * year), now.0);
        assert_eq!(owed(49 * year), 49 * year, "a run that was missed is made up for");
        assert_eq!(owed(now.0 + minute), now.0 + minute, "a clock that is put right by a little runs nothing twice");
        assert_eq!(owed_since(None, now), now);
    }
}
