//! From the configuration to the adapters: which directory, which ledger, which mail store.

use std::sync::Arc;

use anyhow::Result;

use crate::config::{self, Config, DirectorySource};
use crate::directory::Directory;
use crate::directory::ldap::{Bind, Follow, LdapDirectory, LdapOptions, Password, Tls};
use crate::directory::ldif::{LdifDirectory, LdifOptions};
use crate::ledger::{SledLedger, SledOptions};
use crate::mailstore::MailStore;
use crate::mailstore::maildir::{MaildirOptions, MaildirStore};

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
        DirectorySource::Ldap(source) => Ok(Arc::new(LdapDirectory::new(ldap(options, source)))),
    }
}

pub fn ldap(options: &config::Directory, source: &config::Ldap) -> LdapOptions {
    let password = |password: &config::Password| match password {
        config::Password::Text(text) => Password::Text(text.clone()),
        config::Password::File(path) => Password::File(path.clone()),
    };
    let bind = match &source.bind {
        _ if source.sasl_external => Bind::External,
        Some(bind) => Bind::Simple { dn: bind.dn.clone(), password: password(&bind.password) },
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
    }
}

pub fn mailstore(config: &Config) -> Arc<dyn MailStore> {
    let options = &config.mailstore;
    Arc::new(MaildirStore::new(MaildirOptions {
        path: options.path.clone(),
        layout: options.layout,
        sizes: options.sizes,
        types: config.quota.types.clone(),
    }))
}
