//! What is in the queue: messages, the groups that they count in, and what those add up to.
//!
//! A message comes in by a *reservation*, when the policy server accepts it, or by a *snapshot*, in which the MTA
//! shows its queue; it goes when two complete snapshots that began after the reservation do not show it. One
//! is not enough: Postfix moves messages between its folders while it reads them, and a message may be in none.
//!
//! The sums are never counted up and down on their own: they are what the messages come to, so whatever happens
//! to one message, they come out right. A queue id may come back for another message; the time of arrival
//! tells the two apart.
//!
//! Time is a duration since some beginning, from a clock that never jumps.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::QueueQuota;
use super::message::Session;
use super::set::{Charge, Charges, Filling, Fillings, Set, SlotId};
use crate::quota::Usage;

/// An MTA whose queue is looked at, by its place among all of them.
pub type Host = usize;

/// How many snapshots must miss a message before it is taken to be gone.
const MISSES: u8 = 2;

/// Parts of a queue, each visited on its own, so that nobody waits while all of it is.
pub const SHARDS: usize = 64;

/// A message's session, kept for conditions that ask about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeptSession {
    client: Box<str>,
    client_name: Box<str>,
    helo: Box<str>,
    login: Box<str>,
    context: Box<str>,
    port: u16,
}

impl KeptSession {
    pub fn of(session: &Session<'_>) -> KeptSession {
        KeptSession {
            client: session.client.into(),
            client_name: session.client_name.into(),
            helo: session.helo.into(),
            login: session.login.into(),
            context: session.context.into(),
            port: session.port,
        }
    }

    pub fn session(&self) -> Session<'_> {
        Session {
            client: &self.client,
            client_name: &self.client_name,
            helo: &self.helo,
            login: &self.login,
            context: &self.context,
            port: self.port,
        }
    }
}

/// A message in the queue, or about to be.
#[derive(Debug)]
struct Entry {
    /// Seconds since 1970, as the MTA says; `None` until it was seen.
    arrival: Option<u64>,
    /// When room was reserved; `None` for mail that the policy server was not asked about.
    reserved: Option<Duration>,
    /// The last snapshot that showed it.
    seen: u32,
    missed: u8,
    size: u64,
    /// Of all that its charges were computed from.
    mark: u64,
    charges: SmallVec<[(SlotId, Arc<[u8]>); 2]>,
    session: Option<Box<KeptSession>>,
}

type Shard = HashMap<Box<str>, Entry, FixedState>;

#[derive(Debug)]
struct HostQueue {
    shards: Box<[Shard]>,
    snapshot: u32,
    began: Duration,
    /// The generation of the set when the running snapshot began.
    generation: u32,
    /// The same of the last complete one.
    known: Option<u32>,
    /// It has not been readable for long: others do not wait for it.
    lost: bool,
    messages: usize,
}

impl Default for HostQueue {
    fn default() -> HostQueue {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        HostQueue { shards, snapshot: 0, began: Duration::ZERO, generation: 0, known: None, lost: false, messages: 0 }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    bytes: u128,
    messages: u64,
    warned: bool,
}

impl Group {
    fn usage(&self) -> Usage {
        Usage::new(u64::try_from(self.bytes).unwrap_or(u64::MAX), self.messages)
    }
}

type Groups = HashMap<Arc<[u8]>, Group, FixedState>;

/// A group at its threshold, to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    pub slot: SlotId,
    pub group: Arc<[u8]>,
}

/// A message as a snapshot shows it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub id: &'a str,
    /// Seconds since 1970.
    pub arrival: u64,
    pub size: u64,
    /// Of everything that its groups follow from, the set's generation included.
    pub mark: u64,
}

#[derive(Debug, Default)]
pub struct Occupancy {
    set: Arc<Set>,
    groups: HashMap<SlotId, Groups, FixedState>,
    hosts: Vec<HostQueue>,
    crossings: Vec<Crossing>,
}

impl Occupancy {
    pub fn new(hosts: usize) -> Occupancy {
        let hosts = (0..hosts).map(|_| HostQueue::default()).collect();
        Occupancy { hosts, ..Occupancy::default() }
    }

    pub fn set(&self) -> &Arc<Set> {
        &self.set
    }

    /// Puts other quotas in force. What counts as before keeps its sums; what is new has none before
    /// the queues have been read once more.
    pub fn install(&mut self, quotas: Vec<QueueQuota>) -> Arc<Set> {
        let next = Arc::new(self.set.follow(quotas));
        self.groups.retain(|id, _| next.quota(*id).is_some());
        self.set = next;
        self.set.clone()
    }

    /// The groups as they are without the message `except`, which may have been counted already.
    pub fn fillings(&self, charges: &[Charge], except: Option<(Host, &str)>) -> Fillings {
        let counted = except.and_then(|(host, id)| self.entry(host, id));
        let filling = |charge: &Charge| {
            let limit = self.set.quota(charge.slot)?.limit;
            let group = self.groups.get(&charge.slot).and_then(|groups| groups.get(&*charge.group));
            let mut group = group.copied().unwrap_or_default();
            let mine = |(slot, key): &(SlotId, Arc<[u8]>)| *slot == charge.slot && **key == *charge.group;
            if let Some(entry) = counted.filter(|entry| entry.charges.iter().any(mine)) {
                group.bytes = group.bytes.saturating_sub(entry.size.into());
                group.messages = group.messages.saturating_sub(1);
            }
            Some(Filling { slot: charge.slot, limit, used: group.usage(), ripe: self.is_ripe(charge.slot) })
        };
        charges.iter().filter_map(filling).collect()
    }

    /// Holds room for a message that was accepted. A message of that id that was known before has left.
    pub fn reserve(
        &mut self,
        host: Host,
        id: &str,
        size: u64,
        charges: Charges,
        session: Option<KeptSession>,
        now: Duration,
    ) {
        let entry = Entry {
            arrival: None,
            reserved: Some(now),
            seen: 0,
            missed: 0,
            size,
            mark: 0,
            charges: SmallVec::new(),
            session: session.map(Box::new),
        };
        self.put(host, id, entry, charges);
    }

    /// Begins a snapshot of a host's queue.
    pub fn begin(&mut self, host: Host, now: Duration) {
        if let Some(queue) = self.hosts.get_mut(host) {
            // 0 is what nothing was ever seen in.
            queue.snapshot = queue.snapshot.checked_add(1).unwrap_or(1);
            (queue.began, queue.generation) = (now, self.set.generation);
        }
    }

    /// Takes in a message that the running snapshot shows. `charges` is asked only where they are not known
    /// already, with what is known of the message's session.
    pub fn seen(&mut self, host: Host, seen: Seen<'_>, charges: impl FnOnce(&Session<'_>) -> Charges) {
        let Some(queue) = self.hosts.get_mut(host) else { return };
        let (snapshot, began) = (queue.snapshot, queue.began);
        let mut session = None;
        if let Some(entry) = queue.shards[shard(seen.id)].get_mut(seen.id) {
            // It may be an earlier message of this id that the snapshot saw; the next one will tell.
            if entry.reserved.is_some_and(|reserved| reserved > began) {
                return;
            }
            let same = entry.arrival.is_none_or(|arrival| arrival == seen.arrival);
            let again = entry.seen == snapshot && entry.arrival.is_some();
            if again && entry.arrival.is_some_and(|arrival| arrival > seen.arrival) {
                return;
            }
            if same {
                (entry.seen, entry.missed, entry.arrival) = (snapshot, 0, Some(seen.arrival));
                if entry.mark == seen.mark && entry.size == seen.size {
                    return;
                }
                session = entry.session.take();
            }
        }
        let known = session.as_ref().map_or_else(Session::default, |session| session.session());
        let charges = charges(&known);
        let entry = Entry {
            arrival: Some(seen.arrival),
            reserved: None,
            seen: snapshot,
            missed: 0,
            size: seen.size,
            mark: seen.mark,
            charges: SmallVec::new(),
            session,
        };
        self.put(host, seen.id, entry, charges);
    }

    /// Looks through one of [`SHARDS`] parts of a queue after a complete snapshot, for what it did not show.
    /// A reservation counts as missed only if it was made `settle` before the snapshot began: Postfix may
    /// still be writing the message down.
    pub fn sweep(&mut self, host: Host, part: usize, settle: Duration) {
        let Some(queue) = self.hosts.get_mut(host) else { return };
        let (snapshot, began) = (queue.snapshot, queue.began);
        let gone = |entry: &mut Entry| {
            let young = entry.reserved.is_some_and(|reserved| reserved.saturating_add(settle) > began);
            if entry.seen == snapshot || young {
                return false;
            }
            entry.missed = entry.missed.saturating_add(1);
            entry.missed >= MISSES
        };
        self.take_out(host, part, gone);
    }

    /// Ends a complete snapshot, after every part has been swept.
    pub fn complete(&mut self, host: Host) {
        if let Some(queue) = self.hosts.get_mut(host) {
            (queue.known, queue.lost) = (Some(queue.generation), false);
        }
    }

    /// A host's queue has not been readable for long, or cannot be read at all.
    pub fn lose(&mut self, host: Host) {
        if let Some(queue) = self.hosts.get_mut(host) {
            (queue.known, queue.lost) = (None, true);
        }
    }

    /// Whether the sums of a quota are those of the queues: every one that can be read has been since there is
    /// that quota. Nothing is refused before that.
    pub fn is_ripe(&self, slot: SlotId) -> bool {
        let Some(born) = self.set.born(slot) else { return false };
        self.hosts.iter().all(|queue| queue.lost || queue.known.is_some_and(|known| known >= born))
    }

    /// Lets go of reservations older than `decay`: for hosts whose queue cannot be read.
    pub fn expire(&mut self, host: Host, part: usize, now: Duration, decay: Duration) {
        self.take_out(host, part, |entry| entry.reserved.is_none_or(|reserved| reserved.saturating_add(decay) <= now));
    }

    /// A message has left: its file is gone.
    pub fn gone(&mut self, host: Host, id: &str) {
        let Some(queue) = self.hosts.get_mut(host) else { return };
        if let Some(entry) = queue.shards[shard(id)].remove(id) {
            queue.messages -= 1;
            self.release(&entry);
        }
    }

    /// How many messages a host's queue holds, reservations included.
    pub fn messages(&self, host: Host) -> usize {
        self.hosts.get(host).map_or(0, |queue| queue.messages)
    }

    pub fn usage(&self, slot: SlotId, group: &[u8]) -> Usage {
        self.groups.get(&slot).and_then(|groups| groups.get(group)).map_or(Usage::ZERO, Group::usage)
    }

    /// The groups of a quota that hold anything.
    pub fn groups(&self, slot: SlotId) -> impl Iterator<Item = (&Arc<[u8]>, Usage)> {
        self.groups.get(&slot).into_iter().flatten().map(|(key, group)| (key, group.usage()))
    }

    /// The groups that have reached their threshold since this was asked last.
    pub fn crossings(&mut self) -> Vec<Crossing> {
        std::mem::take(&mut self.crossings)
    }

    fn entry(&self, host: Host, id: &str) -> Option<&Entry> {
        self.hosts.get(host)?.shards[shard(id)].get(id)
    }

    /// Puts a message in the place of what was known under its id. A group that both are in is never left
    /// in between, so that it is not told of twice.
    fn put(&mut self, host: Host, id: &str, mut entry: Entry, charges: Charges) {
        let Some(queue) = self.hosts.get_mut(host) else { return };
        let mut before = queue.shards[shard(id)].remove(id);
        queue.messages += usize::from(before.is_none());
        for charge in charges {
            let stays = |(slot, key): &(SlotId, Arc<[u8]>)| *slot == charge.slot && **key == *charge.group;
            let kept = before.as_mut().and_then(|before| {
                let at = before.charges.iter().position(stays)?;
                Some((before.charges.swap_remove(at), before.size))
            });
            let counted = match kept {
                Some(((slot, key), size)) => self.count(slot, key, (entry.size, 0), (size, 0)),
                None => {
                    let groups = self.groups.get(&charge.slot);
                    let key = groups.and_then(|groups| groups.get_key_value(&*charge.group));
                    let key = key.map_or_else(|| Arc::from(&*charge.group), |(key, _)| key.clone());
                    self.count(charge.slot, key, (entry.size, 1), (0, 0))
                }
            };
            entry.charges.extend(counted);
        }
        if let Some(before) = before {
            self.release(&before);
        }
        self.hosts[host].shards[shard(id)].insert(id.into(), entry);
    }

    /// Changes a group by bytes and messages, more and less.
    fn count(
        &mut self,
        slot: SlotId,
        key: Arc<[u8]>,
        more: (u64, u64),
        less: (u64, u64),
    ) -> Option<(SlotId, Arc<[u8]>)> {
        let quota = self.set.quota(slot)?;
        let (limit, threshold) = (quota.limit, quota.threshold);
        let groups = self.groups.entry(slot).or_default();
        let group = groups.entry(key.clone()).or_default();
        group.bytes = group.bytes.saturating_add(more.0.into()).saturating_sub(less.0.into());
        group.messages = group.messages.saturating_add(more.1).saturating_sub(less.1);
        let reached = limit.reached_in_part(group.usage(), threshold);
        if reached && !group.warned {
            self.crossings.push(Crossing { slot, group: key.clone() });
        }
        group.warned = reached;
        if group.messages == 0 {
            groups.remove(&key);
        }
        Some((slot, key))
    }

    fn release(&mut self, entry: &Entry) {
        for (slot, key) in &entry.charges {
            self.count(*slot, key.clone(), (0, 0), (entry.size, 1));
        }
    }

    fn take_out(&mut self, host: Host, part: usize, mut gone: impl FnMut(&mut Entry) -> bool) {
        let Some(queue) = self.hosts.get_mut(host) else { return };
        let Some(shard) = queue.shards.get_mut(part) else { return };
        let taken: Vec<Entry> = shard.extract_if(|_, entry| gone(entry)).map(|(_, entry)| entry).collect();
        queue.messages -= taken.len();
        taken.iter().for_each(|entry| self.release(entry));
    }
}

fn shard(id: &str) -> usize {
    // The tables inside use the low and the topmost bits of the same kind of hash.
    (FixedState::with_seed(1).hash_one(id) >> 32) as usize % SHARDS
}
