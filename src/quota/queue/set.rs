//! The queue quotas in force, and which of their groups a message belongs to.

use smallvec::SmallVec;

use super::message::{Addressed, Message, VARIABLES, domain, is_of_recipient, is_of_session};
use super::{BETWEEN, GroupKey, Part, QueueQuota};
use crate::quota::{Limit, Usage};
use crate::wire::cel::Fault;

/// A quota's number, which stays as long as what it counts does.
pub type SlotId = u32;

#[derive(Clone, Debug)]
pub struct Slot {
    pub id: SlotId,
    pub quota: QueueQuota,
    /// Whether recipients of one message may fall in different groups.
    by_recipient: bool,
    /// The generation of the set that it first was in.
    born: u32,
}

/// All queue quotas.
#[derive(Clone, Debug, Default)]
pub struct Set {
    slots: Vec<Slot>,
    /// Grows with every change, so that what was computed for an older set is seen to be so.
    pub generation: u32,
    next: SlotId,
}

/// One group of one quota.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Charge {
    pub slot: SlotId,
    pub group: GroupKey,
}

/// Enough for one recipient and as many quotas as a site is likely to have, so that RCPT allocates nothing.
pub type Charges = SmallVec<[Charge; 8]>;

/// One for each of [`Charges`].
pub type Fillings = SmallVec<[Filling; 8]>;

/// A group that a message would go into, as it is without that message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filling {
    pub slot: SlotId,
    pub limit: Limit,
    pub used: Usage,
    /// Whether the sum is that of the queue yet.
    pub ripe: bool,
}

impl Set {
    /// The next set, of these quotas. What counts as before keeps its number.
    pub fn follow(&self, quotas: Vec<QueueQuota>) -> Set {
        let mut next = self.next;
        let generation = self.generation.wrapping_add(1);
        let slot = |quota: QueueQuota| {
            let known = self.slots.iter().find(|slot| slot.quota.counts_as(&quota));
            let id = known.map_or(next, |slot| slot.id);
            next = next.max(id.wrapping_add(1));
            let asks = |of: fn(usize) -> bool| names(&quota, of);
            let by_recipient = quota.key.is_of_recipient() || asks(is_of_recipient);
            let born = known.map_or(generation, |slot| slot.born);
            Slot { id, quota, by_recipient, born }
        };
        let slots = quotas.into_iter().map(slot).collect();
        Set { slots, generation, next }
    }

    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn quota(&self, id: SlotId) -> Option<&QueueQuota> {
        self.slot(id).map(|slot| &slot.quota)
    }

    pub(super) fn born(&self, id: SlotId) -> Option<u32> {
        self.slot(id).map(|slot| slot.born)
    }

    fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.id == id)
    }

    /// Whether a condition asks what the queue itself cannot tell.
    pub fn asks_session(&self) -> bool {
        self.slots.iter().any(|slot| names(&slot.quota, is_of_session))
    }

    /// The groups that `message` belongs to, each once, in order. Recipients are in lower case; without any,
    /// only quotas count that do not depend on them. A condition without a value does not hold, and `faulty` is
    /// told of it.
    pub fn charges<'r>(
        &self,
        message: &Message<'_>,
        recipients: impl IntoIterator<Item = &'r str, IntoIter: Clone>,
        mut faulty: impl FnMut(&QueueQuota, Fault),
    ) -> Charges {
        let mut charges = Charges::new();
        let recipients = recipients.into_iter();
        for slot in &self.slots {
            let mut charge = |rcpt: &str| {
                let holds = match &slot.quota.condition {
                    None => Ok(true),
                    Some(condition) => condition.holds(&Addressed { message, rcpt }),
                };
                match holds {
                    Ok(true) => charges.push(Charge { slot: slot.id, group: group(&slot.quota, message, rcpt) }),
                    Ok(false) => {}
                    Err(fault) => faulty(&slot.quota, fault),
                }
            };
            match slot.by_recipient {
                true => recipients.clone().for_each(charge),
                false => charge(""),
            }
        }
        if charges.len() > 1 {
            charges.sort_unstable();
            charges.dedup();
        }
        charges
    }
}

fn names(quota: &QueueQuota, of: fn(usize) -> bool) -> bool {
    let condition = quota.condition.as_ref();
    condition.is_some_and(|condition| (0..VARIABLES.len()).any(|number| of(number) && condition.names(number)))
}

fn group(quota: &QueueQuota, message: &Message<'_>, rcpt: &str) -> GroupKey {
    let mut group = GroupKey::new();
    for (index, part) in quota.key.parts().enumerate() {
        if index > 0 {
            group.push(BETWEEN);
        }
        let value = match part {
            Part::Sender => message.sender,
            Part::SenderDomain => domain(message.sender),
            Part::Rcpt => rcpt,
            Part::RcptDomain => domain(rcpt),
        };
        group.extend_from_slice(value.as_bytes());
    }
    group
}
