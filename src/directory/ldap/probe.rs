//! Looking at a server for `doctor`: what it can do, what it knows, and what it lets us do. Changes nothing.

use std::collections::HashSet;

use ldap3::{Mod, Scope, SearchOptions};

use super::connection::{Connection, Fault, told};
use super::decode::Raw;
use super::server::connect;
use super::{Follow, LdapOptions};
use crate::account::{AccountEntry, Entry, Writable};
use crate::directory::Change;

const SYNCREPL: &str = "1.3.6.1.4.1.4203.1.9.1.1";
const PAGED: &str = "1.2.840.113556.1.4.319";

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// `Err` has what to do about it.
    pub outcome: Result<(), String>,
    pub what: String,
}

/// What was seen of one server.
#[derive(Debug, Default)]
pub struct Seen {
    pub findings: Vec<Probed>,
    /// Some account, to try other things with.
    pub example: Option<AccountEntry>,
}

impl Seen {
    fn fine(&mut self, what: impl Into<String>) {
        self.findings.push(Probed { outcome: Ok(()), what: what.into() });
    }

    fn wrong(&mut self, what: impl Into<String>, advice: impl Into<String>) {
        self.findings.push(Probed { outcome: Err(advice.into()), what: what.into() });
    }
}

/// Looks at the server at `url`.
pub async fn probe(options: &LdapOptions, url: &str) -> Seen {
    let mut seen = Seen::default();
    let connection = match connect(options, url).await {
        Ok(connection) => connection,
        Err(fault) => {
            seen.wrong(format!("{url}: {fault}"), advice(&fault));
            return seen;
        }
    };
    seen.fine(format!("{url}: connected and bound"));
    let looked = look(options, &connection, &mut seen).await;
    if let Err(fault) = looked {
        seen.wrong(format!("{url}: {fault}"), advice(&fault));
    }
    seen
}

fn advice(fault: &Fault) -> &'static str {
    match fault {
        Fault::Told(result) if result.rc == 49 => "check directory.bind_dn and the password",
        Fault::Told(result) if result.rc == 50 => "give the bind DN the rights in ldif/access.ldif",
        Fault::Told(result) if result.rc == 13 || result.rc == 8 => {
            "the server wants TLS: set directory.start_tls, or use ldaps://"
        }
        Fault::Told(_) => "see the server's log for the reason",
        Fault::Lost(_) => "check that the server runs and that directory.urls, start_tls and ca_file are right",
    }
}

async fn look(options: &LdapOptions, connection: &Connection, seen: &mut Seen) -> Result<(), Fault> {
    let root = connection.look("", "(objectClass=*)", &["supportedControl", "subschemaSubentry"]).await?;
    let root = root.unwrap_or_default();
    let has = |oid: &str| root.values("supportedControl").any(|known| known == oid.as_bytes());
    match (options.follow, has(SYNCREPL), has(PAGED)) {
        (Follow::Syncrepl, true, _) => seen.fine("the server tells of changes as they are made (RFC 4533)"),
        (Follow::Syncrepl, false, _) => seen.wrong(
            "the server does not tell of changes (RFC 4533), so it will be polled",
            "load the syncprov overlay (docs/openldap.md), or set directory.follow = \"poll\"",
        ),
        (Follow::Poll, _, true) => seen.fine("the server can be polled"),
        (Follow::Poll, _, false) => {
            seen.wrong("the server does not page results (RFC 2696)", "set directory.follow = \"syncrepl\"");
        }
    }
    let subschema = root.text("subschemaSubentry").unwrap_or("cn=Subschema");
    schema(options, connection, subschema, seen).await?;
    for base in &options.bases {
        search(options, connection, base, seen).await?;
    }
    match seen.example.clone() {
        Some(example) => rights(options, connection, &example, seen).await,
        None => {
            seen.wrong(
                "no account was found, so the rights to write could not be tried",
                "check directory.base, directory.user_filter, and the rights in ldif/access.ldif",
            );
            Ok(())
        }
    }
}

/// Whether the attributes that are asked for exist there.
async fn schema(options: &LdapOptions, connection: &Connection, subschema: &str, seen: &mut Seen) -> Result<(), Fault> {
    let schema = match connection.look(subschema, "(objectClass=subschema)", &["attributeTypes"]).await {
        Ok(Some(schema)) => schema,
        Ok(None) | Err(Fault::Told(_)) => {
            seen.wrong("the server's schema cannot be read", "let the bind DN read cn=Subschema");
            return Ok(());
        }
        Err(lost) => return Err(lost),
    };
    let known: HashSet<String> = schema.values("attributeTypes").flat_map(names).collect();
    let requested = options.reader.requested();
    let bare = |name: &str| name.split(';').next().unwrap_or_default().to_ascii_lowercase();
    let written = [Writable::UserStatus, Writable::DomainStatus, Writable::Quota, Writable::Messages];
    let needed: HashSet<&str> = written.iter().filter_map(|what| options.reader.attribute(*what)).collect();
    let (missing, absent): (Vec<&str>, Vec<&str>) = requested
        .iter()
        .map(|name| &**name)
        .filter(|name| !known.contains(&bare(name)))
        .partition(|name| needed.contains(name));
    if missing.is_empty() {
        seen.fine("the schema has the attributes for quotas and statuses");
    } else {
        seen.wrong(
            format!("the schema has no {}", missing.join(", ")),
            "load schema/mailquotad.ldif, or name this site's own attributes in [directory.attributes]",
        );
    }
    // Others are there for sites that have them.
    if !absent.is_empty() {
        seen.fine(format!("not in this server's schema, and taken as absent: {}", absent.join(", ")));
    }
    Ok(())
}

/// The names in an attribute type description (RFC 4512 section 4.1.2): `NAME 'a'` or `NAME ( 'a' 'b' )`.
fn names(description: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(description);
    let Some((_, rest)) = text.split_once(" NAME ") else { return Vec::new() };
    let rest = rest.trim_start();
    let list = match rest.strip_prefix('(') {
        Some(list) => list.split(')').next().unwrap_or_default(),
        None => &rest[..rest.match_indices('\'').nth(1).map_or(0, |(end, _)| end + 1)],
    };
    list.split('\'').skip(1).step_by(2).map(str::to_ascii_lowercase).collect()
}

/// Whether there is anything below a base.
async fn search(options: &LdapOptions, connection: &Connection, base: &str, seen: &mut Seen) -> Result<(), Fault> {
    if connection.look(base, "(objectClass=*)", &["1.1"]).await?.is_none() {
        seen.wrong(
            format!("{base}: there is no such entry, or it may not be read"),
            "check directory.base, and the rights in ldif/access.ldif",
        );
        return Ok(());
    }
    let filter = options.reader.user_filter.to_string();
    let mut ldap = connection.operation();
    ldap.with_search_options(SearchOptions::new().sizelimit(1));
    let found =
        ldap.search(base, Scope::Subtree, &filter, super::requested(options.reader.requested(), "entryUUID")).await?;
    let (entries, result) = (found.0, found.1);
    if !matches!(result.rc, 0 | 4) {
        return Err(Fault::Told(result));
    }
    let raw = entries.into_iter().filter(|entry| !entry.is_ref()).find_map(Raw::decode);
    match raw.as_ref().map(|raw| (raw, raw.change(&options.reader, None))) {
        Some((_, Change::Entry(Entry::Account(account)))) => {
            seen.fine(format!("{base}: accounts are found, such as {}", account.address));
            seen.example.get_or_insert(account);
        }
        Some((raw, Change::Bad { why, .. })) => {
            seen.wrong(format!("{}: {why}", raw.dn), "mend the entry; `mailquotad check` lists all such");
        }
        Some((raw, _)) => seen.wrong(
            format!("{}: it matches user_filter there, but not by what may be read of it", raw.dn),
            "let the bind DN read the attributes in directory.user_filter (ldif/access.ldif)",
        ),
        None => seen.fine(format!("{base}: no account lies below it")),
    }
    Ok(())
}

/// A value that no entry has.
const NOBODYS: &str = "mailquotad-doctor";

/// Tries to take away a value that is not there: a server looks at the rights first, so it says
/// insufficientAccessRights without them, and noSuchAttribute with them.
async fn rights(
    options: &LdapOptions,
    connection: &Connection,
    example: &AccountEntry,
    seen: &mut Seen,
) -> Result<(), Fault> {
    for what in [Writable::UserStatus, Writable::Quota, Writable::Messages] {
        let Some(attribute) = options.reader.attribute(what) else { continue };
        let one = HashSet::from([NOBODYS]);
        let change = vec![Mod::Delete(attribute, one)];
        let result = connection.operation().modify(&example.dn, change).await?;
        match result.rc {
            // noSuchAttribute; and invalidAttributeSyntax, for attributes that take numbers.
            16 | 21 => seen.fine(format!("{attribute} may be written")),
            10 => seen.fine(format!("{attribute} is written on another server: {}", result.refs.join(", "))),
            _ => {
                let advice = match (result.rc, what) {
                    (50, Writable::UserStatus) => "give the bind DN write access to it (ldif/access.ldif)",
                    (50, _) => "give the bind DN write access to it (ldif/access.ldif), or do without `mailquotad set`",
                    (18, _) => {
                        "it has no equality rule, so no value of it can be compared and set: give it one in the schema"
                    }
                    (17, _) => "load schema/mailquotad.ldif, or map the attribute in [directory.attributes]",
                    (53, _) => "the server takes no writes: add the one that does to directory.urls",
                    _ => "see the server's log for the reason",
                };
                seen.wrong(format!("{attribute} cannot be written: {}", told(&result)), advice);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn descriptions_name_attributes() {
        assert_eq!(names(b"( 1.2.3 NAME 'mailQuota' DESC 'it''s' SYNTAX 1.2 )"), ["mailquota"]);
        assert_eq!(names(b"( 2.5.4.4 NAME ( 'sn' 'surname' ) DESC 'RFC4519' SUP name )"), ["sn", "surname"]);
        assert!(names(b"( 1.2.3 DESC 'nameless' )").is_empty() && names(b"").is_empty());
    }
}
