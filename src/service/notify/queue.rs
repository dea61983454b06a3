//! The notices that are to be sent, and the carrier that hands them to the mailer.
//!
//! A notice is stored with its Message-ID and sent only when the ledger shows it, so a crash at any moment
//! leaves it either unmade or waiting. It is taken off when the server has it. A crash between those two
//! sends it again with the same Message-ID: that a reader can tell, and nothing else repeats.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::stage::Event;
use super::{Look, Notices, Notify, QUEUED, words};
use crate::ledger::{Batch, LedgerError, Op, Shelf};
use crate::mailer::{Mail, MailError, Mailer};
use crate::quota::{Limit, Moment, Usage};
use crate::service::accounting::Accounting;
use crate::service::outbox::Subject;
use crate::service::stored;
use crate::telemetry::events;
use crate::telemetry::metrics::Sent;

/// One notice as it is stored: what it says, not how; the letter is written when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub message_id: Box<str>,
    pub at: Moment,
    pub to: Box<str>,
    /// An account's address or a domain's name; empty for the site.
    pub about: Box<str>,
    pub about_domain: bool,
    pub domain: Box<str>,
    pub bucket: Box<str>,
    pub event: Event,
    pub used: Usage,
    pub bytes: Option<u64>,
    pub messages: Option<u64>,
    pub attribute: Box<str>,
    /// A template that came with the order to tell, and details for it.
    pub text: Option<Box<str>>,
    pub details: Box<str>,
}

impl Notice {
    pub fn limit(&self) -> Limit {
        Limit { bytes: self.bytes, messages: self.messages }
    }
}

/// What waits: the stored value, and to whom.
pub(super) struct Queued {
    value: Vec<u8>,
    to: Box<str>,
}

impl Queued {
    pub fn is_to(&self, account: &str) -> bool {
        *self.to == *account
    }

    pub fn to(&self) -> &str {
        &self.to
    }
}

/// What an order to tell brings along.
pub(super) struct Order<'a> {
    pub text: &'a str,
    pub details: String,
}

/// Makes the notices about one bucket: to the account, and to whom else it concerns.
pub(super) fn make(
    look: &Look<'_>,
    event: Event,
    notify: &Notify,
    now: Moment,
    order: Option<&Order<'_>>,
    batch: &mut Batch,
) {
    let postmaster = || notify.postmaster_of(look.domain);
    let (about, about_domain) = match look.subject {
        Subject::Account(address) | Subject::Flag(address) => (address.clone(), false),
        Subject::Domain(name) => (name.clone(), true),
    };
    let own = (!about_domain).then(|| about.clone());
    let copy = (about_domain || notify.copies).then(postmaster).flatten();
    // A postmaster whose own mailbox is full is told once.
    let copy = copy.filter(|copy| own.as_ref() != Some(copy));
    for to in own.into_iter().chain(copy) {
        let mut notice = Notice {
            message_id: "".into(),
            at: now,
            to,
            about: about.clone(),
            about_domain,
            domain: look.domain.into(),
            bucket: look.bucket.as_str().into(),
            event,
            used: look.used,
            bytes: look.limit.bytes,
            messages: look.limit.messages,
            attribute: look.attribute.as_str().into(),
            text: order.map(|order| order.text.into()),
            details: order.map_or_else(Box::default, |order| order.details.as_str().into()),
        };
        push(&mut notice, notify, batch);
    }
}

/// Names a notice and puts it into the batch.
pub(super) fn push(notice: &mut Notice, notify: &Notify, batch: &mut Batch) {
    let unique = fingerprint(notice);
    notice.message_id = format!("mailquotad.{:x}.{unique:032x}@{}", notice.at.0, notify.from.address.domain()).into();
    let mut key = vec![QUEUED];
    key.extend_from_slice(&notice.at.0.to_be_bytes());
    key.extend_from_slice(&unique.to_be_bytes());
    batch.push(Op::Put { shelf: Shelf::Notices, key: key.into(), value: stored::write(notice) });
}

/// Tells notices of one millisecond apart.
fn fingerprint(notice: &Notice) -> u128 {
    let event = format!("{:?} {}", notice.event, notice.about_domain);
    stored::fingerprint([&*notice.to, &*notice.about, &*notice.bucket, event.as_str()])
}

/// The notices that a batch stores. To be handed to [`Notices::stored`] once it has been submitted.
pub fn in_batch(batch: &Batch) -> Vec<(Box<[u8]>, Vec<u8>)> {
    let queued = |op: &Op| match op {
        Op::Put { shelf: Shelf::Notices, key, value } if key.first() == Some(&QUEUED) => {
            Some((key.clone(), value.clone()))
        }
        _ => None,
    };
    batch.iter().filter_map(queued).collect()
}

impl Notices {
    pub(super) fn enqueue(&self, key: Box<[u8]>, value: Vec<u8>) {
        let to = stored::read::<Notice>(&value).map(|notice| notice.to).unwrap_or_default();
        self.waiting.lock().insert(key, Queued { value, to });
    }

    /// Takes over the notices of a batch that has been submitted.
    pub fn stored(&self, made: Vec<(Box<[u8]>, Vec<u8>)>) {
        if made.is_empty() {
            return;
        }
        made.into_iter().for_each(|(key, value)| self.enqueue(key, value));
        self.wake.notify_one();
    }

    /// Everything that waits, oldest first.
    pub fn waiting(&self) -> Vec<Notice> {
        self.waiting.lock().values().filter_map(|queued| stored::read(&queued.value)).collect()
    }
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How long what an earlier life has left is held back: longer than a mail server takes to ask again about what that
/// life was handing over (Postfix's smtpd_policy_service_retry_delay is 1 s).
const LEFT_OVER_PAUSE: Duration = Duration::from_secs(3);
/// How many letters are in hand at once.
const AT_ONCE: usize = 8;

/// Hands waiting notices to the mailer until `stop`, at once when one is stored and with growing pauses
/// while the server does not take them.
pub async fn run(accounting: Arc<Accounting>, mailer: Arc<dyn Mailer>, stop: CancellationToken) {
    let mut carrier =
        Carrier { accounting, mailer, retries: HashMap::new(), done: HashSet::new(), held_until: None, away: None };
    carrier.hold_back();
    loop {
        carrier.round(&stop).await;
        let wait = carrier.next_try().saturating_duration_since(Instant::now());
        let woken = carrier.accounting.notices.wake.notified();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            // While the server is away, more mail for it changes nothing.
            () = woken, if carrier.away.is_none() => {}
        }
    }
}

struct Carrier {
    accounting: Arc<Accounting>,
    mailer: Arc<dyn Mailer>,
    /// Notices that were put off: until when, and how long the next time.
    retries: HashMap<Box<[u8]>, (Instant, Duration)>,
    /// Sent, but the ledger could not note it.
    done: HashSet<Box<[u8]>>,
    /// Until when the notices of an earlier life are held back.
    held_until: Option<Instant>,
    /// The server is away: until when it is left alone, and how long the next time.
    away: Option<(Instant, Duration)>,
}

/// What became of one notice.
enum Became {
    Off,
    Later(Duration),
    Away(String),
}

impl Carrier {
    fn next_try(&self) -> Instant {
        let now = Instant::now();
        let waiting = self.accounting.notices.waiting.lock();
        let of = |key: &[u8]| self.retries.get(key).map_or(now, |(until, _)| *until);
        let earliest = waiting.keys().map(|key| of(key)).min().unwrap_or(now + LONGEST_PAUSE);
        self.away.map_or(earliest, |(until, _)| until.max(earliest))
    }

    /// Holds back what an earlier life has left, until no server asks any more about what that was handing over.
    fn hold_back(&mut self) {
        let until = Instant::now() + LEFT_OVER_PAUSE;
        let waiting = self.accounting.notices.waiting.lock();
        self.retries.extend(waiting.keys().map(|key| (key.clone(), (until, FIRST_PAUSE))));
        self.held_until = Some(until);
    }

    fn let_go(&mut self, now: Instant) {
        if self.held_until.is_some_and(|until| until <= now) {
            self.accounting.notices.left_over.write().clear();
            self.held_until = None;
        }
    }

    async fn round(&mut self, stop: &CancellationToken) {
        let now = Instant::now();
        self.let_go(now);
        if self.away.is_some_and(|(until, _)| now < until) {
            return;
        }
        let due: Vec<Box<[u8]>> = {
            let waiting = self.accounting.notices.waiting.lock();
            let is_due = |key: &[u8]| self.retries.get(key).is_none_or(|(until, _)| *until <= now);
            waiting.keys().filter(|key| is_due(key)).cloned().collect()
        };
        self.accounting.metrics.notices.set(i64::try_from(self.accounting.notices.waiting.lock().len()).unwrap_or(0));
        if due.is_empty() {
            return;
        }
        // An empty batch comes back when everything before it is safe: only then may a notice be sent.
        if let Err(error) = self.accounting.ledger.submit(Batch::new()).durable().await {
            events::ledger_failed(&error);
            self.away = Some((Instant::now() + FIRST_PAUSE, FIRST_PAUSE));
            return;
        }
        for some in due.chunks(AT_ONCE) {
            if stop.is_cancelled() || !self.chunk(some).await {
                break;
            }
        }
        self.accounting.metrics.notices.set(i64::try_from(self.accounting.notices.waiting.lock().len()).unwrap_or(0));
    }

    /// Sends some at once; whether the server is there.
    async fn chunk(&mut self, keys: &[Box<[u8]>]) -> bool {
        let mut tries = tokio::task::JoinSet::new();
        for key in keys {
            let (accounting, mailer, key) = (self.accounting.clone(), self.mailer.clone(), key.clone());
            let (sent, pause) = (self.done.contains(&key), self.retries.get(&key).map(|(_, pause)| *pause));
            tries.spawn(async move {
                let pause = pause.unwrap_or(FIRST_PAUSE);
                let carried = AssertUnwindSafe(carry(&accounting, &*mailer, &key, sent, pause)).catch_unwind().await;
                (key, carried.unwrap_or_else(|_| died(&accounting, pause)))
            });
        }
        let mut away = None;
        while let Some(ended) = tries.join_next().await {
            let Ok((key, (became, sent))) = ended else { continue };
            if sent {
                self.done.insert(key.clone());
            }
            match became {
                Became::Off => {
                    self.accounting.notices.waiting.lock().remove(&key);
                    self.retries.remove(&key);
                    self.done.remove(&key);
                }
                Became::Later(pause) => {
                    let next = (pause * 2).min(LONGEST_PAUSE);
                    self.retries.insert(key, (Instant::now() + pause, next));
                }
                Became::Away(why) => away = Some(why),
            }
        }
        match away {
            None => self.away = None,
            Some(why) => {
                let pause = self.away.map_or(FIRST_PAUSE, |(_, pause)| pause);
                events::mailer_away(&why, pause);
                self.away = Some((Instant::now() + pause, (pause * 2).min(LONGEST_PAUSE)));
            }
        }
        self.away.is_none()
    }
}

/// A bug waits like an error: without a pause it would keep a core busy.
fn died(accounting: &Accounting, pause: Duration) -> (Became, bool) {
    events::task_died(&"handing over a notice");
    accounting.metrics.notice(Sent::Failed);
    (Became::Later(pause), false)
}

/// Sends one notice and takes it off; the second value says whether it has been sent.
async fn carry(
    accounting: &Accounting,
    mailer: &dyn Mailer,
    key: &[u8],
    already: bool,
    pause: Duration,
) -> (Became, bool) {
    if already {
        return (take_off(accounting, key).await.map_or(Became::Later(pause), |()| Became::Off), true);
    }
    let value = match visible(accounting, key).await {
        Ok(Some(value)) => value,
        Ok(None) => return (Became::Off, false),
        Err(error) => {
            events::ledger_failed(&error);
            return (Became::Later(pause), false);
        }
    };
    let Some(notice) = stored::read::<Notice>(&value) else {
        // Of another release, whose form we do not know: it waits for that release.
        return (Became::Later(LONGEST_PAUSE), false);
    };
    let settings = accounting.settings.load_full();
    let language = words::language_of(accounting, &notice);
    let outcome = match words::letter(&notice, &settings, language.as_deref()) {
        Ok((to, text)) => mailer.send(&Mail { from: settings.notify.sender.clone(), to, text }).await,
        Err(why) => Err(MailError::Refused(why)),
    };
    let about = |counted| {
        accounting.metrics.notice(counted);
        (notice.to.as_ref(), notice.event.as_str(), notice.message_id.as_ref())
    };
    match outcome {
        Ok(()) => {
            let (to, event, id) = about(Sent::Done);
            events::notice_sent(to, event, id);
            (take_off(accounting, key).await.map_or(Became::Later(pause), |()| Became::Off), true)
        }
        Err(MailError::Refused(why)) => {
            let (to, event, id) = about(Sent::Refused);
            events::notice_refused(to, event, id, &why);
            (take_off(accounting, key).await.map_or(Became::Later(pause), |()| Became::Off), true)
        }
        Err(MailError::Deferred(why)) => {
            let (to, event, id) = about(Sent::Failed);
            events::notice_deferred(to, event, id, &why, pause);
            (Became::Later(pause), false)
        }
        Err(MailError::Away(why)) => {
            accounting.metrics.notice(Sent::Failed);
            (Became::Away(why), false)
        }
    }
}

/// The notice as the ledger shows it. One that a failed write has left in memory alone is stored first.
async fn visible(accounting: &Accounting, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
    if let Some(value) = accounting.ledger.shelf_get(Shelf::Notices, key)? {
        return Ok(Some(value));
    }
    let Some(value) = accounting.notices.waiting.lock().get(key).map(|queued| queued.value.clone()) else {
        return Ok(None);
    };
    let put = Op::Put { shelf: Shelf::Notices, key: key.into(), value: value.clone() };
    accounting.ledger.submit(Batch::from([put])).durable().await.map(|_| Some(value))
}

async fn take_off(accounting: &Accounting, key: &[u8]) -> Result<(), LedgerError> {
    let remove = Op::Remove { shelf: Shelf::Notices, key: key.into() };
    let removed = accounting.ledger.submit(Batch::from([remove])).durable().await;
    removed.inspect_err(|error| events::ledger_failed(error)).map(drop)
}
