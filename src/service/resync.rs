//! Measures many mailboxes: `resync`, and the job of that name.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::account::Account;
use super::accounting::Accounting;
use super::measuring::{MeasureError, Measured, Measuring};
use super::report::Both;

/// How many mailboxes are in hand at once. Reading is bounded by the measurer; the others wait for
/// their turn or for the ledger, whose one sync serves them all.
const IN_HAND: usize = 64;

/// One line of a resync's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// How many mailboxes there are to do; the first line.
    Begin {
        of: u64,
    },
    Measured {
        account: String,
        before: Both<u64>,
        after: Both<u64>,
        files: u64,
    },
    Failed {
        account: String,
        why: String,
    },
    /// The last line. `failed` accounts keep their old usage.
    End {
        done: u64,
        failed: u64,
        changed: u64,
        files: u64,
    },
}

/// Measures `accounts` and tells the story to `listener`. A listener that has gone away does not stop
/// the work: what was asked for is done.
pub async fn measure_all(measuring: Arc<Measuring>, accounts: Vec<Arc<Account>>, listener: mpsc::Sender<News>) {
    let tell = async |news| drop(listener.send(news).await);
    tell(News::Begin { of: accounts.len() as u64 }).await;
    let (mut done, mut failed, mut changed, mut files) = (0, 0, 0, 0);
    let mut waiting = accounts.into_iter();
    let mut in_hand: JoinSet<(Arc<Account>, Result<Measured, MeasureError>)> = JoinSet::new();
    loop {
        while in_hand.len() < IN_HAND
            && let Some(account) = waiting.next()
        {
            let measuring = measuring.clone();
            in_hand.spawn(async move {
                let measured = measuring.measure(&account).await;
                (account, measured)
            });
        }
        let Some(finished) = in_hand.join_next().await else { break };
        let Ok((account, measured)) = finished else {
            failed += 1;
            continue;
        };
        let account = account.address.to_string();
        match measured {
            Ok(Measured { before, after, files: seen, .. }) => {
                done += 1;
                files += seen;
                changed += u64::from(before != after);
                tell(News::Measured { account, before: before.into(), after: after.into(), files: seen }).await;
            }
            Err(error) => {
                failed += 1;
                crate::telemetry::events::scan_incomplete(&account, &error);
                tell(News::Failed { account, why: error.to_string() }).await;
            }
        }
    }
    tell(News::End { done, failed, changed, files }).await;
}

/// The job: every mailbox, with nobody listening but the log. Dropped, it measures nothing more.
pub async fn measure_everything(measuring: Arc<Measuring>, accounting: Arc<Accounting>) {
    let mut accounts = Vec::with_capacity(accounting.book.accounts());
    accounting.book.for_each_account(|account| accounts.push(account.clone()));
    let (news, mut told) = mpsc::channel(256);
    let log = async {
        while let Some(news) = told.recv().await {
            if let News::End { done, failed, changed, files } = news {
                crate::telemetry::events::resync_done(done, failed, changed, files);
            }
        }
    };
    tokio::join!(measure_all(measuring, accounts, news), log);
}

/// Brings limits, standings and statuses up to date without reading any mailbox.
pub async fn settle_all(accounting: Arc<Accounting>, accounts: Vec<Arc<Account>>, listener: mpsc::Sender<News>) {
    let of = accounts.len() as u64;
    drop(listener.send(News::Begin { of }).await);
    let mut changed = 0;
    for account in accounts {
        let standings = || account.lock().standings_kept();
        let before = standings();
        drop(accounting.settle(&account));
        changed += u64::from(standings() != before);
    }
    drop(listener.send(News::End { done: of, failed: 0, changed, files: 0 }).await);
}
