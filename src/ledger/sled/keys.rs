//! The latest idempotency keys: the set that new ones are compared with, and the sequence numbers under
//! which they are stored, so that the oldest can go.

use std::collections::{HashSet, VecDeque};

use super::stage::Keyed;

pub struct Keys {
    known: HashSet<u128>,
    in_order: VecDeque<(u64, u128)>,
    kept: usize,
}

impl Keys {
    pub fn new(kept: usize) -> Keys {
        Keys { known: HashSet::new(), in_order: VecDeque::new(), kept }
    }

    pub fn contains(&self, key: u128) -> bool {
        self.known.contains(&key)
    }

    /// What adding `fresh` keys will come to. Nothing is changed until it is stored.
    pub fn plan(&self, fresh: Vec<u128>) -> Keyed {
        let first = self.in_order.back().map_or(0, |(sequence, _)| sequence.saturating_add(1));
        let surplus = (self.in_order.len() + fresh.len()).saturating_sub(self.kept);
        let dropped = self.in_order.iter().take(surplus).map(|(sequence, _)| *sequence).collect();
        Keyed { added: (first..).zip(fresh).collect(), dropped }
    }

    /// Takes in what has been stored, or is being read at the start, oldest first.
    pub fn take_in(&mut self, keyed: Keyed) {
        for (sequence, key) in keyed.added {
            self.known.insert(key);
            self.in_order.push_back((sequence, key));
        }
        for _ in keyed.dropped {
            if let Some((_, key)) = self.in_order.pop_front() {
                self.known.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut keys = Keys::new(3);
        for (key, dropped) in [(10, vec![]), (11, vec![]), (12, vec![]), (13, vec![0]), (14, vec![1])] {
            let keyed = keys.plan(vec![key]);
            assert_eq!(keyed.dropped, dropped, "{key}");
            keys.take_in(keyed);
        }
        let known: Vec<u128> = (10..16).filter(|key| keys.contains(*key)).collect();
        assert_eq!(known, [12, 13, 14]);
    }

    #[test]
    fn a_plan_alone_changes_nothing() {
        let keys = Keys::new(3);
        assert_eq!(keys.plan(vec![1]).added, [(0, 1)]);
        assert!(!keys.contains(1));
    }
}
