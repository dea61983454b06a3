//! From BER to entries. Nothing here panics on what makes no sense, and values stay bytes: whether they are
//! text is for [`EntryReader`] to say.

use ldap3::ResultEntry;
use ldap3::asn1::{PL, StructureTag};
use ldap3::controls::{Control, ControlType, SyncState};

use crate::account::EntryId;
use crate::directory::Change;
use crate::directory::entry::EntryReader;

/// An entry as a server sends it.
#[derive(Debug, Default)]
pub struct Raw {
    pub dn: String,
    attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl Raw {
    /// `None` for what is no entry.
    pub fn decode(result: ResultEntry) -> Option<Raw> {
        let mut parts = constructed(result.0)?.into_iter();
        let dn = String::from_utf8_lossy(&primitive(parts.next()?)?).into_owned();
        let mut attributes = Vec::new();
        for attribute in constructed(parts.next()?)? {
            let mut parts = constructed(attribute)?.into_iter();
            let name = String::from_utf8(primitive(parts.next()?)?).ok()?;
            let values = constructed(parts.next()?)?.into_iter().map(primitive).collect::<Option<Vec<_>>>()?;
            attributes.push((name, values));
        }
        Some(Raw { dn, attributes })
    }

    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let named = self.attributes.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        named.flat_map(|(_, values)| values).map(Vec::as_slice)
    }

    /// The first value, as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values(name).find_map(|value| std::str::from_utf8(value).ok())
    }

    /// What the service is told. `id` is the one that the protocol gave, if it did.
    pub fn change(&self, reader: &EntryReader, id: Option<EntryId>) -> Change {
        let pairs: Vec<(&str, &[u8])> = self
            .attributes
            .iter()
            .flat_map(|(name, values)| values.iter().map(|value| (name.as_str(), value.as_slice())))
            .collect();
        let id = id.unwrap_or_else(|| reader.id(&self.dn, &pairs));
        match reader.read(&self.dn, Some(id), &pairs) {
            Ok(Some(entry)) => Change::Entry(entry),
            // It may have been an account before it lost its class or its address.
            Ok(None) => Change::Gone(id),
            Err(why) => Change::Bad { id, dn: self.dn.as_str().into(), why: why.to_string() },
        }
    }
}

fn constructed(tag: StructureTag) -> Option<Vec<StructureTag>> {
    match tag.payload {
        PL::C(parts) => Some(parts),
        PL::P(_) => None,
    }
}

fn primitive(tag: StructureTag) -> Option<Vec<u8>> {
    match tag.payload {
        PL::P(bytes) => Some(bytes),
        PL::C(_) => None,
    }
}

/// The id that RFC 4533 calls syncUUID: the same 128 bits that `entryUUID` spells.
pub fn id_of(uuid: &[u8]) -> Option<EntryId> {
    uuid.try_into().ok().map(|uuid| EntryId(u128::from_be_bytes(uuid)))
}

/// The Sync State control of an entry (RFC 4533 section 2.3); `None` from a server that does not do this.
pub fn sync_state(controls: &[Control]) -> Option<SyncState> {
    controls.iter().find_map(|control| match control {
        Control(Some(ControlType::SyncState), raw) if raw.val.is_some() => Some(raw.parse()),
        _ => None,
    })
}
