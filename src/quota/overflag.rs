//! The over-quota flag: a value that some directory attribute has while an account is over its quota, and
//! whether it is right.
//!
//! Dovecot compares at the start of a session, or with a lazy check only when a client asks for its quota,
//! and runs a script where flag and usage disagree.

use super::mask::Mask;
use super::{Limit, Usage};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverFlag {
    /// Values that mean "over", in any case.
    pub value: Mask,
    /// Compare only when a client asks for its quota.
    pub lazy: bool,
}

/// When the flag may be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    SessionStart,
    Quota,
}

impl OverFlag {
    /// Whether the attribute, absent or with this value, says that the account is over.
    pub fn says_over(&self, attribute: Option<&str>) -> bool {
        attribute.is_some_and(|found| self.value.fits_in_any_case(found))
    }

    pub fn is_wrong(&self, attribute: Option<&str>, over: bool) -> bool {
        self.says_over(attribute) != over
    }

    pub fn is_due(&self, asked: Asked) -> bool {
        match asked {
            Asked::SessionStart => !self.lazy,
            Asked::Quota => self.lazy,
        }
    }
}

/// Whether usage is at a limit as Dovecot sees it for the flag: bytes in KiB, both rounded up, so that
/// the last partly filled KiB counts as over although a small message would still be accepted.
pub fn is_over(used: Usage, limit: Limit) -> bool {
    let kib = |bytes: u64| bytes.div_ceil(1024);
    Limit { bytes: limit.bytes.map(kib), ..limit }.reached_by(Usage { bytes: kib(used.bytes), ..used })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_in_any_case_and_as_a_whole() {
        let says = |value, found| OverFlag { value: Mask::new(value), lazy: false }.says_over(found);
        for (value, found, over) in [
            ("TRUE", Some("true"), true),
            ("TRUE", Some("TRUEx"), false),
            ("*", Some(""), true),
            ("*", None, false),
            ("TRU?", Some("TRU"), false),
        ] {
            assert_eq!(says(value, found), over, "{value} {found:?}");
        }
    }

    #[test]
    fn wrong_either_way_and_compared_once() {
        let flag = OverFlag { value: Mask::new("TRUE"), lazy: true };
        assert!(flag.is_wrong(Some("TRUE"), false) && flag.is_wrong(None, true));
        assert!(!flag.is_wrong(Some("TRUE"), true) && !flag.is_wrong(None, false));
        assert!(flag.is_due(Asked::Quota) && !flag.is_due(Asked::SessionStart));
    }

    #[test]
    fn the_last_kib_counts_as_over() {
        let over =
            |bytes, messages| is_over(Usage::new(bytes, messages), Limit { bytes: Some(102_400), messages: Some(5) });
        assert_eq!([over(101_376, 4), over(101_377, 4), over(0, 5)], [false, true, true]);
        assert!(!is_over(Usage::new(u64::MAX, u64::MAX), Limit::NONE));
    }
}
