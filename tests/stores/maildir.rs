//! Maildirs that Dovecot keeps, read as files.

use std::fs;
use std::os::unix::fs::chown;

use mailquotad::mailstore::maildir::{MaildirOptions, MaildirStore, SizeKind};

use super::contract::{Site, holds_to_the_contract};
use super::support::dovecot::UID;

pub fn store(site: &Site) -> MaildirStore {
    let path = format!("{}/mail/%d/%n", site.folder.path().display());
    MaildirStore::new(MaildirOptions { sizes: SizeKind::Virtual, ..MaildirOptions::new(path.parse().unwrap()) })
}

#[test]
fn files_tell_what_dovecot_tells_an_admin() {
    let site = Site::start("maildir", "");
    // A store without any mailbox might be one that is not mounted.
    fs::create_dir_all(site.folder.path().join("mail/example.org/ben")).unwrap();
    let mail = site.folder.path().join("mail/example.org");
    chown(mail, Some(UID), Some(UID)).unwrap();
    holds_to_the_contract(&site, &store(&site));
}
