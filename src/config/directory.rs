//! `[directory]`: where limits and statuses come from, and what their attributes are called.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use super::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    pub source: DirectorySource,
    pub user_filter: String,
    pub domain_filter: String,
    pub group_filter: String,
    /// How often a source that cannot tell of changes is looked at.
    pub poll_interval: Duration,
    pub attributes: Attributes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectorySource {
    Ldif { file: PathBuf },
    Ldap(Ldap),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ldap {
    /// In fail-over order.
    pub urls: Vec<String>,
    /// `None` binds anonymously.
    pub bind: Option<Bind>,
    pub ca_file: Option<PathBuf>,
    pub start_tls: bool,
    /// For one operation.
    pub timeout: Duration,
    pub bases: Vec<String>,
    pub follow: Follow,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub dn: String,
    pub password: Password,
}

/// Never printed, not even by a debugger's format.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    Text(String),
    /// Read when it is needed, so that it may be changed without a restart.
    File(PathBuf),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Password::Text(_) => f.write_str("Text(hidden)"),
            Password::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// RFC 4533, refreshAndPersist.
    Syncrepl,
    Poll,
}

/// The attributes of each meaning. Several names: values of all of them for `alternates`, `forwards`,
/// `members`, `member_dns` and `rules`, the first that is present for the others. None: not in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// A UUID that stays when the entry is renamed.
    pub id: Vec<String>,
    pub mail: Vec<String>,
    pub alternates: Vec<String>,
    pub forwards: Vec<String>,
    pub quota: Vec<String>,
    pub messages: Vec<String>,
    pub rules: Vec<String>,
    pub user_status: Vec<String>,
    pub inet_user_status: Vec<String>,
    pub domain_name: Vec<String>,
    pub domain_status: Vec<String>,
    pub inet_domain_status: Vec<String>,
    pub domain_quota: Vec<String>,
    pub domain_messages: Vec<String>,
    /// Defaults that a domain sets for its accounts.
    pub domain_user_quota: Vec<String>,
    pub domain_user_messages: Vec<String>,
    /// Of groups: addresses, and DNs.
    pub members: Vec<String>,
    pub member_dns: Vec<String>,
}

/// A ready-made mapping for a schema that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preset {
    Sun,
    QmailLdap,
    QuotaBytes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ldif,
    Ldap,
}

const GROUPS: &str = "(|(objectClass=inetMailGroup)(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))";

pub(super) fn read(section: Section) -> Directory {
    let kind = section.text("kind", "ldap", words::one_of(&[("ldap", Kind::Ldap), ("ldif", Kind::Ldif)]));
    section.only(kind == Kind::Ldif, "kind = \"ldif\"");
    let file = section.required("file", "the absolute path of the LDIF file", words::absolute);
    section.only(kind == Kind::Ldap, "kind = \"ldap\"");
    let ldap = read_ldap(&section);
    section.always();
    let poll_interval = section.text("poll_interval", if kind == Kind::Ldap { "1m" } else { "200ms" }, words::delay);
    let (preset, attributes) = read_attributes(section.section("attributes"));
    let directory = Directory {
        source: match kind {
            Kind::Ldif => DirectorySource::Ldif { file: file.unwrap_or_default() },
            Kind::Ldap => DirectorySource::Ldap(ldap),
        },
        user_filter: section.text("user_filter", preset.user_filter(), words::filter),
        domain_filter: section.text("domain_filter", "(objectClass=mailDomain)", words::filter),
        group_filter: section.text("group_filter", GROUPS, words::filter),
        poll_interval,
        attributes,
    };
    section.finish();
    directory
}

fn read_ldap(section: &Section) -> Ldap {
    let urls = section.list("urls", &["ldap://127.0.0.1:389"], words::ldap_url);
    if urls.is_empty() {
        section.refuse("urls", "is empty; accepted: one address or several, in fail-over order");
    }
    let start_tls = section.flag("start_tls", false);
    if start_tls && urls.iter().any(|url| url.starts_with("ldaps:")) {
        section.refuse("start_tls", "does not go with ldaps://; accepted: one of the two");
    }
    let dn = section.optional("bind_dn", words::any);
    let text = section.secret("bind_password").map(Password::Text);
    let file = section.optional("bind_password_file", words::absolute).map(Password::File);
    if text.is_some() && file.is_some() {
        section.refuse("bind_password_file", "is set beside bind_password; accepted: one of the two");
    }
    let password = text.or(file);
    if dn.is_some() != password.is_some() {
        let missing = if dn.is_some() { "bind_password_file" } else { "bind_dn" };
        section.refuse(missing, "is missing; accepted: bind_dn with bind_password or bind_password_file, or neither");
    }
    let bind = dn.zip(password).map(|(dn, password)| Bind { dn, password });
    let bases = section.list("base", &[], words::any);
    if bases.is_empty() {
        section.require("base", "where users and domains are, as in \"dc=example,dc=org\", or a list");
    }
    Ldap {
        urls,
        bind,
        ca_file: section.optional("ca_file", words::absolute),
        start_tls,
        timeout: section.text("timeout", "10s", words::delay),
        bases,
        follow: section.text(
            "follow",
            "syncrepl",
            words::one_of(&[("syncrepl", Follow::Syncrepl), ("poll", Follow::Poll)]),
        ),
    }
}

impl Preset {
    const WORDS: [(&'static str, Preset); 3] =
        [("sun", Preset::Sun), ("qmail-ldap", Preset::QmailLdap), ("quotaBytes", Preset::QuotaBytes)];

    const fn user_filter(self) -> &'static str {
        match self {
            Preset::Sun => "(objectClass=inetMailUser)",
            Preset::QmailLdap => "(objectClass=qmailUser)",
            Preset::QuotaBytes => "(&(objectClass=inetOrgPerson)(mail=*))",
        }
    }

    const fn quota(self) -> &'static str {
        match self {
            Preset::Sun => "mailQuota",
            Preset::QmailLdap => "mailQuotaSize",
            Preset::QuotaBytes => "quotaBytes",
        }
    }

    const fn messages(self) -> &'static [&'static str] {
        match self {
            Preset::Sun => &["mailMsgQuota"],
            Preset::QmailLdap => &["mailQuotaCount"],
            Preset::QuotaBytes => &[],
        }
    }
}

fn read_attributes(section: Section) -> (Preset, Attributes) {
    let preset = section.text("preset", "sun", words::one_of(&Preset::WORDS));
    let names = |key: &str, default: &[&str]| section.list(key, default, words::attribute);
    let attributes = Attributes {
        id: names("id", &["entryUUID"]),
        mail: names("mail", &["mail"]),
        alternates: names("alternates", &["mailAlternateAddress", "mailEquivalentAddress"]),
        forwards: names("forwards", &["mailForwardingAddress"]),
        quota: names("quota", &[preset.quota()]),
        messages: names("messages", preset.messages()),
        rules: names("rules", &[]),
        user_status: names("user_status", &["mailUserStatus"]),
        inet_user_status: names("inet_user_status", &["inetUserStatus"]),
        domain_name: names("domain_name", &["associatedDomain", "sunPreferredDomain"]),
        domain_status: names("domain_status", &["mailDomainStatus"]),
        inet_domain_status: names("inet_domain_status", &["inetDomainStatus"]),
        domain_quota: names("domain_quota", &["mailDomainDiskQuota"]),
        domain_messages: names("domain_messages", &["mailDomainMsgQuota"]),
        domain_user_quota: names("domain_user_quota", &[preset.quota()]),
        domain_user_messages: names("domain_user_messages", preset.messages()),
        members: names("members", &["mgrpRFC822MailMember"]),
        member_dns: names("member_dns", &["member", "uniqueMember"]),
    };
    if attributes.mail.is_empty() {
        section.refuse("mail", "is empty; accepted: the attribute that holds an account's address");
    }
    section.finish();
    (preset, attributes)
}
