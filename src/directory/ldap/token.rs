//! How far a server has been followed: what a later session goes on from.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::LdapOptions;
use super::connection::{Connection, Fault};
use super::decode::{Raw, id_of};
use crate::account::EntryId;
use crate::wire::dn;

const VERSION: u8 = 1;

/// How many of the last changes are remembered.
const WITNESSES: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What was asked for: with other filters, attributes or bases, the answers would be others.
    asked: u64,
    /// One for each base.
    pub cookies: Vec<Vec<u8>>,
    pub witnesses: Witnesses,
}

impl Token {
    pub fn new(options: &LdapOptions, cookies: Vec<Vec<u8>>, witnesses: Witnesses) -> Token {
        Token { asked: asked(options), cookies, witnesses }
    }

    /// `None` for one that was made by another release, or under another configuration.
    pub fn read(bytes: &[u8], options: &LdapOptions) -> Option<Token> {
        let (&VERSION, rest) = bytes.split_first()? else { return None };
        let token: Token = postcard::from_bytes(rest).ok()?;
        (token.asked == asked(options) && token.cookies.len() == options.bases.len()).then_some(token)
    }

    pub fn write(&self) -> Vec<u8> {
        // Serialising plain data into memory has no way to fail.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }
}

/// FNV-1a, 64 bits: the same in every release of the compiler.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn asked(options: &LdapOptions) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    let reader = &options.reader;
    options.bases.iter().for_each(|base| dn::normal(base).hash(&mut hash));
    for filter in [&reader.user_filter, &reader.domain_filter, &reader.group_filter] {
        filter.to_string().hash(&mut hash);
    }
    format!("{:?}", reader.map).hash(&mut hash);
    reader.template.hash(&mut hash);
    if !options.meaning.is_empty() {
        options.meaning.hash(&mut hash);
    }
    hash.finish()
}

/// The last changes that were seen. A server that was set back to an earlier state and has moved on since
/// offers to go on from our cookie as if nothing had happened; that the last things that we saw there are
/// undone is what gives it away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witnesses(VecDeque<Witness>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Witness {
    id: EntryId,
    dn: Box<str>,
    /// The change's number (entryCSN, which grows); `None` for an entry that was deleted.
    csn: Option<Box<str>>,
}

impl Witnesses {
    pub fn changed(&mut self, id: EntryId, entry: &Raw) {
        if let Some(csn) = entry.text("entryCSN") {
            self.put(Witness { id, dn: entry.dn.as_str().into(), csn: Some(csn.into()) });
        }
    }

    pub fn deleted(&mut self, id: EntryId, dn: &str) {
        self.put(Witness { id, dn: dn.into(), csn: None });
    }

    fn put(&mut self, witness: Witness) {
        self.0.retain(|known| known.id != witness.id);
        if self.0.len() == WITNESSES {
            self.0.pop_front();
        }
        self.0.push_back(witness);
    }

    /// Whether the server still stands behind what we saw there. An entry that is no longer where it was
    /// says nothing, for it may have been moved or deleted since; but not all of them.
    /// `filter` is what is followed: what does not match it any more counts as deleted.
    pub async fn agree(&self, connection: &Connection, filter: &str) -> Result<bool, Fault> {
        let (mut asked, mut missing) = (0, 0);
        for witness in &self.0 {
            let found = match connection.look(&witness.dn, filter, &["entryUUID", "entryCSN"]).await {
                Ok(found) => found,
                Err(Fault::Told(_)) => None,
                Err(lost) => return Err(lost),
            };
            let same = found.filter(|found| id_of_text(found.text("entryUUID")) == Some(witness.id));
            let undone = match (&witness.csn, &same) {
                (Some(csn), Some(now)) => now.text("entryCSN").is_some_and(|now| now < &**csn),
                (None, Some(_)) => true,
                (Some(_), None) => {
                    missing += 1;
                    false
                }
                (None, None) => false,
            };
            asked += usize::from(witness.csn.is_some());
            if undone {
                return Ok(false);
            }
        }
        Ok(asked == 0 || missing < asked)
    }
}

fn id_of_text(uuid: Option<&str>) -> Option<EntryId> {
    let hex: String = uuid?.split('-').collect();
    id_of(&u128::from_str_radix(&hex, 16).ok()?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::entry::{EntryReader, Preset};

    #[test]
    fn whoever_reads_entries_in_another_way_is_sent_all_of_them_anew() {
        let usual = LdapOptions::new(&["ldap://127.0.0.1"], &["dc=example"], EntryReader::new(Preset::Sun));
        let other = LdapOptions { meaning: "decimal units", ..usual.clone() };
        let kept = |options| Token::new(options, vec![b"cookie".to_vec()], Witnesses::default()).write();
        assert!(Token::read(&kept(&usual), &usual).is_some());
        assert!(Token::read(&kept(&other), &other).is_some());
        assert_eq!(Token::read(&kept(&usual), &other), None);
        assert_eq!(Token::read(&kept(&other), &usual), None);
    }
}
