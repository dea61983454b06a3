//! `[ledger]` and `[mailstore]`: what is remembered, and where the mail is.

use std::path::PathBuf;
use std::time::Duration;

use crate::mailstore::maildir::{Layout, Means, SizeKind};
use crate::secret::Secret;
use crate::wire::template::Template;

use super::imap::{self, Imap};
use super::reader::Section;
use super::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    pub path: PathBuf,
    /// Bytes of memory for what was read and written last.
    pub cache: u64,
    /// How long it keeps what it knows of accounts that have gone; `None`: for good.
    pub keep_gone: Option<Duration>,
}

pub(super) fn read_ledger(section: Section) -> Ledger {
    section.text("kind", "sled", words::one_of(&[("sled", ())]));
    let ledger = Ledger {
        path: section.text("path", "/var/lib/mailquotad/ledger", words::absolute),
        cache: section.text("cache", "128M", words::memory),
        keep_gone: section.text("keep_gone", "30d", words::delay_or_never),
    };
    section.finish();
    ledger
}

/// How it is known what mailboxes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Maildir,
    /// Dovecot is asked by the HTTP API of doveadm.
    Doveadm,
    /// Any server is asked by IMAP.
    Imap,
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
    /// How doveadm is reached and what it is shown; only with [`StoreKind::Doveadm`].
    pub doveadm: Option<Doveadm>,
    /// The same of an IMAP server; only with [`StoreKind::Imap`].
    pub imap: Option<Imap>,
    /// `None`: not watched.
    pub watch: Option<Means>,
    /// The directories that all mailboxes lie below.
    pub watch_paths: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doveadm {
    pub url: Url,
    pub login: DoveadmKey,
    pub ca_file: Option<PathBuf>,
    pub timeout: Duration,
}

/// `http://host:port/path`, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    pub tls: bool,
    pub host: Box<str>,
    pub port: u16,
    pub path: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoveadmKey {
    Key(Secret),
    Password(Secret),
}

impl MailStore {
    /// The directory attributes that it takes to find a mailbox.
    pub fn attributes(&self) -> Vec<Box<str>> {
        let users = self.imap.iter().flat_map(|imap| imap.user.attributes());
        self.path.attributes().chain(users).map(Into::into).collect()
    }
}

pub(super) fn read_mailstore(section: Section) -> MailStore {
    let kinds = [
        ("maildir", StoreKind::Maildir),
        ("doveadm", StoreKind::Doveadm),
        ("imap", StoreKind::Imap),
        ("reported", StoreKind::Reported),
    ];
    let kind = section.text("kind", "maildir", words::one_of(&kinds));
    section.only(kind == StoreKind::Doveadm, "kind = \"doveadm\"");
    let doveadm = read_doveadm(&section, kind == StoreKind::Doveadm);
    section.only(kind == StoreKind::Imap, "kind = \"imap\"");
    let imap = imap::read(&section, kind == StoreKind::Imap);
    section.only(kind != StoreKind::Reported, "kind = \"maildir\", \"doveadm\" or \"imap\"");
    let threads = section.number("threads", 0, 0..=256);
    let measure_after_delivery = section.text("measure_after_delivery", "2s", words::duration);
    let measure_after_change = section.text("measure_after_change", "10ms", words::duration);
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
        threads: match threads {
            0 => cores,
            threads => threads as usize,
        },
        measure_after_delivery,
        measure_after_change,
        doveadm,
        imap,
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

fn read_doveadm(section: &Section, wanted: bool) -> Option<Doveadm> {
    let url = section.text("doveadm_url", "http://127.0.0.1:8080/doveadm/v1", words::http_url);
    let mut given = Vec::new();
    given.extend(section.secret("doveadm_api_key").map(|text| DoveadmKey::Key(Secret::Text(text))));
    given.extend(
        section.optional("doveadm_api_key_file", words::absolute).map(|file| DoveadmKey::Key(Secret::File(file))),
    );
    given.extend(section.secret("doveadm_password").map(|text| DoveadmKey::Password(Secret::Text(text))));
    let file = section.optional("doveadm_password_file", words::absolute);
    given.extend(file.map(|file| DoveadmKey::Password(Secret::File(file))));
    let ca_file = section.optional("doveadm_ca_file", words::absolute);
    let timeout = section.text("doveadm_timeout", "10s", words::delay);
    if wanted && given.len() != 1 {
        section.refuse("doveadm_api_key_file", "must be set, or one of the others; accepted: one of doveadm_api_key_file, doveadm_api_key, doveadm_password_file, doveadm_password, as Dovecot has doveadm_api_key or doveadm_password");
    }
    Some(Doveadm { url, login: given.pop().filter(|_| wanted)?, ca_file, timeout })
}
