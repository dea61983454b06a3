//! A group of batches on its way into one write: what they change, on top of what is stored.

use std::collections::{BTreeMap, HashMap, HashSet};

use sled::IVec;

use super::keys::Keys;
use super::rows::{self, Head, State};
use super::view::{Held, View};
use crate::ledger::{Batch, LedgerError, Op, Outcome, Record, Revision, Shelf, beyond_limits};

/// Values by shelf and key; `None` is one that has gone.
type Values = BTreeMap<(Shelf, Box<[u8]>), Option<Vec<u8>>>;

pub struct Group<'a> {
    view: &'a View,
    keys: &'a Keys,
    accounts: BTreeMap<Box<str>, Staged>,
    values: Values,
    fresh: Vec<u128>,
    fresh_set: HashSet<u128>,
    state: State,
}

struct Staged {
    record: Option<Record>,
    changed: bool,
    /// The head row as it is stored.
    stored: Option<IVec>,
}

/// One write of the engine, whole or not at all, and what it takes the place of.
#[derive(Default)]
pub struct Changes {
    pub new: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub old: Held,
    pub keys: Keyed,
    pub state: State,
    /// No account that the group changed is at a higher revision.
    pub highest: Revision,
}

/// The idempotency keys that a group adds, by sequence, and the sequences that go for them.
#[derive(Default)]
pub struct Keyed {
    pub added: Vec<(u64, u128)>,
    pub dropped: Vec<u64>,
}

impl<'a> Group<'a> {
    pub fn new(view: &'a View, keys: &'a Keys, state: State) -> Group<'a> {
        Group {
            view,
            keys,
            accounts: BTreeMap::new(),
            values: BTreeMap::new(),
            fresh: Vec::new(),
            fresh_set: HashSet::new(),
            state,
        }
    }

    /// Adds a batch. All that can refuse it is looked at before anything is changed, so there is nothing to
    /// take back.
    pub fn add(&mut self, batch: Batch) -> Result<Outcome, LedgerError> {
        if let Some(refused) = beyond_limits(&batch) {
            return Err(refused);
        }
        let keys = batch.iter().filter_map(|op| if let Op::Deltas { key, .. } = op { *key } else { None });
        let keys: Vec<u128> = keys.collect();
        if keys.iter().any(|key| self.keys.contains(*key) || self.fresh_set.contains(key)) {
            return Ok(Outcome::Duplicate);
        }
        self.load(&batch)?;
        if let Some(present) = self.conflict(&batch) {
            return Ok(Outcome::Conflict { present });
        }
        let fresh = keys.into_iter().filter(|key| self.fresh_set.insert(*key));
        self.fresh.extend(fresh);
        batch.into_iter().for_each(|op| self.apply(op));
        Ok(Outcome::Applied)
    }

    fn load(&mut self, batch: &Batch) -> Result<(), LedgerError> {
        for account in batch.iter().filter_map(account_of) {
            if self.accounts.contains_key(account) {
                continue;
            }
            let row = rows::account_row(account);
            let stored = self.view.row(&row)?;
            let record = stored.as_deref().map(|head| self.view.record_of(&row, head)).transpose()?;
            self.accounts.insert(account.into(), Staged { record, changed: false, stored });
        }
        Ok(())
    }

    /// Follows the revisions through the batch to the first measurement that is based on another.
    fn conflict(&self, batch: &Batch) -> Option<Revision> {
        if !batch.iter().any(|op| matches!(op, Op::Measured { .. })) {
            return None;
        }
        let mut floor = self.state.floor;
        let mut reached: HashMap<&str, Option<Revision>> = HashMap::new();
        for op in batch {
            let Some(account) = account_of(op) else { continue };
            let staged = || self.accounts.get(account).and_then(|staged| staged.record.as_ref()).map(|r| r.revision);
            let present = *reached.entry(account).or_insert_with(staged);
            let after = match op {
                Op::Measured { based_on, .. } if *based_on != present.unwrap_or(0) => {
                    return Some(present.unwrap_or(0));
                }
                Op::Measured { .. } | Op::Deltas { .. } => Some(next(present.unwrap_or(0), floor)),
                Op::Standings { .. } => present.or(Some(0)),
                Op::Restore { record, .. } => Some(restored(record.revision, present, floor)),
                Op::Forget { .. } => {
                    floor = floor.max(present.unwrap_or(0));
                    None
                }
                Op::Put { .. } | Op::Remove { .. } => present,
            };
            reached.insert(account, after);
        }
        None
    }

    fn apply(&mut self, op: Op) {
        let floor = self.state.floor;
        match op {
            Op::Deltas { account, deltas, .. } => {
                let Some(slot) = self.slot(&account) else { return };
                let record = slot.get_or_insert_default();
                deltas.iter().for_each(|(cell, delta)| record.cells.change(cell, *delta));
                record.revision = next(record.revision, floor);
            }
            Op::Measured { account, cells, at, .. } => {
                let Some(slot) = self.slot(&account) else { return };
                let record = slot.get_or_insert_default();
                record.cells = cells;
                record.measured = Some(at);
                record.revision = next(record.revision, floor);
            }
            Op::Standings { account, standings } => {
                let Some(slot) = self.slot(&account) else { return };
                slot.get_or_insert_default().standings = standings;
            }
            Op::Restore { account, record } => {
                let Some(slot) = self.slot(&account) else { return };
                let revision = restored(record.revision, slot.as_ref().map(|present| present.revision), floor);
                *slot = Some(Record { revision, ..record });
            }
            Op::Forget { account } => {
                let Some(gone) = self.slot(&account).and_then(Option::take) else { return };
                self.state.floor = floor.max(gone.revision);
            }
            Op::Put { shelf, key, value } => drop(self.values.insert((shelf, key), Some(value))),
            Op::Remove { shelf, key } => drop(self.values.insert((shelf, key), None)),
        }
    }

    /// The record of an account that `load` has brought in.
    fn slot(&mut self, account: &str) -> Option<&mut Option<Record>> {
        let staged = self.accounts.get_mut(account)?;
        staged.changed = true;
        Some(&mut staged.record)
    }

    /// Everything as rows, beside the rows as they are.
    pub fn changes(self) -> Result<Changes, LedgerError> {
        let Group { view, keys, accounts, values, fresh, state, .. } = self;
        let mut changes = Changes { state, highest: state.floor, ..Changes::default() };
        for (account, staged) in accounts {
            if !staged.changed {
                continue;
            }
            changes.highest = changes.highest.max(staged.record.as_ref().map_or(0, |record| record.revision));
            let payload = staged.record.as_ref().map(rows::write_record).transpose().map_err(LedgerError::Write)?;
            changes.put(view, rows::account_row(&account), payload.as_deref(), staged.stored)?;
        }
        for ((shelf, key), value) in values {
            let row = rows::shelf_row(shelf, &key);
            let stored = view.row(&row)?;
            changes.put(view, row, value.as_deref(), stored)?;
        }
        changes.keys = keys.plan(fresh);
        for (sequence, key) in &changes.keys.added {
            changes.new.insert(rows::key_row(*sequence), Some(rows::write_key(*key)));
            changes.old.insert(rows::key_row(*sequence), None);
        }
        for sequence in &changes.keys.dropped {
            let row = rows::key_row(*sequence);
            changes.old.insert(row.clone(), view.row(&row)?);
            changes.new.insert(row, None);
        }
        if !changes.new.is_empty() {
            changes.state.groups = state.groups.saturating_add(1);
            changes.new.insert(rows::STATE_ROW.into(), Some(rows::write_state(changes.state)));
            changes.old.insert(rows::STATE_ROW.into(), view.row(rows::STATE_ROW)?);
        }
        Ok(changes)
    }
}

impl Changes {
    fn put(
        &mut self,
        view: &View,
        row: Vec<u8>,
        payload: Option<&[u8]>,
        stored: Option<IVec>,
    ) -> Result<(), LedgerError> {
        let (head, parts) =
            payload.map(rows::write_rows).map_or((None, Vec::new()), |(head, parts)| (Some(head), parts));
        let old_parts = match stored.as_deref().map(rows::read_head) {
            Some(Ok(Head::Parts(count))) => count,
            Some(Err(fault)) => return Err(view.fault(fault)),
            Some(Ok(Head::Whole(_))) | None => 0,
        };
        let mut parts = parts.into_iter();
        for index in 0..u32::MAX {
            let part = parts.next();
            if part.is_none() && index >= old_parts {
                break;
            }
            let row = rows::part_row(index, &row);
            let old = if index < old_parts { view.row(&row)? } else { None };
            self.old.insert(row.clone(), old);
            self.new.insert(row, part.map(<[u8]>::to_vec));
        }
        self.old.insert(row.clone(), stored);
        self.new.insert(row, head);
        Ok(())
    }
}

fn account_of(op: &Op) -> Option<&str> {
    match op {
        Op::Deltas { account, .. }
        | Op::Measured { account, .. }
        | Op::Standings { account, .. }
        | Op::Forget { account }
        | Op::Restore { account, .. } => Some(account),
        Op::Put { .. } | Op::Remove { .. } => None,
    }
}

fn next(revision: Revision, floor: Revision) -> Revision {
    revision.max(floor).saturating_add(1)
}

fn restored(recorded: Revision, present: Option<Revision>, floor: Revision) -> Revision {
    recorded.max(present.map_or(floor, |present| next(present, floor)))
}
