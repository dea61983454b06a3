//! `[ledger]` and `[mailstore]`: what is remembered, and where the mail is.

use std::path::PathBuf;
use std::time::Duration;

use crate::mailstore::maildir::{Layout, Means, SizeKind};
use crate::wire::template::Template;

use super::reader::Section;
use super::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    pub path: PathBuf,
    /// Bytes of memory for what was read and written last.
    pub cache: u64,
}

pub(super) fn read_ledger(section: Section) -> Ledger {
    section.text("kind", "sled", words::one_of(&[("sled", ())]));
    let ledger = Ledger {
        path: section.text("path", "/var/lib/mailquotad/ledger", words::absolute),
        cache: section.text("cache", "128M", words::memory),
    };
    section.finish();
    ledger
}

/// How it is known what mailboxes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Maildir,
    /// Others tell; nothing is measured from here.
    Reported,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailStore {
    pub kind: StoreKind,
    /// Where an account's mail lies.
    pub path: Template,
    pub layout: Layout,
    pub sizes: SizeKind,
    /// How many mailboxes are measured side by side.
    pub threads: usize,
    /// How long after a delivery was announced the mailbox is measured.
    pub measure_after_delivery: Duration,
    /// How long changes of a mailbox that were seen are gathered before its folders are measured.
    pub measure_after_change: Duration,
    /// `None`: not watched.
    pub watch: Option<Means>,
    /// The directories that all mailboxes lie below.
    pub watch_paths: Vec<PathBuf>,
}

impl MailStore {
    /// The directory attributes that the path names.
    pub fn attributes(&self) -> Vec<Box<str>> {
        self.path.attributes().map(Into::into).collect()
    }
}

pub(super) fn read_mailstore(section: Section) -> MailStore {
    let kinds = [("maildir", StoreKind::Maildir), ("reported", StoreKind::Reported)];
    let kind = section.text("kind", "maildir", words::one_of(&kinds));
    section.only(kind == StoreKind::Maildir, "kind = \"maildir\"");
    let layouts = [("maildir++", Layout::MaildirPlusPlus), ("fs", Layout::Fs)];
    let sizes = [("physical", SizeKind::Physical), ("virtual", SizeKind::Virtual)];
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let means = [
        ("auto", Some(Means::Auto)),
        ("fanotify", Some(Means::Fanotify)),
        ("inotify", Some(Means::Inotify)),
        ("off", None),
    ];
    let mut mailstore = MailStore {
        kind,
        path: section.text("path", "/var/mail/%d/%n/Maildir", words::parsed),
        layout: section.text("layout", "maildir++", words::one_of(&layouts)),
        sizes: section.text("sizes", "physical", words::one_of(&sizes)),
        threads: match section.number("threads", 0, 0..=256) {
            0 => cores,
            threads => threads as usize,
        },
        measure_after_delivery: section.text("measure_after_delivery", "2s", words::duration),
        measure_after_change: section.text("measure_after_change", "10ms", words::duration),
        watch: section.text("watch", "auto", words::one_of(&means)),
        watch_paths: section.list("watch_paths", &[], words::absolute),
    };
    if mailstore.watch_paths.is_empty() {
        mailstore.watch_paths.extend(mailstore.path.fixed_prefix().map(PathBuf::from));
    }
    if mailstore.watch_paths.is_empty() && matches!(mailstore.watch, Some(Means::Fanotify | Means::Inotify)) {
        section.refuse("watch_paths", "is missing; accepted: where path begins with an attribute, the directories that all mailboxes lie below, as in [\"/home\"]");
    }
    section.finish();
    mailstore
}
