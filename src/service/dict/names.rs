//! From the names that Dovecot has for users and folders to ours.

use std::sync::Arc;

use crate::service::account::Account;
use crate::service::book::{Book, Target};

/// How Dovecot names users.
#[derive(Clone, Debug, Default)]
pub struct Users {
    /// What a user without a domain is in.
    pub default_domain: Option<Box<str>>,
}

impl Users {
    /// The account of a user: by its address, an alternate address, or either without its extension. Never a
    /// group, and never whoever takes all other mail of the domain: that is not the user.
    pub fn account(&self, book: &Book, delimiter: &[char], user: &str) -> Option<Arc<Account>> {
        let mut user = user.to_lowercase();
        if !user.contains('@') {
            user = format!("{user}@{}", self.default_domain.as_deref()?);
        }
        let found = |address: &str| match book.find(address) {
            Some(Target::Account(account)) => Some(account),
            _ => None,
        };
        found(&user).or_else(|| {
            let (local, domain) = user.rsplit_once('@')?;
            let end = local.find(delimiter).filter(|end| *end > 0)?;
            found(&format!("{}@{domain}", &local[..end]))
        })
    }
}

/// How Dovecot names folders.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The characters that stand between levels: those of the namespaces.
    pub separators: Box<[char]>,
    /// What stands before the name of every folder but INBOX, such as `INBOX.`, with the separator.
    pub prefix: Box<str>,
}

impl Folders {
    /// The folder by its name in the store, with `/` between levels.
    pub fn in_store(&self, name: &str) -> String {
        let name = name.strip_prefix(&*self.prefix).filter(|rest| !rest.is_empty()).unwrap_or(name);
        name.replace(&*self.separators, "/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_as_in_the_store() {
        let folders = |separators: &str, prefix: &str| Folders {
            separators: separators.chars().collect(),
            prefix: prefix.into(),
        };
        for (separators, prefix, name, expected) in [
            ("/", "", "Archive/2025", "Archive/2025"),
            ("/", "", "a.b", "a.b"),
            ("./", "", "Archive.2025", "Archive/2025"),
            (".", "INBOX.", "INBOX.Sent.2025", "Sent/2025"),
            (".", "INBOX.", "INBOX", "INBOX"),
            (".", "INBOX.", "INBOX.", "INBOX/"),
            ("/", "Mail/", "Mail/Sent", "Sent"),
        ] {
            assert_eq!(folders(separators, prefix).in_store(name), expected, "{name}");
        }
    }
}
