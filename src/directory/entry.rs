//! What attributes mean: the one place that knows their names. It turns what any directory holds
//! (a DN and attributes with values) into an [`Entry`], and says which attributes to ask a server for.

mod names;

use std::collections::BTreeMap;

use crate::account::{AccountEntry, DomainEntry, Entry, EntryId, GroupEntry, Member, Single, Status, Writable};
use crate::wire::dn::{self, Dn};
use crate::wire::filter::{Attribute, Filter};

pub use names::{AttributeMap, Meaning, Preset, UnknownMeaning};

/// The most bytes of an account's or a group's address: those of RFC 5321 section 4.5.3.1 for the local part and the
/// domain. The ledger has keys with addresses in them, which must not become longer than it takes.
const LONGEST_ADDRESS: usize = 64 + 1 + 255;

/// An entry that matches a filter and yet cannot be used: why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadEntry(pub String);

/// Tells users, domains and groups apart and reads them.
#[derive(Clone, Debug)]
pub struct EntryReader {
    pub map: AttributeMap,
    pub user_filter: Filter,
    pub domain_filter: Filter,
    pub group_filter: Filter,
    /// The attributes that the mail store's path template names, spelled as there.
    pub template: Vec<Box<str>>,
    /// The attribute of the over-quota flag, where the site has one.
    pub over_flag: Option<Box<str>>,
}

impl EntryReader {
    /// With the filters of the preset.
    pub fn new(preset: Preset) -> EntryReader {
        EntryReader {
            map: AttributeMap::new(preset),
            user_filter: preset.user_filter(),
            domain_filter: preset.domain_filter(),
            group_filter: preset.group_filter(),
            template: Vec::new(),
            over_flag: None,
        }
    }

    /// Reads one entry; `None` where it is neither user, domain nor group with an address. An entry that
    /// matches several filters is the first of user, domain, group. Without `id`, and without a usable
    /// entryUUID, the DN identifies it.
    pub fn read(&self, dn: &str, id: Option<EntryId>, entry: &[impl Attribute]) -> Result<Option<Entry>, BadEntry> {
        let at = At { map: &self.map, entry };
        let id = || id.unwrap_or_else(|| at.id(dn));
        if self.user_filter.matches(entry) {
            return self.account(dn, id(), &at).map(Entry::Account).map(Some);
        }
        if self.domain_filter.matches(entry) {
            return domain(dn, id(), &at).map(Entry::Domain).map(Some);
        }
        match self.group_filter.matches(entry) && at.first(Meaning::Mail).is_some() {
            true => group(dn, id(), &at).map(Entry::Group).map(Some),
            false => Ok(None),
        }
    }

    /// The id that [`EntryReader::read`] gives, for entries that it cannot read as well.
    pub fn id(&self, dn: &str, entry: &[impl Attribute]) -> EntryId {
        At { map: &self.map, entry }.id(dn)
    }

    /// The attributes to ask a server for: no more than is needed to read and tell apart.
    pub fn requested(&self) -> Vec<Box<str>> {
        self.wanted(self.map.all())
    }

    /// The same where the protocol itself tells the id of every entry.
    pub fn requested_beside_ids(&self) -> Vec<Box<str>> {
        self.wanted(self.map.all_but(Meaning::Id))
    }

    fn wanted<'s>(&'s self, mapped: impl Iterator<Item = &'s str>) -> Vec<Box<str>> {
        let filters = [&self.user_filter, &self.domain_filter, &self.group_filter];
        let filtered = filters.into_iter().flat_map(|filter| filter.attributes());
        let mut wanted: Vec<Box<str>> = Vec::new();
        for name in mapped.chain(filtered).chain(self.template.iter().map(|name| &**name)) {
            if !wanted.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                wanted.push(name.into());
            }
        }
        wanted
    }

    /// One filter for a search that brings users, domains and groups.
    pub fn search_filter(&self) -> Filter {
        Filter::Or(vec![self.user_filter.clone(), self.domain_filter.clone(), self.group_filter.clone()])
    }

    fn account(&self, dn: &str, id: EntryId, at: &At<'_, impl Attribute>) -> Result<AccountEntry, BadEntry> {
        let (address, mut alternates) = at.addresses("account")?;
        at.extend_lower(Meaning::Alternates, &mut alternates);
        alternates.retain(|alternate| *alternate != address);
        let mut forwards = Vec::new();
        at.extend_lower(Meaning::Forwards, &mut forwards);
        let template = self.template.iter().filter_map(|name| Some((name.clone(), at.text_of(name)?.into())));
        Ok(AccountEntry {
            id,
            dn: dn.into(),
            address,
            alternates,
            forwards,
            inet_status: at.status(Meaning::InetUserStatus),
            mail_status: at.status(Meaning::UserStatus),
            quota: at.single(Meaning::Quota),
            messages: at.single(Meaning::Messages),
            rules: at.texts(Meaning::Rules).map(Into::into).collect(),
            attributes: template.collect::<BTreeMap<_, _>>(),
        })
    }
}

fn domain(dn: &str, id: EntryId, at: &At<'_, impl Attribute>) -> Result<DomainEntry, BadEntry> {
    let named = at.first(Meaning::DomainName).map(str::to_owned);
    let name = named.or_else(|| Dn::parse(dn).ok()?.domain()).ok_or_else(|| {
        let names = at.map.names(Meaning::DomainName).join(", ");
        BadEntry(format!("a domain without a name: none of {names}, and no dc= in its dn"))
    })?;
    Ok(DomainEntry {
        id,
        dn: dn.into(),
        name: name.trim_end_matches('.').to_lowercase().into(),
        inet_status: at.status(Meaning::InetDomainStatus),
        mail_status: at.status(Meaning::DomainStatus),
        quota: at.single(Meaning::DomainQuota),
        messages: at.single(Meaning::DomainMessages),
        user_quota: at.single(Meaning::DomainUserQuota),
        user_messages: at.single(Meaning::DomainUserMessages),
    })
}

fn group(dn: &str, id: EntryId, at: &At<'_, impl Attribute>) -> Result<GroupEntry, BadEntry> {
    let (address, mut alternates) = at.addresses("group")?;
    at.extend_lower(Meaning::Alternates, &mut alternates);
    alternates.retain(|alternate| *alternate != address);
    let addresses = at.texts(Meaning::MemberAddress).map(|text| Member::Address(text.to_lowercase().into()));
    let dns = at.texts(Meaning::MemberDn).map(|text| Member::Dn(without_uid(text).into()));
    Ok(GroupEntry { id, dn: dn.into(), address, alternates, members: addresses.chain(dns).collect() })
}

/// uniqueMember may carry a bit string behind the DN (RFC 4517 section 3.3.21), which names nobody here.
fn without_uid(dn: &str) -> &str {
    dn.strip_suffix("'B").and_then(|rest| rest.rsplit_once("#'")).map_or(dn, |(dn, _)| dn)
}

/// The attributes of one entry, asked for by meaning.
struct At<'e, A> {
    map: &'e AttributeMap,
    entry: &'e [A],
}

impl<'e, A: Attribute> At<'e, A> {
    fn values(&self, name: &'e str) -> impl Iterator<Item = &'e [u8]> + use<'e, A> {
        let named = self.entry.iter().filter(move |attribute| attribute.name().eq_ignore_ascii_case(name));
        named.map(|attribute| attribute.value())
    }

    fn text_of(&self, name: &'e str) -> Option<&'e str> {
        self.values(name).find_map(|value| std::str::from_utf8(value).ok()).map(str::trim)
    }

    /// The values of all names of a meaning that are text, in the order of the names.
    fn texts(&self, meaning: Meaning) -> impl Iterator<Item = &'e str> {
        let values = self.map.names(meaning).iter().flat_map(|name| self.values(name));
        values.filter_map(|value| std::str::from_utf8(value).ok()).map(str::trim).filter(|text| !text.is_empty())
    }

    fn first(&self, meaning: Meaning) -> Option<&'e str> {
        self.texts(meaning).next()
    }

    fn extend_lower(&self, meaning: Meaning, into: &mut Vec<Box<str>>) {
        for text in self.texts(meaning) {
            let text = text.to_lowercase().into_boxed_str();
            if !into.contains(&text) {
                into.push(text);
            }
        }
    }

    /// The address and, where the attribute has more values, those as alternates: inetOrgPerson lets
    /// `mail` have several.
    fn addresses(&self, what: &str) -> Result<(Box<str>, Vec<Box<str>>), BadEntry> {
        let mut addresses = Vec::new();
        self.extend_lower(Meaning::Mail, &mut addresses);
        let names = || self.map.names(Meaning::Mail).join(", ");
        if addresses.is_empty() {
            return Err(BadEntry(format!("the {what} has no address: no value of {}", names())));
        }
        let address = addresses.remove(0);
        if address.len() > LONGEST_ADDRESS {
            let start: String = address.chars().take(40).collect();
            let why = format!("`{start}…` in {} has {} bytes; accepted: {LONGEST_ADDRESS}", names(), address.len());
            return Err(BadEntry(why));
        }
        let parts = address.rsplit_once('@').filter(|(local, domain)| !local.is_empty() && !domain.is_empty());
        if parts.is_none() || address.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(BadEntry(format!("`{address}` in {} is no address; accepted: local@domain", names())));
        }
        Ok((address, addresses))
    }

    /// No single-valued attribute can be trusted to be one: 389 Directory Server ships `mailQuota` without
    /// SINGLE-VALUE, and two limits are no limit. An empty value is an absent one, as in Sun's own examples.
    fn single(&self, meaning: Meaning) -> Single {
        for name in self.map.names(meaning) {
            let mut values = self.values(name);
            let Some(value) = values.next() else { continue };
            let more = values.count();
            if more > 0 {
                return Err(format!("{name} has {} values; accepted: one", more + 1).into());
            }
            let text = std::str::from_utf8(value).map_err(|_| format!("the value of {name} is not UTF-8"))?;
            return Ok(Some(text.trim()).filter(|text| !text.is_empty()).map(Into::into));
        }
        Ok(None)
    }

    /// A status that cannot be read is `Inactive`, as any value is that the schema does not know: mail
    /// is deferred, and nothing is lost, until an admin has looked.
    fn status(&self, meaning: Meaning) -> Status {
        match self.single(meaning) {
            Ok(value) => value.map_or(Status::Active, |value| Status::read(&value)),
            Err(_) => Status::Inactive,
        }
    }

    fn id(&self, dn: &str) -> EntryId {
        let uuid = self.first(Meaning::Id).and_then(uuid);
        uuid.unwrap_or_else(|| id_of_dn(dn))
    }
}

fn uuid(text: &str) -> Option<EntryId> {
    let hex: String = text.split('-').collect();
    let is_uuid = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_uuid.then(|| u128::from_str_radix(&hex, 16).ok().map(EntryId)).flatten()
}

/// Names an entry by its DN, in any spelling. The ledger keeps ids, so this may never change: FNV-1a with
/// 128 bits (RFC 9923) over the normal spelling.
pub fn id_of_dn(dn: &str) -> EntryId {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let step = |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    EntryId(dn::normal(dn).bytes().fold(BASIS, step))
}

impl EntryReader {
    /// The attribute that holds `what`; `None` where the site has mapped it to nothing.
    pub fn attribute(&self, what: Writable) -> Option<&str> {
        let meaning = match what {
            Writable::UserStatus => Meaning::UserStatus,
            Writable::DomainStatus => Meaning::DomainStatus,
            Writable::Quota => Meaning::Quota,
            Writable::Messages => Meaning::Messages,
            Writable::OverFlag => return self.over_flag.as_deref(),
        };
        self.map.names(meaning).first().map(|name| &**name)
    }
}

/// Whether `a` and `b` are the same value of `what`. Statuses compare in any case, and an absent one is
/// `active`; the names in a quota tell cases apart; a flag compares in any case, and absent is absent.
pub fn same_value(what: Writable, a: Option<&str>, b: Option<&str>) -> bool {
    match what {
        Writable::UserStatus | Writable::DomainStatus => {
            let status = |value: Option<&str>| value.map_or("active", str::trim).to_ascii_lowercase();
            status(a) == status(b)
        }
        Writable::Quota | Writable::Messages => a.map(str::trim) == b.map(str::trim),
        Writable::OverFlag => match (a, b) {
            (Some(a), Some(b)) => a.trim().eq_ignore_ascii_case(b.trim()),
            (a, b) => a.is_none() && b.is_none(),
        },
    }
}

#[cfg(test)]
mod tests;
