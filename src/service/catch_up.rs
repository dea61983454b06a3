//! What happened to mailboxes while nobody told us: after a start, those that have changed since they were measured
//! are measured again.
//!
//! Marks that Dovecot sets while the daemon is down are lost. Whether a mailbox has changed is far cheaper to see
//! than what it holds, so looking at all of them is affordable where a `resync` of all is not.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::accounting::Accounting;
use super::measuring::Measuring;
use super::resync::measure_all;
use crate::telemetry::events;

/// A mailbox that changed while it was being measured, or whose file server's clock is behind, is taken for
/// changed. Longer than any one measurement takes.
const MARGIN: Duration = Duration::from_secs(300);

/// Mailboxes looked at before it is seen whether the daemon stops.
const AT_ONCE: usize = 1000;

/// Runs once the directory has been read.
pub async fn run(measuring: Arc<Measuring>, accounting: Arc<Accounting>, stop: CancellationToken) {
    let work = async {
        accounting.load_completed().await;
        let begun = tokio::time::Instant::now();
        let mut accounts = Vec::with_capacity(accounting.book.accounts());
        // What has never been measured is on its way to be.
        accounting.book.for_each_account(|account| {
            let known = account.lock().measured().is_some();
            accounts.extend(known.then(|| account.clone()));
        });
        let looked_at = accounts.len();
        let mut changed = Vec::new();
        while !accounts.is_empty() {
            let some = accounts.split_off(accounts.len().saturating_sub(AT_ONCE));
            changed.extend(measuring.changed(some, MARGIN).await);
        }
        let measured = changed.len();
        // Nobody listens to the story: failures are in the log.
        let (news, _) = mpsc::channel(1);
        measure_all(measuring, changed, news).await;
        events::caught_up(looked_at, measured, begun.elapsed());
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}
