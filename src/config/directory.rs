//! `[directory]`: where limits and statuses come from, and what their attributes are called.

use std::path::PathBuf;
use std::time::Duration;

use crate::directory::entry::{AttributeMap, EntryReader, Meaning, Preset};
use crate::secret::Secret;

use super::reader::Section;
use super::words;

#[derive(Clone, Debug)]
pub struct Directory {
    pub source: DirectorySource,
    /// Which entries count, and what their attributes mean.
    pub reader: EntryReader,
    /// How often a source that cannot tell of changes is looked at.
    pub poll_interval: Duration,
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
    /// Binds by SASL EXTERNAL instead.
    pub sasl_external: bool,
    pub ca_file: Option<PathBuf>,
    /// Certificate and key to show over TLS.
    pub identity: Option<(PathBuf, PathBuf)>,
    pub start_tls: bool,
    /// For one operation.
    pub timeout: Duration,
    pub bases: Vec<String>,
    pub follow: Follow,
    /// How often a server that is polled is read as a whole.
    pub compare_interval: Duration,
    pub writes_per_second: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub dn: String,
    pub password: Secret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// RFC 4533, refreshAndPersist.
    Syncrepl,
    Poll,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ldif,
    Ldap,
}

/// `template` holds the attributes that the mail store's path names.
pub(super) fn read(section: Section, template: Vec<Box<str>>, over_flag: Option<Box<str>>) -> Directory {
    let kind = section.text("kind", "ldap", words::one_of(&[("ldap", Kind::Ldap), ("ldif", Kind::Ldif)]));
    section.only(kind == Kind::Ldif, "kind = \"ldif\"");
    let file = section.required("file", "the absolute path of the LDIF file", words::absolute);
    section.only(kind == Kind::Ldap, "kind = \"ldap\"");
    let ldap = read_ldap(&section);
    section.always();
    let source = match kind {
        Kind::Ldif => DirectorySource::Ldif { file: file.unwrap_or_default() },
        Kind::Ldap => DirectorySource::Ldap(ldap),
    };
    let poll_interval = section.text("poll_interval", if kind == Kind::Ldap { "1m" } else { "200ms" }, words::delay);
    let (preset, map) = read_attributes(section.section("attributes"));
    let filter = |key: &str, default: String| section.text(key, &default, words::filter);
    let reader = EntryReader {
        map,
        user_filter: filter("user_filter", preset.user_filter().to_string()),
        domain_filter: filter("domain_filter", preset.domain_filter().to_string()),
        group_filter: filter("group_filter", preset.group_filter().to_string()),
        template,
        over_flag,
    };
    section.finish();
    Directory { source, reader, poll_interval }
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
    let text = section.secret("bind_password").map(Secret::Text);
    let file = section.optional("bind_password_file", words::absolute).map(Secret::File);
    if text.is_some() && file.is_some() {
        section.refuse("bind_password_file", "is set beside bind_password; accepted: one of the two");
    }
    let password = text.or(file);
    let missing = match (&dn, &password) {
        (Some(_), None) => Some("bind_password_file"),
        (None, Some(_)) => Some("bind_dn"),
        _ => None,
    };
    // One that is there and no good has been told of.
    let is_told =
        section.is_set("bind_dn") && (section.is_set("bind_password") || section.is_set("bind_password_file"));
    if let Some(missing) = missing.filter(|_| !is_told) {
        section.refuse(missing, "is missing; accepted: bind_dn with bind_password or bind_password_file, or neither");
    }
    let sasl_external = section.flag("sasl_external", false);
    if sasl_external && dn.is_some() {
        section.refuse("sasl_external", "does not go with bind_dn; accepted: one of the two");
    }
    let certificate = section.optional("certificate_file", words::absolute);
    let key = section.optional("key_file", words::absolute);
    if certificate.is_some() != key.is_some() {
        let missing = if key.is_some() { "certificate_file" } else { "key_file" };
        section.refuse(missing, "is missing; accepted: certificate_file with key_file, or neither");
    }
    let bind = dn.zip(password).map(|(dn, password)| Bind { dn, password });
    let bases = section.list("base", &[], words::any);
    if bases.is_empty() {
        section.require("base", "where users and domains are, as in \"dc=example,dc=org\", or a list");
    }
    Ldap {
        urls,
        bind,
        sasl_external,
        identity: certificate.zip(key),
        ca_file: section.optional("ca_file", words::absolute),
        start_tls,
        timeout: section.text("timeout", "10s", words::delay),
        bases,
        follow: section.text(
            "follow",
            "syncrepl",
            words::one_of(&[("syncrepl", Follow::Syncrepl), ("poll", Follow::Poll)]),
        ),
        compare_interval: section.text("compare_interval", "1h", words::delay),
        writes_per_second: section.number("writes_per_second", 500, 1..=1_000_000),
    }
}

fn read_attributes(section: Section) -> (Preset, AttributeMap) {
    let preset = |text: &str| {
        Preset::named(text).ok_or_else(|| format!("`{text}` is not accepted; accepted: sun, qmail-ldap, quotaBytes"))
    };
    let preset = section.text("preset", "sun", preset);
    let defaults = AttributeMap::new(preset);
    let mut map = defaults.clone();
    for (key, _) in Meaning::keys() {
        let default: Vec<&str> = defaults.of_key(key).iter().map(|name| &**name).collect();
        let names = section.list(key, &default, words::attribute);
        if names.is_empty() && key == "mail" {
            section.refuse(key, "is empty; accepted: the attribute that holds an account's address");
        }
        // Its own keys are known to it.
        let _ = map.set(key, names);
    }
    section.finish();
    (preset, map)
}
