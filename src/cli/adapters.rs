//! From the configuration to the adapters: which directory, which ledger, which mail store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::alarm::{Alarms, Outside};
use crate::config::{self, Config, DirectorySource, StoreKind, TransportKind};
use crate::directory::Directory;
use crate::directory::ldap::{Bind, Follow, LdapDirectory, LdapOptions, Tls};
use crate::directory::ldif::{LdifDirectory, LdifOptions};
use crate::ledger::{SledLedger, SledOptions};
use crate::mailer::{LmtpMailer, LmtpOptions, Login, Mailer, SmtpMailer, SmtpOptions};
use crate::mailqueue::{Command, CommandOptions, Either, MailQueue, Showq, ShowqOptions, Watch, WatchOptions};
use crate::mailstore::doveadm::{DoveadmLogin, DoveadmOptions, DoveadmStore};
use crate::mailstore::imap::{self, ImapOptions, ImapStore};
use crate::mailstore::maildir::{self, MaildirOptions, MaildirStore};
use crate::mailstore::remote::{FolderNames, Server};
use crate::mailstore::{MailStore, Paths, ReportedStore, Stop, WatchError};
use crate::quota::Units;
use crate::service;
use crate::service::notify::words::Language;
use crate::service::settings::Settings;
use crate::service::watch::OpenWatch;
use crate::unixquota::{self, FileSystems, UnixQuotas};
use crate::wire::endpoint::Endpoint;

pub fn open_ledger(config: &Config) -> Result<SledLedger> {
    let options = SledOptions { cache_bytes: config.ledger.cache, ..SledOptions::default() };
    Ok(SledLedger::open_with(&config.ledger.path, &options)?)
}

pub fn directory(config: &Config) -> Result<Arc<dyn Directory>> {
    let options = &config.directory;
    match &options.source {
        DirectorySource::Ldif { file } => {
            let mut ldif = LdifOptions::new(file, options.reader.clone());
            ldif.poll = options.poll_interval;
            Ok(Arc::new(LdifDirectory::new(ldif)))
        }
        DirectorySource::Ldap(source) => {
            // Quotas are kept as they were understood.
            let meaning = if config.quota.units == Units::Decimal { "decimal units" } else { "" };
            Ok(Arc::new(LdapDirectory::new(LdapOptions { meaning, ..ldap(options, source) })))
        }
    }
}

pub fn ldap(options: &config::Directory, source: &config::Ldap) -> LdapOptions {
    let bind = match &source.bind {
        _ if source.sasl_external => Bind::External,
        Some(bind) => Bind::Simple { dn: bind.dn.clone(), password: bind.password.clone() },
        None => Bind::Anonymous,
    };
    LdapOptions {
        urls: source.urls.clone(),
        bind,
        tls: Tls { ca_file: source.ca_file.clone(), identity: source.identity.clone(), start: source.start_tls },
        timeout: source.timeout,
        bases: source.bases.clone(),
        follow: match source.follow {
            config::Follow::Syncrepl => Follow::Syncrepl,
            config::Follow::Poll => Follow::Poll,
        },
        poll_interval: options.poll_interval,
        compare_interval: source.compare_interval,
        writes_per_second: source.writes_per_second,
        reader: options.reader.clone(),
        meaning: "",
    }
}

/// The settings of the service, with the texts of notices read from their files.
pub fn settings(config: &Config) -> Result<Settings> {
    let mut words = config.notify.words();
    for (language, file) in &config.notify.templates {
        let place = || format!("notify.templates.{language}: {}", file.display());
        let text = std::fs::read_to_string(file).with_context(place)?;
        words.others.insert(language.clone(), Language::read(&text).with_context(place)?);
    }
    Ok(config.settings_with(words))
}

pub fn mailer(config: &Config) -> Result<Arc<dyn Mailer>> {
    let options = &config.notify.transport;
    let (hello, timeout) = (options.hello.clone(), options.timeout);
    let Endpoint::Tcp { host, port } = &options.server else {
        return Ok(Arc::new(LmtpMailer::new(LmtpOptions { server: options.server.clone(), hello, timeout })));
    };
    if options.kind == TransportKind::Lmtp {
        return Ok(Arc::new(LmtpMailer::new(LmtpOptions { server: options.server.clone(), hello, timeout })));
    }
    let login = options.login.clone().map(|(user, password)| Login { user, password });
    // A file that is not there is a mistake that is better told of now than with the first notice.
    if let Some(Err(why)) = login.as_ref().map(|login| login.password.read()) {
        anyhow::bail!("notify.password_file {why}");
    }
    let (tls, ca_file) = (options.tls, options.ca_file.clone());
    let options = SmtpOptions { host: host.to_string(), port: *port, tls, ca_file, login, hello, timeout };
    Ok(Arc::new(SmtpMailer::new(&options).context("notify")?))
}

pub fn alarms(config: &Config) -> Arc<dyn Alarms> {
    Arc::new(Outside::new(config.warnings.timeout, config.warnings.ca_file.clone()))
}

/// Where file systems are asked; `None` where no account is a Unix user.
pub fn unix_quotas(config: &Config) -> Option<Arc<dyn UnixQuotas>> {
    let options = &config.unix_quota;
    let file_systems = FileSystems::new(unixquota::Options {
        places: options.places.clone(),
        kinds: options.kinds.clone(),
        timeout: options.timeout,
        transport: options.transport,
    });
    (!options.domains.is_empty()).then(|| Arc::new(file_systems) as Arc<dyn UnixQuotas>)
}

pub fn unix_options(config: &Config) -> service::unixquota::Options {
    let options = &config.unix_quota;
    // One account may have to ask every file system, of the user and of the group, and the name service first.
    let questions = options.places.len().saturating_mul(options.kinds.len()).max(1);
    let questions = u32::try_from(questions).unwrap_or(u32::MAX).saturating_add(1);
    service::unixquota::Options {
        domains: options.domains.clone(),
        user_attribute: options.user_attribute.clone(),
        interval: options.interval,
        timeout: options.timeout.saturating_mul(questions),
    }
}

pub fn mailstore(config: &Config) -> Arc<dyn MailStore> {
    match config.mailstore.kind {
        StoreKind::Maildir => Arc::new(maildir(config)),
        StoreKind::Doveadm => match &config.mailstore.doveadm {
            Some(options) => Arc::new(DoveadmStore::new(doveadm(config, options))),
            // The configuration refuses that.
            None => Arc::new(ReportedStore),
        },
        StoreKind::Imap => match self::imap(config) {
            Some(store) => Arc::new(store),
            None => Arc::new(ReportedStore),
        },
        StoreKind::Reported => Arc::new(ReportedStore),
    }
}

/// `None` where another store is configured.
pub fn imap(config: &Config) -> Option<ImapStore> {
    let options = config.mailstore.imap.as_ref()?;
    let config::Imap { host, port, tls, ca_file, timeout, .. } = options.clone();
    let from_the_start = tls == imap::Tls::FromTheStart;
    Some(ImapStore::new(ImapOptions {
        server: Server { host, port, tls: from_the_start, ca_file, timeout },
        tls,
        user: options.user.clone(),
        master: options.master.as_str().into(),
        password: options.password.clone(),
        login: options.login,
        login_name: options.login_name.as_str().into(),
        names: folder_names(config),
        types: config.quota.types.clone(),
    }))
}

fn folder_names(config: &Config) -> FolderNames {
    let config::Dovecot { separator, prefix, foreign, .. } = &config.dovecot;
    let foreign = foreign.iter().map(|prefix| prefix.as_str().into()).collect();
    FolderNames { separator: *separator, prefix: prefix.as_str().into(), foreign }
}

fn doveadm(config: &Config, options: &config::Doveadm) -> DoveadmOptions {
    let config::Url { tls, host, port, path } = options.url.clone();
    DoveadmOptions {
        server: Server { host, port, tls, ca_file: options.ca_file.clone(), timeout: options.timeout },
        path,
        login: match &options.login {
            config::DoveadmKey::Key(key) => DoveadmLogin::Key(key.clone()),
            config::DoveadmKey::Password(password) => DoveadmLogin::Password(password.clone()),
        },
        names: folder_names(config),
    }
}

fn maildir(config: &Config) -> MaildirStore {
    let options = &config.mailstore;
    MaildirStore::new(MaildirOptions {
        path: options.path.clone(),
        layout: options.layout,
        sizes: options.sizes,
        types: config.quota.types.clone(),
    })
}

/// What watches the mail store, and how it is opened; `None` where it is not to be watched.
pub fn watch(config: &Config) -> Option<(Arc<dyn Paths>, Box<OpenWatch>)> {
    if config.mailstore.kind != StoreKind::Maildir {
        return None;
    }
    let (means, places) = (config.mailstore.watch?, config.mailstore.watch_paths.clone());
    let open = move |stop: &Stop| match places.is_empty() {
        true => {
            Err(WatchError::NotPossible("mailstore.path begins with an attribute: set mailstore.watch_paths".into()))
        }
        false => maildir::watch(&places, means, stop),
    };
    Some((Arc::new(maildir(config)), Box::new(open)))
}

/// How a queue is read: by its socket, by a command, or by the socket and in need the command.
pub fn mailqueue(source: &config::QueueSource, timeout: Duration) -> Arc<dyn MailQueue> {
    let command = || Command::new(CommandOptions { line: source.command.clone(), timeout });
    match &source.showq {
        None => Arc::new(command()),
        Some(socket) => {
            let showq = Showq::new(ShowqOptions { socket: socket.clone(), timeout });
            if source.command.is_empty() { Arc::new(showq) } else { Arc::new(Either(showq, command())) }
        }
    }
}

/// What tells of messages that leave; `None` where nobody said where the queue lies.
pub fn departures(source: &config::QueueSource) -> std::io::Result<Option<Watch>> {
    /// A stop is noticed within this time.
    const PATIENCE: Duration = Duration::from_secs(1);
    let watch = |spool: &PathBuf| Watch::new(&WatchOptions { spool: spool.clone(), patience: PATIENCE });
    source.spool.as_ref().map(watch).transpose()
}
