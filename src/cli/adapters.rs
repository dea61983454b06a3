//! From the configuration to the adapters: which directory, which ledger, which mail store.

use std::sync::Arc;

use anyhow::{Result, bail};

use crate::config::{Config, DirectorySource};
use crate::directory::Directory;
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
        DirectorySource::Ldap(_) => bail!("directory.kind = \"ldap\" is not built in; accepted: \"ldif\""),
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
