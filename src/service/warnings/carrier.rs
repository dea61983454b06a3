//! Carries out what is due, a few at a time.
//!
//! What has been done is taken off. A program has been done when it has ended, however it ended: what an exit code means
//! is between it and the site. A script or webhook that did not get through is tried again, for a day.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Kind;
use super::due::{Due, off};
use crate::alarm::{AlarmError, Alarms};
use crate::ledger::Batch;
use crate::service::accounting::Accounting;
use crate::telemetry::events;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// News that is older than this is none.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

type Key = Box<[u8]>;

/// What did not get through: when it is to be tried again, and how long the time after that is put off.
#[derive(Default)]
struct Later {
    at: BTreeMap<(Instant, Key), Duration>,
}

/// Carries out what is due until `stop`, `at_once` at a time. What runs then is killed, and done again by the next life.
pub async fn run(accounting: Arc<Accounting>, alarms: Arc<dyn Alarms>, at_once: usize, stop: CancellationToken) {
    let waiting = &accounting.raised.waiting;
    let (mut running, mut later) = (JoinSet::new(), Later::default());
    // How long each that was tried before is put off the next time.
    let mut pauses: BTreeMap<Key, Duration> = BTreeMap::new();
    loop {
        for (key, pause) in later.ripe(Instant::now()) {
            pauses.insert(key.clone(), pause);
            waiting.again(key);
        }
        while running.len() < at_once
            && let Some((key, due)) = waiting.next()
        {
            let (accounting, alarms) = (accounting.clone(), alarms.clone());
            running.spawn(async move {
                let done = carry_out(&accounting, &*alarms, &due).await;
                if done {
                    // If it is not stored that it is done, it is done once more at the next start.
                    drop(accounting.ledger.submit(Batch::from([off(&key)])).durable().await);
                }
                (done, key)
            });
        }
        accounting.metrics.warnings_waiting.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        let next = later.next();
        tokio::select! {
            () = stop.cancelled() => return,
            () = waiting.wake.notified() => {}
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            Some(ended) = running.join_next(), if !running.is_empty() => {
                let Ok((done, key)) = ended else { continue };
                let pause = pauses.remove(&key).unwrap_or(FIRST_PAUSE);
                if done {
                    waiting.done(&key);
                } else {
                    later.at.insert((Instant::now() + pause, key), (pause * 2).min(LONGEST_PAUSE));
                }
            }
        }
    }
}

impl Later {
    fn next(&self) -> Option<Instant> {
        self.at.first_key_value().map(|((at, _), _)| *at)
    }

    /// What may be tried again by now.
    fn ripe(&mut self, now: Instant) -> Vec<(Key, Duration)> {
        let mut ripe = Vec::new();
        while let Some(first) = self.at.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, key), pause) = first.remove_entry();
            ripe.push((key, pause));
        }
        ripe
    }
}

/// Whether that is all there is to do.
async fn carry_out(accounting: &Accounting, alarms: &dyn Alarms, due: &Due) -> bool {
    let settings = accounting.settings.load_full();
    let Some(alarm) = due.alarm(&settings.warnings) else {
        events::warning_failed(&due.account, &due.when, "none", &"the rule is no longer there");
        return true;
    };
    // A bug counts as a failure: what is left in hand would be neither done nor tried again.
    let raised = AssertUnwindSafe(alarms.raise(&alarm)).catch_unwind().await;
    let raised = raised.unwrap_or_else(|_| Err(AlarmError("a bug has ended it; please report it".into())));
    accounting.metrics.warning(alarm.as_str(), if raised.is_ok() { "done" } else { "failed" });
    let Err(why) = raised else { return true };
    events::warning_failed(&due.account, &due.when, alarm.as_str(), &why);
    due.kind == Kind::Program || accounting.clock.now().since(due.at) > GIVEN_UP_AFTER
}
