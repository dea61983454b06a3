//! Buckets: what a limit is set on, and which bucket a cell falls in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::spec::{Amount, Spec, SpecFault};
use super::usage::{Cells, Usage, canonical_folder};

/// Shown and parsed as in `mailQuota`: `#voice`, `Archive`; the default bucket is shown as `default`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BucketName {
    Default,
    Type(Arc<str>),
    Folder(Arc<str>),
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BucketName::Default => f.write_str("default"),
            BucketName::Type(name) => write!(f, "#{name}"),
            BucketName::Folder(name) => f.write_str(name),
        }
    }
}

/// The name of a type or folder bucket; `default` is a folder like any other here.
impl FromStr for BucketName {
    type Err = SpecFault;

    fn from_str(text: &str) -> Result<BucketName, SpecFault> {
        if text.chars().any(char::is_control) {
            return Err(SpecFault::Control);
        }
        match text.strip_prefix('#') {
            Some("") => Err(SpecFault::EmptyName),
            Some(kind) => Ok(BucketName::Type(kind.into())),
            None if text.is_empty() => Err(SpecFault::EmptyName),
            None if text.split('/').any(str::is_empty) => Err(SpecFault::EmptyLevel),
            None => Ok(BucketName::Folder(canonical_folder(text).into())),
        }
    }
}

/// Bytes and messages that a bucket may hold; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limit {
    pub bytes: Option<u64>,
    pub messages: Option<u64>,
}

impl Limit {
    pub const NONE: Limit = Limit { bytes: None, messages: None };

    pub fn is_unlimited(&self) -> bool {
        *self == Limit::NONE
    }

    /// Whether `usage` has used the limit up. At the limit is over: no further byte fits.
    pub fn reached_by(&self, usage: Usage) -> bool {
        self.bytes.is_some_and(|limit| usage.bytes >= limit)
            || self.messages.is_some_and(|limit| usage.messages >= limit)
    }

    /// Whether `usage` is at `percent` of the limit or above it.
    pub fn reached_in_part(&self, usage: Usage, percent: u32) -> bool {
        let at_least = |used: u64, limit: u64| u128::from(used) * 100 >= u128::from(limit) * u128::from(percent);
        self.bytes.is_some_and(|limit| at_least(usage.bytes, limit))
            || self.messages.is_some_and(|limit| at_least(usage.messages, limit))
    }

    /// How full, in whole percent rounded down, of the scarcer resource. `None` when unlimited.
    pub fn percent(&self, usage: Usage) -> Option<u64> {
        let part = |used: u64, limit: u64| match limit {
            0 => 100,
            _ => u64::try_from(u128::from(used) * 100 / u128::from(limit)).unwrap_or(u64::MAX),
        };
        let bytes = self.bytes.map(|limit| part(usage.bytes, limit));
        let messages = self.messages.map(|limit| part(usage.messages, limit));
        bytes.max(messages)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    pub name: BucketName,
    pub limit: Limit,
}

/// The usage of each bucket; most accounts have one.
pub type Sums = SmallVec<[Usage; 4]>;

/// The buckets of an account: the default first, then types, then folders with the longest name
/// first, so that the first folder that fits is the right one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limits(Vec<Bucket>);

/// Buckets of the same names in the same order as those of other limits.
impl FromIterator<Bucket> for Limits {
    fn from_iter<I: IntoIterator<Item = Bucket>>(buckets: I) -> Limits {
        Limits(buckets.into_iter().collect())
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits(vec![Bucket { name: BucketName::Default, limit: Limit::NONE }])
    }
}

impl Limits {
    /// Joins the two attributes. An absent value takes the default's buckets too; a value of `-2`
    /// takes the default's number for that bucket, or no limit where the default has no such bucket.
    pub fn new(bytes: &Spec, messages: &Spec, defaults: &Limits, zero: Zero) -> Limits {
        let bytes = Side { spec: bytes, of: |limit| limit.bytes, defaults, zero };
        let messages = Side { spec: messages, of: |limit| limit.messages, defaults, zero };
        let mut names: Vec<BucketName> = bytes.names().chain(messages.names()).collect();
        names.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
        names.dedup();
        let bucket = |name: BucketName| {
            let limit = Limit { bytes: bytes.limit(&name), messages: messages.limit(&name) };
            Bucket { name, limit }
        };
        Limits(names.into_iter().map(bucket).collect())
    }

    /// Without the buckets of a kind that is switched off; what they would hold falls in the others.
    pub fn only(mut self, kinds: Kinds) -> Limits {
        self.0.retain(|bucket| match bucket.name {
            BucketName::Default => true,
            BucketName::Type(_) => kinds.types,
            BucketName::Folder(_) => kinds.folders,
        });
        self
    }

    pub fn buckets(&self) -> &[Bucket] {
        &self.0
    }

    /// The index of the bucket that (folder, type) falls in.
    pub fn bucket_of(&self, folder: &str, kind: Option<&str>) -> usize {
        if self.0.len() == 1 {
            return 0;
        }
        let fits = |name: &BucketName| match name {
            BucketName::Default => false,
            BucketName::Type(name) => kind == Some(&**name),
            BucketName::Folder(name) => {
                folder.strip_prefix(&**name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        };
        self.0.iter().position(|bucket| fits(&bucket.name)).unwrap_or(0)
    }

    /// The usage of each bucket, in the order of `buckets`.
    pub fn sums(&self, cells: &Cells) -> Sums {
        self.sums_where(cells, |_| true)
    }

    /// The same of those folders alone that `counts` names: what a rule ignores is in no sum.
    pub fn sums_where(&self, cells: &Cells, counts: impl Fn(&str) -> bool) -> Sums {
        let mut sums = Sums::from_elem(Usage::ZERO, self.0.len());
        for (key, usage) in cells.iter().filter(|(key, _)| counts(&key.folder)) {
            let sum = &mut sums[self.bucket_of(&key.folder, key.kind.as_deref())];
            *sum = *sum + usage;
        }
        sums
    }
}

/// Which buckets there are besides the default one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    pub types: bool,
    pub folders: bool,
}

impl Default for Kinds {
    fn default() -> Kinds {
        Kinds { types: true, folders: true }
    }
}

/// What a quota of 0 means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zero {
    #[default]
    NoMail,
    /// Netscape 4 directories.
    Unlimited,
}

fn rank(name: &BucketName) -> (u8, std::cmp::Reverse<usize>) {
    match name {
        BucketName::Default => (0, std::cmp::Reverse(0)),
        BucketName::Type(_) => (1, std::cmp::Reverse(0)),
        BucketName::Folder(name) => (2, std::cmp::Reverse(name.len())),
    }
}

/// One of the two attributes while they are joined.
struct Side<'a> {
    spec: &'a Spec,
    of: fn(&Limit) -> Option<u64>,
    defaults: &'a Limits,
    zero: Zero,
}

impl Side<'_> {
    fn names(&self) -> impl Iterator<Item = BucketName> {
        let inherited = (*self.spec == Spec::ABSENT).then(|| {
            let limited = |bucket: &&Bucket| (self.of)(&bucket.limit).is_some();
            self.defaults.0.iter().filter(limited).map(|bucket| bucket.name.clone())
        });
        let own = self.spec.named.iter().map(|(name, _)| name.clone());
        std::iter::once(BucketName::Default).chain(own).chain(inherited.into_iter().flatten())
    }

    fn limit(&self, name: &BucketName) -> Option<u64> {
        let absent = *self.spec == Spec::ABSENT;
        match self.spec.amount(name) {
            Some(Amount::Number(0)) if self.zero == Zero::Unlimited => None,
            Some(Amount::Number(number)) => Some(number),
            Some(Amount::Unlimited) => None,
            None if !absent => None,
            Some(Amount::Default) | None => {
                let same = self.defaults.0.iter().find(|bucket| bucket.name == *name);
                same.and_then(|bucket| (self.of)(&bucket.limit))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{CellKey, Units, spec::Measure};
    use proptest::prelude::*;

    const BYTES: Measure = Measure::Bytes(Units::Binary);

    fn limits(bytes: &str) -> Limits {
        with(bytes, "-1", &Limits::default())
    }

    fn with(bytes: &str, messages: &str, defaults: &Limits) -> Limits {
        let read = |text: &str, measure| match text {
            "absent" => Spec::ABSENT,
            _ => Spec::parse(text, measure).unwrap(),
        };
        Limits::new(&read(bytes, BYTES), &read(messages, Measure::Messages), defaults, Zero::NoMail)
    }

    fn name_of(limits: &Limits, folder: &str, kind: Option<&str>) -> String {
        limits.buckets()[limits.bucket_of(folder, kind)].name.to_string()
    }

    #[test]
    fn type_beats_folder_and_the_longest_folder_wins() {
        let limits = limits("2G;Archive%100M;#voice%20M;Archive/2025%10M");
        for (folder, kind, bucket) in [
            ("INBOX", None, "default"),
            ("Archive", None, "Archive"),
            ("Archive/2024", None, "Archive"),
            ("Archive/2025/05", None, "Archive/2025"),
            ("Archive/20255", None, "Archive"),
            ("Archived", None, "default"),
            ("archive", None, "default"),
            ("Archive/2025", Some("voice"), "#voice"),
            ("Archive/2025", Some("fax"), "Archive/2025"),
        ] {
            assert_eq!(name_of(&limits, folder, kind), bucket, "{folder} {kind:?}");
        }
    }

    #[test]
    fn defaults_fill_what_is_absent_or_minus_two() {
        let defaults = with("1G;#voice%20M", "500", &Limits::default());
        let shown = |limits: &Limits| -> Vec<String> {
            let show = |b: &Bucket| format!("{} {:?} {:?}", b.name, b.limit.bytes.map(|b| b >> 20), b.limit.messages);
            limits.buckets().iter().map(show).collect()
        };
        assert_eq!(
            shown(&with("absent", "absent", &defaults)),
            ["default Some(1024) Some(500)", "#voice Some(20) None"]
        );
        assert_eq!(shown(&with("-2;Old%5M", "-1", &defaults)), ["default Some(1024) None", "Old Some(5) None"]);
        assert_eq!(
            shown(&with("3M;#voice%-2;#fax%-2", "7", &defaults)),
            ["default Some(3) Some(7)", "#fax None None", "#voice Some(20) None"]
        );
    }

    #[test]
    fn zero_is_no_mail_unless_the_directory_is_netscapes() {
        let spec = Spec::parse("0", BYTES).unwrap();
        let limit = |zero| Limits::new(&spec, &Spec::ABSENT, &Limits::default(), zero).buckets()[0].limit.bytes;
        assert_eq!((limit(Zero::NoMail), limit(Zero::Unlimited)), (Some(0), None));
    }

    #[test]
    fn percent_never_overflows() {
        let limit = Limit { bytes: Some(u64::MAX), messages: Some(0) };
        assert_eq!(limit.percent(Usage::new(u64::MAX, 0)), Some(100));
        assert!(limit.reached_in_part(Usage::new(u64::MAX, 0), u32::MAX));
    }

    proptest! {
        #[test]
        fn buckets_partition_the_cells(
            named in proptest::collection::btree_set("#[xy]|[ab](/[ab]){0,2}", 0..6),
            cells in proptest::collection::vec(("[ab](/[ab]){0,3}|INBOX", proptest::option::of("[xyz]"), 0u64..9, 0u64..3), 0..30),
        ) {
            let named: String = named.iter().map(|name| format!(";{name}%1M")).collect();
            let limits = limits(&format!("1G{named}"));
            let cells: Cells = cells.iter().map(|(f, k, b, m)| (CellKey::new(f, k.as_deref()), Usage::new(*b, *m))).collect();
            let sums = limits.sums(&cells);
            prop_assert_eq!(sums.len(), limits.buckets().len());
            prop_assert_eq!(sums.into_iter().sum::<Usage>(), cells.total());
        }
    }
}
