//! What is to be done, as it is stored: for whom, by which rule and of which numbers. How it is done is what the
//! configuration says when it is done.
//!
//! An entry is stored in the batch of the change that set it off and taken off when it has been carried out, so a crash
//! before that leaves it waiting, and one in the middle has it done again.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Act, Kind, Rule, Warnings};
use crate::account::domain_of;
use crate::alarm::Alarm;
use crate::ledger::{Batch, Ledger, LedgerError, Op, Shelf};
use crate::quota::warning::Measured;
use crate::quota::{Limit, Moment, Usage};
use crate::service::stored;

/// How many may wait: a limit lowered for a whole site sets off one for each account.
const MOST: usize = 100_000;

/// The first byte of the keys, which share a shelf with the notices.
const DUE: u8 = b'w';

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    pub at: Moment,
    pub account: Box<str>,
    /// The rule, by its threshold; and how many with the same one stand before it.
    pub when: Box<str>,
    alike: u32,
    pub kind: Kind,
    used: Usage,
    bytes: Option<u64>,
    messages: Option<u64>,
}

/// Whatever waits, in the order in which it came.
#[derive(Default)]
pub struct Waiting {
    lists: Mutex<Lists>,
    pub wake: tokio::sync::Notify,
}

#[derive(Default)]
struct Lists {
    all: HashMap<Box<[u8]>, Due>,
    /// What nobody has in hand.
    ready: VecDeque<Box<[u8]>>,
}

impl Due {
    pub fn new(account: &str, when: &str, alike: usize, kind: Kind, now: Measured, at: Moment) -> Due {
        Due {
            at,
            account: account.into(),
            when: when.into(),
            alike: u32::try_from(alike).unwrap_or(u32::MAX),
            kind,
            used: now.used,
            bytes: now.limit.bytes,
            messages: now.limit.messages,
        }
    }

    pub fn put(&self, batch: &mut Batch) {
        let about = format!("{:?} {}", self.kind, self.alike);
        let unique = stored::fingerprint([&*self.account, &*self.when, about.as_str()]);
        let key = [&[DUE][..], &self.at.0.to_be_bytes(), &unique.to_be_bytes()].concat();
        batch.push(Op::Put { shelf: Shelf::Notices, key: key.into(), value: stored::write(self) });
    }

    /// What it comes to by the rules that are in force; `None` if its rule is gone.
    pub fn alarm(&self, warnings: &Warnings) -> Option<Alarm> {
        let mut alike = warnings.rules.iter().filter(|rule| rule.when == self.when);
        let rule: &Arc<Rule> = alike.nth(usize::try_from(self.alike).ok()?)?;
        let act = rule.acts.iter().find(|act| act.kind() == self.kind)?;
        let filled = |words: &[String]| words.iter().map(|word| self.fill(word)).collect();
        Some(match act {
            Act::Program(words) => Alarm::Program(filled(words)),
            Act::Script { socket, arguments } => Alarm::Script { socket: socket.clone(), arguments: filled(arguments) },
            Act::Webhook(url) => Alarm::Webhook { url: url.clone(), body: self.body(rule.warning.falling) },
        })
    }

    fn limit(&self) -> Limit {
        Limit { bytes: self.bytes, messages: self.messages }
    }

    fn percent(&self) -> u64 {
        self.limit().percent(self.used).unwrap_or(0)
    }

    /// What stands for a variable is not looked at again.
    fn fill(&self, word: &str) -> String {
        let mut filled = String::with_capacity(word.len());
        let mut parts = word.split('%');
        filled.push_str(parts.next().unwrap_or_default());
        while let Some(part) = parts.next() {
            let rest = match part.chars().next() {
                Some('u') => {
                    filled.push_str(&self.account);
                    &part[1..]
                }
                Some('n') => {
                    filled.push_str(self.account.rsplit_once('@').map_or(&self.account, |(local, _)| local));
                    &part[1..]
                }
                Some('d') => {
                    filled.push_str(domain_of(&self.account));
                    &part[1..]
                }
                Some('p') => {
                    filled.push_str(&self.percent().to_string());
                    &part[1..]
                }
                // %% is a percent sign.
                None => {
                    filled.push('%');
                    parts.next().unwrap_or_default()
                }
                Some(_) => {
                    filled.push('%');
                    part
                }
            };
            filled.push_str(rest);
        }
        filled
    }

    fn body(&self, falling: bool) -> String {
        json!({
            "account": self.account,
            "domain": domain_of(&self.account),
            "warning": self.when,
            "direction": if falling { "falling" } else { "rising" },
            "used": { "bytes": self.used.bytes, "messages": self.used.messages },
            "limit": { "bytes": self.bytes, "messages": self.messages },
            "percent": self.limit().percent(self.used),
        })
        .to_string()
    }
}

/// Takes one off.
pub fn off(key: &[u8]) -> Op {
    Op::Remove { shelf: Shelf::Notices, key: key.into() }
}

/// What a batch stores of these.
pub fn in_batch(batch: &Batch) -> Vec<(Box<[u8]>, Due)> {
    let due = |op: &Op| match op {
        Op::Put { shelf: Shelf::Notices, key, value } if key.first() == Some(&DUE) => {
            Some((key.clone(), stored::read(value)?))
        }
        _ => None,
    };
    batch.iter().filter_map(due).collect()
}

impl Waiting {
    pub fn load(ledger: &dyn Ledger) -> Result<Waiting, LedgerError> {
        let mut left = Vec::new();
        ledger.shelf_all(Shelf::Notices, &mut |key, value| {
            let due = Some(()).filter(|()| key.first() == Some(&DUE)).and_then(|()| stored::read(value));
            left.extend(due.map(|due| (key.into(), due)));
        })?;
        let waiting = Waiting::default();
        waiting.add(left);
        Ok(waiting)
    }

    pub fn is_full(&self) -> bool {
        self.len() >= MOST
    }

    pub fn add(&self, due: Vec<(Box<[u8]>, Due)>) {
        if due.is_empty() {
            return;
        }
        let mut lists = self.lists.lock();
        for (key, due) in due {
            if lists.all.insert(key.clone(), due).is_none() {
                lists.ready.push_back(key);
            }
        }
        drop(lists);
        self.wake.notify_one();
    }

    /// The oldest that nobody has in hand.
    pub fn next(&self) -> Option<(Box<[u8]>, Due)> {
        let mut lists = self.lists.lock();
        loop {
            let key = lists.ready.pop_front()?;
            if let Some(due) = lists.all.get(&key).cloned() {
                return Some((key, due));
            }
        }
    }

    /// Puts one back that was in hand.
    pub fn again(&self, key: Box<[u8]>) {
        self.lists.lock().ready.push_back(key);
    }

    /// It has been carried out, and is off the ledger.
    pub fn done(&self, key: &[u8]) {
        self.lists.lock().all.remove(key);
    }

    /// How many there are, those in hand included.
    pub fn len(&self) -> usize {
        self.lists.lock().all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_filled_once() {
        let now = Measured { used: Usage::new(90, 1), limit: Limit { bytes: Some(100), messages: None } };
        let due = Due::new("a%n@b.example", "storage=80%", 0, Kind::Program, now, Moment(1));
        for (word, filled) in [
            ("%u", "a%n@b.example"),
            ("x-%n-%d-%p%%", "x-a%n-b.example-90%"),
            ("100%", "100%"),
            ("%%u", "%u"),
            ("%x%", "%x%"),
            ("", ""),
        ] {
            assert_eq!(due.fill(word), filled, "{word}");
        }
    }

    #[test]
    fn which_of_the_rules_it_was_is_known_as_long_as_it_is_there() {
        let rule = |when: &str, program: &str| {
            let warning = crate::quota::Warning::parse(&format!("{when} -")).unwrap();
            let acts = vec![Act::Webhook("http://x/".into()), Act::Program(vec![program.into()])];
            Arc::new(Rule { when: when.into(), warning, notice: false, acts })
        };
        let rules = vec![rule("messages=1", "/a"), rule("messages=2", "/b"), rule("messages=1", "/c")];
        let warnings = Warnings { rules, ..Warnings::default() };
        let due = |when: &str, alike| Due::new("a@b", when, alike, Kind::Program, Measured::default(), Moment(1));
        let program = |due: Due| match due.alarm(&warnings) {
            Some(Alarm::Program(words)) => words[0].clone(),
            other => format!("{other:?}"),
        };
        assert_eq!([program(due("messages=1", 0)), program(due("messages=2", 0))], ["/a", "/b"]);
        assert_eq!([program(due("messages=1", 1)), program(due("messages=1", 2))], ["/c", "None"]);
        assert_eq!(program(due("messages=3", 0)), "None");
    }

    #[test]
    fn it_waits_in_order_until_it_is_done() {
        let waiting = Waiting::default();
        let mut batch = Batch::new();
        for (account, at) in [("a@x", 1), ("b@x", 2), ("a@x", 1)] {
            Due::new(account, "messages=1", 0, Kind::Webhook, Measured::default(), Moment(at)).put(&mut batch);
        }
        waiting.add(in_batch(&batch));
        let (key, first) = waiting.next().unwrap();
        let (other, second) = waiting.next().unwrap();
        assert_eq!([&*first.account, &*second.account], ["a@x", "b@x"]);
        assert!(waiting.next().is_none(), "one piece of news is one");
        waiting.again(key.clone());
        assert_eq!(waiting.next().unwrap().0, key);
        waiting.done(&key);
        waiting.again(key);
        assert!(waiting.next().is_none());
        assert_eq!(waiting.len(), 1, "the other one is in hand");
        waiting.done(&other);
        assert_eq!(waiting.len(), 0);
    }
}
