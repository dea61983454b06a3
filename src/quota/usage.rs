//! Usage and the cells that it is stored in. Cells never overlap: a message is in one folder and
//! has at most one type, so sums over cells count every message exactly once.

use std::ops::Add;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Bytes and messages. Sums stop at the largest number rather than wrap round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Usage {
    pub bytes: u64,
    pub messages: u64,
}

impl Usage {
    pub const ZERO: Usage = Usage { bytes: 0, messages: 0 };

    pub const fn new(bytes: u64, messages: u64) -> Usage {
        Usage { bytes, messages }
    }

    /// Adds a change; what would fall below zero is zero.
    pub fn changed(self, delta: Delta) -> Usage {
        Usage {
            bytes: self.bytes.saturating_add_signed(delta.bytes),
            messages: self.messages.saturating_add_signed(delta.messages),
        }
    }
}

impl Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage { bytes: self.bytes.saturating_add(other.bytes), messages: self.messages.saturating_add(other.messages) }
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Usage>>(usages: I) -> Usage {
        usages.fold(Usage::ZERO, Add::add)
    }
}

/// A change of usage, of either sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    pub bytes: i64,
    pub messages: i64,
}

/// Folder and message type. Folder levels are separated by `/`, whatever the store uses; `kind` is
/// the name that the configuration gives to a Content-Type, if it gives one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellKey {
    pub folder: Arc<str>,
    pub kind: Option<Arc<str>>,
}

impl CellKey {
    pub fn new(folder: &str, kind: Option<&str>) -> CellKey {
        CellKey { folder: canonical_folder(folder).into(), kind: kind.map(Into::into) }
    }
}

/// `INBOX` is case-insensitive (RFC 9051 section 5.1), as a whole name or as the first level; every
/// other name is taken as it is.
pub fn canonical_folder(name: &str) -> std::borrow::Cow<'_, str> {
    let first = name.split('/').next().unwrap_or_default();
    if first.eq_ignore_ascii_case("INBOX") && first != "INBOX" {
        format!("INBOX{}", &name[first.len()..]).into()
    } else {
        name.into()
    }
}

/// The cells of one account, sorted by key, none of them empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cells(Box<[(CellKey, Usage)]>);

impl Cells {
    pub fn iter(&self) -> impl Iterator<Item = (&CellKey, Usage)> {
        self.0.iter().map(|(key, usage)| (key, *usage))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, key: &CellKey) -> Usage {
        self.find(key).map_or(Usage::ZERO, |at| self.0[at].1)
    }

    pub fn total(&self) -> Usage {
        self.0.iter().map(|(_, usage)| *usage).sum()
    }

    pub fn add(&mut self, key: &CellKey, usage: Usage) {
        self.set(key, self.get(key) + usage);
    }

    pub fn change(&mut self, key: &CellKey, delta: Delta) {
        self.set(key, self.get(key).changed(delta));
    }

    pub fn set(&mut self, key: &CellKey, usage: Usage) {
        match (self.find(key), usage == Usage::ZERO) {
            (Ok(at), true) => self.restructure(|cells| drop(cells.remove(at))),
            (Ok(at), false) => self.0[at].1 = usage,
            (Err(_), true) => {}
            (Err(at), false) => self.restructure(|cells| cells.insert(at, (key.clone(), usage))),
        }
    }

    /// Cells come and go far less often than they change, and there are millions of these: no room is kept.
    fn restructure(&mut self, change: impl FnOnce(&mut Vec<(CellKey, Usage)>)) {
        let mut cells = std::mem::take(&mut self.0).into_vec();
        change(&mut cells);
        self.0 = cells.into_boxed_slice();
    }

    /// Puts `found` in the place of everything known about one folder (not the folders below it).
    pub fn replace_folder(&mut self, folder: &str, found: &Cells) {
        self.restructure(|cells| cells.retain(|(key, _)| &*key.folder != folder));
        for (key, usage) in found.iter().filter(|(key, _)| &*key.folder == folder) {
            self.set(key, usage);
        }
    }

    /// The cells after `from` was renamed to `to` with everything below it. Renaming INBOX leaves what is below it
    /// where it is (RFC 9051 section 6.3.6). What is known under a new name already was measured there after the
    /// rename, and stays as it is.
    pub fn renamed(&self, from: &str, to: &str) -> Cells {
        let (from, to) = (canonical_folder(from), canonical_folder(to));
        let moved = |folder: &str| match folder.strip_prefix(&*from)? {
            "" => Some(to.clone().into_owned()),
            below if below.starts_with('/') && from != "INBOX" => Some(format!("{to}{below}")),
            _ => None,
        };
        let (mut kept, mut renamed) = (Vec::new(), Vec::new());
        for (key, usage) in self.iter() {
            match moved(&key.folder) {
                Some(folder) => renamed.push((CellKey::new(&folder, key.kind.as_deref()), usage)),
                None => kept.push((key.clone(), usage)),
            }
        }
        renamed.retain(|(key, _)| kept.iter().all(|(known, _)| known.folder != key.folder));
        kept.into_iter().chain(renamed).collect()
    }

    /// Puts what `share` makes of each name in its place: the same name in memory that others have.
    pub fn share_names(&mut self, mut share: impl FnMut(Arc<str>) -> Arc<str>) {
        for (key, _) in &mut self.0 {
            key.folder = share(key.folder.clone());
            key.kind = key.kind.take().map(&mut share);
        }
    }

    fn find(&self, key: &CellKey) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(key))
    }
}

impl FromIterator<(CellKey, Usage)> for Cells {
    fn from_iter<I: IntoIterator<Item = (CellKey, Usage)>>(cells: I) -> Cells {
        let mut sorted: Vec<(CellKey, Usage)> = cells.into_iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = kept.1 + later.1;
            }
            same
        });
        sorted.retain(|(_, usage)| *usage != Usage::ZERO);
        Cells(sorted.into_boxed_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn inbox_is_case_insensitive_and_nothing_else_is() {
        let canonical = |name| canonical_folder(name).into_owned();
        assert_eq!(canonical("Inbox/Sub"), "INBOX/Sub");
        assert_eq!(canonical("inboxes"), "inboxes");
        assert_eq!(canonical("trash"), "trash");
    }

    #[test]
    fn a_change_stops_at_zero_and_at_the_largest_number() {
        let usage = Usage::new(5, 1).changed(Delta { bytes: -9, messages: 2 });
        assert_eq!(usage, Usage::new(0, 3));
        assert_eq!(Usage::new(u64::MAX, 0) + Usage::new(1, 1), Usage::new(u64::MAX, 1));
    }

    #[test]
    fn one_folder_is_replaced_without_its_children() {
        let usage = Usage::new(1, 1);
        let mut cells: Cells = [("a", None), ("a", Some("voice")), ("a/b", None)]
            .map(|(f, k)| (CellKey::new(f, k), usage))
            .into_iter()
            .collect();
        cells.replace_folder("a", &[(CellKey::new("a", None), Usage::new(7, 2))].into_iter().collect());
        let left: Vec<_> = cells.iter().map(|(key, usage)| (&*key.folder, key.kind.as_deref(), usage.bytes)).collect();
        assert_eq!(left, [("a", None, 7), ("a/b", None, 1)]);
    }

    #[test]
    fn a_renamed_folder_takes_along_what_is_below_it() {
        let renamed = |folders: &[&str], from: &str, to: &str| {
            let numbered = folders.iter().enumerate();
            let cells: Cells =
                numbered.map(|(at, folder)| (CellKey::new(folder, None), Usage::new(1 << at, 1))).collect();
            let cells = cells.renamed(from, to);
            cells.iter().map(|(key, usage)| format!("{}={}", key.folder, usage.bytes)).collect::<Vec<_>>().join(" ")
        };
        for (folders, from, to, expected) in [
            (&["a", "a/b", "ab", "c"][..], "a", "x/y", "ab=4 c=8 x/y=1 x/y/b=2"),
            (&["a", "a/b"], "a", "a", "a=1 a/b=2"),
            (&["a", "a/b"], "a", "a/b", "a/b=1 a/b/b=2"),
            (&["a/b"], "a/b", "b", "b=1"),
            (&["INBOX", "INBOX/sub"], "inbox", "Old", "INBOX/sub=2 Old=1"),
            (&["INBOX", "INBOX/sub"], "INBOX/sub", "Old", "INBOX=1 Old=2"),
            // A scan of the new name came before the rename was told of.
            (&["a", "a/b", "x"], "a", "x", "x=4 x/b=2"),
            (&["c"], "a", "x", "c=1"),
        ] {
            assert_eq!(renamed(folders, from, to), expected, "{folders:?} {from} -> {to}");
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(changes in proptest::collection::vec(("[ab]", proptest::option::of("[xy]"), -5i64..9, -2i64..3), 0..40)) {
            let mut cells = Cells::default();
            let mut model: BTreeMap<CellKey, Usage> = BTreeMap::new();
            for (folder, kind, bytes, messages) in changes {
                let key = CellKey::new(&folder, kind.as_deref());
                let delta = Delta { bytes, messages };
                cells.change(&key, delta);
                let entry = model.entry(key).or_default();
                *entry = entry.changed(delta);
            }
            model.retain(|_, usage| *usage != Usage::ZERO);
            let seen: Vec<_> = cells.iter().map(|(k, u)| (k.clone(), u)).collect();
            prop_assert_eq!(seen, model.into_iter().collect::<Vec<_>>());
        }
    }
}
