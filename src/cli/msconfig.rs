//! `mailquotad config import-msconfig`: quota settings of Oracle (Sun) Messaging Server as ours.
//!
//! Read are the lines of `configutil` and of `msconfig show`: `store.quotawarn = 90`, with or without
//! `local.`, `role.` or `instance.` before the name, `:` or white space for `=`, and quotes around the value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use super::exit::Exit;
use super::out::say_part;
use crate::quota::Spec;
use crate::quota::Units;
use crate::quota::spec::Measure;
use crate::wire::notice::Template;

/// What became of a dump: our configuration, and what it could not carry.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    pub toml: String,
    pub left: Vec<String>,
}

pub fn run(file: &Path) -> Result<Exit> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let imported = import(&text);
    say_part!("{}", imported.toml);
    imported.left.iter().for_each(|line| eprintln!("not carried over: {line}"));
    Ok(if imported.left.is_empty() { Exit::Fine } else { Exit::Findings })
}

/// Options that have to do with quotas, by their names without prefixes, in lower case.
struct Options {
    values: BTreeMap<String, String>,
    left: Vec<String>,
    used: BTreeSet<String>,
}

impl Options {
    fn read(text: &str) -> Options {
        let mut options = Options { values: BTreeMap::new(), left: Vec::new(), used: BTreeSet::new() };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!'])) {
            let cut =
                line.split_once('=').or_else(|| line.split_once(": ")).or_else(|| line.split_once(char::is_whitespace));
            let Some((name, value)) = cut else { continue };
            let mut name = name.trim().trim_end_matches(':').to_ascii_lowercase();
            for prefix in ["role.", "instance.", "local."] {
                name = name.strip_prefix(prefix).unwrap_or(&name).to_owned();
            }
            let value = value.trim();
            let quoted = |mark| value.strip_prefix(mark).and_then(|rest: &str| rest.strip_suffix(mark));
            let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
            if name.starts_with("store.") && (name.contains("quota") || name.contains("messagetype")) {
                options.values.insert(name, value.to_owned());
            }
        }
        options
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.used.insert(name.to_owned());
        self.values.get(name).cloned().filter(|value| !value.is_empty())
    }

    fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.text(name).map(|value| value.to_ascii_lowercase()).as_deref() {
            None => default,
            Some("1" | "yes" | "on" | "true") => true,
            Some("0" | "no" | "off" | "false") => false,
            Some(other) => {
                self.left.push(format!("{name} = {other}: neither on nor off; taken as {}", u8::from(default)));
                default
            }
        }
    }

    fn number(&mut self, name: &str, default: u64) -> u64 {
        match self.text(name) {
            None => default,
            Some(value) => value.parse().unwrap_or_else(|_| {
                self.left.push(format!("{name} = {value}: no number; taken as {default}"));
                default
            }),
        }
    }

    fn spec(&mut self, name: &str, measure: Measure) -> String {
        let Some(value) = self.text(name) else { return "-1".into() };
        match Spec::parse(&value, measure) {
            Ok(_) if value != "-2" => value,
            Ok(_) => "-1".into(),
            Err(error) => {
                self.left.push(format!("{name} = {error}; taken as -1"));
                "-1".into()
            }
        }
    }

    /// `[quota.types]` from `store.messagetype.mtindex:N.*`, or `store.messagetype.N.*` as it was before 8.0.
    fn types(&mut self) -> BTreeMap<String, Vec<String>> {
        let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let on = self.flag("store.messagetype.enable", false);
        let names: Vec<String> = self.values.keys().cloned().collect();
        for name in names {
            let Some(base) = name.strip_suffix(".contenttype").map(str::to_owned) else { continue };
            let kind = self.text(&name).unwrap_or_default();
            let (root, flag) = (self.text(&format!("{base}.quotaroot")), self.text(&format!("{base}.flagname")));
            if let Some(flag) = &flag {
                let why = "messages are not flagged for IMAP; the type itself is counted";
                self.left.push(format!("{base}.flagname = {flag}: {why}"));
            }
            match root {
                Some(root) if on => types.entry(root).or_default().push(kind),
                Some(root) => self.left.push(format!("{base}.quotaroot = {root}: store.messagetype.enable is off")),
                None => self.left.push(format!("{name} = {kind}: it has no quotaroot, so nothing counts it")),
            }
        }
        types
    }
}

/// Turns a dump into a configuration.
pub fn import(text: &str) -> Imported {
    let mut options = Options::read(text);
    let enforce = options.flag("store.quotaenforcement", true);
    let status = options.flag("store.overquotastatus", false);
    // overquotastatus turns overdraft on, whatever that says.
    let overdraft = options.flag("store.quotaoverdraft", false) || status;
    let warn = options.number("store.quotawarn", 90).clamp(1, 100);
    let grace = options.number("store.quotagraceperiod", 120);
    let interval = options.number("store.quotaexceededmsginterval", 7);
    let notification = options.flag("store.quotanotification", false);
    let message = options.text("store.quotaexceededmsg").filter(|text| text != "none");
    let mailbox = options.spec("store.defaultmailboxquota", Measure::Bytes(Units::Binary));
    let messages = options.spec("store.defaultmessagequota", Measure::Messages);
    let type_quotas = options.flag("store.typequota.enable", false);
    let folder_quotas = options.flag("store.quotafolder.enable", false);
    let types = options.types();
    let template = message.as_deref().and_then(|text| match Template::one_line(text) {
        Ok(_) => Some(text.to_owned()),
        Err(error) => {
            options.left.push(format!("store.quotaexceededmsg: {error}; the built-in text is used"));
            None
        }
    });
    if notification && message.is_none() {
        options.left.push("store.quotanotification is on, but without quotaexceededmsg nothing was ever sent".into());
    }
    let unused: Vec<String> = options.values.keys().filter(|name| !options.used.contains(*name)).cloned().collect();
    options.left.extend(unused.into_iter().map(|name| format!("{name}: there is nothing like it here")));

    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut toml = String::from(
        "# From an Oracle (Sun) Messaging Server. Directory, mail store and listeners are still to be added.\n",
    );
    // A String takes whatever is written to it.
    let _ = write!(
        toml,
        "\n[quota]\ndefault_mailbox = {}\ndefault_messages = {}\n# store.typequota.enable, store.quotafolder.enable\n\
         type_quotas = {type_quotas}\nfolder_quotas = {folder_quotas}\n",
        quoted(&mailbox),
        quoted(&messages)
    );
    if !types.is_empty() {
        toml.push_str("\n[quota.types]\n");
        for (name, kinds) in &types {
            let kinds: Vec<String> = kinds.iter().map(|kind| quoted(kind)).collect();
            let _ = writeln!(toml, "{} = [{}]", quoted(name), kinds.join(", "));
        }
    }
    let (allowance, starts, threshold) =
        if overdraft { ("one-message", "limit", 100) } else { ("none", "warned", warn) };
    let _ = write!(
        toml,
        "\n[enforcement]\n# store.quotaenforcement\nenabled = {enforce}\n# store.quotagraceperiod, in hours\n\
         grace_period = \"{grace}h\"\n# With overdraft the clock starts at the limit, else once the user was warned.\n\
         grace_starts = \"{starts}\"\n# store.quotawarn; overdraft moves it to 100.\nthreshold = {threshold}\n\
         # store.quotaoverdraft\nallowance = \"{allowance}\"\n# store.overquotastatus\nstatus = \"{}\"\n",
        if status { "at-once" } else { "never" }
    );
    let thresholds = if threshold < 100 { format!("[{threshold}]") } else { "[]".into() };
    let _ = write!(
        toml,
        "\n[notify]\n# store.quotanotification\nenabled = {}\n# Who notices are from: put an address of your site here.\n\
         from = \"Mail quota <postmaster@localhost>\"\nthresholds = {thresholds}\n# store.quotaexceededmsginterval, in days\n\
         interval = \"{}d\"\n# Domains were told of nothing.\npostmaster = \"nobody\"\n",
        notification && message.is_some(),
        interval.max(1)
    );
    if let Some(template) = template {
        let _ = writeln!(toml, "# store.quotaexceededmsg\ntemplate = {}", quoted(&template));
    }
    Imported { toml, left: options.left }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Variables};

    fn read(dump: &str) -> (Config, Vec<String>) {
        let imported = import(dump);
        let text = format!("{}\n[directory]\nkind = \"ldif\"\nfile = \"/x.ldif\"\n", imported.toml);
        let config =
            Config::read("imported", &text, &Variables::new()).unwrap_or_else(|error| panic!("{error}\n{text}"));
        (config, imported.left)
    }

    #[test]
    fn nothing_set_is_their_defaults() {
        let (config, left) = read("# empty\n");
        assert_eq!(left, [""; 0]);
        let grace = config.enforcement.grace;
        assert_eq!((grace.threshold, grace.period.as_secs()), (90, 120 * 3600));
        assert_eq!(grace.starts, crate::quota::standing::Starts::AtThreshold);
        assert_eq!(config.enforcement.allowance, crate::quota::verdict::Allowance::None);
        assert!(config.enforcement.enabled && !config.notify.enabled);
        assert_eq!(config.quota.kinds, crate::quota::bucket::Kinds { types: false, folders: false });
    }

    #[test]
    fn a_dump_is_carried_over_in_either_spelling() {
        let dump = "local.store.overquotastatus = on\nrole.store.quotagraceperiod = 24\nstore.quotawarn: 80\n\
                    store.defaultmailboxquota \"20M;#text%10M;#voice%10M;Archive%100M\"\nstore.quotanotification = yes\n\
                    store.quotaexceededmsg = 'Subject: WARNING$$You use [DISKUSAGE].'\nstore.quotaexceededmsginterval = 3\n\
                    store.typequota.enable = 1\nstore.quotafolder.enable = 1\nstore.messagetype.enable = 1\n\
                    store.messagetype.mtindex:1.contenttype = text/plain\nstore.messagetype.mtindex:1.quotaroot = text\n\
                    store.messagetype.2.contenttype = multipart/voice-message\nstore.messagetype.2.quotaroot = voice\n\
                    store.messagetype.2.flagname = voice_message\nstore.quotaroot.colour = red\nservice.imap.port = 143\n";
        let (config, left) = read(dump);
        assert_eq!(config.enforcement.status, crate::service::settings::StatusMode::AtOnce);
        assert_eq!(config.enforcement.allowance, crate::quota::verdict::Allowance::OneMessage);
        assert_eq!(config.enforcement.grace.threshold, 100);
        assert_eq!(config.quota.types.names().iter().map(|name| &**name).collect::<Vec<_>>(), ["text", "voice"]);
        assert_eq!(config.quota.defaults().buckets().len(), 4);
        assert!(config.notify.enabled && config.notify.thresholds.is_empty());
        assert_eq!(config.notify.interval.as_secs(), 3 * 86_400);
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left[0].contains("flagname = voice_message") && left[1].contains("store.quotaroot.colour"));
    }

    #[test]
    fn what_cannot_be_read_is_listed_and_the_default_taken() {
        let dump = "store.quotawarn = lots\nstore.quotaenforcement = maybe\nstore.defaultmailboxquota = 5X\n\
                    store.quotaexceededmsg = no header\nstore.messagetype.1.contenttype = text/plain\n";
        let (config, left) = read(dump);
        assert_eq!((config.enforcement.grace.threshold, config.enforcement.enabled), (90, true));
        assert_eq!(left.len(), 5, "{left:?}");
    }
}
