//! Quota roots and rules of an account, for sites and accounts that have any. Most have none: then the
//! buckets of `mailQuota` are the whole story, and nothing in here is kept.
//!
//! The first root is the account's own: its `*` and `?` rules are in the limits already, its other rules
//! adjust the limit for their folders and leave out what they ignore. Further roots hold the account to limits
//! of their own, on all of its mail or on one namespace.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::quota::bucket::Sums;
use crate::quota::roots::{Occasion, Root};
use crate::quota::rule::Rule;
use crate::quota::verdict::Filling;
use crate::quota::{Bucket, Cells, Grace, Limit, Limits, Moment, Standing, Usage};

/// What a message may be held to: nearly always one root.
pub type Fillings = SmallVec<[Filling; 2]>;

/// An account's roots beyond plain buckets.
pub struct Roots {
    roots: Arc<[Root]>,
    unlimited: Limits,
    /// Usage and standing of the further roots, in their order.
    further: Vec<(Usage, Standing)>,
}

impl Roots {
    /// `None` where `roots` say nothing that the buckets do not.
    pub fn new(roots: &Arc<[Root]>, own_rules: &[Rule]) -> Option<Roots> {
        let plain = roots.len() <= 1 && roots.iter().all(|root| root.rules.is_empty());
        if plain && own_rules.is_empty() {
            return None;
        }
        let roots = match own_rules.is_empty() {
            true => roots.clone(),
            false => with_rules(roots, own_rules),
        };
        let further = roots.iter().skip(1).map(|_| Default::default()).collect();
        Some(Roots { roots, unlimited: Limits::default(), further })
    }

    /// The account's limits with the rules for all folders taken in.
    pub fn limits(&self, limits: &Limits) -> Limits {
        let Some(own) = self.roots.first() else { return limits.clone() };
        let taken_in =
            |(at, bucket): (usize, &Bucket)| Bucket { limit: own.rules.base_of(limits, at), ..bucket.clone() };
        limits.buckets().iter().enumerate().map(taken_in).collect()
    }

    /// The usage of the buckets, without what rules ignore.
    pub fn sums(&self, limits: &Limits, cells: &Cells) -> Sums {
        self.roots.first().map_or_else(|| limits.sums(cells), |own| own.sums(limits, cells))
    }

    /// Brings the further roots up to date; whether a standing has changed.
    pub fn advance(&mut self, cells: &Cells, grace: Grace, now: Moment) -> bool {
        let mut changed = false;
        for (root, (used, standing)) in self.roots.iter().skip(1).zip(&mut self.further) {
            *used = root.sums(&self.unlimited, cells).into_iter().sum();
            let next = standing.next(*used, root.base(&self.unlimited), grace, now);
            changed |= std::mem::replace(standing, next) != next;
        }
        changed
    }

    /// What a message to (folder, type) is held to; `own` is the bucket that it falls in.
    pub fn fillings(&self, limits: &Limits, folder: &str, kind: Option<&str>, own: Filling) -> Fillings {
        let plain = |filling: Filling| Filling { allowance: None, ..filling };
        let first =
            self.roots.first().and_then(|root| root.filling(limits, folder, kind, own.used, Occasion::Delivery));
        let first = first.map(|first| Filling { reserved: own.reserved, standing: own.standing, ..plain(first) });
        let further = self.roots.iter().skip(1).zip(&self.further).filter_map(|(root, (used, standing))| {
            let filling = root.filling(&self.unlimited, folder, None, *used, Occasion::Delivery)?;
            Some(Filling { reserved: own.reserved, standing: *standing, ..plain(filling) })
        });
        first.into_iter().chain(further).collect()
    }

    /// The further roots that users may see: name, usage, limit and standing.
    pub fn shown(&self) -> impl Iterator<Item = (&str, Usage, Limit, Standing)> {
        let further = self.roots.iter().skip(1).zip(&self.further);
        let seen = further.filter(|(root, _)| !root.hidden && !root.is_absent(&self.unlimited));
        seen.map(|(root, (used, standing))| (&*root.name, *used, root.base(&self.unlimited), *standing))
    }

    /// Standings to keep, by a name that no bucket can have.
    pub fn standings_kept(&self) -> impl Iterator<Item = (Box<str>, Standing)> {
        let further = self.roots.iter().skip(1).zip(&self.further);
        let kept = further.filter(|(_, (_, standing))| *standing != Standing::UNDER);
        kept.map(|(root, (_, standing))| (kept_as(&root.name), *standing))
    }

    pub fn stand(&mut self, kept: &[(Box<str>, Standing)]) {
        for (root, (_, standing)) in self.roots.iter().skip(1).zip(&mut self.further) {
            let name = kept_as(&root.name);
            *standing = kept.iter().find(|(known, _)| *known == name).map(|(_, s)| *s).unwrap_or_default();
        }
    }

    /// When the standing of a further root changes by itself.
    pub fn due(&self, grace: Grace) -> Option<Moment> {
        self.further.iter().filter_map(|(_, standing)| standing.due(grace)).min()
    }
}

/// A control character is in no bucket's name.
fn kept_as(root: &str) -> Box<str> {
    format!("root\t{root}").into()
}

/// The site's roots, the rules of the account behind those of the first.
fn with_rules(roots: &[Root], own: &[Rule]) -> Arc<[Root]> {
    let mut roots = roots.to_vec();
    if roots.is_empty() {
        roots.push(Root::default());
    }
    if let Some(first) = roots.first_mut() {
        own.iter().for_each(|rule| first.rules.add(rule.clone()));
    }
    roots.into()
}
