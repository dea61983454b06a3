//! What the service needs to know of the configuration, ready to use. A reload builds a whole new
//! `Settings` and swaps it in; nothing in here changes in place.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::account::Status;
use crate::wire::policy::{Code, CodeError};

use crate::quota::bucket::Zero;
use crate::quota::verdict::{Policy, Reason};
use crate::quota::{Action, Grace, Limits, Units, Verdict};

/// When the directory is told that an account is over its quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatusMode {
    #[default]
    AfterGrace,
    AtOnce,
    Never,
}

/// Which full bucket blocks the account as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocks {
    /// The default bucket, because that is where new mail lands.
    #[default]
    DefaultBucket,
    AnyBucket,
}

/// What an unknown recipient is told while nothing has ever been loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    #[default]
    Dunno,
    Defer,
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub policy: Policy,
    pub status: StatusMode,
    pub blocks: Blocks,
    pub on_failure: OnFailure,
    pub units: Units,
    pub zero: Zero,
    /// What an account has whose directory entry and domain say nothing.
    pub defaults: Arc<Limits>,
    /// The characters of which any one separates a local part from its extension.
    pub delimiter: Box<[char]>,
    /// How long room is held for a message that the store has not reported.
    pub reservation: Duration,
    pub texts: Texts,
}

impl Settings {
    pub fn grace(&self) -> Grace {
        self.policy.grace
    }
}

/// One reply: its codes and the text. Public wording only: reasons and numbers go to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub code: Code,
    pub words: Box<str>,
}

impl Text {
    /// Reads `452 4.2.2 Mailbox is full`.
    pub fn read(reply: &str) -> Result<Text, CodeError> {
        let (code, words) = Code::split(reply)?;
        Ok(Text { code, words: words.into() })
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.words)
    }
}

/// The replies that a client sees, one for each reason to refuse, and two where a message is deferred
/// in the grace period and rejected after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    pub larger_than_site: Text,
    pub larger_than_limit: Text,
    pub inactive: Text,
    pub disabled: Text,
    pub deleted: Text,
    pub removed: Text,
    pub over_in_grace: Text,
    pub over: Text,
    pub domain_over_in_grace: Text,
    pub domain_over: Text,
    pub no_room: Text,
    pub no_room_after_grace: Text,
    pub unavailable: Text,
}

impl Texts {
    /// The reply to a verdict; `None` for one that passes.
    pub fn reply(&self, verdict: Verdict) -> Option<&Text> {
        let either = |defer, reject| if verdict.action == Action::Defer { defer } else { reject };
        Some(match (verdict.action, verdict.reason) {
            (Action::Pass, _) => return None,
            (_, Reason::LargerThanSite) => &self.larger_than_site,
            (_, Reason::LargerThanLimit) => &self.larger_than_limit,
            (_, Reason::Status(Status::Inactive)) => &self.inactive,
            (_, Reason::Status(Status::Disabled)) => &self.disabled,
            (_, Reason::Status(Status::Removed)) => &self.removed,
            (_, Reason::Status(_)) => &self.deleted,
            (_, Reason::DomainOver) => either(&self.domain_over_in_grace, &self.domain_over),
            (_, Reason::NoRoom) => either(&self.no_room, &self.no_room_after_grace),
            (_, Reason::Over | Reason::Unknown | Reason::Exempt | Reason::Room) => {
                either(&self.over_in_grace, &self.over)
            }
        })
    }
}
