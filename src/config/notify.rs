//! `[notify]`: what users and admins are told by mail, and how it leaves the house.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::mailer::Tls;
use crate::secret::Secret;
use crate::service::notify::words::{Language, Words};
use crate::wire::endpoint::Endpoint;
use crate::wire::notice::{Address, Sender, Template};

use super::reader::Section;
use super::words;

#[derive(Clone, Debug)]
pub struct Notify {
    pub enabled: bool,
    pub from: Sender,
    /// The envelope's sender; `None` is the null sender.
    pub sender: Option<Address>,
    /// Percent, rising, all below 100.
    pub thresholds: Vec<u32>,
    pub interval: Duration,
    /// A local part, or a whole address.
    pub postmaster: Option<String>,
    pub copies: bool,
    pub admins: Vec<Address>,
    /// For whoever has no language, or one without a file.
    pub template: Option<Template>,
    /// Files by the tag of their language, in lower case.
    pub templates: BTreeMap<String, PathBuf>,
    pub language_attribute: String,
    pub transport: Transport,
}

impl Notify {
    /// The texts that need no file.
    pub fn words(&self) -> Words {
        let mut words = Words { attribute: self.language_attribute.as_str().into(), ..Words::english() };
        if let Some(template) = &self.template {
            words.default = Language::of_template(template.clone());
        }
        words
    }
}

#[derive(Clone, Debug)]
pub struct Transport {
    pub kind: TransportKind,
    pub server: Endpoint,
    pub hello: String,
    pub timeout: Duration,
    pub tls: Tls,
    pub ca_file: Option<PathBuf>,
    pub login: Option<(String, Secret)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    Smtp,
    Lmtp,
}

pub(super) fn read(section: Section) -> Notify {
    let from: Sender = section.text("from", "Mail quota <postmaster@localhost>", words::parsed);
    let enabled = section.flag("enabled", false);
    if enabled && !section.is_set("from") {
        section.refuse(
            "from",
            "is missing; accepted: who notices are from, as in \"Mail quota <postmaster@example.org>\"",
        );
    }
    let sender = match section.optional("sender", envelope) {
        Some(sender) => sender,
        None => Some(from.address.clone()),
    };
    let mut thresholds = section.numbers("thresholds", &[80, 90, 95], 1..=100);
    thresholds.sort_unstable();
    thresholds.dedup();
    // At 100 the account is over, of which it is told in any case.
    thresholds.retain(|percent| *percent < 100);
    let notify = Notify {
        enabled,
        from,
        sender,
        thresholds,
        interval: section.text("interval", "7d", words::delay),
        postmaster: section.text("postmaster", "postmaster", postmaster),
        copies: section.flag("copies", false),
        admins: section.list("admins", &[], words::parsed),
        template: section.optional("template", one_line),
        language_attribute: section.text("language_attribute", "preferredLanguage", words::attribute),
        transport: read_transport(&section),
        templates: read_templates(section.section("templates")),
    };
    section.finish();
    notify
}

/// The null sender is written as in SMTP.
fn envelope(text: &str) -> Result<Option<Address>, String> {
    if text == "<>" { Ok(None) } else { words::parsed(text).map(Some) }
}

fn postmaster(text: &str) -> Result<Option<String>, String> {
    let whole = if text.contains('@') { text.to_owned() } else { format!("{text}@example.org") };
    match text {
        "nobody" => Ok(None),
        _ => words::parsed::<Address>(&whole).map(|_| Some(text.to_owned())),
    }
}

fn one_line(text: &str) -> Result<Template, String> {
    Template::one_line(text).map_err(|error| format!("{error} (each $ begins a new line)"))
}

fn read_templates(section: Section) -> BTreeMap<String, PathBuf> {
    let mut templates = BTreeMap::new();
    for language in section.names() {
        let tag = !language.is_empty() && language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !tag {
            section.refuse(&language, "is no language; accepted: a tag as in de or pt-BR");
        }
        if let Some(file) = section.optional(&language, words::absolute) {
            templates.insert(language.to_lowercase(), file);
        }
    }
    section.finish();
    templates
}

fn read_transport(section: &Section) -> Transport {
    let kinds = [("smtp", TransportKind::Smtp), ("lmtp", TransportKind::Lmtp)];
    let tls = [
        ("never", Tls::Never),
        ("offered", Tls::Offered),
        ("required", Tls::Required),
        ("from-the-start", Tls::FromTheStart),
    ];
    let kind = section.text("transport", "smtp", words::one_of(&kinds));
    let server: Endpoint = section.text("server", "127.0.0.1:25", words::parsed);
    if kind == TransportKind::Smtp && matches!(server, Endpoint::Unix(_)) {
        section.refuse("server", "is a unix socket, which goes with transport = \"lmtp\" only; accepted: host:port");
    }
    section.only(kind == TransportKind::Smtp, "transport = \"smtp\"");
    let tls = section.text("tls", "never", words::one_of(&tls));
    let ca_file = section.optional("ca_file", words::absolute);
    let user = section.optional("login", words::any);
    let text = section.secret("password").map(Secret::Text);
    let file = section.optional("password_file", words::absolute).map(Secret::File);
    section.always();
    if text.is_some() && file.is_some() {
        section.refuse("password_file", "is set beside password; accepted: one of the two");
    }
    let password = text.or(file);
    let missing = match (&user, &password) {
        (Some(_), None) => Some("password_file"),
        (None, Some(_)) => Some("login"),
        _ => None,
    };
    // One that is there and no good has been told of.
    let is_told = section.is_set("login") && (section.is_set("password") || section.is_set("password_file"));
    if let Some(missing) = missing.filter(|_| !is_told) {
        section.refuse(missing, "is missing; accepted: login with password or password_file, or neither");
    }
    if user.is_some() && matches!(tls, Tls::Never | Tls::Offered) && !is_here(&server) {
        let accepted = "accepted with login: required, from-the-start";
        section.refuse(
            "tls",
            match tls {
                Tls::Never => format!("is never, so the password would travel in the clear; {accepted}"),
                // Whoever sits between can take the offer out.
                _ => format!("is offered, so the password would travel in the clear where nothing is; {accepted}"),
            },
        );
    }
    Transport {
        kind,
        server,
        hello: section.text("hello", "localhost", hello),
        timeout: section.text("timeout", "30s", words::delay),
        tls,
        ca_file,
        login: user.zip(password),
    }
}

/// Whether what is sent there stays on this machine.
fn is_here(server: &Endpoint) -> bool {
    match server {
        Endpoint::Unix(_) => true,
        Endpoint::Tcp { host, .. } => {
            **host == *"localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

fn hello(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.[]:".contains(&b));
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("`{text}` is no name of a host; accepted: as in mail.example.org"))
}
