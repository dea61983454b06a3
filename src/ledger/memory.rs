//! The reference engine: a few maps behind a lock, written to be seen through rather than fast. Tests
//! compare the other engines with it, so it shares none of their code: a batch works on a copy of what it
//! touches, and the copy takes the place of the original when the whole batch went through.

use std::collections::{BTreeMap, HashSet, VecDeque};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    Batch, Health, KEYS_KEPT, Ledger, LedgerError, Op, Outcome, Receipt, Record, Revision, Shelf, beyond_limits,
};

/// Keeps everything in memory and forgets it at the end: for tests, and for trying things out.
pub struct MemoryLedger(Mutex<State>);

struct State {
    accounts: BTreeMap<Box<str>, Record>,
    shelves: BTreeMap<(Shelf, Box<[u8]>), Vec<u8>>,
    /// The highest revision that a forgotten account had.
    floor: Revision,
    keys: HashSet<u128>,
    keys_in_order: VecDeque<u128>,
    keys_kept: usize,
    closed: bool,
    health: Health,
}

/// Values by shelf and key; `None` is one that has gone.
type Values = BTreeMap<(Shelf, Box<[u8]>), Option<Vec<u8>>>;

/// What a batch has changed so far.
#[derive(Default)]
struct Draft {
    accounts: BTreeMap<Box<str>, Option<Record>>,
    shelves: Values,
    floor: Revision,
}

impl Default for MemoryLedger {
    fn default() -> MemoryLedger {
        MemoryLedger::new()
    }
}

impl MemoryLedger {
    pub fn new() -> MemoryLedger {
        MemoryLedger::with_keys_kept(KEYS_KEPT)
    }

    /// Remembers another number of idempotency keys than [`KEYS_KEPT`].
    pub fn with_keys_kept(keys_kept: usize) -> MemoryLedger {
        MemoryLedger(Mutex::new(State {
            accounts: BTreeMap::new(),
            shelves: BTreeMap::new(),
            floor: 0,
            keys: HashSet::new(),
            keys_in_order: VecDeque::new(),
            keys_kept,
            closed: false,
            health: Health::default(),
        }))
    }
}

impl State {
    fn apply(&mut self, batch: Batch) -> Result<Outcome, LedgerError> {
        if self.closed {
            return Err(LedgerError::Write("the ledger was closed".into()));
        }
        if let Some(refused) = beyond_limits(&batch) {
            return Err(refused);
        }
        let keys: Vec<u128> =
            batch.iter().filter_map(|op| if let Op::Deltas { key, .. } = op { *key } else { None }).collect();
        if keys.iter().any(|key| self.keys.contains(key)) {
            return Ok(Outcome::Duplicate);
        }
        let mut draft = Draft { floor: self.floor, ..Draft::default() };
        for op in batch {
            if let Some(present) = draft.apply(self, op) {
                return Ok(Outcome::Conflict { present });
            }
        }
        self.floor = draft.floor;
        for (account, record) in draft.accounts {
            match record {
                Some(record) => drop(self.accounts.insert(account, record)),
                None => drop(self.accounts.remove(&account)),
            }
        }
        for (place, value) in draft.shelves {
            match value {
                Some(value) => drop(self.shelves.insert(place, value)),
                None => drop(self.shelves.remove(&place)),
            }
        }
        for key in keys {
            if self.keys.insert(key) {
                self.keys_in_order.push_back(key);
            }
        }
        while self.keys_in_order.len() > self.keys_kept {
            if let Some(oldest) = self.keys_in_order.pop_front() {
                self.keys.remove(&oldest);
            }
        }
        Ok(Outcome::Applied)
    }
}

impl Draft {
    /// The present revision, if the operation was based on another.
    fn apply(&mut self, state: &State, op: Op) -> Option<Revision> {
        let floor = self.floor;
        let next = |revision: Revision| revision.max(floor).saturating_add(1);
        match op {
            Op::Deltas { account, deltas, .. } => {
                let record = self.record(state, account).get_or_insert_default();
                for (cell, delta) in deltas {
                    record.cells.change(&cell, delta);
                }
                record.revision = next(record.revision);
            }
            Op::Measured { account, based_on, cells, at } => {
                let slot = self.record(state, account);
                let present = slot.as_ref().map_or(0, |record| record.revision);
                if present != based_on {
                    return Some(present);
                }
                let record = slot.get_or_insert_default();
                record.cells = cells;
                record.measured = Some(at);
                record.revision = next(record.revision);
            }
            Op::Standings { account, standings } => {
                self.record(state, account).get_or_insert_default().standings = standings;
            }
            Op::Forget { account } => {
                let gone = self.record(state, account).take();
                self.floor = floor.max(gone.map_or(0, |record| record.revision));
            }
            Op::Restore { account, record } => {
                let slot = self.record(state, account);
                let least = slot.as_ref().map_or(floor, |present| next(present.revision));
                *slot = Some(Record { revision: record.revision.max(least), ..record });
            }
            Op::Put { shelf, key, value } => drop(self.shelves.insert((shelf, key), Some(value))),
            Op::Remove { shelf, key } => drop(self.shelves.insert((shelf, key), None)),
        }
        None
    }

    fn record(&mut self, state: &State, account: Box<str>) -> &mut Option<Record> {
        let stored = state.accounts.get(&account);
        self.accounts.entry(account).or_insert_with(|| stored.cloned())
    }
}

impl Ledger for MemoryLedger {
    fn submit(&self, batch: Batch) -> Receipt {
        let (sender, receiver) = oneshot::channel();
        // A caller that does not wait for its receipt has dropped the other end.
        let mut state = self.0.lock();
        let operations = batch.len() as u64;
        let answer = state.apply(batch);
        match &answer {
            Ok(_) => {
                (state.health.batches, state.health.operations) =
                    (state.health.batches + 1, state.health.operations + operations)
            }
            Err(_) => state.health.errors += 1,
        }
        state.health.trouble = answer.as_ref().err().map(ToString::to_string);
        drop(state);
        let _ = sender.send(answer);
        Receipt::waiting(receiver)
    }

    fn seen(&self, key: u128) -> Result<bool, LedgerError> {
        Ok(self.0.lock().keys.contains(&key))
    }

    fn health(&self) -> Health {
        self.0.lock().health.clone()
    }

    fn read(&self, account: &str) -> Result<Option<Record>, LedgerError> {
        Ok(self.0.lock().accounts.get(account).cloned())
    }

    fn read_all(&self, each: &mut dyn FnMut(&str, Record)) -> Result<(), LedgerError> {
        let all = self.0.lock().accounts.clone();
        all.into_iter().for_each(|(account, record)| each(&account, record));
        Ok(())
    }

    fn shelf_get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.0.lock().shelves.get(&(shelf, key.into())).cloned())
    }

    fn shelf_all(&self, shelf: Shelf, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), LedgerError> {
        let all = self.0.lock().shelves.clone();
        let on_shelf = all.into_iter().filter(|((place, _), _)| *place == shelf);
        on_shelf.for_each(|((_, key), value)| each(&key, &value));
        Ok(())
    }

    fn close(&self) -> Result<(), LedgerError> {
        self.0.lock().closed = true;
        Ok(())
    }
}
