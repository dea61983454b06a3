//! The settings: a TOML file, overridden by the environment, checked in full before anything starts.
//!
//! `config/mailquotad.toml` shows every key with its default. `MAILQUOTAD__SECTION__KEY` overrides one; lists
//! are separated by commas there. Nothing outside of `cli` sees a [`Config`]: services get their own options.

mod addresses;
mod directory;
mod dovecot;
mod exempt;
mod house;
mod imap;
mod notify;
mod over_flag;
mod policy;
mod problem;
mod queue;
mod quota;
mod reader;
mod reload;
mod sheet;
mod store;
mod unixquota;
mod warnings;
mod words;

use std::path::Path;

pub use directory::{Bind, Directory, DirectorySource, Follow, Ldap};
pub use dovecot::Dovecot;
pub use house::{Http, Jobs};
pub use imap::Imap;
pub use notify::{Notify, Transport, TransportKind};
pub use policy::{Lookup, Policy, SocketAccess};
pub use problem::{ConfigError, Problem};
pub use queue::{Queue, QueueSource};
pub use quota::{Enforcement, Quota};
pub use sheet::Variables;
pub use store::{Doveadm, DoveadmKey, Ledger, MailStore, StoreKind, Url};
pub use unixquota::UnixQuota;
pub use warnings::Warnings;

use std::sync::Arc;

use crate::quota::verdict;
use crate::service;
use crate::service::exempt::Callers;
use crate::service::notify::words::Words;
use crate::service::over_flag::Flag;
use crate::service::settings::Settings;
use crate::telemetry::log::LogOptions;

use reader::{Findings, Secrets, Section};

#[derive(Clone, Debug)]
pub struct Config {
    pub directory: Directory,
    pub ledger: Ledger,
    pub mailstore: MailStore,
    pub quota: Quota,
    pub enforcement: Enforcement,
    pub policy: Policy,
    pub lookup: Lookup,
    pub unix_quota: UnixQuota,
    pub exempt: Callers,
    pub dovecot: Dovecot,
    pub notify: Notify,
    pub warnings: Warnings,
    pub over_flag: Option<Flag>,
    pub queue: Queue,
    pub http: Http,
    pub jobs: Jobs,
    pub log: LogOptions,
    effective: toml::Table,
    secrets: Secrets,
}

/// The file's text, and the environment over it.
fn layers(file: &Path) -> Result<(String, Variables), ConfigError> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|why| ConfigError::Unreadable { file: file.into(), why })?;
    // A variable that is not UTF-8 cannot be one of ours.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok((text, variables.collect()))
}

impl Config {
    /// Reads `file` and the environment of this process.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        let (text, variables) = layers(file)?;
        Config::read(&file.display().to_string(), &text, &variables)
    }

    /// Checks `text`, which messages call `name`, with `variables` over it.
    pub fn read(name: &str, text: &str, variables: &Variables) -> Result<Config, ConfigError> {
        Config::read_as(None, name, text, variables)
    }

    /// `started` is what the daemon runs with that is to take this over.
    fn read_as(started: Option<&Config>, name: &str, text: &str, variables: &Variables) -> Result<Config, ConfigError> {
        let refused = |mut problems: Vec<Problem>| {
            problems.sort_by(|a, b| a.position().cmp(&b.position()));
            ConfigError::Problems(problems)
        };
        let joined = sheet::join(name, text, variables).map_err(refused)?;
        let findings = Findings { sections: joined.sections, ..Findings::default() };
        let config = Config::check(Section::root(&findings, &joined.root), started);
        let problems = findings.problems.into_inner();
        match problems.is_empty() {
            true => Ok(Config {
                effective: findings.effective.into_inner(),
                secrets: findings.secrets.into_inner(),
                ..config
            }),
            false => Err(refused(problems)),
        }
    }

    /// Every key that the code knows, with dots.
    pub fn known_keys() -> Vec<String> {
        let (findings, nothing) =
            (Findings::default(), config::Value::from(config::Map::<String, config::Value>::new()));
        let _ = Config::check(Section::root(&findings, &nothing), None);
        findings.known.into_inner().into_iter().collect()
    }

    /// The configuration in force, defaults included and secrets hidden, as TOML that reads back.
    pub fn print(&self) -> String {
        toml::to_string(&self.effective).unwrap_or_default()
    }

    /// What the service needs to know; `words` is what notices say.
    pub fn settings_with(&self, words: Words) -> Settings {
        Settings {
            policy: verdict::Policy {
                enforce: self.enforcement.enabled,
                max_size: self.quota.max_message_size,
                allowance: self.enforcement.allowance,
                grace: self.enforcement.grace,
                domain_grace: self.enforcement.domain_grace,
            },
            status: self.enforcement.status,
            blocks: self.enforcement.blocks,
            on_failure: self.policy.on_failure,
            units: self.quota.units,
            zero: self.quota.zero,
            kinds: self.quota.kinds,
            defaults: Arc::new(self.quota.defaults()),
            roots: self.quota.roots.clone().into(),
            delimiter: self.quota.recipient_delimiter.clone().into(),
            extension_folders: self.quota.extension_folders,
            reservation: self.enforcement.reservation_timeout,
            texts: self.policy.texts.clone(),
            quota_status: self.policy.quota_status.clone(),
            exempt: self.exempt.clone(),
            typed: self.quota.typed.clone(),
            warnings: self.warnings.rules.clone(),
            over_flag: self.over_flag.clone(),
            unix: service::unixquota::Rules { counts: self.unix_quota.counts, max_age: self.unix_quota.max_age },
            queue: self.queue.settings.clone(),
            keep_gone: self.ledger.keep_gone,
            notify: service::notify::Notify {
                dynamic: self.notify.enabled,
                from: self.notify.from.clone(),
                sender: self.notify.sender.clone(),
                thresholds: self.notify.thresholds.clone(),
                interval: self.notify.interval,
                postmaster: self.notify.postmaster.as_deref().map(Into::into),
                copies: self.notify.copies,
                admins: self.notify.admins.clone(),
                words: Arc::new(words),
            },
        }
    }

    /// The same, with the texts of notices that need no file.
    pub fn settings(&self) -> Settings {
        self.settings_with(self.notify.words())
    }

    fn check(root: Section, started: Option<&Config>) -> Config {
        let quota = quota::read(root.section("quota"), started.map(|started| started.quota.units));
        let mailstore = store::read_mailstore(root.section("mailstore"));
        let notify = notify::read(root.section("notify"));
        let unix_quota = unixquota::read(root.section("unix_quota"));
        let mut asked_for = mailstore.attributes();
        asked_for.extend(unix_quota.user_attribute.clone());
        if !notify.templates.is_empty() {
            asked_for.push(notify.language_attribute.as_str().into());
        }
        let warnings = warnings::read(root.section("warnings"), root.section("notify").is_set("from"));
        let policy = policy::read(root.section("policy"));
        asked_for.extend(policy.quota_status.iter().flat_map(|words| words.own.names()).map(Into::into));
        let over_flag = over_flag::read(root.section("over_flag"));
        let flag_attribute = over_flag.as_ref().map(|flag| flag.attribute.clone());
        asked_for.extend(flag_attribute.clone());
        let config = Config {
            directory: directory::read(root.section("directory"), asked_for, flag_attribute),
            exempt: exempt::read(root.section("exempt")),
            dovecot: dovecot::read(root.section("dovecot")),
            warnings,
            // Whoever reads the directory has asked for the attribute of then.
            over_flag: started.map_or(over_flag, |started| started.over_flag.clone()),
            notify,
            ledger: store::read_ledger(root.section("ledger")),
            mailstore,
            enforcement: quota::read_enforcement(root.section("enforcement"), quota.units),
            policy,
            lookup: policy::read_lookup(root.section("lookup")),
            unix_quota,
            queue: queue::read(root.section("queue"), quota.units),
            http: house::read_http(root.section("http")),
            jobs: house::read_jobs(root.section("jobs")),
            log: house::read_log(root.section("log")),
            quota,
            effective: toml::Table::new(),
            secrets: Secrets::default(),
        };
        addresses::check(&root, &config);
        root.finish();
        config
    }
}
