//! Queue quotas at work: what the policy server asks of them, and what the MTA's queue says.
//!
//! [`Queues`] joins the model's [`Occupancy`] with the queues that are read ([`follow`]). A message is tested
//! at RCPT, and tested and counted in one step at END-OF-MESSAGE, so that any number of clients at a time
//! never get more in than there is room for. [`report`] and [`warn`] tell people.
//!
//! One lock guards the sums. It is held for one message at a time, also while a queue of any length is
//! read, so nobody waits for a snapshot.

pub mod follow;
pub mod report;
pub mod warn;

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use tokio::sync::watch;

use super::socket::Peer;
use crate::quota::queue::message::{Message, Room, Session, lower};
use crate::quota::queue::occupancy::{Host, KeptSession, Occupancy, Seen};
use crate::quota::queue::set::{Charges, Filling, Set};
use crate::quota::queue::{GroupName, QueueQuota};
use crate::quota::verdict::{Policy, Trace, Untold, Waiting, decide_queue};
use crate::quota::{Action, Moment, Reason, Verdict};
use crate::telemetry::metrics::Metrics;
use crate::wire::cel::Fault;
use crate::wire::listed::Listed;
use crate::wire::network::Network;
use crate::wire::policy::Request;

/// What the configuration says about queue quotas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    pub quotas: Vec<QueueQuota>,
    /// Between the end of a snapshot and the begin of the next.
    pub interval: Duration,
    /// How long Postfix may take to write a message down after it was accepted.
    pub settle: Duration,
    /// How long a message counts whose queue cannot be read.
    pub decay: Duration,
    /// How long what was read last is believed while a queue cannot be read.
    pub stale: Duration,
    /// At most one letter to the admins in this time.
    pub warn_interval: Duration,
}

/// A queue, and who is asked about mail for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    pub name: Box<str>,
    /// Whose policy requests are about this queue, by address and by policy_context. Without either: whosever
    /// are about no other.
    pub hosts: Vec<Network>,
    pub contexts: Vec<Box<str>>,
}

impl Source {
    fn is_of(&self, peer: Option<IpAddr>, context: &str) -> bool {
        peer.is_some_and(|peer| self.hosts.iter().any(|network| network.contains(peer)))
            || self.contexts.iter().any(|known| **known == *context)
    }

    fn is_of_anybody(&self) -> bool {
        self.hosts.is_empty() && self.contexts.is_empty()
    }
}

/// How a queue was when it was last looked at.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// When a snapshot was last complete.
    pub at: Option<Moment>,
    pub took: Duration,
    pub trouble: Option<String>,
}

pub struct Queues {
    sources: Box<[Source]>,
    occupancy: Mutex<Occupancy>,
    set: ArcSwap<Set>,
    looks: Mutex<Vec<Look>>,
    /// A queue is to be read without waiting for the interval.
    soon: watch::Sender<()>,
    told: Mutex<warn::Told>,
    began: Instant,
    hasher: foldhash::quality::RandomState,
    metrics: Arc<Metrics>,
}

impl Queues {
    /// Nothing counts before [`Queues::install`].
    pub fn new(sources: Vec<Source>, metrics: Arc<Metrics>) -> Queues {
        // One more, which nobody reads, for mail of hosts that no source is for.
        let mut occupancy = Occupancy::new(sources.len() + 1);
        occupancy.lose(sources.len());
        Queues {
            looks: Mutex::new(vec![Look::default(); sources.len()]),
            sources: sources.into(),
            occupancy: Mutex::new(occupancy),
            set: ArcSwap::default(),
            soon: watch::Sender::new(()),
            told: Mutex::default(),
            began: Instant::now(),
            hasher: foldhash::quality::RandomState::default(),
            metrics,
        }
    }

    /// Puts quotas in force; what counts as before is not counted anew.
    pub fn install(&self, quotas: Vec<QueueQuota>) {
        self.set.store(self.occupancy.lock().install(quotas));
        // What is new is in force once the queues have been read.
        self.soon.send_replace(());
    }

    /// Whether there are any queue quotas.
    pub fn are_limited(&self) -> bool {
        !self.set.load().is_empty()
    }

    /// Returns when there are some.
    pub async fn limited(&self) {
        // The sender lives as long as we do.
        let _ = self.soon.subscribe().wait_for(|()| self.are_limited()).await;
    }

    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The queue that a request is about.
    fn host(&self, request: &Request<'_>, peer: &Peer) -> Host {
        let address = match peer {
            Peer::Tcp(address) => Some(address.ip()),
            Peer::Unix(_) => None,
        };
        let named = |source: &Source| source.is_of(address, request.policy_context);
        let found = self.sources.iter().position(named);
        found.or_else(|| self.sources.iter().position(Source::is_of_anybody)).unwrap_or(self.sources.len())
    }

    /// The verdict at RCPT: nothing is reserved.
    pub fn at_rcpt(&self, request: &Request<'_>, policy: &Policy, trace: &mut impl Trace) -> Verdict {
        let set = self.set.load();
        if set.is_empty() {
            return PASS;
        }
        let (mut sender, mut rcpt) = (Room::new(), Room::new());
        let message = message(request, &mut sender);
        let charges = self.charges(&set, &message, [lower(request.recipient, &mut rcpt)]);
        let fillings = self.occupancy.lock().fillings(&charges, None);
        self.decide(&set, &charges, &fillings, request.size, policy, trace)
    }

    /// The verdict at END-OF-MESSAGE. If it lets the message pass, that counts from here on, and no other one can have
    /// got in between. `recipients` are those that were let pass at RCPT. An `exempt` message is counted only.
    pub fn at_end<'r>(
        &self,
        request: &Request<'_>,
        peer: &Peer,
        recipients: impl IntoIterator<Item = &'r str, IntoIter: Clone>,
        policy: &Policy,
        exempt: bool,
    ) -> Verdict {
        let set = self.set.load();
        if set.is_empty() {
            return PASS;
        }
        let mut sender = Room::new();
        let message = message(request, &mut sender);
        let charges = self.charges(&set, &message, recipients);
        let host = self.host(request, peer);
        let session = set.asks_session().then(|| KeptSession::of(&message.session));
        let id = id(request);
        let now = self.elapsed();
        let mut occupancy = self.occupancy.lock();
        let fillings = occupancy.fillings(&charges, Some((host, id)));
        let verdict = match exempt {
            true => PASS,
            false => self.decide(&set, &charges, &fillings, request.size, policy, &mut Untold),
        };
        if verdict.action == Action::Pass && !id.is_empty() {
            occupancy.reserve(host, id, request.size, charges, session, now);
        }
        verdict
    }

    /// Counts a message no longer that was let pass at its end, and is refused for another reason.
    pub fn take_back(&self, request: &Request<'_>, peer: &Peer) {
        if self.are_limited() {
            self.occupancy().gone(self.host(request, peer), id(request));
        }
    }

    fn charges<'r>(
        &self,
        set: &Set,
        message: &Message<'_>,
        recipients: impl IntoIterator<Item = &'r str, IntoIter: Clone>,
    ) -> Charges {
        set.charges(message, recipients, |quota, fault| self.faulty(quota, fault))
    }

    fn faulty(&self, quota: &QueueQuota, _: Fault) {
        self.metrics.queue_faults(&quota.name);
    }

    fn decide(
        &self,
        set: &Set,
        charges: &Charges,
        fillings: &[Filling],
        size: u64,
        policy: &Policy,
        trace: &mut impl Trace,
    ) -> Verdict {
        // Both are in the order of their slots and groups, but a slot that has just gone has no filling.
        let mut left = fillings.iter().copied().peekable();
        let mut waiting: SmallVec<[Waiting<'_>; 8]> = SmallVec::new();
        let mut quotas: SmallVec<[&QueueQuota; 8]> = SmallVec::new();
        for charge in charges {
            let Some(filling) = left.next_if(|filling| filling.slot == charge.slot) else { continue };
            let Some(quota) = set.quota(charge.slot) else { continue };
            quotas.push(quota);
            waiting.push(Waiting {
                quota: &quota.name,
                group: GroupName { key: quota.key, group: &charge.group },
                limit: filling.limit,
                used: filling.used,
                known: filling.ripe,
            });
        }
        let (verdict, by) = decide_queue(size, &waiting, policy, trace);
        if let Some(by) = by.and_then(|by| quotas.get(by)) {
            self.metrics.queue_refused(&by.name);
        }
        verdict
    }

    /// Takes in a message that a snapshot shows. `set` is the one that the snapshot began with.
    fn take_in(&self, host: Host, set: &Set, listed: &mut Listed) {
        listed.make_lowercase();
        let mark = self.hasher.hash_one((set.generation, listed.sender(), listed.recipients_text()));
        let seen = Seen { id: &listed.id, arrival: listed.arrival, size: listed.size, mark };
        self.occupancy.lock().seen(host, seen, |session| {
            let message = Message { sender: listed.sender(), size: listed.size, session: *session };
            self.charges(set, &message, listed.recipients())
        });
    }

    fn occupancy(&self) -> MutexGuard<'_, Occupancy> {
        self.occupancy.lock()
    }
}

/// What a message is known by. Behind a proxy filter it has no queue id; what comes back from there gets one.
fn id<'a>(request: &Request<'a>) -> &'a str {
    if request.queue_id.is_empty() { request.instance } else { request.queue_id }
}

const PASS: Verdict = Verdict { action: Action::Pass, reason: Reason::Room };

fn message<'a>(request: &Request<'a>, room: &'a mut Room) -> Message<'a> {
    let session = Session {
        client: request.client_address,
        client_name: request.client_name,
        helo: request.helo_name,
        login: request.sasl_username,
        context: request.policy_context,
        port: request.server_port.parse().unwrap_or(0),
    };
    Message { sender: lower(request.sender, room), size: request.size, session }
}
