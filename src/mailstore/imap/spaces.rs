//! Which folders are the user's own, and what they are called here (RFC 2342).

use super::session::{Failure, Session};
use crate::mailstore::remote::FolderNames;
use crate::wire::imap::command::Command;
use crate::wire::imap::{Namespace, Namespaces, Response};
use crate::wire::mutf7;

/// Where the user's own folders lie, and how their names read here.
pub struct Spaces {
    found: Namespaces,
    /// What a namespace's own separator is if it does not say.
    separator: u8,
}

impl Spaces {
    /// Of a server that does not tell, what the configuration says of names.
    pub fn ask(session: &mut Session, names: &FolderNames) -> Result<Spaces, Failure> {
        let separator = u8::try_from(names.separator).unwrap_or(b'/');
        let mut found = Namespaces {
            own: vec![Namespace { prefix: names.prefix.as_bytes().to_vec(), separator: Some(separator) }],
            others: Vec::new(),
            shared: names
                .foreign
                .iter()
                .map(|prefix| Namespace { prefix: prefix.as_bytes().to_vec(), separator: None })
                .collect(),
        };
        if session.can.namespace {
            session.run(
                "NAMESPACE",
                |tag| Command::new(tag, "NAMESPACE"),
                |response| {
                    if let Response::Namespaces(told) = response {
                        // A server that names none of the user's own has mailboxes all the same.
                        let own = if told.own.is_empty() { found.own.clone() } else { told.own };
                        found = Namespaces { own, ..told };
                    }
                    Ok(())
                },
            )?;
        }
        Ok(Spaces { found, separator })
    }

    /// The namespace of the INBOX, whose prefix is no part of names here.
    fn main(&self) -> Option<&Namespace> {
        self.found.own.first()
    }

    /// What LIST is asked for: everything of the user's own, or one folder. A name that came to be here by ways
    /// that cannot be gone back is looked for among all.
    pub fn patterns(&self, only: Option<&str>, utf8: bool) -> Vec<Vec<u8>> {
        if only == Some("INBOX") {
            return vec![b"INBOX".to_vec()];
        }
        if let Some(folder) = only.filter(|folder| !folder.contains(char::REPLACEMENT_CHARACTER)) {
            let level = |level: &str| if utf8 { level.to_owned() } else { mutf7::encode(level) };
            let levels: Vec<String> = folder.split('/').map(level).collect();
            let spelt = |space: &Namespace| {
                levels.join(&char::from(space.separator.unwrap_or(self.separator)).to_string()).into_bytes()
            };
            // In another namespace than the first, the prefix is part of the name.
            let first = self.main().map(|main| [&main.prefix[..], &spelt(main)].concat());
            let mut patterns: Vec<Vec<u8>> =
                first.into_iter().chain(self.found.own.iter().skip(1).map(spelt)).collect();
            patterns.dedup();
            return patterns;
        }
        let mut patterns: Vec<Vec<u8>> =
            self.found.own.iter().map(|space| [&space.prefix[..], b"*"].concat()).collect();
        if self.found.own.iter().all(|space| !space.prefix.is_empty()) {
            patterns.push(b"INBOX".to_vec());
        }
        patterns
    }

    /// What a mailbox of the user's own is called here; `None` for those of others.
    pub fn name(&self, raw: &[u8], separator: Option<u8>) -> Option<String> {
        if raw.eq_ignore_ascii_case(b"INBOX") {
            return Some("INBOX".into());
        }
        let longest = |spaces: &[Namespace]| {
            let fitting = spaces.iter().filter(|space| lies_in(raw, &space.prefix));
            fitting.map(|space| space.prefix.len() + 1).max().unwrap_or(0)
        };
        let foreign = longest(&self.found.others).max(longest(&self.found.shared));
        // What is said to be both is the user's own: so nothing is missed.
        if longest(&self.found.own) < foreign {
            return None;
        }
        let prefix = self.main().map_or(&b""[..], |main| &main.prefix);
        let own = raw.strip_prefix(prefix).filter(|rest| !rest.is_empty()).unwrap_or(raw);
        let levels = own.split(|byte| Some(*byte) == separator).map(mutf7::folder_level);
        Some(levels.collect::<Vec<_>>().join("/"))
    }
}

/// Whether a mailbox lies in a namespace, or is its root: `Public` for the prefix `Public/`.
fn lies_in(raw: &[u8], prefix: &[u8]) -> bool {
    raw.starts_with(prefix) || prefix.split_last().is_some_and(|(_, root)| !root.is_empty() && raw == root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spaces(own: &[(&str, u8)], foreign: &[&str]) -> Spaces {
        let space = |prefix: &str, separator| Namespace { prefix: prefix.into(), separator };
        let own = own.iter().map(|(prefix, separator)| space(prefix, Some(*separator))).collect();
        let shared = foreign.iter().map(|prefix| space(prefix, Some(b'/'))).collect();
        Spaces { found: Namespaces { own, others: Vec::new(), shared }, separator: b'/' }
    }

    #[test]
    fn names_of_the_users_own_folders() {
        let dovecot = spaces(&[("", b'/')], &["Public/", "shared/"]);
        let courier = spaces(&[("INBOX.", b'.')], &["#shared."]);
        let two = spaces(&[("", b'/'), ("#archive/", b'/')], &["#"]);
        let confused = spaces(&[("", b'/')], &[""]);
        for (spaces, raw, separator, name) in [
            (&dovecot, &b"inbox"[..], b'/', Some("INBOX")),
            (&dovecot, b"INBOX/Sub", b'/', Some("INBOX/Sub")),
            (&dovecot, b"Entw&APw-rfe/2025", b'/', Some("Entw\u{fc}rfe/2025")),
            (&dovecot, b"Public/News", b'/', None),
            (&dovecot, b"Public", b'/', None),
            (&dovecot, b"Publications", b'/', Some("Publications")),
            (&dovecot, b"shared/ben/Work", b'/', None),
            (&courier, b"INBOX", b'.', Some("INBOX")),
            (&courier, b"INBOX.Sent.2025", b'.', Some("Sent/2025")),
            (&courier, b"#shared.x", b'.', None),
            (&two, b"#archive/old", b'/', Some("#archive/old")),
            (&two, b"#news/x", b'/', None),
            (&confused, b"Sent", b'/', Some("Sent")),
            // Bytes that are no name still hold mail.
            (&dovecot, b"caf\xe9", b'/', Some("caf\u{fffd}E9")),
        ] {
            assert_eq!(spaces.name(raw, Some(separator)).as_deref(), name, "{}", raw.escape_ascii());
        }
        assert_eq!(dovecot.name(b"a/b", None).as_deref(), Some("a/b"));
    }

    #[test]
    fn what_is_asked_for() {
        let asked = |spaces: &Spaces, only: Option<&str>, utf8| -> Vec<String> {
            spaces.patterns(only, utf8).into_iter().map(|pattern| String::from_utf8(pattern).unwrap()).collect()
        };
        let (dovecot, courier) = (spaces(&[("", b'/')], &[]), spaces(&[("INBOX.", b'.')], &[]));
        assert_eq!(asked(&dovecot, None, false), ["*"]);
        assert_eq!(asked(&courier, None, false), ["INBOX.*", "INBOX"]);
        assert_eq!(asked(&courier, Some("INBOX"), false), ["INBOX"]);
        assert_eq!(asked(&courier, Some("M\u{fc}ll/alt"), false), ["INBOX.M&APw-ll.alt"]);
        assert_eq!(asked(&dovecot, Some("M\u{fc}ll/alt"), true), ["M\u{fc}ll/alt"]);
        assert_eq!(asked(&dovecot, Some("caf\u{fffd}E9"), false), ["*"], "no way back to its bytes");
        let two = spaces(&[("", b'.'), ("#archive/", b'/')], &[]);
        assert_eq!(asked(&two, None, false), ["*", "#archive/*"]);
        assert_eq!(asked(&two, Some("#archive/old"), false), ["#archive.old", "#archive/old"]);
    }
}
