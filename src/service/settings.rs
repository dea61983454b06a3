//! What the service needs to know of the configuration, ready to use. A reload builds a whole new
//! `Settings` and swaps it in; nothing in here changes in place.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::exempt::{Callers, TypedCallers};
use super::notify::Notify;
use super::over_flag::Flag;
use super::queue::QueueSettings;
use super::quota_status::QuotaStatus;
use super::warnings::Warnings;
use crate::account::Status;
use crate::wire::policy::{Code, CodeError};

use crate::quota::bucket::{Kinds, Zero};
use crate::quota::roots::Root;
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
    /// Which buckets beside the default one count.
    pub kinds: Kinds,
    /// What an account has whose directory entry and domain say nothing.
    pub defaults: Arc<Limits>,
    /// The account's own root with the site's rules, then the further roots.
    pub roots: Arc<[Root]>,
    /// The characters of which any one separates a local part from its extension.
    pub delimiter: Box<[char]>,
    /// Whether an extension names the folder that the message lands in.
    pub extension_folders: bool,
    /// How long room is held for a message that the store has not reported.
    pub reservation: Duration,
    pub texts: Texts,
    /// Dovecot's words, which go before the texts.
    pub quota_status: Option<QuotaStatus>,
    /// Whom no quota stops.
    pub exempt: Callers,
    pub typed: Vec<TypedCallers>,
    /// How file-system quotas count.
    pub unix: super::unixquota::Rules,
    pub notify: Notify,
    pub warnings: Warnings,
    /// The attribute that says whether an account is over.
    pub over_flag: Option<Flag>,
    pub queue: QueueSettings,
    /// How long the ledger keeps what it knows of an account that has gone from the directory; `None`: for good.
    pub keep_gone: Option<Duration>,
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

/// Declares the replies: name, code and words of each. The codes are checked when this is compiled.
macro_rules! texts {
    ($($(#[$why:meta])* $name:ident: $smtp:literal $subject:literal $detail:literal $words:literal,)*) => {
        /// The replies that a client sees, one for each reason to refuse, and two where a message is
        /// deferred in the grace period and rejected after it.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Texts { $($(#[$why])* pub $name: Text,)* }

        impl Texts {
            /// Asks for each text by its key, with the default.
            pub fn read(mut ask: impl FnMut(&'static str, Text) -> Text) -> Texts {
                Texts { $($name: {
                    const CODE: Code = Code::new($smtp, $subject, $detail).expect("a code that refuses");
                    ask(stringify!($name), Text { code: CODE, words: $words.into() })
                },)* }
            }
        }
    };
}

texts! {
    larger_than_site: 552 3 4 "Message is larger than this site accepts",
    larger_than_limit: 552 2 3 "Message is larger than the mailbox may hold",
    inactive: 450 2 1 "Mailbox is inactive, try again later",
    disabled: 550 2 1 "Mailbox is disabled",
    deleted: 550 1 1 "No such mailbox",
    removed: 550 1 1 "No such mailbox",
    over_in_grace: 452 2 2 "Mailbox is full, try again later",
    over: 552 2 2 "Mailbox is full",
    domain_over_in_grace: 452 2 2 "Mail storage of this domain is full, try again later",
    domain_over: 552 2 2 "Mail storage of this domain is full",
    no_room: 452 2 2 "Mailbox has no room for this message, try again later",
    no_room_after_grace: 552 2 2 "Mailbox has no room for this message",
    /// A queue quota has no room, or never will have.
    queue_full: 452 3 1 "Mail system is full, try again later",
    larger_than_queue: 552 3 4 "Message is larger than what may wait in the queue",
    /// While nothing has been loaded and `policy.on_failure` is `defer`.
    unavailable: 451 3 0 "Quota is not known yet, try again later",
}

impl Default for Texts {
    fn default() -> Texts {
        Texts::read(|_, default| default)
    }
}

impl Texts {
    /// The reply to a verdict; `None` for one that passes.
    pub fn reply(&self, verdict: Verdict) -> Option<&Text> {
        let either = |defer, reject| if verdict.action == Action::Defer { defer } else { reject };
        Some(match (verdict.action, verdict.reason) {
            (Action::Pass, _) => return None,
            (_, Reason::LargerThanSite) => &self.larger_than_site,
            (_, Reason::LargerThanLimit) => &self.larger_than_limit,
            (_, Reason::LargerThanQueue) => &self.larger_than_queue,
            (_, Reason::QueueFull) => &self.queue_full,
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
