//! What of the directory is kept in the ledger, and how it comes back.

use std::sync::mpsc::sync_channel;

use super::accounts::stored;
use super::known::What;
use super::{Account, Change, Entry, EntryId, Specs, Sync};
use crate::account::{AccountEntry, DomainEntry};
use crate::ledger::{LedgerError, Record};
use crate::quota::rule::Rule;
use crate::quota::spec::Measure;
use crate::quota::{Spec, Units};
use crate::service::snapshot::{BATCH, Kept, Snapshot};

/// The units of what is kept: those of the site may change from one start to the next.
const UNITS: Measure = Measure::Bytes(Units::Binary);

/// Batches that may wait for the next thread.
const BATCHES_AHEAD: usize = 16;

/// An entry from the snapshot, and what the ledger has of it where it is an account's.
struct Restored {
    id: EntryId,
    kept: Kept,
    record: Option<Record>,
}

impl Sync {
    /// Keeps what it hears in the ledger from now on.
    pub fn keeping(mut self) -> Sync {
        self.snapshot = Some(Snapshot::new(self.accounting.ledger.clone()));
        self
    }

    /// Takes what is kept into memory; returns the token to go on from, if it was all there is. Takes
    /// seconds where there are millions of entries.
    pub fn restore(&mut self) -> Result<Option<Vec<u8>>, LedgerError> {
        let Some(mut snapshot) = self.snapshot.take() else { return Ok(None) };
        let ledger = self.accounting.ledger.clone();
        // One thread reads entries, one what the ledger has of each, and this one puts them in their place.
        let (entries, entries_read) = sync_channel::<Vec<Restored>>(BATCHES_AHEAD);
        let (records, records_read) = sync_channel::<Vec<Restored>>(BATCHES_AHEAD);
        let place = std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut batch = Vec::with_capacity(BATCH);
                let place = snapshot.restore(|id, kept| {
                    batch.push(Restored { id, kept, record: None });
                    if batch.len() == BATCH {
                        // The other end is there until this one is gone.
                        let _ = entries.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
                    }
                });
                let _ = entries.send(batch);
                drop(entries);
                place
            });
            scope.spawn(move || {
                for mut batch in entries_read {
                    for restored in &mut batch {
                        if let Kept::Account { entry, .. } = &restored.kept {
                            restored.record = Some(stored(&*ledger, &entry.address));
                        }
                    }
                    let _ = records.send(batch);
                }
            });
            records_read.into_iter().flatten().for_each(|restored| self.restore_one(restored));
            reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        self.snapshot = Some(snapshot);
        let Some(place) = place? else { return Ok(None) };
        self.status.heard(place.at);
        self.accounting.load_complete();
        // Nothing has been heard of the directory itself yet.
        self.status.lost("it has not been reached since the start".into(), place.at);
        Ok(Some(place.token))
    }

    fn restore_one(&mut self, Restored { id, kept, record }: Restored) {
        match kept {
            Kept::Account { entry, problem } => {
                let specs = self.specs.share(specs_of(&entry));
                let account = self.seat(entry, None, specs, problem, record);
                self.known.put(id, What::Account(account), self.load);
            }
            Kept::Domain { entry, good } => {
                for entry in good.map(|good| *good).into_iter().chain([entry]) {
                    self.entry(Entry::Domain(entry));
                }
            }
            Kept::Group(group) => self.entry(Entry::Group(group)),
            Kept::Bad { dn, why } => self.bad(id, dn, why),
        }
    }

    pub(super) fn keep_account(&mut self, id: EntryId, account: &Account) {
        if let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| snapshot.follows()) {
            snapshot.put(id, &kept(account));
        }
    }

    pub(super) fn keep(&mut self, id: EntryId, kept: impl FnOnce(&Snapshot) -> Kept) {
        if let Some(snapshot) = &mut self.snapshot {
            let kept = kept(snapshot);
            snapshot.put(id, &kept);
        }
    }

    pub(super) fn keep_domain(&mut self, entry: DomainEntry, is_good: bool) {
        let id = entry.id;
        self.keep(id, |snapshot| {
            let good = match snapshot.get(id).filter(|_| !is_good) {
                Some(Kept::Domain { good: Some(good), .. }) => Some(good),
                Some(Kept::Domain { entry, good: None }) => Some(Box::new(entry)),
                _ => None,
            };
            Kept::Domain { entry, good }
        });
    }

    /// The first load is complete: what is in memory is to be written down.
    pub(super) fn begin_filling(&mut self) {
        if let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| !snapshot.follows()) {
            snapshot.fill();
            self.unwritten = self.known.accounts().map(|account| account.id).collect();
            if self.unwritten.is_empty() {
                snapshot.filled();
            }
        }
    }

    /// Writes a piece of the first load. Returns whether something is left.
    pub(super) fn fill(&mut self) -> bool {
        for _ in 0..BATCH {
            let Some(id) = self.unwritten.pop() else { break };
            if let Some(What::Account(account)) = self.known.find(id) {
                self.keep_account(id, &account);
            }
        }
        if self.unwritten.is_empty() {
            self.unwritten = Vec::new();
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.filled();
            }
        }
        !self.unwritten.is_empty()
    }

    pub(super) async fn flush(&mut self) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.flush().await;
        }
    }

    /// Hands all that is left to the ledger and waits until it is safe.
    pub async fn settle(&mut self) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.flush().await;
            snapshot.settled().await;
        }
    }

    /// Applies some changes and keeps them.
    pub async fn apply_all(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.apply(change);
            if self.snapshot.as_ref().is_some_and(Snapshot::is_full) {
                self.flush().await;
            }
        }
        self.flush().await;
    }
}

fn kept(account: &Account) -> Kept {
    let seat = account.lock();
    let spec = |spec: &Spec, measure| (*spec != Spec::ABSENT).then(|| spec.display(measure).to_string().into());
    let links = seat.links().clone();
    let entry = AccountEntry {
        id: account.id,
        dn: seat.dn.clone(),
        address: account.address.clone(),
        alternates: links.alternates,
        forwards: links.forwards,
        inet_status: seat.inet_status,
        mail_status: seat.mail_status,
        quota: Ok(spec(&seat.specs.bytes, UNITS)),
        messages: Ok(spec(&seat.specs.messages, Measure::Messages)),
        rules: links.rules,
        attributes: seat.attributes().clone(),
    };
    Kept::Account { entry, problem: seat.problem().map(Into::into) }
}

fn specs_of(entry: &AccountEntry) -> Specs {
    let read = |value: &Option<Box<str>>, measure| {
        let parsed = value.as_deref().and_then(|text| Spec::parse(text, measure).ok());
        parsed.unwrap_or(Spec::ABSENT)
    };
    let text = |single: &crate::account::Single| single.clone().unwrap_or_default();
    let rules = entry.rules.iter().filter(|rule| Rule::parse(rule).is_ok()).cloned().collect();
    Specs { bytes: read(&text(&entry.quota), UNITS), messages: read(&text(&entry.messages), Measure::Messages), rules }
}
