//! Carries stored wishes to the directory, until each is done or void.
//!
//! A wish is stored in the batch of the change that it follows from, so neither a crash nor an outage
//! of the directory loses it. It is looked at again right before it is tried: what is written is what
//! is wanted *then*. There is one wish per entry, so writes to one entry never overtake each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::account::Seat;
use super::accounting::Accounting;
use super::domain::DomainState;
use super::over_flag;
use crate::account::{Status, Writable};
use crate::directory::{Directory, DirectoryError, Wish, Written};
use crate::ledger::{Batch, LedgerError, Op, Receipt, Shelf};
use crate::telemetry::events;
use crate::telemetry::metrics::StatusWrite;

/// What a wish or a timer is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Account(Box<str>),
    Domain(Box<str>),
    /// The over-quota flag of an account.
    Flag(Box<str>),
}

impl Subject {
    fn key(&self) -> Box<[u8]> {
        let (mark, name) = match self {
            Subject::Account(address) => (b'a', address),
            Subject::Domain(name) => (b'd', name),
            Subject::Flag(address) => (b'f', address),
        };
        [&[mark], name.as_bytes()].concat().into()
    }

    fn read(key: &[u8]) -> Option<Subject> {
        let (mark, name) = key.split_first()?;
        let name = std::str::from_utf8(name).ok()?.into();
        match mark {
            b'a' => Some(Subject::Account(name)),
            b'd' => Some(Subject::Domain(name)),
            b'f' => Some(Subject::Flag(name)),
            _ => None,
        }
    }
}

pub fn put(subject: &Subject, wish: &Wish) -> Op {
    Op::Put { shelf: Shelf::Outbox, key: subject.key(), value: super::stored::write(wish) }
}

pub fn remove(subject: &Subject) -> Op {
    Op::Remove { shelf: Shelf::Outbox, key: subject.key() }
}

/// The wish is stored or changed, or dropped, together with what it follows from.
pub fn put_or_remove(subject: &Subject, wish: Option<Wish>) -> Op {
    wish.map_or_else(|| remove(subject), |wish| put(subject, &wish))
}

/// What an account's stored wish amounts to now; `None` when its reason is gone.
pub fn wish_of(seat: &Seat) -> Option<Wish> {
    wish(&seat.dn, Writable::UserStatus, seat.mail_status, seat.wished?)
}

pub fn wish_of_domain(state: &DomainState) -> Option<Wish> {
    let (_, dn) = state.entry.as_ref()?;
    wish(dn, Writable::DomainStatus, state.mail_status, state.wished?)
}

fn wish(dn: &str, attribute: Writable, from: Status, to: Status) -> Option<Wish> {
    Some(Wish { dn: dn.into(), attribute, from: Some(from.as_str().into()), to: Some(to.as_str().into()) })
}

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How many writes are in hand at once: enough for an adapter to bundle them, few enough to pace.
const AT_ONCE: usize = 64;

/// Works through the outbox until `stop`, at once when a wish is stored and with growing pauses while
/// the directory cannot take it.
pub async fn run(accounting: Arc<Accounting>, directory: Arc<dyn Directory>, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    // With these only an admin can help: they are asked for now and then, and keep nobody else waiting.
    let mut refused = BTreeSet::new();
    let mut ask_again = Instant::now();
    loop {
        if ask_again <= Instant::now() {
            refused.clear();
            ask_again = Instant::now() + LONGEST_PAUSE;
        }
        let later = work(&accounting, &directory, pause, &mut refused, &stop).await;
        let delay = match (later, refused.is_empty()) {
            (0, true) => None,
            (0, false) => Some(ask_again.saturating_duration_since(Instant::now())),
            _ => Some(pause),
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = accounting.wishes.notified(), if later == 0 => {}
            () = tokio::time::sleep(delay.unwrap_or_default()), if delay.is_some() => {}
        }
        pause = if later == 0 { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
    }
}

/// Tries every stored wish once, for a command that is about to end.
pub async fn work_once(accounting: &Arc<Accounting>, directory: &Arc<dyn Directory>) {
    work(accounting, directory, FIRST_PAUSE, &mut BTreeSet::new(), &CancellationToken::new()).await;
}

/// Tries every stored wish once, but for those that were `refused`, to which it adds. How many are left to be
/// tried soon.
async fn work(
    accounting: &Arc<Accounting>,
    directory: &Arc<dyn Directory>,
    pause: Duration,
    refused: &mut BTreeSet<Subject>,
    stop: &CancellationToken,
) -> usize {
    // What is not durable yet cannot be read: an empty batch comes back when all before it is.
    let stored = accounting.ledger.submit(Batch::new()).durable().await;
    let subjects = match stored.and_then(|_| pending(accounting)) {
        Ok(subjects) => subjects,
        Err(error) => {
            events::ledger_failed(&error);
            return 1;
        }
    };
    accounting.metrics.outbox.set(subjects.len() as i64);
    let (resting, tried): (Vec<_>, Vec<_>) = subjects.into_iter().partition(|subject| refused.contains(subject));
    *refused = resting.into_iter().collect();
    let mut later = 0;
    for some in tried.chunks(AT_ONCE) {
        if stop.is_cancelled() {
            return later + some.len();
        }
        let mut tries = tokio::task::JoinSet::new();
        for subject in some {
            let (accounting, directory, subject) = (accounting.clone(), directory.clone(), subject.clone());
            tries.spawn(async move { (attempt(&accounting, &*directory, &subject, pause).await, subject) });
        }
        while let Some(tried) = tries.join_next().await {
            match tried {
                Ok((Tried::Done, _)) => {}
                Ok((Tried::Refused, subject)) => drop(refused.insert(subject)),
                Ok((Tried::Later, _)) | Err(_) => later += 1,
            }
        }
    }
    accounting.metrics.outbox.set((later + refused.len()) as i64);
    later
}

pub fn pending(accounting: &Accounting) -> Result<Vec<Subject>, LedgerError> {
    let mut subjects = Vec::new();
    accounting.ledger.shelf_all(Shelf::Outbox, &mut |key, _| subjects.extend(Subject::read(key)))?;
    Ok(subjects)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// Off the list: done, overruled or void.
    Done,
    Later,
    Refused,
}

async fn attempt(accounting: &Accounting, directory: &dyn Directory, subject: &Subject, pause: Duration) -> Tried {
    let Some((wish, heard)) = wish_now(accounting, subject) else {
        return take_off(accounting, subject).await;
    };
    match directory.write(&wish).await {
        Ok(written) => {
            tell(accounting, &wish, &written);
            match conclude(accounting, subject, &wish, &written, heard) {
                true => Tried::Done,
                false => Tried::Later,
            }
        }
        Err(error) => {
            let (retry, counted, tried) = match error {
                DirectoryError::Away(_) => (Some(pause), StatusWrite::Failed, Tried::Later),
                DirectoryError::Refused(_) => (None, StatusWrite::Refused, Tried::Refused),
            };
            accounting.metrics.status_write(counted);
            events::status_failed(&wish.dn, &wish.attribute, &error, retry);
            tried
        }
    }
}

fn tell(accounting: &Accounting, wish: &Wish, written: &Written) {
    let value = |value: &Option<Box<str>>| value.as_deref().unwrap_or("(absent)").to_owned();
    let (from, to) = (value(&wish.from), value(&wish.to));
    let counted = match written {
        Written::Done => {
            events::status_written(&wish.dn, &wish.attribute, &from, &to);
            StatusWrite::Done
        }
        Written::Overruled { found } => {
            events::status_overruled(&wish.dn, &wish.attribute, &value(found), &to);
            StatusWrite::Overruled
        }
        Written::NoEntry => {
            events::status_overruled(&wish.dn, &wish.attribute, "(no entry)", &to);
            StatusWrite::NoEntry
        }
    };
    accounting.metrics.status_write(counted);
}

/// The wish as it is now, and how often the directory had told of its subject by then.
fn wish_now(accounting: &Accounting, subject: &Subject) -> Option<(Wish, u32)> {
    match subject {
        Subject::Account(address) => {
            let account = accounting.book.account(address)?;
            let seat = account.lock();
            wish_of(&seat).map(|wish| (wish, seat.heard))
        }
        Subject::Flag(address) => {
            let account = accounting.book.account(address)?;
            let seat = account.lock();
            over_flag::wish_of(accounting, &seat, &accounting.settings.load()).map(|wish| (wish, seat.heard))
        }
        Subject::Domain(name) => {
            let domain = accounting.book.domain(name)?;
            let state = domain.lock();
            wish_of_domain(&state).map(|wish| (wish, state.heard))
        }
    }
}

/// A wish whose subject is not wanted to change any more.
async fn take_off(accounting: &Accounting, subject: &Subject) -> Tried {
    // Before everybody has been settled nobody knows what is wanted: the wish waits.
    if !accounting.settled() {
        return Tried::Later;
    }
    match take_off_if(accounting, subject, |wanted, _| !wanted) {
        Some(receipt) => receipt.durable().await.map_or(Tried::Later, |_| Tried::Done),
        None => Tried::Later,
    }
}

/// Takes a wish off the list, if `may` says so of whether it is wanted and how often its subject was heard
/// of. Under the lock of the subject: a new wish that came in between must not go with the old one.
fn take_off_if(accounting: &Accounting, subject: &Subject, may: impl FnOnce(bool, u32) -> bool) -> Option<Receipt> {
    let submit = || accounting.ledger.submit(Batch::from([remove(subject)]));
    match subject {
        Subject::Account(address) => match accounting.book.account(address) {
            Some(account) => {
                let seat = account.lock();
                may(wish_of(&seat).is_some(), seat.heard).then(submit)
            }
            None => Some(submit()),
        },
        Subject::Flag(address) => match accounting.book.account(address) {
            Some(account) => {
                let seat = account.lock();
                let wanted = over_flag::wish_of(accounting, &seat, &accounting.settings.load()).is_some();
                may(wanted, seat.heard).then(submit)
            }
            None => Some(submit()),
        },
        Subject::Domain(name) => match accounting.book.domain(name) {
            Some(domain) => {
                let state = domain.lock();
                may(wish_of_domain(&state).is_some(), state.heard).then(submit)
            }
            None => Some(submit()),
        },
    }
}

/// The same for a flag: whether it is right now.
fn flag_concluded(accounting: &Accounting, address: &str, value: Option<&str>, heard: u32) -> bool {
    let settings = accounting.settings.load_full();
    let (Some(account), Some(flag)) = (accounting.book.account(address), &settings.over_flag) else { return true };
    drop(accounting.with_seat(&account, |seat, _| {
        if seat.heard == heard {
            flag.found(seat, value);
            seat.ahead = true;
        }
    }));
    !account.lock().flag_wished
}

/// Takes what the directory now holds into memory; settling then drops the wish or, where somebody
/// else's value asks for it, makes a new one. If the directory has told of the entry since `heard`, nobody
/// can say whether our write came before or after that; but the directory will tell of it too, in its
/// order, and so the last word is left to it. Whether there is nothing to try again.
fn conclude(accounting: &Accounting, subject: &Subject, wish: &Wish, written: &Written, heard: u32) -> bool {
    let value = match written {
        Written::Done => wish.to.as_deref(),
        Written::Overruled { found } => found.as_deref(),
        // Renamed, it is wished again under its new name.
        Written::NoEntry => return take_off_if(accounting, subject, |_, now| now == heard).is_some(),
    };
    let status = value.map_or(Status::Active, Status::read);
    match subject {
        // Whoever has written something else meanwhile: it is compared again, with that.
        Subject::Flag(address) => return flag_concluded(accounting, address, value, heard),
        Subject::Account(address) => {
            if let Some(account) = accounting.book.account(address) {
                drop(accounting.with_seat(&account, |seat, _| {
                    if seat.heard == heard {
                        (seat.mail_status, seat.ahead) = (status, true);
                    }
                }));
            }
        }
        Subject::Domain(name) => {
            if let Some(domain) = accounting.book.domain(name) {
                let mut state = domain.lock();
                if state.heard == heard {
                    state.mail_status = status;
                }
                drop(state);
                drop(accounting.settle_domain(&domain));
            }
        }
    }
    true
}
