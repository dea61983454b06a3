//! What tells the measurer that a mailbox has probably changed, and the lists that it works off.
//!
//! There are two lists. *Deliveries* that were announced to the policy server: the mail will be there soon, and
//! the mailbox is measured as a whole. *Marks* on folders that somebody saw changing (the watch on the spool,
//! Dovecot): they are gathered for a moment, and then those folders alone are measured. A list holds an account
//! once, and a mark that comes while its account is being measured waits for the end of that, so that
//! neither a flood of changes nor a slow disk makes a list grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Seat};
use super::measuring::Measuring;
use crate::quota::usage::canonical_folder;

mod follow;

/// More marked folders than this are measured as the whole mailbox: one walk is then the cheaper way.
pub const MOST_FOLDERS: usize = 32;

/// How long after a hint a mailbox is measured.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    pub delivery: Duration,
    pub change: Duration,
}

#[derive(Clone)]
pub struct Hints {
    deliveries: mpsc::UnboundedSender<Arc<Account>>,
    marks: Arc<Marks>,
    watched: Arc<AtomicBool>,
}

/// The other end, for [`Measuring::follow_hints`].
pub struct HintsTaken {
    deliveries: mpsc::UnboundedReceiver<Arc<Account>>,
    marked: mpsc::UnboundedReceiver<Marked>,
    marks: Arc<Marks>,
    watched: Arc<AtomicBool>,
}

pub fn hints() -> (Hints, HintsTaken) {
    let (sender, deliveries) = mpsc::unbounded_channel();
    let (list, marked) = mpsc::unbounded_channel();
    let marks = Arc::new(Marks { noted: Mutex::default(), list });
    let watched = Arc::new(AtomicBool::new(false));
    let hints = Hints { deliveries: sender, marks: marks.clone(), watched: watched.clone() };
    (hints, HintsTaken { deliveries, marked, marks, watched })
}

impl Hints {
    /// A delivery was announced. Cheap enough for the hot path: an account that is on the list already costs
    /// nothing.
    pub fn soon(&self, account: &Arc<Account>, seat: &mut Seat) {
        if !seat.hinted {
            // No receiver is left only while the daemon stops.
            seat.hinted = self.deliveries.send(account.clone()).is_ok();
        }
    }

    /// Whether every change of the store is marked by itself: a delivery that has arrived is then known already.
    pub fn watched(&self, all: bool) {
        self.watched.store(all, Ordering::Relaxed);
    }

    /// A folder has changed, or come or gone. `folder` has `/` between levels.
    pub fn folder(&self, account: &Arc<Account>, folder: &str) {
        self.marks.note(account, Some(folder));
    }

    /// The mailbox has changed, and nobody knows where.
    pub fn account(&self, account: &Arc<Account>) {
        self.marks.note(account, None);
    }
}

impl Measuring {
    /// Measures what was hinted at until `stop`.
    pub async fn follow_hints(self: Arc<Self>, hinted: HintsTaken, delays: Delays, stop: CancellationToken) {
        let HintsTaken { deliveries, marked, marks, watched } = hinted;
        tokio::join!(
            self.clone().follow_deliveries(deliveries, delays.delivery, watched, stop.clone()),
            self.clone().follow_marks(marked, marks, delays.change, stop),
        );
    }
}

/// What is to be measured of which account. An account is in here as long as it is on the list or in hand.
struct Marks {
    noted: Mutex<HashMap<Box<str>, Wanted>>,
    list: mpsc::UnboundedSender<Marked>,
}

/// An account on the list, and for how long it should rest first, where that is known.
struct Marked {
    account: Arc<Account>,
    pause: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Folders(Vec<Box<str>>),
    Whole,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted::Folders(Vec::new())
    }
}

impl Wanted {
    fn add(&mut self, folder: Option<&str>) {
        let Wanted::Folders(folders) = self else { return };
        match folder.map(canonical_folder) {
            Some(folder) if folders.iter().any(|known| **known == *folder) => {}
            Some(folder) if folders.len() < MOST_FOLDERS => folders.push(folder.into()),
            _ => *self = Wanted::Whole,
        }
    }
}

impl Marks {
    fn note(&self, account: &Arc<Account>, folder: Option<&str>) {
        let mut noted = self.noted.lock();
        if let Some(wanted) = noted.get_mut(&*account.address) {
            wanted.add(folder);
            return;
        }
        let mut new = Wanted::default();
        new.add(folder);
        // No receiver is left only while the daemon stops.
        if self.list.send(Marked { account: account.clone(), pause: None }).is_ok() {
            noted.insert(account.address.clone(), new);
        }
    }

    /// Takes an account in hand. What is marked meanwhile comes back on the list when it is let go.
    fn take(self: &Arc<Self>, account: Arc<Account>) -> Taken {
        let wanted = self.noted.lock().get_mut(&*account.address).map(std::mem::take).unwrap_or_default();
        Taken { marks: self.clone(), account, wanted, pause: Duration::ZERO }
    }
}

/// An account in hand. Lets go when dropped, also by a panic: else it would never be measured again.
struct Taken {
    marks: Arc<Marks>,
    account: Arc<Account>,
    wanted: Wanted,
    /// How long it should rest before it is measured again.
    pause: Duration,
}

impl Taken {
    /// Marks again what could not be measured.
    fn put_back(&self) {
        match &self.wanted {
            Wanted::Whole => self.marks.note(&self.account, None),
            Wanted::Folders(folders) => folders.iter().for_each(|folder| self.marks.note(&self.account, Some(folder))),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut noted = self.marks.noted.lock();
        let marked = noted.get(&*self.account.address).is_some_and(|wanted| *wanted != Wanted::default());
        let again = Marked { account: self.account.clone(), pause: Some(self.pause) };
        if !marked || self.marks.list.send(again).is_err() {
            noted.remove(&*self.account.address);
        }
    }
}
