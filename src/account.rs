//! What a directory says: accounts, domains and groups, and their statuses. No attribute names (those
//! stand in `directory/entry.rs`) and no usage.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The statuses of the Sun schema. An absent attribute is `Active`; a value that is none of these
/// counts as `Inactive`, as in the original.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    #[default]
    Active,
    Inactive,
    Disabled,
    Deleted,
    Hold,
    OverQuota,
    Removed,
}

impl Status {
    const ALL: [Status; 7] = [
        Status::Active,
        Status::Inactive,
        Status::Disabled,
        Status::Deleted,
        Status::Hold,
        Status::OverQuota,
        Status::Removed,
    ];

    /// The value as the directory holds it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Inactive => "inactive",
            Status::Disabled => "disabled",
            Status::Deleted => "deleted",
            Status::Hold => "hold",
            Status::OverQuota => "overquota",
            Status::Removed => "removed",
        }
    }

    pub fn read(value: &str) -> Status {
        let same = |status: &Status| status.as_str().eq_ignore_ascii_case(value.trim());
        Status::ALL.into_iter().find(same).unwrap_or(Status::Inactive)
    }
}

/// Which attribute a status comes from, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusAttribute {
    InetDomain,
    MailDomain,
    InetUser,
    MailUser,
}

impl StatusAttribute {
    pub const fn is_domain(self) -> bool {
        matches!(self, StatusAttribute::InetDomain | StatusAttribute::MailDomain)
    }

    /// The attribute's name in the Sun schema; a site may have mapped it to another.
    pub const fn as_str(self) -> &'static str {
        match self {
            StatusAttribute::InetDomain => "inetDomainStatus",
            StatusAttribute::MailDomain => "mailDomainStatus",
            StatusAttribute::InetUser => "inetUserStatus",
            StatusAttribute::MailUser => "mailUserStatus",
        }
    }
}

/// The four statuses that bear on one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    pub inet_domain: Status,
    pub mail_domain: Status,
    pub inet_user: Status,
    pub mail_user: Status,
}

impl Statuses {
    pub fn first_not_active(&self) -> Option<(StatusAttribute, Status)> {
        [
            (StatusAttribute::InetDomain, self.inet_domain),
            (StatusAttribute::MailDomain, self.mail_domain),
            (StatusAttribute::InetUser, self.inet_user),
            (StatusAttribute::MailUser, self.mail_user),
        ]
        .into_iter()
        .find(|(_, status)| *status != Status::Active)
    }
}

/// Names an entry for as long as it lives: the entryUUID, or a hash of the normalised DN where the
/// directory has no such thing. Packed, because what an alignment of 16 bytes adds to every account is lost.
#[repr(Rust, packed(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId(pub u128);

/// The value of a single-valued attribute: absent, one, or unusable with the reason.
pub type Single = Result<Option<Box<str>>, Box<str>>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    Account(AccountEntry),
    Domain(DomainEntry),
    Group(GroupEntry),
}

impl Entry {
    pub fn id(&self) -> EntryId {
        match self {
            Entry::Account(entry) => entry.id,
            Entry::Domain(entry) => entry.id,
            Entry::Group(entry) => entry.id,
        }
    }
}

/// One mail user. Addresses are in lower case, as they are compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountEntry {
    pub id: EntryId,
    pub dn: Box<str>,
    pub address: Box<str>,
    pub alternates: Vec<Box<str>>,
    /// Addresses that mail for this account goes to instead or as well.
    pub forwards: Vec<Box<str>>,
    pub inet_status: Status,
    pub mail_status: Status,
    pub quota: Single,
    pub messages: Single,
    /// Rules in Dovecot's syntax.
    pub rules: Vec<Box<str>>,
    /// The attributes that the mail store's path template asks for.
    pub attributes: BTreeMap<Box<str>, Box<str>>,
}

/// One mail domain. `user_quota` and `user_messages` are the defaults of its accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainEntry {
    pub id: EntryId,
    pub dn: Box<str>,
    pub name: Box<str>,
    pub inet_status: Status,
    pub mail_status: Status,
    pub quota: Single,
    pub messages: Single,
    pub user_quota: Single,
    pub user_messages: Single,
}

/// An address that leads to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    pub id: EntryId,
    pub dn: Box<str>,
    pub address: Box<str>,
    pub alternates: Vec<Box<str>>,
    pub members: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Member {
    Address(Box<str>),
    Dn(Box<str>),
}

/// The part of an address after the last `@`; empty where there is none.
pub fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

/// The attributes that mailquotad can write. Only quotas that an admin asks for, statuses between `active` and
/// `overquota`, and the over-quota flag where the site has one are ever written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Writable {
    UserStatus,
    DomainStatus,
    Quota,
    Messages,
    OverFlag,
}

impl fmt::Display for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Writable::UserStatus => "mailUserStatus",
            Writable::DomainStatus => "mailDomainStatus",
            Writable::Quota => "mailQuota",
            Writable::Messages => "mailMsgQuota",
            Writable::OverFlag => "over-quota flag",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_status_that_is_not_active_wins() {
        let statuses = Statuses { mail_user: Status::Disabled, mail_domain: Status::Hold, ..Statuses::default() };
        assert_eq!(statuses.first_not_active(), Some((StatusAttribute::MailDomain, Status::Hold)));
        assert_eq!(Statuses::default().first_not_active(), None);
    }

    #[test]
    fn statuses_are_read_in_any_case_and_nonsense_is_inactive() {
        assert_eq!(Status::read("OverQuota"), Status::OverQuota);
        assert_eq!(Status::read("asleep"), Status::Inactive);
    }
}
