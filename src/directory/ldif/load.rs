//! One load: read the file, make sure that all of it is sound, send what differs from the last load.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::Path;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::stamp::Stamp;
use super::{Change, LdifOptions};
use crate::directory::entry::id_of_dn;
use crate::wire::ldif::Records;

pub enum Loaded {
    Sent(Stamp),
    /// The file changed while it was read.
    Unsettled,
    /// Nobody takes the changes any more.
    Closed,
    Failed {
        stamp: Option<Stamp>,
        why: String,
    },
}

/// What was sent at the last load: 16 bytes an entry instead of the entry. Keyed anew at each start, so
/// that nobody can make up an entry that passes for another.
#[derive(Default)]
pub struct Fingerprints {
    keys: [RandomState; 2],
    /// The numbers are random as they are: nobody can choose two that fall together.
    known: HashSet<u128, FixedState>,
}

impl Fingerprints {
    fn of(&self, record: &[u8]) -> u128 {
        let [high, low] = self.keys.each_ref().map(|key| u128::from(key.hash_one(record)));
        high << 64 | low
    }
}

/// Text and stamp of the file at one moment; `None` where it changed in between.
pub fn read(file: &Path) -> io::Result<Option<(Vec<u8>, Stamp)>> {
    let mut open = File::open(file)?;
    let before = Stamp::from(&open.metadata()?);
    let mut text = Vec::new();
    open.read_to_end(&mut text)?;
    let after = Stamp::from(&open.metadata()?);
    Ok((before == after && Stamp::of(file)? == after).then_some((text, after)))
}

/// `send` says whether its change was taken.
pub fn load(options: &LdifOptions, known: &mut Fingerprints, send: impl Fn(Change) -> bool) -> Loaded {
    let name = options.file.display();
    let (text, stamp) = match read(&options.file) {
        Ok(Some(read)) => read,
        Ok(None) => return Loaded::Unsettled,
        Err(error) => return Loaded::Failed { stamp: None, why: format!("{name}: {error}") },
    };
    if let Err(why) = check(&text) {
        return Loaded::Failed { stamp: Some(stamp), why: format!("{name}:{why}") };
    }
    match send_all(&text, options, known, send) {
        true => Loaded::Sent(stamp),
        false => Loaded::Closed,
    }
}

/// Nothing is sent of a file that has an error anywhere: whoever is named below it would be gone.
fn check(text: &[u8]) -> Result<(), String> {
    let mut first = None;
    let (mut records, mut errors) = (0_usize, 0_usize);
    for record in Records::new(text) {
        match record {
            Ok(_) => records += 1,
            Err(error) => {
                errors += 1;
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if errors > 1 => Err(format!("{error} (and {} more errors below)", errors - 1)),
        Some(error) => Err(error.to_string()),
        None if records == 0 => Err("1: there is no entry in the file; the last state stays in force".to_owned()),
        None => Ok(()),
    }
}

fn send_all(text: &[u8], options: &LdifOptions, last: &mut Fingerprints, send: impl Fn(Change) -> bool) -> bool {
    let reader = &options.reader;
    let mut known = HashSet::with_capacity_and_hasher(last.known.len(), FixedState::default());
    let mut ids = HashSet::with_capacity(last.known.len());
    if !send(Change::Begin) {
        return false;
    }
    for record in Records::new(text).flatten() {
        let fingerprint = last.of(&text[record.span.clone()]);
        let id = reader.id(&record.dn, &record.lines);
        let bad = |id, why: String| Change::Bad { id, dn: record.dn.as_ref().into(), why };
        if last.known.contains(&fingerprint) && ids.insert(id) {
            known.insert(fingerprint);
            if !send(Change::Present(id)) {
                return false;
            }
            continue;
        }
        let taken = match reader.read(&record.dn, Some(id), &record.lines) {
            Ok(None) => true,
            Ok(Some(_)) if !ids.insert(id) => {
                let why = "the entry stands in the file before, and the first counts";
                // It is nobody's own entry, so it is named as itself alone.
                let id = id_of_dn(&format!("{}#{}", record.dn, record.line));
                send(bad(id, format!("{}:{}: {why}", options.file.display(), record.line)))
            }
            Ok(Some(entry)) => {
                known.insert(fingerprint);
                send(Change::Entry(entry))
            }
            Err(error) => {
                ids.insert(id);
                let why = format!("{}:{}: {error}", options.file.display(), record.line);
                send(bad(id, why))
            }
        };
        if !taken {
            return false;
        }
    }
    last.known = known;
    send(Change::Complete)
}
