//! The files that ask what a message or a change of usage does.

use mailquotad::quota::overflag::{self, Asked};
use mailquotad::quota::plugin::PluginRoot;
use mailquotad::quota::replies::{EXCEEDED, UNUSABLE};
use mailquotad::quota::warning::{Measured, Which, set_off};
use mailquotad::quota::{Action, Limits, Occasion, Plugin, Root, Usage, Warning};

use crate::deviations;
use crate::replay::{Pass, Settings, number, read, setting, settings, usage, verdict};

/// settings, used bytes, used messages, SIZE (- = absent), reply
pub fn quota_status(_: &str, row: &[&str]) -> Result<Pass, String> {
    let settings = settings(row[0])?;
    let used = usage(row[1], row[2])?;
    let size = if row[3] == "-" { 0 } else { number(row[3])? };
    let recorded = row[4].strip_prefix("action=").ok_or("the reply is no action")?;
    let reply = |settings: &Settings, with: fn(&Root) -> bool| {
        let mut plugin = read(settings)?;
        plugin.roots.retain(|root| with(&root.root));
        let verdict = verdict(&plugin, "INBOX", used, size, Occasion::Delivery);
        Ok(plugin.replies.texts().reply(verdict).map_or("(no reply)".into(), |said| said.to_string()))
    };
    match reply(&settings, |_| true) {
        Ok(reply) if reply == recorded => Ok(Pass::Same),
        Ok(found) if deviations::has_advisory_behind(&settings) => {
            let lifted = reply(&settings, |root| root.advisory).is_ok_and(|reply| reply == recorded);
            let held = reply(&settings, |root| !root.advisory).is_ok_and(|reply| reply == found);
            (lifted && held).then_some(Pass::Deviation(deviations::ORDER)).ok_or(format!("the reply is `{found}`"))
        }
        Ok(found) => Err(format!("the reply is `{found}`")),
        Err(_) if recorded == UNUSABLE => Ok(Pass::Same),
        Err(error) => deviations::refusal(&settings, &error),
    }
}

/// What the recorder's messages lose when they are stored: three line ends are CRLF on the wire and LF in
/// the store, and Dovecot checks the one size and accounts the other.
const LOST_IN_STORE: u64 = 3;

/// settings, mailbox, used bytes, used messages, size on the wire, tagged reply, usage after
pub fn append(_: &str, row: &[&str]) -> Result<Pass, String> {
    let settings = settings(row[0])?;
    let used = usage(row[2], row[3])?;
    let size: u64 = number(row[4])?;
    let plugin = match read(&settings) {
        Ok(plugin) => plugin,
        Err(error) => return deviations::refusal(&settings, &error),
    };
    let (reply, after) = match verdict(&plugin, row[1], used, size, Occasion::Session).action {
        Action::Pass => {
            let counts = plugin.roots.iter().any(|root| root.root.counts(row[1]));
            let stored = size.checked_sub(LOST_IN_STORE).ok_or("smaller than what the store takes away")?;
            let stored = if counts { Usage::new(stored, 1) } else { Usage::ZERO };
            ("OK Append completed".to_owned(), used + stored)
        }
        Action::Defer | Action::Reject => {
            let exceeded = settings.get("quota_exceeded_message").map_or(EXCEEDED, String::as_str);
            (format!("NO [OVERQUOTA] {exceeded}"), used)
        }
    };
    let after = format!("{},{}", after.bytes, after.messages);
    match (reply == row[5], after == row[6]) {
        (true, true) => Ok(Pass::Same),
        _ => Err(format!("`{reply}` and {after} after it")),
    }
}

/// operation and size, bytes and messages before, change of bytes, bytes and messages after, tagged reply,
/// warnings that fired. The settings stand in the header.
pub fn warning(header: &str, row: &[&str]) -> Result<Pass, String> {
    let settings = warning_settings(header)?;
    let plugin = read(&settings).map_err(|error| error.to_string())?;
    let root = &plugin.roots[0].root;
    let limit = root.base(&Limits::default());
    let before = Measured { used: usage(row[1], row[2])?, limit };
    let after = Measured { used: usage(row[4], row[5])?, limit };
    if let Some(size) = row[0].strip_prefix("append") {
        let passes = verdict(&plugin, "INBOX", before.used, number(size)?, Occasion::Session).action == Action::Pass;
        if passes != (row[6] == "OK") {
            return Err(format!("the message {}", if passes { "is taken" } else { "is refused" }));
        }
    }
    let fired: Vec<String> = set_off(&root.warnings, before, after, Which::First).map(called_by_name).collect();
    let recorded: Vec<String> = serde_json::from_str(row[7]).map_err(|error| format!("warnings: {error}"))?;
    let recorded: Vec<&str> = recorded.iter().map(|script| script.split("\\n").nth(1).unwrap_or_default()).collect();
    if fired == recorded { Ok(Pass::Same) } else { Err(format!("fired: {fired:?}")) }
}

fn called_by_name(warning: &Warning) -> String {
    warning.words().nth(1).unwrap_or_default().to_owned()
}

/// `… quota_rule=RULE ; warnings in order: NAME THRESHOLD ; NAME THRESHOLD … . columns: …`, with `%%` for `%`.
fn warning_settings(header: &str) -> Result<Settings, String> {
    let between = |start: &str, end: &str| {
        let from = header.split_once(start).map(|(_, rest)| rest);
        from.and_then(|rest| rest.split_once(end)).map(|(found, _)| found.replace("%%", "%"))
    };
    let rule = between("quota_rule=", " ;").ok_or("the header names no quota_rule")?;
    let warnings = between("warnings in order: ", " . columns").ok_or("the header names no warnings")?;
    let mut settings = settings("{}")?;
    settings.extend([setting("quota_rule", &rule)]);
    for (index, warning) in warnings.split(" ; ").enumerate() {
        let (name, threshold) = warning.split_once(' ').ok_or("a warning without a threshold")?;
        let number = if index == 0 { String::new() } else { (index + 1).to_string() };
        settings.extend([setting(&format!("quota_warning{number}"), &format!("{threshold} unix:warn.sock {name}"))]);
    }
    Ok(settings)
}

/// settings, used bytes, used messages, then what ran at login, SELECT, GETQUOTAROOT and APPEND
pub fn overflag(_: &str, row: &[&str]) -> Result<Pass, String> {
    let settings = settings(row[0])?;
    let used = usage(row[1], row[2])?;
    let plugin = match read(&settings) {
        Ok(plugin) => plugin,
        Err(error) => return deviations::refusal(&settings, &error),
    };
    for (place, asked) in [(3, Some(Asked::SessionStart)), (4, None), (5, Some(Asked::Quota)), (6, None)] {
        let run = asked.map_or(Vec::new(), |asked| scripts(&plugin, used, asked));
        let recorded: Vec<String> = serde_json::from_str(row[place]).map_err(|error| format!("scripts: {error}"))?;
        if run != recorded {
            return Err(format!("column {}: {run:?}", place + 1));
        }
    }
    Ok(Pass::Same)
}

/// What is run, each in the form in which the recorder's socket received it.
fn scripts(plugin: &Plugin, used: Usage, asked: Asked) -> Vec<String> {
    let run = |root: &PluginRoot| {
        let over_flag = root.over_flag.as_ref()?;
        let over = overflag::is_over(used, root.root.base(&Limits::default()));
        let attribute = over_flag.attribute.as_deref();
        let wrong = over_flag.flag.is_due(asked) && over_flag.flag.is_wrong(attribute, over);
        let arguments = over_flag.script.split(' ').skip(1).chain(attribute);
        wrong.then(|| format!("noreply\\n{}\\n", arguments.map(|word| format!("{word}\\n")).collect::<String>()))
    };
    plugin.roots.iter().filter_map(run).collect()
}
