//! `[ledger]` and `[mailstore]`: what is remembered, and where the mail is.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use super::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    pub path: PathBuf,
}

pub(super) fn read_ledger(section: Section) -> Ledger {
    section.text("kind", "sled", words::one_of(&[("sled", ())]));
    let ledger = Ledger { path: section.text("path", "/var/lib/mailquotad/ledger", words::absolute) };
    section.finish();
    ledger
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailStore {
    /// Where an account's mail lies; see [`MailStore::attributes`].
    pub path: String,
    pub layout: Layout,
    pub sizes: Sizes,
    /// How many mailboxes are measured side by side.
    pub threads: usize,
    /// How long after a delivery was announced the mailbox is measured.
    pub measure_after_delivery: Duration,
}

/// How folders lie on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Side by side, as `.Archive.2025`.
    MaildirPlusPlus,
    /// One in the other, as `Archive/2025` (Dovecot's `LAYOUT=fs`).
    Nested,
}

/// Which size of a message counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Bytes in the file (`S=`).
    Physical,
    /// Bytes with CRLF line ends, as IMAP shows them (`W=`, Dovecot's `quota_vsizes`).
    Virtual,
}

impl MailStore {
    /// The directory attributes that the path names.
    pub fn attributes(&self) -> Vec<String> {
        words::template_attributes(&self.path).unwrap_or_default()
    }
}

pub(super) fn read_mailstore(section: Section) -> MailStore {
    section.text("kind", "maildir", words::one_of(&[("maildir", ())]));
    let layouts = [("maildir++", Layout::MaildirPlusPlus), ("fs", Layout::Nested)];
    let sizes = [("physical", Sizes::Physical), ("virtual", Sizes::Virtual)];
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mailstore = MailStore {
        path: section.text("path", "/var/mail/%d/%n/Maildir", words::template),
        layout: section.text("layout", "maildir++", words::one_of(&layouts)),
        sizes: section.text("sizes", "physical", words::one_of(&sizes)),
        threads: match section.number("threads", 0, 0..=256) {
            0 => cores,
            threads => threads as usize,
        },
        measure_after_delivery: section.text("measure_after_delivery", "2s", words::duration),
    };
    section.finish();
    mailstore
}
