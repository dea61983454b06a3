//! One account in memory: what the directory says of it, what it holds and how it stands.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::domain::Domain;
use super::roots::Roots;
use super::unixquota::Held;
use crate::account::{EntryId, Status};
use crate::ledger::Revision;
use crate::mailstore::MailboxRef;
use crate::quota::bucket::Sums;
use crate::quota::{Cells, Grace, Level, Limits, Moment, Spec, Standing, Usage};

/// An account. Its address is its identity in the ledger and never changes; an entry that gets
/// another address is another account. The lock is held for moments only: no I/O is done under it.
pub struct Account {
    pub address: Box<str>,
    pub id: EntryId,
    seat: Mutex<Seat>,
}

/// What changes. There are millions of these, and nearly all have one bucket, stand under their limit and are
/// nothing out of the ordinary: what only some of them have is in `more`.
pub struct Seat {
    pub dn: Box<str>,
    pub domain: Arc<Domain>,
    /// What the directory says, and what it comes to with the defaults filled in.
    pub specs: Arc<Specs>,
    pub limits: Arc<Limits>,
    pub cells: Cells,
    pub revision: Revision,
    measured: Measured,
    more: Option<Box<More>>,
    /// Grows whenever the directory tells of the entry.
    pub heard: u32,
    /// The full load in which the directory named it last.
    pub named: u32,
    pub inet_status: Status,
    pub mail_status: Status,
    /// It is on the list of mailboxes to be measured soon.
    pub hinted: bool,
    /// The status that a stored wish is going to write.
    pub wished: Option<Status>,
    /// A stored wish is going to put the over-quota flag right.
    pub flag_wished: bool,
    /// The level that the tally of the metrics has it at.
    pub counted: Level,
    /// The directory no longer has it. Late measurements must not bring it back.
    pub gone: bool,
    /// The mail status is one that we have written, and the directory is yet to tell of it.
    pub ahead: bool,
}

/// What most accounts do without.
#[derive(Default)]
struct More {
    problem: Option<Box<str>>,
    attributes: BTreeMap<Box<str>, Box<str>>,
    links: Links,
    roots: Option<Roots>,
    unix: Option<Box<Held>>,
    on_their_way: OnTheirWay,
    /// In the order of the buckets; empty where the cells say it all.
    filled: Vec<Filled>,
}

impl More {
    fn is_nothing(&self) -> bool {
        self.problem.is_none()
            && self.attributes.is_empty()
            && self.links == Links::default()
            && self.roots.is_none()
            && self.unix.is_none()
            && self.on_their_way.oldest.is_empty()
            && self.filled.is_empty()
    }
}

/// What one bucket holds and how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    pub used: Usage,
    pub standing: Standing,
}

/// An optional moment in the room of one.
#[derive(Clone, Copy)]
struct Measured(Moment);

impl Measured {
    const NEVER: Measured = Measured(Moment(u64::MAX));
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
        MailboxRef { address: self.address.clone(), attributes: self.lock().attributes().clone() }
    }
}

static NO_ATTRIBUTES: BTreeMap<Box<str>, Box<str>> = BTreeMap::new();
static NO_LINKS: Links = Links { alternates: Vec::new(), forwards: Vec::new(), rules: Vec::new() };

impl Seat {
    /// A seat that holds nothing and has never been measured.
    pub fn new(dn: &str, domain: Arc<Domain>, specs: Arc<Specs>, limits: Arc<Limits>) -> Seat {
        Seat {
            dn: dn.into(),
            domain,
            specs,
            limits,
            cells: Cells::default(),
            revision: 0,
            measured: Measured::NEVER,
            more: None,
            heard: 0,
            named: 0,
            inet_status: Status::Active,
            mail_status: Status::Active,
            hinted: false,
            wished: None,
            flag_wished: false,
            counted: Level::Under,
            gone: false,
            ahead: false,
        }
    }

    /// When the mailbox was last measured as a whole.
    pub fn measured(&self) -> Option<Moment> {
        Some(self.measured.0).filter(|at| *at != Measured::NEVER.0)
    }

    pub fn set_measured(&mut self, at: Option<Moment>) {
        self.measured = at.map_or(Measured::NEVER, Measured);
    }

    /// Why the directory's quota could not be read; the last good limits are in force then.
    pub fn problem(&self) -> Option<&str> {
        self.more.as_ref()?.problem.as_deref()
    }

    pub fn set_problem(&mut self, problem: Option<Box<str>>) {
        if self.more.is_some() || problem.is_some() {
            self.change_more(|more| more.problem = problem);
        }
    }

    /// What the mail store's path needs of the directory's attributes.
    pub fn attributes(&self) -> &BTreeMap<Box<str>, Box<str>> {
        self.more.as_ref().map_or(&NO_ATTRIBUTES, |more| &more.attributes)
    }

    pub fn set_attributes(&mut self, attributes: BTreeMap<Box<str>, Box<str>>) {
        if self.more.is_some() || !attributes.is_empty() {
            self.change_more(|more| more.attributes = attributes);
        }
    }

    /// Where it may be found besides its own address, and where its mail goes on to.
    pub fn links(&self) -> &Links {
        self.more.as_ref().map_or(&NO_LINKS, |more| &more.links)
    }

    pub fn set_links(&mut self, links: Links) {
        if self.more.is_some() || links != NO_LINKS {
            self.change_more(|more| more.links = links);
        }
    }

    /// Rules and further roots, where there are any.
    pub fn roots(&self) -> Option<&Roots> {
        self.more.as_ref()?.roots.as_ref()
    }

    pub fn set_roots(&mut self, roots: Option<Roots>) {
        if self.more.is_some() || roots.is_some() {
            self.change_more(|more| more.roots = roots);
        }
    }

    /// Brings the further roots up to date; whether a standing of theirs has changed.
    pub fn advance_roots(&mut self, grace: Grace, now: Moment) -> bool {
        let Seat { more, cells, .. } = self;
        let roots = more.as_mut().and_then(|more| more.roots.as_mut());
        roots.is_some_and(|roots| roots.advance(cells, grace, now))
    }

    /// What file systems say of an account that is a Unix user.
    pub fn unix(&self) -> Option<&Held> {
        self.more.as_ref()?.unix.as_deref()
    }

    pub fn change_unix(&mut self, change: impl FnOnce(&mut Held)) {
        self.change_more(|more| {
            let mut held = more.unix.take().unwrap_or_default();
            change(&mut held);
            more.unix = Some(held).filter(|held| !held.is_nothing());
        });
    }

    fn change_more(&mut self, change: impl FnOnce(&mut More)) {
        let mut more = self.more.take().unwrap_or_default();
        change(&mut more);
        self.more = Some(more).filter(|more| !more.is_nothing());
    }

    fn own_filled(&self) -> Option<&[Filled]> {
        self.more.as_ref().map(|more| more.filled.as_slice()).filter(|filled| !filled.is_empty())
    }

    /// What all buckets hold together.
    pub fn total(&self) -> Usage {
        self.own_filled().map_or_else(|| self.cells.total(), |filled| filled.iter().map(|one| one.used).sum())
    }

    pub fn used(&self, bucket: usize) -> Usage {
        match self.own_filled() {
            Some(filled) => filled.get(bucket).map_or(Usage::ZERO, |one| one.used),
            None => self.cells.total(),
        }
    }

    pub fn standing(&self, bucket: usize) -> Standing {
        self.own_filled().and_then(|filled| filled.get(bucket)).map_or(Standing::UNDER, |one| one.standing)
    }

    /// Usage and standing of each bucket, in the order of `limits.buckets()`.
    pub fn filled(&self) -> impl Iterator<Item = Filled> {
        let buckets = 0..self.limits.buckets().len();
        buckets.map(|bucket| Filled { used: self.used(bucket), standing: self.standing(bucket) })
    }

    /// What the cells come to in each bucket.
    pub fn sums(&self) -> Sums {
        match self.roots() {
            Some(roots) => roots.sums(&self.limits, &self.cells),
            None => self.limits.sums(&self.cells),
        }
    }

    /// Takes in usage and standing of each bucket.
    pub fn fill(&mut self, filled: impl Iterator<Item = Filled>) {
        let filled: SmallVec<[Filled; 4]> = filled.collect();
        let plain = match filled[..] {
            [one] => one.standing == Standing::UNDER && one.used == self.cells.total(),
            _ => false,
        };
        if self.more.is_some() || !plain {
            self.change_more(|more| {
                more.filled.clear();
                if !plain {
                    more.filled.extend_from_slice(&filled);
                    more.filled.shrink_to_fit();
                }
            });
        }
    }

    /// Takes the standings that the ledger kept by name into the order of the buckets.
    pub fn stand(&mut self, kept: &[(Box<str>, Standing)]) {
        let limits = self.limits.clone();
        let standing = |name: String| kept.iter().find(|(known, _)| **known == *name).map(|(_, s)| *s);
        let standings = limits.buckets().iter().map(|bucket| match kept.is_empty() {
            true => Standing::UNDER,
            false => standing(bucket.name.to_string()).unwrap_or_default(),
        });
        let sums = self.sums();
        self.fill(sums.into_iter().zip(standings).map(|(used, standing)| Filled { used, standing }));
        if let Some(roots) = self.more.as_mut().and_then(|more| more.roots.as_mut()) {
            roots.stand(kept);
        }
        // Readings have their standings with them.
        if self.unix().is_none()
            && let Some(held) = Held::stand(kept)
        {
            self.change_unix(|unix| *unix = held);
        }
    }

    /// The standings that are worth keeping, by name.
    pub fn standings_kept(&self) -> Vec<(Box<str>, Standing)> {
        let Some(more) = &self.more else { return Vec::new() };
        let named = self.limits.buckets().iter().zip(&more.filled);
        let kept = named.filter(|(_, filled)| filled.standing != Standing::UNDER);
        let further = more.roots.iter().flat_map(|roots| roots.standings_kept());
        let unix = more.unix.iter().flat_map(|held| held.standings_kept());
        let kept = kept.map(|(bucket, filled)| (bucket.name.to_string().into(), filled.standing));
        kept.chain(further).chain(unix).collect()
    }

    /// Room held at `now`; what has waited too long is dropped.
    pub fn reserved(&mut self, now: Moment) -> Usage {
        let Some(more) = &mut self.more else { return Usage::ZERO };
        let waiting = &mut more.on_their_way;
        while waiting.oldest.front().is_some_and(|message| message.until <= now) {
            waiting.oldest.pop_front();
        }
        waiting.sum()
    }

    pub fn reserve(&mut self, bytes: u64, until: Moment) {
        self.more.get_or_insert_default().on_their_way.oldest.push_back(OnItsWay { bytes, until });
    }

    /// The store reported `messages` more than before: the oldest reservations have arrived.
    pub fn arrived(&mut self, messages: u64) {
        if messages == 0 || self.more.is_none() {
            return;
        }
        self.change_more(|more| {
            let oldest = &mut more.on_their_way.oldest;
            let arrived = usize::try_from(messages).unwrap_or(usize::MAX).min(oldest.len());
            oldest.drain(..arrived);
        });
    }
}

/// Messages that were accepted and have not been seen in the store yet, oldest first.
#[derive(Default)]
struct OnTheirWay {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten million of these must fit in a small machine. What makes the seat larger belongs in `More`.
    #[test]
    fn an_account_is_small() {
        assert_eq!(size_of::<Account>(), 136);
    }
}
