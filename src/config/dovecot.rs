//! `[dovecot]`: the dict server, and how Dovecot names users and folders.

use crate::wire::endpoint::Endpoint;

use super::policy::SocketAccess;
use super::reader::Section;
use super::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dovecot {
    /// Nowhere: there is no dict server.
    pub listen: Vec<Endpoint>,
    pub access: SocketAccess,
    pub max_connections: usize,
    /// What a user without a domain is in.
    pub default_domain: Option<String>,
    /// What stands between the levels of a folder's name.
    pub separator: char,
    /// What stands before the names of folders, with its separator.
    pub prefix: String,
    /// What the names of folders begin with that are not the user's own.
    pub foreign: Vec<String>,
    /// System users whose processes may set limits.
    pub limit_setters: Vec<String>,
}

pub(super) fn read(section: Section) -> Dovecot {
    let dovecot = Dovecot {
        listen: section.list("listen", &[], words::parsed),
        access: SocketAccess::read(&section),
        max_connections: section.number("max_connections", 1000, 1..=65_535) as usize,
        default_domain: section.optional("default_domain", domain),
        separator: section.text("separator", "/", separator),
        prefix: section.optional("prefix", words::any).unwrap_or_default(),
        foreign: section.list("foreign", &[], words::any),
        limit_setters: section.list("limit_setters", &[], words::user),
    };
    section.finish();
    dovecot
}

fn separator(text: &str) -> Result<char, String> {
    match text {
        "/" | "." => Ok(text.chars().next().unwrap_or('/')),
        _ => Err(format!("`{}` is no separator; accepted: / or .", text.escape_debug())),
    }
}

fn domain(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_alphanumeric() || c == '.' || c == '-';
    match !text.is_empty() && text.chars().all(plain) {
        true => Ok(text.to_lowercase()),
        false => Err(format!("`{}` is no domain; accepted: a domain, as in example.org", text.escape_debug())),
    }
}
