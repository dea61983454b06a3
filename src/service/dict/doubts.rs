//! Totals of Dovecot's beside what was measured.
//!
//! Dovecot's total comes at the end of a delivery, often before the changed folder has been measured again. So it
//! is put aside for a moment. If by then the measured cells still come to something else, something went
//! unnoticed, and the mailbox is measured as a whole. If they do after that as well, both sides stand by what
//! they counted (they count in other units, or other folders), and the same two numbers are no reason again.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::quota::{Delta, Usage};
use crate::service::account::Account;
use crate::service::hints::Hints;
use crate::telemetry::events;
use crate::telemetry::metrics::{Metrics, Total};

/// How long a total rests after the latest one: marks have come with it, and their folders are measured within
/// this.
const REST: Duration = Duration::from_secs(1);

/// The longest rest while totals keep coming.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// How often it is looked at what has rested enough.
const TICK: Duration = Duration::from_millis(250);

/// What Dovecot holds a mailbox to contain; a number that it has not told is not compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Theirs {
    pub bytes: Option<u64>,
    pub messages: Option<u64>,
}

impl Theirs {
    fn agree(self, ours: Usage) -> bool {
        self.bytes.is_none_or(|bytes| bytes == ours.bytes)
            && self.messages.is_none_or(|messages| messages == ours.messages)
    }
}

struct Resting {
    account: Arc<Account>,
    theirs: Theirs,
    first: Instant,
    last: Instant,
}

impl Resting {
    fn due(&self) -> Instant {
        (self.last + REST).min(self.first + LONGEST_REST)
    }
}

#[derive(Default)]
pub struct Doubts {
    resting: Mutex<HashMap<Box<str>, Resting>>,
    /// The two totals of mailboxes that were measured because of them.
    known: Mutex<HashMap<Box<str>, (Theirs, Usage)>>,
    noted: Notify,
}

impl Doubts {
    /// Dovecot's total, as of now. What it does not tell this time stays as it told before.
    pub fn note(&self, account: &Arc<Account>, theirs: Theirs) {
        self.change(account, |known| Theirs {
            bytes: theirs.bytes.or(known.bytes),
            messages: theirs.messages.or(known.messages),
        });
    }

    /// Dovecot added something to its total, which was `base` unless it is known better.
    pub fn note_change(&self, account: &Arc<Account>, base: Usage, delta: Delta) {
        self.change(account, |known| {
            let before = Usage::new(known.bytes.unwrap_or(base.bytes), known.messages.unwrap_or(base.messages));
            let after = before.changed(delta);
            Theirs { bytes: Some(after.bytes), messages: Some(after.messages) }
        });
    }

    fn change(&self, account: &Arc<Account>, change: impl FnOnce(Theirs) -> Theirs) {
        let now = Instant::now();
        let mut resting = self.resting.lock();
        let new = || Resting { account: account.clone(), theirs: Theirs::default(), first: now, last: now };
        let one = resting.entry(account.address.clone()).or_insert_with(new);
        one.theirs = change(one.theirs);
        one.last = now;
        drop(resting);
        self.noted.notify_one();
    }

    /// What Dovecot said last, as long as that has not been compared.
    pub fn latest(&self, account: &Account) -> Theirs {
        self.resting.lock().get(&*account.address).map(|one| one.theirs).unwrap_or_default()
    }

    /// Compares what has rested, until `stop`.
    pub async fn run(self: Arc<Self>, hints: Hints, metrics: Arc<Metrics>, stop: CancellationToken) {
        loop {
            let waiting = !self.resting.lock().is_empty();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TICK), if waiting => self.compare(&hints, &metrics, Instant::now()),
                () = self.noted.notified(), if !waiting => {}
            }
        }
    }

    fn compare(&self, hints: &Hints, metrics: &Metrics, now: Instant) {
        let due: Vec<Resting> = {
            let mut resting = self.resting.lock();
            resting.extract_if(|_, one| one.due() <= now).map(|(_, one)| one).collect()
        };
        for Resting { account, theirs, .. } in due {
            let (ours, gone) = {
                let seat = account.lock();
                (seat.total(), seat.gone)
            };
            if gone || theirs.agree(ours) {
                self.known.lock().remove(&*account.address);
                metrics.dict_total(Total::Agreed);
                continue;
            }
            metrics.dict_total(Total::Differed);
            if self.known.lock().insert(account.address.clone(), (theirs, ours)) != Some((theirs, ours)) {
                events::totals_differ(&account.address, ours, theirs.bytes, theirs.messages);
                hints.account(&account);
            }
        }
    }
}
