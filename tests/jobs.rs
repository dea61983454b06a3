//! Work by schedule, on a clock that the tests set.

mod support {
    pub mod site;
    pub mod wait;
}

use std::sync::Arc;
use std::time::Duration;

use mailquotad::ledger::{Ledger, MemoryLedger, Shelf};
use mailquotad::quota::Moment;
use mailquotad::service::jobs;
use support::site::Site;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const HOUR: u64 = 3_600_000;

/// Far beyond what anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A daemon at `now` with one hourly job, whose work says that it has begun and never ends.
struct Daemon {
    ledger: Arc<MemoryLedger>,
    begun: Arc<Notify>,
    stop: CancellationToken,
    job: JoinHandle<()>,
}

impl Daemon {
    fn start(ledger: &Arc<MemoryLedger>, now: Moment) -> Daemon {
        let site = Site::on(ledger.clone(), "");
        site.clock.set(now);
        let (begun, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let work = {
            let begun = begun.clone();
            move || {
                begun.notify_one();
                std::future::pending()
            }
        };
        let hourly = "0 * * * *".parse().unwrap();
        let job = tokio::spawn(jobs::run("resync", hourly, site.accounting, work, stop.clone()));
        Daemon { ledger: ledger.clone(), begun, stop, job }
    }

    async fn begins(&self) {
        tokio::time::timeout(PATIENCE, self.begun.notified()).await.expect("the work begins");
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.job).await.expect("the job ends with the daemon").unwrap();
    }

    fn last_run(&self) -> Option<Vec<u8>> {
        self.ledger.shelf_get(Shelf::Jobs, b"resync").unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_work_that_takes_hours_and_owes_it() {
    let ledger = Arc::new(MemoryLedger::new());
    let first = Daemon::start(&ledger, Moment(HOUR + 1));
    support::wait::until("the job has looked at the clock", || first.last_run().is_some());
    first.stop().await;
    for restart in 0..2 {
        let daemon = Daemon::start(&ledger, Moment((5 + restart) * HOUR));
        daemon.begins().await;
        daemon.stop().await;
    }
}

/// A machine that is off every night does its nightly work in the morning, from the first morning on.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missed_before_the_first_run_is_made_up_for() {
    let ledger = Arc::new(MemoryLedger::new());
    let evening = Daemon::start(&ledger, Moment(18 * HOUR + 1));
    support::wait::until("the job has looked at the clock", || evening.last_run().is_some());
    evening.stop().await;
    let morning = Daemon::start(&ledger, Moment(32 * HOUR + 1));
    morning.begins().await;
    morning.stop().await;
}
