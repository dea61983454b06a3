//! The rules of one root together, and what they make of a limit.
//!
//! They join Oracle's buckets and Dovecot's rules: a folder falls in a bucket first, and its rule then
//! changes the limit of that bucket. The default rule speaks of the default bucket only. Limits that the
//! account has (`mailQuota`) stand where Dovecot has those of the mail store itself, so `*` goes before
//! them and `?` behind.

use super::bucket::{BucketName, Limit, Limits};
use super::quantity::Change;
use super::rule::{Changes, Effect, Rule, Target};
use super::{mask::Mask, rule::RuleError};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    default: Changes,
    /// Whether a `*` was among the default rules: then they all go before the account's own limits.
    force: bool,
    /// In written order: the first that fits a folder is its rule.
    folders: Vec<(Mask, FolderRule)>,
    notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FolderRule {
    ignore: bool,
    changes: Changes,
}

impl Rules {
    pub fn parse<'a>(rules: impl IntoIterator<Item = &'a str>) -> Result<Rules, RuleError> {
        let mut parsed = Rules::default();
        for rule in rules {
            parsed.add(Rule::parse(rule)?);
        }
        Ok(parsed)
    }

    /// A mask that was there before keeps its place; what is said again replaces what was said.
    pub fn add(&mut self, rule: Rule) {
        self.notes.extend(rule.notes);
        let slot = match rule.target {
            Target::Default { force } => {
                self.force |= force;
                if let Effect::Change(changes) = rule.effect {
                    merge(&mut self.default, changes);
                }
                return;
            }
            Target::Folders(mask) => self.slot(mask),
        };
        match rule.effect {
            Effect::Ignore => slot.ignore = true,
            Effect::Change(changes) => merge(&mut slot.changes, changes),
        }
    }

    fn slot(&mut self, mask: Mask) -> &mut FolderRule {
        let known = self.folders.iter().position(|(known, _)| *known == mask);
        let at = known.unwrap_or_else(|| {
            self.folders.push((mask, FolderRule::default()));
            self.folders.len() - 1
        });
        &mut self.folders[at].1
    }

    pub fn is_empty(&self) -> bool {
        self.default == Changes::default() && self.folders.is_empty()
    }

    /// What an admin should mend although it works, a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What the default rule sets; 0 is unlimited.
    pub fn default_changes(&self) -> Changes {
        self.default
    }

    /// What the rule of exactly this mask changes.
    pub fn folder_changes(&self, mask: &str) -> Option<Changes> {
        let named = |(known, _): &&(Mask, FolderRule)| known.as_str() == mask;
        self.folders.iter().find(named).map(|(_, rule)| rule.changes)
    }

    /// Whether `folder` is left out of the quota altogether.
    pub fn ignores(&self, folder: &str) -> bool {
        self.rule_of(folder).is_some_and(|rule| rule.ignore)
    }

    /// The limit of the default bucket, whose own limit is `own`.
    pub fn base(&self, own: Limit) -> Limit {
        Limit {
            bytes: self.set(self.default.bytes, own.bytes),
            messages: self.set(self.default.messages, own.messages),
        }
    }

    /// The limit of a bucket before the rule of the folder.
    pub fn base_of(&self, limits: &Limits, bucket: usize) -> Limit {
        let bucket = &limits.buckets()[bucket];
        match bucket.name {
            BucketName::Default => self.base(bucket.limit),
            BucketName::Type(_) | BucketName::Folder(_) => bucket.limit,
        }
    }

    /// What `base` becomes for `folder`. A folder of its own rule may have more or less than the bucket
    /// that it counts in; a limit that is changed to nothing or less is none, as in Dovecot. A bucket
    /// without any limit has none in any folder.
    pub fn limit(&self, base: Limit, folder: &str) -> Limit {
        match self.rule_of(folder) {
            Some(rule) if rule.ignore => Limit::NONE,
            Some(rule) if !base.is_unlimited() => Limit {
                bytes: changed(base.bytes, rule.changes.bytes),
                messages: changed(base.messages, rule.changes.messages),
            },
            _ => base,
        }
    }

    fn rule_of(&self, folder: &str) -> Option<&FolderRule> {
        self.folders.iter().find(|(mask, _)| mask.fits(folder)).map(|(_, rule)| rule)
    }

    fn set(&self, rule: Option<Change>, own: Option<u64>) -> Option<u64> {
        match rule {
            Some(change) if self.force || own.is_none() => above_zero(change.of(0)),
            _ => own,
        }
    }
}

fn merge(known: &mut Changes, said: Changes) {
    known.bytes = said.bytes.map(|said| said.after(known.bytes)).or(known.bytes);
    known.messages = said.messages.map(|said| said.after(known.messages)).or(known.messages);
}

fn changed(base: Option<u64>, change: Option<Change>) -> Option<u64> {
    let whole = base.unwrap_or(0);
    match change.map_or(0, |change| change.of(whole)) {
        0 => base,
        change => above_zero(i128::from(whole) + change),
    }
}

/// Past 64 bits the largest number stands in: it is as good as no limit, and never a wrapped one.
fn above_zero(limit: i128) -> Option<u64> {
    (limit > 0).then(|| u64::try_from(limit).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(text: &[&str]) -> Rules {
        Rules::parse(text.iter().copied()).unwrap()
    }

    fn limit(bytes: u64, messages: u64) -> Limit {
        Limit { bytes: above_zero(bytes.into()), messages: above_zero(messages.into()) }
    }

    /// The limit of a folder where the account has none of its own.
    fn of(text: &[&str], folder: &str) -> Limit {
        let rules = rules(text);
        rules.limit(rules.base(Limit::NONE), folder)
    }

    #[test]
    fn the_first_mask_that_fits_counts() {
        let written = ["Trash:storage=+10%", "Tr*:storage=+50%", "*:bytes=1000", "x?z:messages=+5"];
        assert_eq!(of(&written, "Trash"), limit(1100, 0));
        assert_eq!(of(&written, "Trunk"), limit(1500, 0));
        assert_eq!(of(&written, "trash"), limit(1000, 0));
        assert_eq!(of(&written, "xyz"), limit(1000, 5));
    }

    #[test]
    fn a_mask_said_again_keeps_its_place_and_takes_the_later_number() {
        let again = ["IN*:bytes=+1", "INBOX:bytes=+7", "IN*:messages=+2", "*:bytes=10", "*:messages=5", "*:bytes=20"];
        assert_eq!(of(&again, "INBOX"), limit(21, 7));
    }

    #[test]
    fn a_percentage_outlives_a_number_said_later() {
        assert_eq!(of(&["*:bytes=1000", "Trash:bytes=+10%", "Trash:bytes=+5"], "Trash"), limit(1100, 0));
        assert_eq!(of(&["*:bytes=1000", "Trash:bytes=+10%:bytes=+5"], "Trash"), limit(1100, 0));
        assert_eq!(of(&["*:bytes=1000", "Trash:bytes=+5", "Trash:bytes=+10%"], "Trash"), limit(1100, 0));
    }

    #[test]
    fn inbox_is_one_folder_however_it_is_written() {
        assert_eq!(of(&["*:bytes=10", "INBOX:bytes=+1", "inbox:messages=+1"], "INBOX"), limit(11, 1));
    }

    #[test]
    fn no_limit_at_all_stays_none_and_one_limit_lets_rules_add_the_other() {
        assert_eq!(of(&["*:storage=0", "Trash:storage=+1M"], "Trash"), Limit::NONE);
        assert_eq!(of(&["*:messages=10", "Trash:storage=+1K"], "Trash"), limit(1024, 10));
        assert_eq!(of(&["*:bytes=10", "INBOX:bytes=-20"], "INBOX"), Limit::NONE);
    }

    #[test]
    fn ignored_folders_have_no_limit_and_do_not_count() {
        let rules = rules(&["SPAM:ignore", "SPAM:bytes=+1", "*:bytes=10", "*:ignore"]);
        assert!(rules.ignores("SPAM") && !rules.ignores("spam") && !rules.ignores("INBOX"));
        assert_eq!(rules.limit(rules.base(Limit::NONE), "SPAM"), Limit::NONE);
        assert_eq!(rules.base(Limit::NONE), limit(10, 0));
    }

    #[test]
    fn a_star_goes_before_the_accounts_own_limits_and_a_question_mark_behind() {
        let own = limit(500, 50);
        assert_eq!(rules(&["*:bytes=10"]).base(own), limit(10, 50));
        assert_eq!(rules(&["?:bytes=10"]).base(own), own);
        assert_eq!(rules(&["?:bytes=10"]).base(limit(0, 50)), limit(10, 50));
        assert_eq!(rules(&["?:bytes=30", "*:bytes=0"]).base(own), limit(0, 50));
        assert_eq!(rules(&["*:bytes=10", "?:messages=5"]).base(own), limit(10, 5));
    }

    #[test]
    fn no_mail_stays_no_mail_where_no_rule_adds() {
        let none = Limit { bytes: Some(0), messages: None };
        let rules = rules(&["Trash:bytes=+100", "Old:storage=+10%"]);
        let bytes = |folder| rules.limit(rules.base(none), folder).bytes;
        assert_eq!([bytes("INBOX"), bytes("Old"), bytes("Trash")], [Some(0), Some(0), Some(100)]);
    }

    #[test]
    fn past_64_bits_is_the_largest_number() {
        let huge = ["*:bytes=9223372036854775807", "INBOX:bytes=+2147483647%"];
        assert_eq!(of(&huge, "INBOX"), limit(u64::MAX, 0));
    }

    proptest! {
        #[test]
        fn more_of_the_limit_never_leaves_less(base in 1u64..1 << 62, percent in 0i32..i32::MAX, add in 0i64..i64::MAX) {
            let base = limit(base, 0);
            for change in [format!("a:bytes=+{percent}%"), format!("a:bytes=+{add}")] {
                prop_assert!(rules(&[&change]).limit(base, "a").bytes >= base.bytes);
            }
        }
    }
}
