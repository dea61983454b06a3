//! What a running daemon takes over of a new configuration, and which keys it has to be started anew for.

use std::path::Path;

use super::{Config, ConfigError, Variables, layers};

/// What is in force at once: sections, and keys of others. Whatever is not named here needs a restart.
const AT_ONCE: [&str; 40] = [
    "enforcement",
    "exempt",
    "ledger.keep_gone",
    "log.level",
    "notify.admins",
    "notify.copies",
    "notify.enabled",
    "notify.from",
    "notify.interval",
    "notify.language_attribute",
    "notify.postmaster",
    "notify.sender",
    "notify.template",
    "notify.templates",
    "notify.thresholds",
    "policy.on_failure",
    "policy.quota_status",
    "policy.quota_status_attributes",
    "policy.texts",
    "queue.decay",
    "queue.interval",
    "queue.quota",
    "queue.settle",
    "queue.stale",
    "queue.warn_interval",
    "quota.client",
    "quota.default_mailbox",
    "quota.default_messages",
    "quota.extension_folders",
    "quota.folder_quotas",
    "quota.max_message_size",
    "quota.recipient_delimiter",
    "quota.root",
    "quota.rules",
    "quota.type_quotas",
    "quota.zero",
    "unix_quota.limit",
    "unix_quota.max_age",
    "warnings.rule",
    "warnings.which",
];

/// Those of them that may want to know more of each account than the directory is asked for.
const READ_MORE: [&str; 4] =
    ["notify.language_attribute", "notify.templates", "policy.quota_status", "policy.quota_status_attributes"];

impl Config {
    /// Reads `file` and the environment again, for a daemon that was started with this. Sizes are read in the units
    /// of the start, for what the directory says was read in them, and the over-quota flag is that of the start.
    pub fn load_again(&self, file: &Path) -> Result<Config, ConfigError> {
        let (text, variables) = layers(file)?;
        self.read_again(&file.display().to_string(), &text, &variables)
    }

    /// The same with `text`, which messages call `name`, and `variables` over it.
    pub fn read_again(&self, name: &str, text: &str, variables: &Variables) -> Result<Config, ConfigError> {
        Config::read_as(Some(self), name, text, variables)
    }

    /// The sections, and keys of others, that a running daemon takes over at once.
    pub fn at_once() -> &'static [&'static str] {
        &AT_ONCE
    }

    /// The keys that `other` sets differently and that a running daemon cannot take over.
    pub fn needs_restart(&self, other: &Config) -> Vec<String> {
        let section = |config: &Config, name: &str| config.effective.get(name).and_then(toml::Value::as_table).cloned();
        let asked_for = &self.directory.reader.template;
        let reads_more = other.directory.reader.template.iter().any(|attribute| !asked_for.contains(attribute));
        let mut keys = Vec::new();
        for name in self.effective.keys().chain(other.effective.keys()) {
            let (old, new) = (section(self, name).unwrap_or_default(), section(other, name).unwrap_or_default());
            for key in old.keys().chain(new.keys()) {
                let full = format!("{name}.{key}");
                let same = old.get(key) == new.get(key) && self.secrets.get(&full) == other.secrets.get(&full);
                let at_once = AT_ONCE.contains(&name.as_str()) || AT_ONCE.contains(&full.as_str());
                let wants_more = reads_more && READ_MORE.contains(&full.as_str());
                if !same && (!at_once || wants_more) && !keys.contains(&full) {
                    keys.push(full);
                }
            }
        }
        keys
    }
}
