//! The keys of `[mailstore]` that begin with `imap_`: which server is asked what mailboxes hold, and as whom.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::mailstore::imap::{Login, Tls};
use crate::secret::Secret;
use crate::wire::endpoint::Endpoint;
use crate::wire::imap::command;
use crate::wire::template::Template;

use super::reader::Section;
use super::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imap {
    pub host: Box<str>,
    pub port: u16,
    pub tls: Tls,
    pub ca_file: Option<PathBuf>,
    /// Whose mailbox it is, as the server names users.
    pub user: Template,
    pub master: String,
    pub password: Secret,
    pub login: Login,
    pub login_name: String,
    pub timeout: Duration,
}

/// `None` where mailboxes are asked for in another way, or where something is missing, which is told.
pub(super) fn read(section: &Section, wanted: bool) -> Option<Imap> {
    let tls = [("never", Tls::Never), ("required", Tls::Required), ("from-the-start", Tls::FromTheStart)];
    let logins = [("auto", Login::Auto), ("plain", Login::Plain), ("login", Login::Login)];
    let (host, port) = section.text("imap_server", "127.0.0.1:993", server);
    let tls = section.text("imap_tls", "from-the-start", words::one_of(&tls));
    let ca_file = section.optional("imap_ca_file", words::absolute);
    let user = section.text("imap_user", "%u", |text| Template::name(text).map_err(|error| error.to_string()));
    let master = section.optional("imap_master", words::any);
    let text = section.secret("imap_password").map(Secret::Text);
    let file = section.optional("imap_password_file", words::absolute).map(Secret::File);
    let login = section.text("imap_login", "auto", words::one_of(&logins));
    let login_name = section.text("imap_login_name", "%u*%m", login_name);
    let timeout = section.text("imap_timeout", "2m", words::delay);
    if !wanted {
        return None;
    }
    if master.is_none() {
        section.require("imap_master", "the user who may open everybody's mailbox, as in \"mailquotad\"");
    }
    if text.is_some() == file.is_some() {
        section.refuse("imap_password_file", "must be set, or imap_password; accepted: one of the two");
    }
    if tls == Tls::Never && !is_here(&host) {
        let why = "is never, so a password that opens all mailboxes would travel in the clear; accepted: required, \
                   from-the-start";
        section.refuse("imap_tls", why);
    }
    Some(Imap { host, port, tls, ca_file, user, master: master?, password: text.or(file)?, login, login_name, timeout })
}

fn server(text: &str) -> Result<(Box<str>, u16), String> {
    match text.parse() {
        Ok(Endpoint::Tcp { host, port }) if port != 0 => Ok((host, port)),
        Ok(_) => Err(format!("`{text}` is no server; accepted: host:port, as in imap.example.org:993")),
        Err(error) => Err(error.to_string()),
    }
}

/// Every user must have a name of his own in it.
fn login_name(text: &str) -> Result<String, String> {
    let told_apart = command::login_name(text, "a", "m") != command::login_name(text, "b", "m");
    match told_apart && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` names no user; accepted: %u for the user, %m for imap_master, %% for a percent sign, as in %u*%m"
        )),
    }
}

/// Whether what is sent there stays on this machine.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
