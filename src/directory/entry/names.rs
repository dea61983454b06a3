//! Which attributes carry which meaning, and the presets for the usual schemas.

use crate::wire::filter::Filter;

/// What an attribute is for. Its key is what a site writes in `[directory.attributes]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meaning {
    Id,
    Mail,
    Alternates,
    Forwards,
    Quota,
    Messages,
    Rules,
    UserStatus,
    InetUserStatus,
    DomainName,
    DomainStatus,
    InetDomainStatus,
    DomainQuota,
    DomainMessages,
    DomainUserQuota,
    DomainUserMessages,
    MemberAddress,
    MemberDn,
}

impl Meaning {
    /// Each with its key, what it is, and its attributes in the Sun schema.
    const TABLE: [(Meaning, &str, &str, &[&str]); 18] = [
        (Meaning::Id, "id", "a UUID that stays when the entry is renamed", &["entryUUID"]),
        (Meaning::Mail, "mail", "the address; further values count as alternates", &["mail"]),
        (Meaning::Alternates, "alternates", "further addresses", &["mailAlternateAddress", "mailEquivalentAddress"]),
        (Meaning::Forwards, "forwards", "addresses that mail is sent on to", &["mailForwardingAddress"]),
        (Meaning::Quota, "quota", "an account's size limits", &["mailQuota"]),
        (Meaning::Messages, "messages", "an account's message limits", &["mailMsgQuota"]),
        (Meaning::Rules, "rules", "quota rules in Dovecot's syntax", &[]),
        (Meaning::UserStatus, "user_status", "the mail status of an account, written", &["mailUserStatus"]),
        (Meaning::InetUserStatus, "inet_user_status", "the status of a person, read only", &["inetUserStatus"]),
        (
            Meaning::DomainName,
            "domain_name",
            "the name of a domain; else the dc parts of its dn",
            &["associatedDomain", "sunPreferredDomain"],
        ),
        (Meaning::DomainStatus, "domain_status", "the mail status of a domain, written", &["mailDomainStatus"]),
        (Meaning::InetDomainStatus, "inet_domain_status", "the status of a domain, read only", &["inetDomainStatus"]),
        (Meaning::DomainQuota, "domain_quota", "the size limit of a domain as a whole", &["mailDomainDiskQuota"]),
        (Meaning::DomainMessages, "domain_messages", "the message limit of a domain", &["mailDomainMsgQuota"]),
        (Meaning::DomainUserQuota, "domain_user_quota", "the default size limits of its users", &["mailQuota"]),
        (
            Meaning::DomainUserMessages,
            "domain_user_messages",
            "the default message limits of its users",
            &["mailMsgQuota"],
        ),
        (Meaning::MemberAddress, "member_addresses", "members of a group by address", &["mgrpRFC822MailMember"]),
        (Meaning::MemberDn, "members", "members of a group by DN", &["member", "uniqueMember"]),
    ];

    /// The keys of `[directory.attributes]`, each with what it is for.
    pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
        Meaning::TABLE.iter().map(|(_, key, what, _)| (*key, *what))
    }
}

/// The attributes of the usual schemas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// Sun and Oracle Messaging Server, and `schema/` of this package.
    #[default]
    Sun,
    /// qmail-ldap: plain numbers in `mailQuotaSize` (bytes) and `mailQuotaCount`, users of class
    /// `qmailUser`. Its `accountStatus` is left alone: other programs read it and would not know
    /// `overquota`, and its `noaccess` still takes mail. So statuses stay in `mailUserStatus`, which the
    /// class inetMailUser brings.
    QmailLdap,
    /// One number of bytes in `quotaBytes`, as in Dovecot's LDAP examples, users of class
    /// `inetOrgPerson` with an address. No message limits.
    QuotaBytes,
}

impl Preset {
    const NAMES: [(&str, Preset); 3] =
        [("sun", Preset::Sun), ("qmail-ldap", Preset::QmailLdap), ("quotaBytes", Preset::QuotaBytes)];

    /// By the name that the configuration uses.
    pub fn named(name: &str) -> Option<Preset> {
        Preset::NAMES.iter().find(|(known, _)| *known == name).map(|(_, preset)| *preset)
    }

    pub fn user_filter(self) -> Filter {
        match self {
            Preset::Sun => Filter::equal("objectClass", "inetMailUser"),
            Preset::QmailLdap => Filter::equal("objectClass", "qmailUser"),
            Preset::QuotaBytes => {
                Filter::And(vec![Filter::equal("objectClass", "inetOrgPerson"), Filter::present("mail")])
            }
        }
    }

    pub fn domain_filter(self) -> Filter {
        Filter::equal("objectClass", "mailDomain")
    }

    pub fn group_filter(self) -> Filter {
        let classes = ["inetMailGroup", "groupOfNames", "groupOfUniqueNames"];
        Filter::Or(classes.into_iter().map(|class| Filter::equal("objectClass", class)).collect())
    }
}

/// The attributes of each meaning, in order: of a single value the first attribute that is there counts
/// and the first in the list is written; of several values all count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeMap {
    names: Vec<(Meaning, Vec<Box<str>>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no meaning of an attribute; accepted: {accepted}", accepted = Meaning::keys().map(|(key, _)| key).collect::<Vec<_>>().join(", "))]
pub struct UnknownMeaning(pub String);

impl AttributeMap {
    pub fn new(preset: Preset) -> AttributeMap {
        let names = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect();
        let sun = Meaning::TABLE.iter().map(|(meaning, _, _, attributes)| (*meaning, names(attributes)));
        let mut map = AttributeMap { names: sun.collect() };
        match preset {
            Preset::Sun => {}
            Preset::QmailLdap => {
                map.put(Meaning::Quota, names(&["mailQuotaSize"]));
                map.put(Meaning::Messages, names(&["mailQuotaCount"]));
            }
            Preset::QuotaBytes => {
                map.put(Meaning::Quota, names(&["quotaBytes"]));
                map.put(Meaning::Messages, Vec::new());
            }
        }
        map
    }

    /// Maps the meaning with that key to attributes of the site's own; none at all turns it off.
    pub fn set<N: Into<Box<str>>>(
        &mut self,
        key: &str,
        names: impl IntoIterator<Item = N>,
    ) -> Result<(), UnknownMeaning> {
        let known = Meaning::TABLE.iter().find(|(_, known, _, _)| *known == key);
        let (meaning, ..) = known.ok_or_else(|| UnknownMeaning(key.to_owned()))?;
        self.put(*meaning, names.into_iter().map(Into::into).collect());
        Ok(())
    }

    pub fn names(&self, meaning: Meaning) -> &[Box<str>] {
        self.names.iter().find(|(known, _)| *known == meaning).map_or(&[], |(_, names)| names)
    }

    /// The attributes of the meaning with that key; none where no meaning has it.
    pub fn of_key(&self, key: &str) -> &[Box<str>] {
        let known = Meaning::TABLE.iter().find(|(_, known, _, _)| *known == key);
        known.map_or(&[], |(meaning, ..)| self.names(*meaning))
    }

    /// Every attribute of every meaning; one may come twice.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.names.iter().flat_map(|(_, names)| names).map(|name| &**name)
    }

    pub fn all_but(&self, meaning: Meaning) -> impl Iterator<Item = &str> {
        let others = self.names.iter().filter(move |(known, _)| *known != meaning);
        others.flat_map(|(_, names)| names).map(|name| &**name)
    }

    fn put(&mut self, meaning: Meaning, names: Vec<Box<str>>) {
        self.names.retain(|(known, _)| *known != meaning);
        self.names.push((meaning, names));
    }
}
