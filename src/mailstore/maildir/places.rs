//! Which mailbox and folder lies where.

use super::folders::{self, Layout};
use super::{MailboxRef, MaildirStore};
use crate::mailstore::{MailStoreError, Paths};

impl Paths for MaildirStore {
    fn root(&self, mailbox: &MailboxRef) -> Result<String, MailStoreError> {
        self.locate(mailbox)
    }

    fn address(&self, root: &str) -> Option<String> {
        self.options.path.address_of(root)
    }

    fn tells_addresses(&self) -> bool {
        self.options.path.reversible()
    }

    fn levels(&self) -> Option<usize> {
        self.options.path.depth()
    }

    fn folder(&self, root: &str, path: &[u8]) -> Option<String> {
        let below = path.strip_prefix(root.trim_end_matches('/').as_bytes())?;
        let below = match below {
            [] | [b'/'] => return Some("INBOX".into()),
            [b'/', below @ ..] => below,
            _ => return None,
        };
        let layout = self.options.layout;
        let levels: Option<Vec<String>> =
            below.split(|byte| *byte == b'/').map(|raw| folders::level(layout, raw)).collect();
        let levels = levels?;
        match layout {
            Layout::MaildirPlusPlus if levels.len() != 1 => None,
            _ => Some(levels.join("/")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::MaildirOptions;
    use super::*;

    #[test]
    fn a_path_below_a_mailbox_is_a_folder_or_is_not() {
        let folder = |layout, path: &str| {
            let options = MaildirOptions { layout, ..MaildirOptions::new("/m/%d/%n".parse().unwrap()) };
            MaildirStore::new(options).folder("/m/x/anna", path.as_bytes())
        };
        for (layout, path, expected) in [
            (Layout::MaildirPlusPlus, "/m/x/anna", Some("INBOX")),
            (Layout::MaildirPlusPlus, "/m/x/anna/.A.B", Some("A/B")),
            (Layout::MaildirPlusPlus, "/m/x/anna/.Entw&APw-rfe", Some("Entwürfe")),
            (Layout::MaildirPlusPlus, "/m/x/anna/sieve", None),
            (Layout::MaildirPlusPlus, "/m/x/anna/.A/deeper", None),
            (Layout::MaildirPlusPlus, "/m/x/annabel", None),
            (Layout::MaildirPlusPlus, "/m/x", None),
            (Layout::Fs, "/m/x/anna", Some("INBOX")),
            (Layout::Fs, "/m/x/anna/A/B", Some("A/B")),
            (Layout::Fs, "/m/x/anna/A/tmp", None),
        ] {
            assert_eq!(folder(layout, path).as_deref(), expected, "{layout:?} {path}");
        }
    }
}
