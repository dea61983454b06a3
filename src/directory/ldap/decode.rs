//! From BER to entries. Nothing here panics on what makes no sense, and values stay bytes: whether they are
//! text is for [`EntryReader`] to say.

use ldap3::ResultEntry;
use ldap3::asn1::{PL, StructureTag};
use ldap3::controls::{Control, ControlType, SyncState};
use smallvec::SmallVec;

use crate::account::EntryId;
use crate::directory::Change;
use crate::directory::entry::EntryReader;

/// An entry as a server sends it: the library's tree of it, which is read where it stands.
#[derive(Debug, Default)]
pub struct Raw {
    pub dn: String,
    attributes: Vec<StructureTag>,
}

impl Raw {
    /// `None` for what is no entry.
    pub fn decode(result: ResultEntry) -> Option<Raw> {
        let PL::C(parts) = result.0.payload else { return None };
        let [dn, attributes]: [StructureTag; 2] = parts.try_into().ok()?;
        let (PL::P(dn), PL::C(attributes)) = (dn.payload, attributes.payload) else { return None };
        let dn = String::from_utf8(dn).unwrap_or_else(|dn| String::from_utf8_lossy(dn.as_bytes()).into_owned());
        let is_whole = |tag| attribute(tag).is_some_and(|(_, values)| values.iter().all(|tag| bytes(tag).is_some()));
        attributes.iter().all(is_whole).then_some(Raw { dn, attributes })
    }

    /// Every value, with the name of its attribute.
    fn pairs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let attributes = self.attributes.iter().filter_map(attribute);
        attributes.flat_map(|(name, values)| values.iter().filter_map(move |value| Some((name, bytes(value)?))))
    }

    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.pairs().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first value, as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values(name).find_map(|value| std::str::from_utf8(value).ok())
    }

    /// What the service is told. `id` is the one that the protocol gave, if it did.
    pub fn change(&self, reader: &EntryReader, id: Option<EntryId>) -> Change {
        let pairs: SmallVec<[(&str, &[u8]); 32]> = self.pairs().collect();
        let id = id.unwrap_or_else(|| reader.id(&self.dn, &pairs));
        match reader.read(&self.dn, Some(id), &pairs) {
            Ok(Some(entry)) => Change::Entry(entry),
            // It may have been an account before it lost its class or its address.
            Ok(None) => Change::Gone(id),
            Err(why) => Change::Bad { id, dn: self.dn.as_str().into(), why: why.to_string() },
        }
    }
}

/// The name and the values of one attribute.
fn attribute(tag: &StructureTag) -> Option<(&str, &[StructureTag])> {
    let PL::C(parts) = &tag.payload else { return None };
    let [name, values] = parts.as_slice() else { return None };
    let PL::C(values) = &values.payload else { return None };
    Some((std::str::from_utf8(bytes(name)?).ok()?, values))
}

fn bytes(tag: &StructureTag) -> Option<&[u8]> {
    match &tag.payload {
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
