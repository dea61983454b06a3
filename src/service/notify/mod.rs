//! Notices by mail: to users whose mailboxes fill up, to the postmasters of their domains, and once a day
//! to an admin.
//!
//! What has been told of whom, and what is still to be sent, lie on one shelf of the ledger and are written
//! in the batch of the change that they follow from. So neither a crash nor an absent mail server loses a
//! notice, and none is made twice. [`stage`] decides, [`queue`] stores and carries, [`words`] writes the
//! letters, [`rules`] serves `imquotacheck -n`, [`digest`] the admin. Dynamic notices and those of a check
//! share the one memory.

pub mod digest;
pub mod queue;
pub mod rules;
pub mod stage;
pub mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, RwLock};

use super::account::{Filled, Seat};
use super::domain::DomainState;
use super::outbox::Subject;
use super::settings::Settings;
use super::timers::Timers;
use crate::account::Status;
use crate::ledger::{Batch, Ledger, LedgerError, Op, Shelf};
use crate::quota::{Bucket, BucketName, Moment, Usage};
use crate::wire::notice::{Address, Sender};

pub use queue::Notice;
use queue::Queued;
use stage::{Event, Stage, Told};
use words::Words;

/// The settings of notices.
#[derive(Clone, Debug)]
pub struct Notify {
    /// Whether notices are made as things happen; a check may make them all the same.
    pub dynamic: bool,
    pub from: Sender,
    /// The envelope's sender.
    pub sender: Option<Address>,
    /// Percent of the limit, rising, all below 100.
    pub thresholds: Vec<u32>,
    pub interval: Duration,
    /// Who is told of a domain: a local part in the domain, or a whole address. `None`: nobody.
    pub postmaster: Option<Box<str>>,
    /// Whether the postmaster hears of accounts too.
    pub copies: bool,
    /// Who gets the digest.
    pub admins: Vec<Address>,
    pub words: Arc<Words>,
}

/// The largest message that is taken for a notice of our own.
const LARGEST: u64 = 64 * 1024;
/// How long after it was made a notice may still be on its way through the site's servers.
const ON_THE_ROAD: Duration = Duration::from_secs(24 * 3600);

impl Notify {
    /// Whether a message could be one of our notices, by its sender and size. That one is expected
    /// must be seen from [`Notices::is_expected`]: senders can be forged.
    pub fn is_own(&self, sender: &str, size: u64) -> bool {
        size <= LARGEST && self.sender.as_ref().is_some_and(|own| own.as_str().eq_ignore_ascii_case(sender))
    }

    fn postmaster_of(&self, domain: &str) -> Option<Box<str>> {
        let postmaster = self.postmaster.as_deref()?;
        Some(if postmaster.contains('@') { postmaster.into() } else { format!("{postmaster}@{domain}").into() })
    }
}

type Memory = HashMap<Box<str>, Vec<Told>, foldhash::fast::FixedState>;

/// What was told of whom, and what waits to be sent.
#[derive(Default)]
pub struct Notices {
    accounts: RwLock<Memory>,
    domains: RwLock<Memory>,
    waiting: Mutex<BTreeMap<Box<[u8]>, Queued>>,
    /// To whom an earlier life of the daemon may have been about to send when it ended.
    left_over: RwLock<HashSet<Box<str>>>,
    pub(super) wake: tokio::sync::Notify,
}

/// The first byte of a key says what the value is.
const TOLD: u8 = b't';
const QUEUED: u8 = b'q';

/// What a notice says of a bucket.
struct Look<'a> {
    subject: &'a Subject,
    domain: &'a str,
    bucket: String,
    used: Usage,
    limit: crate::quota::Limit,
    attribute: String,
}

impl Notices {
    /// Reads what earlier runs of the daemon have left.
    pub fn load(ledger: &dyn Ledger) -> Result<Notices, LedgerError> {
        let notices = Notices::default();
        ledger.shelf_all(Shelf::Notices, &mut |key, value| match key.split_first() {
            Some((&TOLD, rest)) => {
                if let (Some(subject), Some(told)) = (read_subject(rest), super::stored::read(value)) {
                    let (memory, name) = notices.memory(&subject);
                    memory.write().insert(name.into(), told);
                }
            }
            Some((&QUEUED, _)) => notices.enqueue(key.into(), value.into()),
            _ => {}
        })?;
        *notices.left_over.write() = notices.waiting.lock().values().map(|queued| queued.to().into()).collect();
        Ok(notices)
    }

    fn memory<'a>(&self, subject: &'a Subject) -> (&RwLock<Memory>, &'a str) {
        match subject {
            Subject::Account(address) | Subject::Flag(address) => (&self.accounts, address),
            Subject::Domain(name) => (&self.domains, name),
        }
    }

    /// Whether a notice to this account waits, or may still be on its way.
    pub fn is_expected(&self, account: &str, now: Moment) -> bool {
        let told = |told: &Vec<Told>| told.iter().any(|told| now.since(told.at) < ON_THE_ROAD);
        self.accounts.read().get(account).is_some_and(told)
            || self.waiting.lock().values().any(|queued| queued.is_to(account))
            || self.domains.read().get(crate::account::domain_of(account)).is_some_and(told)
    }

    /// Whether a notice to this address can only be one that an earlier life of the daemon was handing over when
    /// it was killed. A mail server that had asked that life about it asks this one again; if the answer were yes,
    /// the server would take over what nobody hands over any more, and the notice would come twice.
    pub fn is_left_over(&self, recipient: &str) -> bool {
        let left_over = self.left_over.read();
        !left_over.is_empty() && left_over.contains(recipient)
    }

    /// Looks at an account whose sums and standings have just been brought up to date.
    pub fn account(
        &self,
        address: &str,
        seat: &Seat,
        settings: &Settings,
        now: Moment,
        batch: &mut Batch,
        timers: &Timers,
    ) {
        let delivered = |status| matches!(status, Status::Active | Status::OverQuota);
        if settings.notify.dynamic && delivered(seat.inet_status) && delivered(seat.mail_status) {
            self.account_now(address, seat, settings, now, batch, timers);
        }
    }

    fn account_now(
        &self,
        address: &str,
        seat: &Seat,
        settings: &Settings,
        now: Moment,
        batch: &mut Batch,
        timers: &Timers,
    ) {
        let buckets = seat.limits.buckets().iter().zip(seat.filled());
        let reached = |(bucket, one): (&Bucket, Filled)| {
            stage::stage(bucket, one.used, one.standing, &settings.notify.thresholds, settings.policy.enforce)
        };
        let stages: smallvec::SmallVec<[Option<Stage>; 1]> = buckets.map(reached).collect();
        // Nearly every account, nearly always: nothing reached and nothing told.
        if stages.iter().all(Option::is_none) && !self.accounts.read().contains_key(address) {
            return;
        }
        let subject = Subject::Account(address.into());
        let looks = seat.limits.buckets().iter().zip(seat.filled()).zip(stages).map(|((bucket, one), stage)| {
            let look = Look {
                subject: &subject,
                domain: &seat.domain.name,
                bucket: bucket.name.to_string(),
                used: one.used,
                limit: bucket.limit,
                attribute: attribute_of(seat, settings),
            };
            (look, stage)
        });
        self.advance(&subject, looks, settings, now, batch, timers);
    }

    /// A notice that a warning of the site's own asks for. What was told by the stages does not matter to it.
    pub fn warn(&self, address: &str, seat: &Seat, falling: bool, settings: &Settings, now: Moment, batch: &mut Batch) {
        let (Some(bucket), used) = (seat.limits.buckets().first(), seat.used(0)) else { return };
        let look = Look {
            subject: &Subject::Account(address.into()),
            domain: &seat.domain.name,
            bucket: bucket.name.to_string(),
            used,
            limit: bucket.limit,
            attribute: attribute_of(seat, settings),
        };
        let percent = bucket.limit.percent(used).unwrap_or(0);
        let event = match falling {
            true => Event::Back,
            false => Event::Rule(u32::try_from(percent).unwrap_or(u32::MAX)),
        };
        queue::make(&look, event, &settings.notify, now, None, batch);
    }

    /// The same for a domain, of which its postmaster is told.
    pub fn domain(
        &self,
        name: &str,
        state: &DomainState,
        settings: &Settings,
        now: Moment,
        batch: &mut Batch,
        timers: &Timers,
    ) {
        let delivered = matches!(state.mail_status, Status::Active | Status::OverQuota);
        if !settings.notify.dynamic || !delivered || settings.notify.postmaster.is_none() {
            return;
        }
        let bucket = Bucket { name: BucketName::Default, limit: state.limit };
        let (used, thresholds) = (state.held.usage(), &settings.notify.thresholds);
        let stage = stage::stage(&bucket, used, state.standing, thresholds, settings.policy.enforce);
        if stage.is_none() && !self.domains.read().contains_key(name) {
            return;
        }
        let subject = Subject::Domain(name.into());
        let look = Look {
            subject: &subject,
            domain: name,
            bucket: bucket.name.to_string(),
            used,
            limit: bucket.limit,
            attribute: String::new(),
        };
        self.advance(&subject, std::iter::once((look, stage)), settings, now, batch, timers);
    }

    fn advance<'a>(
        &self,
        subject: &'a Subject,
        looks: impl Iterator<Item = (Look<'a>, Option<Stage>)>,
        settings: &Settings,
        now: Moment,
        batch: &mut Batch,
        timers: &Timers,
    ) {
        let notify = &settings.notify;
        let (memory, name) = self.memory(subject);
        let known = memory.read().get(name).cloned().unwrap_or_default();
        let mut kept = Vec::new();
        for (look, stage) in looks {
            let before = known.iter().find(|told| *told.bucket == *look.bucket).map(|told| (told.stage, told.at));
            let step = stage::next(before, stage, &notify.thresholds, notify.interval, now);
            if let Some(again) = step.again {
                timers.at(again, subject.clone());
            }
            if let Some(event) = step.tell {
                queue::make(&look, event, notify, now, None, batch);
            }
            let keep = |(stage, at)| Told { bucket: look.bucket.as_str().into(), stage, at };
            kept.extend(step.told.map(keep));
        }
        self.remember(subject, known, kept, batch);
    }

    /// Stores what is remembered of a subject from here on.
    fn remember(&self, subject: &Subject, before: Vec<Told>, kept: Vec<Told>, batch: &mut Batch) {
        if before == kept {
            return;
        }
        let (memory, name) = self.memory(subject);
        let key = told_key(subject);
        match kept.is_empty() {
            true => {
                memory.write().remove(name);
                batch.push(Op::Remove { shelf: Shelf::Notices, key });
            }
            false => {
                batch.push(Op::Put { shelf: Shelf::Notices, key, value: super::stored::write(&kept) });
                memory.write().insert(name.into(), kept);
            }
        }
    }

    /// Forgets what was told of an account that is gone for good.
    pub fn forget(&self, address: &str, batch: &mut Batch) {
        self.accounts.write().remove(address);
        batch.push(Op::Remove { shelf: Shelf::Notices, key: told_key(&Subject::Account(address.into())) });
    }

    /// What brings the ledger's memory of a subject into line with ours, after writes that have failed. To be
    /// called and submitted under the subject's lock.
    pub fn restored(&self, subject: &Subject, ledger: &dyn Ledger) -> Result<Option<Op>, LedgerError> {
        let (memory, name) = self.memory(subject);
        let key = told_key(subject);
        let told = memory.read().get(name).map(super::stored::write);
        let stored = ledger.shelf_get(Shelf::Notices, &key)?;
        Ok(match told {
            told if told == stored => None,
            Some(value) => Some(Op::Put { shelf: Shelf::Notices, key, value }),
            None => Some(Op::Remove { shelf: Shelf::Notices, key }),
        })
    }
}

fn told_key(subject: &Subject) -> Box<[u8]> {
    let (mark, name) = match subject {
        Subject::Account(address) | Subject::Flag(address) => (b'a', address),
        Subject::Domain(name) => (b'd', name),
    };
    [&[TOLD, mark], name.as_bytes()].concat().into()
}

fn read_subject(key: &[u8]) -> Option<Subject> {
    let (mark, name) = key.split_first()?;
    let name = std::str::from_utf8(name).ok()?.into();
    match mark {
        b'a' => Some(Subject::Account(name)),
        b'd' => Some(Subject::Domain(name)),
        _ => None,
    }
}

/// `mailQuota` as the directory has it, for templates that show it.
fn attribute_of(seat: &Seat, settings: &Settings) -> String {
    seat.specs.bytes.display(crate::quota::spec::Measure::Bytes(settings.units)).to_string()
}
