//! Queue quotas: how much mail may wait in the MTA's queue, by sender, recipient, their domains, or in all.
//!
//! A [`QueueQuota`] falls apart into *groups*: one for each value of its [`Key`], such as each recipient. A
//! message counts once in every group that it belongs to, however many of its recipients lead there. Every
//! quota has counters of its own: two that look alike never share any, and a limit that changes keeps them.
//!
//! [`message`] is what a condition may ask about a message, [`set`] which groups one belongs to, and
//! [`occupancy`] what is in the queue.

pub mod message;
pub mod occupancy;
pub mod set;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Limit;
use crate::wire::cel::Expression;

/// One of the things that groups are made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Sender,
    SenderDomain,
    Rcpt,
    RcptDomain,
}

impl Part {
    pub const ALL: [Part; 4] = [Part::Sender, Part::SenderDomain, Part::Rcpt, Part::RcptDomain];

    pub const fn as_str(self) -> &'static str {
        match self {
            Part::Sender => "sender",
            Part::SenderDomain => "sender_domain",
            Part::Rcpt => "rcpt",
            Part::RcptDomain => "rcpt_domain",
        }
    }

    const fn is_of_recipient(self) -> bool {
        matches!(self, Part::Rcpt | Part::RcptDomain)
    }
}

/// What groups are made by: any of the [`Part`]s, in the order of [`Part::ALL`]. Of none, everything is one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key(u8);

impl Key {
    pub fn of(parts: impl IntoIterator<Item = Part>) -> Key {
        Key(parts.into_iter().fold(0, |bits, part| bits | 1 << part as u8))
    }

    pub fn parts(self) -> impl Iterator<Item = Part> {
        Part::ALL.into_iter().filter(move |part| self.0 >> *part as u8 & 1 == 1)
    }

    fn is_of_recipient(self) -> bool {
        self.parts().any(Part::is_of_recipient)
    }
}

/// The values of a key's parts for one group, with a byte between that no address holds. On the heap only where
/// addresses are unusually long.
pub type GroupKey = SmallVec<[u8; 128]>;

const BETWEEN: u8 = b'\n';

/// A limit on what may wait in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueQuota {
    /// Its own among all queue quotas.
    pub name: Arc<str>,
    pub key: Key,
    /// Which messages count. `None`: all do.
    pub condition: Option<Expression>,
    pub limit: Limit,
    /// Percent of the limit at which an admin is told.
    pub threshold: u32,
}

impl QueueQuota {
    /// Whether what is in the groups of `other` is what would be in ours.
    fn counts_as(&self, other: &QueueQuota) -> bool {
        self.name == other.name && self.key == other.key && self.condition == other.condition
    }
}

/// A group in the words of its quota's key: `sender_domain=example.org rcpt=anna@example.net`.
#[derive(Clone, Copy, Debug)]
pub struct GroupName<'a> {
    pub key: Key,
    pub group: &'a [u8],
}

impl<'a> GroupName<'a> {
    /// Each part with its value. The null sender is `<>`.
    pub fn values(self) -> impl Iterator<Item = (Part, &'a str)> {
        let values = self.group.split(|byte| *byte == BETWEEN);
        self.key.parts().zip(values).map(|(part, value)| match (part, std::str::from_utf8(value)) {
            (Part::Sender | Part::SenderDomain, Ok("")) => (part, "<>"),
            (part, value) => (part, value.unwrap_or("\u{fffd}")),
        })
    }
}

impl fmt::Display for GroupName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (part, value) in self.values() {
            let space = if std::mem::take(&mut first) { "" } else { " " };
            write!(f, "{space}{}={value}", part.as_str())?;
        }
        if first { f.write_str("all") } else { Ok(()) }
    }
}
