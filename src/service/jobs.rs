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

/// Runs `work` whenever `schedule` says, until `stop`. The name is the job's key in the configuration.
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
        // A first start owes nothing.
        let Some(due) = next(&schedule, last.unwrap_or(now)) else { return };
        if last.is_none() {
            last = Some(now);
        }
        if due <= now {
            work().await;
            let done = accounting.clock.now();
            events::job_done(name, done.since(now));
            accounting.metrics.job(name);
            last = Some(done);
            let put = Op::Put { shelf: Shelf::Jobs, key: name.as_bytes().into(), value: stored::write(&done) };
            drop(accounting.ledger.submit(Batch::from([put])));
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(due.since(now).min(LONGEST_SLEEP)) => {}
        }
    }
}

/// The next time by the wall clock of this machine, which is what an admin thinks in.
fn next(schedule: &Schedule, after: Moment) -> Option<Moment> {
    let after = chrono::Local.timestamp_millis_opt(i64::try_from(after.0).ok()?).single()?;
    let next = schedule.next_after(&after)?.timestamp_millis();
    u64::try_from(next).ok().map(Moment)
}

fn last_run(accounting: &Accounting, name: &str) -> Option<Moment> {
    let stored = accounting.ledger.shelf_get(Shelf::Jobs, name.as_bytes()).ok().flatten()?;
    stored::read(&stored)
}
