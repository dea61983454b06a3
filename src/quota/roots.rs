//! Quota roots: an account may be held to several limits at once, each with rules of its own. A message
//! is checked against every root that its folder counts in, and the strictest decides.
//!
//! Dovecot defines a root as `backend[:name[:argument]...]`. The backend says where Dovecot keeps usage,
//! which mailquotad measures itself; the arguments are the same here.

use super::bucket::{BucketName, Limits, Sums};
use super::quantity::{Change, QuantityError};
use super::rule::character;
use super::verdict::{Allowance, Filling};
use super::warning::Warning;
use super::{Cells, Limit, Rules, Usage};

/// What brings the message: only deliveries may use the allowance, as in Dovecot, where a user who is at
/// the keyboard sees the refusal and can make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    Delivery,
    /// IMAP APPEND and COPY.
    Session,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    pub name: Box<str>,
    /// Counts the folders below this prefix alone. Without it, every folder of the account.
    pub namespace: Option<Box<str>>,
    /// Counted, shown and warned about, but never a reason to refuse.
    pub advisory: bool,
    /// Not shown to users.
    pub hidden: bool,
    /// There is no such root for an account that has no limit in it.
    pub ignore_unlimited: bool,
    pub rules: Rules,
    /// How far the last message may go over, in bytes or as a part of the limit of the default bucket.
    pub grace: Change,
    pub warnings: Vec<Warning>,
}

impl Default for Root {
    fn default() -> Root {
        Root {
            name: "".into(),
            namespace: None,
            advisory: false,
            hidden: false,
            ignore_unlimited: false,
            rules: Rules::default(),
            grace: Change::Percent(10),
            warnings: Vec::new(),
        }
    }
}

impl Root {
    pub fn parse(definition: &str) -> Result<Root, RootFault> {
        let (backend, rest) = definition.split_once(':').unwrap_or((definition, ""));
        let backend = Backend::named(backend).ok_or_else(|| RootFault::Backend(backend.into()))?;
        let (name, mut arguments) = rest.split_once(':').unwrap_or((rest, ""));
        let mut root = Root { name: name.into(), ..Root::default() };
        if backend == Backend::Dict {
            // A user name, which Dovecot itself has ignored since 2.3.17; the URI follows the arguments.
            arguments = arguments.split_once(':').map_or("", |(_, rest)| rest);
        }
        while !arguments.is_empty() {
            let (argument, rest) = arguments.split_once(':').unwrap_or((arguments, ""));
            match argument {
                "hidden" => root.hidden = true,
                "ignoreunlimited" => root.ignore_unlimited = true,
                "noenforcing" => root.advisory = true,
                "no-unset" if backend == Backend::Dict => {}
                _ => match argument.strip_prefix("ns=") {
                    Some(namespace) => root.namespace = Some(namespace.into()),
                    None if backend == Backend::Dict => break,
                    None => return Err(RootFault::Argument { root: name.into(), argument: argument.into() }),
                },
            }
            arguments = rest;
        }
        Ok(root)
    }

    /// Whether mail in `folder` counts in this root.
    pub fn counts(&self, folder: &str) -> bool {
        self.covers(folder) && !self.rules.ignores(folder)
    }

    /// The usage of each bucket of `limits` in this root.
    pub fn sums(&self, limits: &Limits, cells: &Cells) -> Sums {
        limits.sums_where(cells, |folder| self.counts(folder))
    }

    /// The limit of the default bucket, which standing, warnings and flags go by.
    pub fn base(&self, limits: &Limits) -> Limit {
        self.rules.base_of(limits, 0)
    }

    /// Whether the account has no such root at all.
    pub fn is_absent(&self, limits: &Limits) -> bool {
        self.ignore_unlimited && self.base(limits).is_unlimited()
    }

    /// What a message to (folder, type) is held to in this root, `used` being that of its bucket; `None`
    /// where it does not count. Room reserved and standing are the caller's to add.
    pub fn filling(
        &self,
        limits: &Limits,
        folder: &str,
        kind: Option<&str>,
        used: Usage,
        occasion: Occasion,
    ) -> Option<Filling> {
        if !self.counts(folder) || self.is_absent(limits) {
            return None;
        }
        let bucket = limits.bucket_of(folder, kind);
        let base = self.rules.base_of(limits, bucket);
        let limit = match limits.buckets()[bucket].name {
            // Rules are about folders; a type bucket takes its messages out of them.
            BucketName::Type(_) => base,
            BucketName::Default | BucketName::Folder(_) => self.rules.limit(base, folder),
        };
        let allowance = match occasion {
            Occasion::Delivery => self.allowance(base),
            Occasion::Session => 0,
        };
        let allowance = Some(Allowance::Bytes(allowance));
        Some(Filling { limit, used, allowance, advisory: self.advisory, ..Filling::default() })
    }

    fn covers(&self, folder: &str) -> bool {
        let Some(namespace) = self.namespace.as_deref() else { return true };
        let prefix = namespace.strip_suffix('/').unwrap_or(namespace);
        folder.strip_prefix(prefix).is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
    }

    fn allowance(&self, base: Limit) -> u64 {
        u64::try_from(self.grace.of(base.bytes.unwrap_or(0)).max(0)).unwrap_or(u64::MAX)
    }
}

/// Reads a `quota_grace`.
pub fn parse_grace(text: &str) -> Result<Change, GraceFault> {
    let change = Change::parse(text, 1)
        .map_err(|QuantityError { at, fault }| GraceFault::Quantity { at: character(text, at), fault })?;
    match change.is_negative() {
        true => Err(GraceFault::Negative),
        false => Ok(change),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Backend {
    Dict,
    Other,
}

impl Backend {
    fn named(name: &str) -> Option<Backend> {
        match name {
            "dict" => Some(Backend::Dict),
            "count" | "dirsize" | "fs" | "imapc" | "maildir" => Some(Backend::Other),
            _ => None,
        }
    }
}

/// The words before the semicolon are Dovecot's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootFault {
    #[error("Unknown quota backend: {0}; accepted: count, dict, dirsize, fs, imapc or maildir, then :name")]
    Backend(Box<str>),
    #[error(
        "Quota root {root}: Unknown parameter: {argument}; accepted: hidden, ignoreunlimited, noenforcing and ns=prefix"
    )]
    Argument { root: Box<str>, argument: Box<str> },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraceFault {
    #[error("{fault}; at character {at}")]
    Quantity { at: usize, fault: super::quantity::QuantityFault },
    #[error("a grace can't be negative; accepted: bytes, a number with a unit, or a percentage of the limit")]
    Negative,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{CellKey, Spec, bucket::Zero, spec::Measure};

    fn limits(quota: &str) -> Limits {
        let quota = Spec::parse(quota, Measure::Bytes(Default::default())).unwrap();
        Limits::new(&quota, &Spec::ABSENT, &Limits::default(), Zero::NoMail)
    }

    fn root(rules: &[&str]) -> Root {
        Root { rules: Rules::parse(rules.iter().copied()).unwrap(), ..Root::default() }
    }

    #[test]
    fn definitions() {
        let read = |text| Root::parse(text).unwrap();
        assert_eq!(read("count"), Root::default());
        assert_eq!(&*read("count:User quota").name, "User quota");
        let public = read("maildir:Public:ns=Public/:noenforcing:hidden");
        assert_eq!((public.namespace.as_deref(), public.advisory, public.hidden), (Some("Public/"), true, true));
        let dict = read("dict:UQ:%u.x:ignoreunlimited:no-unset:proxy:/run/dict:hidden");
        assert_eq!((&*dict.name, dict.ignore_unlimited, dict.hidden), ("UQ", true, false));
    }

    #[test]
    fn bad_definitions() {
        let error = |text| Root::parse(text).unwrap_err().to_string();
        assert!(error("yes").starts_with("Unknown quota backend: yes; accepted: count"));
        assert!(error("count:UQ:noenforce").contains("Unknown parameter: noenforce; accepted: hidden"));
        assert!(error("count:UQ:no-unset").contains("Unknown parameter: no-unset"));
    }

    #[test]
    fn graces() {
        assert_eq!(parse_grace("10%"), Ok(Change::Percent(10)));
        assert_eq!(parse_grace("50K"), Ok(Change::Amount(51_200)));
        assert_eq!(parse_grace("-10%"), Err(GraceFault::Negative));
        assert_eq!(parse_grace("-1"), Err(GraceFault::Negative));
        for (text, message) in [
            ("50 M", "Unknown unit:  M; accepted: B, K, M, G, T or %; at character 3"),
            ("", "not a number; accepted: digits"),
            ("+10%", "not a number; accepted: digits"),
            ("-100%", "Invalid percentage; accepted: -99% to"),
        ] {
            let error = parse_grace(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn a_rule_changes_the_limit_of_the_bucket_that_the_folder_falls_in() {
        let limits = limits("1000K;Archive%100K;#voice%10K");
        let root = root(&["Archive*:storage=+10%", "Trash:storage=+50K", "Junk:ignore"]);
        let kib = |folder, kind| {
            let filling = root.filling(&limits, folder, kind, Usage::ZERO, Occasion::Delivery)?;
            Some((filling.limit.bytes? / 1024, filling.allowance?))
        };
        let grace = |bytes| Allowance::Bytes(bytes);
        assert_eq!(kib("INBOX", None), Some((1000, grace(102_400))));
        assert_eq!(kib("Trash", None), Some((1050, grace(102_400))));
        assert_eq!(kib("Archive/2025", None), Some((110, grace(10_240))));
        assert_eq!(kib("Archive", Some("voice")), Some((10, grace(1024))));
        assert_eq!(kib("Junk", None), None);
        let session = root.filling(&limits, "INBOX", None, Usage::ZERO, Occasion::Session).unwrap();
        assert_eq!(session.allowance, Some(grace(0)));
    }

    #[test]
    fn sums_leave_out_what_is_ignored_or_in_another_namespace() {
        let cells = ["INBOX", "Junk", "Public/a", "Publication"].map(|f| (CellKey::new(f, None), Usage::new(10, 1)));
        let cells = cells.into_iter().collect();
        let sum = |root: &Root| root.sums(&limits("1M"), &cells)[0].bytes;
        assert_eq!(sum(&root(&["Junk:ignore"])), 30);
        assert_eq!(sum(&Root::parse("count:P:ns=Public/").unwrap()), 10);
        assert_eq!(sum(&Root::parse("count:P:ns=").unwrap()), 40);
    }

    #[test]
    fn an_unlimited_root_may_be_left_out() {
        let root = Root { ignore_unlimited: true, ..root(&["Trash:storage=+1M"]) };
        assert!(root.is_absent(&limits("-1")) && !root.is_absent(&limits("1M")));
        assert!(root.filling(&limits("-1"), "INBOX", None, Usage::ZERO, Occasion::Delivery).is_none());
    }
}
