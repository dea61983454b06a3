//! The file that asks how rules, warnings and graces are read.

use mailquotad::quota::quantity::Change;
use mailquotad::quota::rule::{Changes, Effect, Rule, Target};
use mailquotad::quota::{Plugin, Warning};

use crate::deviations;
use crate::replay::{Pass, Settings, read, setting, settings};

/// What the recorder set before every relative rule, warning and grace.
const BASE: (&str, u64, u64) = ("*:storage=1M:messages=1000", 1 << 20, 1000);

/// kind, value, Dovecot's log lines
pub fn rule_parse(_: &str, row: &[&str]) -> Result<Pass, String> {
    let value = row[1];
    let lines: Vec<String> = serde_json::from_str(row[2]).map_err(|error| format!("lines: {error}"))?;
    let settings = settings_of(row[0], value)?;
    let refused = lines.iter().find_map(|line| line.strip_prefix("Failed to initialize quota: "));
    match (read(&settings), refused) {
        (Ok(plugin), None) => {
            lines.iter().try_for_each(|line| agrees(&plugin, value, line))?;
            Ok(Pass::Same)
        }
        (Err(error), Some(refused)) if error.to_string().starts_with(refused) => Ok(Pass::Same),
        (Err(error), Some(_)) => deviations::words(&settings, &error),
        (Err(error), None) => deviations::refusal(&settings, &error),
        (Ok(_), Some(_)) => Err("it is accepted".into()),
    }
}

fn settings_of(kind: &str, value: &str) -> Result<Settings, String> {
    let mut settings = settings("{}")?;
    settings.extend(match kind {
        "default" => vec![setting("quota_rule", value)],
        "relative" => vec![setting("quota_rule", BASE.0), setting("quota_rule2", value)],
        "warning" => vec![setting("quota_rule", BASE.0), setting("quota_warning", value)],
        "grace" => vec![setting("quota_rule", BASE.0), setting("quota_grace", value)],
        _ => return Err(format!("unknown kind {kind}")),
    });
    Ok(settings)
}

fn agrees(plugin: &Plugin, value: &str, line: &str) -> Result<(), String> {
    let root = &plugin.roots[0].root;
    if let Some(note) = line.strip_prefix("quota root UQ ") {
        return match plugin.notes.iter().any(|known| known == note) {
            true => Ok(()),
            false => Err(format!("noted: {:?}", plugin.notes)),
        };
    }
    if let Some(rule) = line.strip_prefix("Quota rule: root=UQ ") {
        return rule_agrees(plugin, value, rule);
    }
    if let Some(warning) = line.strip_prefix("Quota warning: ") {
        return match &root.warnings[..] {
            [found] => warning_agrees(found, warning),
            found => Err(format!("{} warnings", found.len())),
        };
    }
    let grace = line.strip_prefix("Quota grace: root=UQ ").ok_or_else(|| format!("`{line}` is not understood"))?;
    resource(grace, "bytes=")?.is(Some(root.grace), BASE.1)
}

fn rule_agrees(plugin: &Plugin, value: &str, line: &str) -> Result<(), String> {
    let rules = &plugin.roots[0].root.rules;
    let rule = Rule::parse(value).map_err(|error| error.to_string())?;
    let mask = value.split(':').next().unwrap_or_default();
    let line = line.strip_prefix(&format!("mailbox={mask} ")).ok_or("another mailbox")?;
    if line == "ignored" {
        let ignored = match &rule.target {
            Target::Default { .. } => rule.effect == Effect::Ignore,
            Target::Folders(mask) => rules.ignores(mask.as_str()),
        };
        return if ignored { Ok(()) } else { Err("not ignored".into()) };
    }
    let (changes, base) = match &rule.target {
        Target::Default { .. } => (Some(rules.default_changes()), (0, 0)),
        Target::Folders(mask) => (rules.folder_changes(mask.as_str()), (BASE.1, BASE.2)),
    };
    changes_agree(changes.ok_or("no such rule")?, base, line)
}

fn warning_agrees(warning: &Warning, line: &str) -> Result<(), String> {
    changes_agree(warning.threshold, (BASE.1, BASE.2), line)?;
    let (_, rest) = line.split_once(" reverse=").ok_or("no direction")?;
    let (reverse, command) = rest.split_once(" command=").ok_or("no command")?;
    let same = warning.falling == (reverse == "yes") && &*warning.command == command;
    if same { Ok(()) } else { Err(format!("{warning:?}")) }
}

fn changes_agree(changes: Changes, base: (u64, u64), line: &str) -> Result<(), String> {
    resource(line, "bytes=")?.is(changes.bytes, base.0)?;
    resource(line, " messages=")?.is(changes.messages, base.1)
}

/// `1024` or `+104857 (10%)` behind a name.
#[derive(Debug, PartialEq)]
struct Resource {
    number: i128,
    percent: Option<i32>,
}

fn resource(line: &str, name: &str) -> Result<Resource, String> {
    let unread = || format!("no {name} in `{line}`");
    let (_, rest) = line.split_once(name).ok_or_else(unread)?;
    let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let percent = rest.strip_prefix('(').and_then(|rest| rest.split_once("%)")).map(|(percent, _)| {
        // Dovecot prints it without its sign.
        percent.parse::<u32>().map(u32::cast_signed).map_err(|_| unread())
    });
    Ok(Resource { number: number.parse().map_err(|_| unread())?, percent: percent.transpose()? })
}

impl Resource {
    fn is(&self, change: Option<Change>, base: u64) -> Result<(), String> {
        let percent = match change {
            // Dovecot prints no 0%.
            Some(Change::Percent(percent)) if percent != 0 => Some(percent),
            _ => None,
        };
        let found = Resource { number: change.map_or(0, |change| change.of(base)), percent };
        if found == *self { Ok(()) } else { Err(format!("{found:?} instead of {self:?}")) }
    }
}
