//! One account in memory: what the directory says of it, what it holds and how it stands.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::domain::Domain;
use super::roots::Roots;
use crate::account::{EntryId, Status};
use crate::ledger::Revision;
use crate::mailstore::MailboxRef;
use crate::quota::{Cells, Level, Limits, Moment, Spec, Standing, Usage};

/// An account. Its address is its identity in the ledger and never changes; an entry that gets
/// another address is another account. The lock is held for moments only: no I/O is done under it.
pub struct Account {
    pub address: Box<str>,
    pub id: EntryId,
    seat: Mutex<Seat>,
}

/// What changes. `sums` and `standings` stand in the order of `limits.buckets()`.
pub struct Seat {
    pub dn: Box<str>,
    pub domain: Arc<Domain>,
    pub inet_status: Status,
    pub mail_status: Status,
    /// What the directory says, and what it comes to with the defaults filled in.
    pub specs: Arc<Specs>,
    pub limits: Arc<Limits>,
    /// Why the directory's quota could not be read; the last good limits are in force then.
    pub problem: Option<Box<str>>,
    pub attributes: Option<Box<BTreeMap<Box<str>, Box<str>>>>,
    /// Where it may be found besides its own address, and where its mail goes on to.
    pub links: Option<Box<Links>>,
    pub cells: Cells,
    pub revision: Revision,
    pub measured: Option<Moment>,
    pub sums: SmallVec<[Usage; 1]>,
    pub standings: SmallVec<[Standing; 1]>,
    /// Rules and further roots, where there are any.
    pub roots: Option<Box<Roots>>,
    pub on_their_way: Option<Box<OnTheirWay>>,
    /// It is on the list of mailboxes to be measured soon.
    pub hinted: bool,
    /// The status that a stored wish is going to write.
    pub wished: Option<Status>,
    /// The level that the tally of the metrics has it at.
    pub counted: Level,
    /// The directory no longer has it. Late measurements must not bring it back.
    pub gone: bool,
    /// Grows whenever the directory tells of the entry.
    pub heard: u32,
    /// The mail status is one that we have written, and the directory is yet to tell of it.
    pub ahead: bool,
}

/// The two quota attributes, parsed, and the account's own rules, which are known to parse.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Specs {
    pub bytes: Spec,
    pub messages: Spec,
    pub rules: Box<[Box<str>]>,
}

impl Specs {
    /// What an entry without quotas says.
    pub fn absent() -> Specs {
        Specs { bytes: Spec::ABSENT, messages: Spec::ABSENT, rules: Box::default() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    pub alternates: Vec<Box<str>>,
    pub forwards: Vec<Box<str>>,
    /// Quota rules of its own, as the directory has them.
    pub rules: Vec<Box<str>>,
}

impl Account {
    pub fn new(address: Box<str>, id: EntryId, seat: Seat) -> Account {
        Account { address, id, seat: Mutex::new(seat) }
    }

    pub fn lock(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock()
    }

    pub fn mailbox(&self) -> MailboxRef {
        let attributes = self.lock().attributes.as_deref().cloned().unwrap_or_default();
        MailboxRef { address: self.address.clone(), attributes }
    }
}

impl Seat {
    pub fn total(&self) -> Usage {
        self.sums.iter().copied().sum()
    }

    /// Takes the standings that the ledger kept by name into the order of the buckets.
    pub fn stand(&mut self, kept: &[(Box<str>, Standing)]) {
        let standing = |name: String| kept.iter().find(|(known, _)| **known == *name).map(|(_, s)| *s);
        self.standings =
            self.limits.buckets().iter().map(|bucket| standing(bucket.name.to_string()).unwrap_or_default()).collect();
        if let Some(roots) = &mut self.roots {
            roots.stand(kept);
        }
    }

    /// The standings that are worth keeping, by name.
    pub fn standings_kept(&self) -> Vec<(Box<str>, Standing)> {
        let named = self.limits.buckets().iter().zip(&self.standings);
        let kept = named.filter(|(_, standing)| **standing != Standing::UNDER);
        let further = self.roots.iter().flat_map(|roots| roots.standings_kept());
        kept.map(|(bucket, standing)| (bucket.name.to_string().into(), *standing)).chain(further).collect()
    }

    /// Room held at `now`; what has waited too long is dropped.
    pub fn reserved(&mut self, now: Moment) -> Usage {
        let Some(waiting) = &mut self.on_their_way else { return Usage::ZERO };
        while waiting.oldest.front().is_some_and(|message| message.until <= now) {
            waiting.oldest.pop_front();
        }
        waiting.sum()
    }

    pub fn reserve(&mut self, bytes: u64, until: Moment) {
        self.on_their_way.get_or_insert_default().oldest.push_back(OnItsWay { bytes, until });
    }

    /// The store reported `messages` more than before: the oldest reservations have arrived.
    pub fn arrived(&mut self, messages: u64) {
        if let Some(waiting) = &mut self.on_their_way {
            let arrived = usize::try_from(messages).unwrap_or(usize::MAX).min(waiting.oldest.len());
            waiting.oldest.drain(..arrived);
        }
    }
}

/// Messages that were accepted and have not been seen in the store yet, oldest first.
#[derive(Default)]
pub struct OnTheirWay {
    oldest: VecDeque<OnItsWay>,
}

struct OnItsWay {
    bytes: u64,
    until: Moment,
}

impl OnTheirWay {
    fn sum(&self) -> Usage {
        self.oldest.iter().map(|message| Usage::new(message.bytes, 1)).sum()
    }
}
