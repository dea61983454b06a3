//! What the replays share: settings in, roots out, one verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use mailquotad::account::Statuses;
use mailquotad::quota::plugin::{PluginError, PluginRoot};
use mailquotad::quota::standing::{Grace, Standing, Starts};
use mailquotad::quota::verdict::{Allowance, Filling, Policy, Recipient, Untold, decide};
use mailquotad::quota::{Limits, Moment, Occasion, Plugin, Usage, Verdict};

pub enum Pass {
    Same,
    /// The name that the deviation has in `docs/dovecot-deviations.md`.
    Deviation(&'static str),
}

pub type Settings = BTreeMap<String, String>;

/// The root that the recordings were made with where a row names none.
const ROOT: (&str, &str) = ("quota", "dict:UQ::proxy:/run/dict:q");

pub fn settings(json: &str) -> Result<Settings, String> {
    let mut settings: Settings = serde_json::from_str(json).map_err(|error| format!("settings: {error}"))?;
    settings.entry(ROOT.0.into()).or_insert_with(|| ROOT.1.into());
    Ok(settings)
}

pub fn setting(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

pub fn read(settings: &Settings) -> Result<Plugin, PluginError> {
    Plugin::read(|name| settings.get(name).map(String::as_str))
}

pub fn number<T: std::str::FromStr>(column: &str) -> Result<T, String> {
    column.parse().map_err(|_| format!("`{column}` is no number"))
}

/// The account has no limit of its own, no status and no domain, and there is no grace period: what is
/// over is refused at once, as in Dovecot.
pub fn verdict(plugin: &Plugin, folder: &str, used: Usage, size: u64, occasion: Occasion) -> Verdict {
    let limits = Limits::default();
    let filling = |root: &PluginRoot| root.root.filling(&limits, folder, None, used, occasion);
    let roots: Vec<Filling> = plugin.roots.iter().filter_map(filling).collect();
    let grace = Grace { threshold: 100, period: Duration::ZERO, starts: Starts::AtLimit };
    let policy = Policy {
        enforce: true,
        max_size: plugin.max_mail_size,
        allowance: Allowance::None,
        grace,
        domain_grace: grace,
    };
    let recipient =
        Recipient::Account { statuses: Statuses::default(), standing: Standing::UNDER, domain: None, roots: &roots };
    decide(size, &recipient, &policy, Moment(0), &mut Untold)
}

/// Recorded bytes and messages. A negative or absent number (`-`) makes Dovecot count anew, and the
/// recorder's mail store was empty.
pub fn usage(bytes: &str, messages: &str) -> Result<Usage, String> {
    let count = |column: &str| match column {
        "-" => Ok(0),
        _ if column.starts_with('-') => number::<i64>(column).map(|_| 0),
        _ => number(column),
    };
    Ok(Usage::new(count(bytes)?, count(messages)?))
}
