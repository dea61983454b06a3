//! What was counted in each folder, kept from one measurement to the next so that no message is asked for twice.
//!
//! For the caller a string of bytes: [`MARK`], and the folders with the types that they were judged by. One that
//! is not understood, or that was made with other types, is as good as none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::mailstore::TypeMemory;
use crate::quota::Usage;
use crate::wire::content_type::TypeTable;

/// Of this adapter and this form of its memory.
const MARK: &[u8] = b"imap 1\n";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub validity: u32,
    /// The least UID that a new message may have; 1 at the least.
    pub next: u32,
    /// By type; the last is for messages of no type.
    pub usages: Vec<Usage>,
    /// UID and type of each message that has one, by UID.
    pub typed: Vec<(u32, u8)>,
}

#[derive(Clone, Debug, Default)]
pub struct Memory {
    kinds: String,
    folders: BTreeMap<Vec<u8>, Remembered>,
}

impl Remembered {
    pub fn nothing(validity: u32, types: &TypeTable) -> Remembered {
        let usages = vec![Usage::ZERO; types.names().len() + 1];
        Remembered { validity, next: 1, usages, typed: Vec::new() }
    }

    pub fn messages(&self) -> u64 {
        self.usages.iter().copied().sum::<Usage>().messages
    }

    /// Adds a message.
    pub fn add(&mut self, uid: u32, usage: Usage, kind: Option<u8>) {
        let last = self.usages.len().saturating_sub(1);
        let place = kind.map(usize::from).filter(|kind| *kind < last);
        if let Some(of_type) = self.usages.get_mut(place.unwrap_or(last)) {
            *of_type = *of_type + usage;
        }
        if let (Some(kind), Some(_)) = (kind, place) {
            // By UID, which is the order that servers keep.
            let at = self.typed.partition_point(|(known, _)| *known < uid);
            self.typed.insert(at, (uid, kind));
        }
        self.next = self.next.max(uid.saturating_add(1));
    }

    /// Together with what came since.
    pub fn with(&self, fresh: &Remembered) -> Remembered {
        let sums = self.usages.iter().zip(&fresh.usages).map(|(a, b)| *a + *b);
        let mut typed: Vec<(u32, u8)> = self.typed.iter().chain(&fresh.typed).copied().collect();
        typed.sort_unstable();
        Remembered { validity: self.validity, next: self.next.max(fresh.next), usages: sums.collect(), typed }
    }
}

impl Memory {
    pub fn read(bytes: &[u8], types: &TypeTable) -> Memory {
        let kinds = types.canonical();
        let read = bytes.strip_prefix(MARK).and_then(|bytes| postcard::from_bytes(bytes).ok());
        let (made_with, mut folders): (String, BTreeMap<Vec<u8>, Remembered>) = read.unwrap_or_default();
        folders.retain(|_, folder| made_with == kinds && folder.usages.len() == types.names().len() + 1);
        Memory { kinds, folders }
    }

    pub fn emptied(&self) -> Memory {
        Memory { kinds: self.kinds.clone(), folders: BTreeMap::new() }
    }

    pub fn folder(&self, raw: &[u8]) -> Option<&Remembered> {
        self.folders.get(raw)
    }

    pub fn keep(&mut self, raw: &[u8], folder: Remembered) {
        self.folders.insert(raw.to_vec(), folder);
    }

    pub fn written(&self) -> TypeMemory {
        let body = postcard::to_allocvec(&(&self.kinds, &self.folders)).unwrap_or_default();
        [MARK, &body].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn types() -> TypeTable {
        TypeTable::new([("voice", vec!["audio/*"]), ("fax", vec!["image/tiff"])]).unwrap()
    }

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is() {
        let mut memory = Memory::read(b"", &types());
        let mut folder = Remembered::nothing(7, &types());
        folder.add(9, Usage::new(100, 1), Some(1));
        folder.add(4, Usage::new(10, 1), Some(0));
        folder.add(5, Usage::new(1, 1), None);
        assert_eq!((folder.next, folder.messages(), &*folder.typed), (10, 3, &[(4, 0), (9, 1)][..]));
        memory.keep(b"INBOX", folder.clone());
        let written = memory.written();
        assert_eq!(Memory::read(&written, &types()).folder(b"INBOX"), Some(&folder));
        assert_eq!(Memory::read(&written, &TypeTable::default()).folder(b"INBOX"), None, "other types");
        assert_eq!(Memory::read(&written[..written.len() - 1], &types()).folder(b"INBOX"), None, "cut off");
        assert_eq!(Memory::read(&[1; 30], &types()).folder(b"INBOX"), None, "another adapter's");
        assert_eq!(memory.emptied().folder(b"INBOX"), None);
    }

    proptest! {
        #[test]
        fn old_and_new_together_are_what_all_are_at_once(
            uids in proptest::collection::btree_map(1u32.., (0u64..1000, proptest::option::of(0u8..4)), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let nothing = || Remembered::nothing(1, &types());
            let (mut all, mut old, mut new) = (nothing(), nothing(), nothing());
            let cut = cut.index(uids.len() + 1);
            for (at, (uid, (bytes, kind))) in uids.into_iter().enumerate() {
                all.add(uid, Usage::new(bytes, 1), kind);
                let part = if at < cut { &mut old } else { &mut new };
                part.add(uid, Usage::new(bytes, 1), kind);
            }
            prop_assert_eq!(old.with(&new), all);
        }

        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            Memory::read(&[MARK, &bytes].concat(), &types());
        }
    }
}
