//! Reads a queue again and again, and listens for messages that leave it in between.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Look, Queues};
use crate::mailqueue::{Departures, MailQueue, MailQueueError, Scan};
use crate::quota::queue::occupancy::{Host, SHARDS};
use crate::service::accounting::Accounting;
use crate::telemetry::events;

/// Asked for soon, a queue is still read for no more than about one part in so many of all time.
const REST: u32 = 4;

/// Reads the queue of `host` until `stop`.
pub async fn run(
    queues: Arc<Queues>,
    host: Host,
    source: Arc<dyn MailQueue>,
    accounting: Arc<Accounting>,
    stop: CancellationToken,
) {
    let mut well = Instant::now();
    let mut soon = queues.soon.subscribe();
    loop {
        // Without quotas there is nothing to read a queue for.
        while !queues.are_limited() {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = soon.changed() => {}
                () = tokio::time::sleep(accounting.settings.load().queue.interval) => {}
            }
        }
        let begun = Instant::now();
        let settle = accounting.settings.load().queue.settle;
        let scanned = tokio::select! {
            // What is being read is left to its thread, which ends with the process.
            () = stop.cancelled() => return,
            scanned = snapshot(&queues, host, &source, settle) => scanned,
        };
        let (took, settings) = (begun.elapsed(), accounting.settings.load_full());
        if note(&queues, host, scanned, took, &accounting) {
            well = Instant::now();
        } else if well.elapsed() >= settings.queue.stale {
            expire(&queues, host, settings.queue.decay);
        }
        super::warn::tell(&queues, &accounting);
        let interval = settings.queue.interval;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
            () = asked(&mut soon, (took * REST).min(interval)) => {}
        }
    }
}

/// Returns when a queue is to be read before its interval is over, after a rest.
async fn asked(soon: &mut watch::Receiver<()>, rest: Duration) {
    // The sender lives as long as the queues do.
    if soon.changed().await.is_err() {
        return std::future::pending().await;
    }
    tokio::time::sleep(rest).await;
}

/// Reads a queue once. Fails with why it could not be read as a whole.
pub async fn snapshot(
    queues: &Arc<Queues>,
    host: Host,
    source: &Arc<dyn MailQueue>,
    settle: Duration,
) -> Result<Scan, String> {
    let (queues, source) = (queues.clone(), source.clone());
    let (done, outcome) = oneshot::channel();
    let scan = move || -> Result<Scan, MailQueueError> {
        let set = {
            let mut occupancy = queues.occupancy();
            occupancy.begin(host, queues.elapsed());
            occupancy.set().clone()
        };
        let scan = source.scan(&mut |listed| queues.take_in(host, &set, listed))?;
        (0..SHARDS).for_each(|part| queues.occupancy().sweep(host, part, settle));
        queues.occupancy().complete(host);
        Ok(scan)
    };
    let thread = std::thread::Builder::new().name("queue-read".into());
    // Nobody listens any more only while the daemon stops.
    let thread = thread.spawn(move || drop(done.send(scan())));
    match thread {
        Ok(_) => match outcome.await {
            Ok(scanned) => scanned.map_err(|error| error.to_string()),
            Err(_) => Err("the thread that read it has died".into()),
        },
        Err(error) => Err(error.to_string()),
    }
}

/// Writes down how a snapshot went; whether it went well.
fn note(queues: &Queues, host: Host, scanned: Result<Scan, String>, took: Duration, accounting: &Accounting) -> bool {
    let name = &queues.sources[host].name;
    queues.metrics.queue_read(name, scanned.is_ok());
    let mut looks = queues.looks.lock();
    let look = &mut looks[host];
    match scanned {
        Ok(scan) => {
            if scan.unread > 0 {
                events::queue_unread(name, scan.unread);
            }
            events::queue_read(name, scan.messages, took);
            if look.trouble.is_some() {
                events::queue_back(name);
            }
            *look = Look { at: Some(accounting.clock.now()), took, trouble: None };
            true
        }
        Err(why) => {
            // Said when it begins, not every few seconds.
            if look.trouble.is_none() {
                events::queue_lost(name, &why);
            }
            look.trouble = Some(why);
            false
        }
    }
}

/// Lets go of what nobody can look for, when it has counted for `decay`.
fn expire(queues: &Queues, host: Host, decay: Duration) {
    queues.occupancy().lose(host);
    let now = queues.elapsed();
    (0..SHARDS).for_each(|part| queues.occupancy().expire(host, part, now, decay));
}

/// Lets messages of hosts whose queue nobody reads go when their time is over.
pub async fn decay(queues: Arc<Queues>, accounting: Arc<Accounting>, stop: CancellationToken) {
    let unread = queues.sources.len();
    loop {
        let settings = accounting.settings.load_full();
        expire(&queues, unread, settings.queue.decay);
        super::warn::tell(&queues, &accounting);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(settings.queue.interval) => {}
        }
    }
}

/// Listens on a thread of its own until `stop`, which it notices when the wait of `departures` is over.
pub fn listen(
    queues: Arc<Queues>,
    host: Host,
    mut departures: impl Departures,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listen = move || {
        let mut gone = |id: &str| queues.occupancy().gone(host, id);
        while !stop.is_cancelled() && departures.wait(&mut gone) {}
    };
    std::thread::Builder::new().name("queue-watch".into()).spawn(listen).map(drop)
}
