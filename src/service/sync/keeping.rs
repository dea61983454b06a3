//! What of the directory is kept in the ledger, and how it comes back.

use std::iter::Peekable;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::ScopedJoinHandle;

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

impl Sync {
    /// Keeps what it hears in the ledger from now on.
    pub fn keeping(mut self) -> Sync {
        self.snapshot = Snapshot::new(self.accounting.ledger.clone());
        self
    }

    /// Takes what is kept into memory; returns the token to go on from, if it was all there is. Takes
    /// seconds where there are millions of entries.
    pub fn restore(&mut self) -> Result<Option<Vec<u8>>, LedgerError> {
        if !self.snapshot.keeps() {
            return Ok(None);
        }
        let ledger = self.accounting.ledger.clone();
        // What is kept already is not kept again.
        let mut snapshot = std::mem::replace(&mut self.snapshot, Snapshot::off(ledger.clone()));
        let has_place = snapshot.has_place();
        // One thread reads entries and one records, both in the order of addresses; this one puts them in their place.
        let (entries, entries_read) = sync_channel::<Vec<(EntryId, Kept)>>(BATCHES_AHEAD);
        let (records, records_read) = sync_channel::<Vec<(Box<str>, Record)>>(BATCHES_AHEAD);
        let (place, records) = std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut batches = Batches::new(entries);
                snapshot.restore(|id, kept| batches.push((id, kept)))
            });
            let recalling = scope.spawn(move || {
                let mut batches = Batches::new(records);
                ledger.read_all(&mut |address, record| batches.push((address.into(), record)))
            });
            let mut records = Records::new(records_read.into_iter().flatten(), matches!(has_place, Ok(true)));
            for (id, kept) in entries_read.into_iter().flatten() {
                self.restore_one(id, kept, &mut records);
            }
            let unclaimed = records.unclaimed();
            (joined(reading), joined(recalling).map(|()| unclaimed))
        });
        self.snapshot = snapshot;
        let unclaimed = records?;
        let Some(place) = place? else { return Ok(None) };
        // Nothing has been heard of the directory itself yet; whoever finds it loaded finds that said.
        self.status.heard(place.at);
        self.status.lost("it has not been reached since the start".into(), place.at);
        self.accounting.load_complete();
        self.mark_found(unclaimed);
        Ok(Some(place.token))
    }

    fn restore_one(&mut self, id: EntryId, kept: Kept, records: &mut Records<impl Iterator<Item = Recalled>>) {
        match kept {
            Kept::Account { entry, problem } => {
                let record = records.of(&entry.address).unwrap_or_default();
                let specs = self.specs.share(specs_of(&entry));
                let account = self.seat(entry, None, specs, problem, Some(record));
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
        if self.snapshot.follows() {
            self.snapshot.put(id, &kept(account));
        }
    }

    pub(super) fn keep(&mut self, id: EntryId, kept: impl FnOnce(&Snapshot) -> Kept) {
        if self.snapshot.keeps() {
            let kept = kept(&self.snapshot);
            self.snapshot.put(id, &kept);
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
        if self.snapshot.keeps() && !self.snapshot.follows() {
            self.snapshot.fill();
            self.unwritten = self.known.accounts().map(|account| account.id).collect();
            if self.unwritten.is_empty() {
                self.snapshot.filled();
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
            self.snapshot.filled();
        }
        !self.unwritten.is_empty()
    }

    pub(super) async fn flush(&mut self) {
        self.snapshot.flush().await;
    }

    /// Hands all that is left to the ledger and waits until it is safe.
    pub async fn settle(&mut self) {
        self.keep_count();
        self.snapshot.flush().await;
        self.snapshot.settled().await;
    }

    /// Applies some changes and keeps them.
    pub async fn apply_all(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.apply(change);
            if self.snapshot.is_full() {
                self.flush().await;
            }
        }
        self.flush().await;
    }
}

type Recalled = (Box<str>, Record);

/// The ledger's records beside the entries, both in the order of addresses.
struct Records<I: Iterator<Item = Recalled>> {
    rest: Peekable<I>,
    /// The addresses of those that no entry has asked for; `None` where nobody wants to know.
    unclaimed: Option<Vec<Box<str>>>,
}

impl<I: Iterator<Item = Recalled>> Records<I> {
    fn new(records: I, gather: bool) -> Records<I> {
        Records { rest: records.peekable(), unclaimed: gather.then(Vec::new) }
    }

    fn of(&mut self, wanted: &str) -> Option<Record> {
        while let Some((address, _)) = self.rest.next_if(|(address, _)| **address < *wanted) {
            if let Some(unclaimed) = &mut self.unclaimed {
                unclaimed.push(address);
            }
        }
        self.rest.next_if(|(address, _)| **address == *wanted).map(|(_, record)| record)
    }

    fn unclaimed(self) -> Vec<Box<str>> {
        let rest = self.rest;
        let gathered = self.unclaimed.map(|gathered| gathered.into_iter().chain(rest.map(|(address, _)| address)));
        gathered.map(Iterator::collect).unwrap_or_default()
    }
}

/// Gathers what one thread hands to another.
struct Batches<T> {
    to: SyncSender<Vec<T>>,
    batch: Vec<T>,
}

impl<T> Batches<T> {
    fn new(to: SyncSender<Vec<T>>) -> Batches<T> {
        Batches { to, batch: Vec::with_capacity(BATCH) }
    }

    fn push(&mut self, item: T) {
        self.batch.push(item);
        if self.batch.len() == BATCH {
            self.send(Vec::with_capacity(BATCH));
        }
    }

    fn send(&mut self, next: Vec<T>) {
        // Once the other end is gone nobody wants the rest.
        let _ = self.to.send(std::mem::replace(&mut self.batch, next));
    }
}

impl<T> Drop for Batches<T> {
    fn drop(&mut self) {
        self.send(Vec::new());
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn kept(account: &Account) -> Kept {
    let (entry, problem) = entry_of(account);
    Kept::Account { entry, problem }
}

/// The entry that led to an account, with its last good quotas in the units of what is kept, and why they are not the
/// directory's own.
pub(super) fn entry_of(account: &Account) -> (AccountEntry, Option<Box<str>>) {
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
    (entry, seat.problem().map(Into::into))
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
