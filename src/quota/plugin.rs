//! Dovecot's quota settings by the names that they have in its `plugin { }` block: for a site that brings
//! them along, and for accounts whose directory entry overrides some.
//!
//! `quota`, `quota2`, … are the roots. Of each root N there are `quotaN_rule`, `quotaN_rule2`, … and
//! `quotaN_warning`, …, `quotaN_grace`, `quotaN_over_flag` and its relatives. A list ends at its first gap,
//! as in Dovecot; what stands behind a gap is named in the notes.

use super::Rules;
use super::mask::Mask;
use super::overflag::OverFlag;
use super::quantity::{MailSizeFault, parse_mail_size};
use super::replies::{Replies, ReplyError, Texts};
use super::roots::{GraceFault, Root, RootFault, parse_grace};
use super::rule::RuleError;
use super::warning::{Warning, WarningError};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugin {
    pub roots: Vec<PluginRoot>,
    /// The largest message that is taken at all, in bytes.
    pub max_mail_size: Option<u64>,
    pub replies: Replies,
    /// What an admin should mend although it works, a line each.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRoot {
    pub root: Root,
    pub over_flag: Option<PluginOverFlag>,
}

/// The flag of one root with its present value and what is to be run when it is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginOverFlag {
    pub flag: OverFlag,
    pub attribute: Option<Box<str>>,
    pub script: Box<str>,
}

/// No site has more; the bound keeps a search for what stands behind a gap short.
const LOOK_BEHIND: usize = 8;

impl Plugin {
    /// Reads what `setting` knows, name by name. `nouser` is a setting of the whole site in Dovecot, but
    /// may be given here like the others.
    pub fn read<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<Plugin, PluginError> {
        let max_mail_size = setting("quota_max_mail_size").map(parse_mail_size).transpose()?.flatten();
        let replies = Replies::new(Texts {
            success: setting("quota_status_success"),
            nouser: setting("quota_status_nouser"),
            overquota: setting("quota_status_overquota"),
            toolarge: setting("quota_status_toolarge"),
            exceeded: setting("quota_exceeded_message"),
        })?;
        let mut plugin = Plugin { max_mail_size, replies, ..Plugin::default() };
        for (name, definition) in list("quota", &setting, &mut plugin.notes) {
            let fail = |fault| PluginError::Root { root: name.clone().into(), fault };
            let root = PluginRoot::read(&name, definition, &setting, &mut plugin.notes).map_err(fail)?;
            plugin.roots.push(root);
        }
        Ok(plugin)
    }
}

impl PluginRoot {
    fn read<'a>(
        name: &str,
        definition: &str,
        setting: &impl Fn(&str) -> Option<&'a str>,
        notes: &mut Vec<String>,
    ) -> Result<PluginRoot, PluginFault> {
        if definition.is_empty() {
            return Err(PluginFault::Empty);
        }
        let mut root = Root::parse(definition)?;
        root.rules = Rules::parse(list(&format!("{name}_rule"), setting, notes).into_iter().map(|(_, rule)| rule))?;
        notes.extend_from_slice(root.rules.notes());
        for (_, warning) in list(&format!("{name}_warning"), setting, notes) {
            root.warnings.push(Warning::parse(warning)?);
        }
        let grace_name = format!("{name}_grace");
        if let Some(grace) = setting(&grace_name) {
            let fail = |fault| PluginFault::Grace { name: grace_name.into(), value: grace.into(), fault };
            root.grace = parse_grace(grace).map_err(fail)?;
        }
        let of_flag = |rest: &str| setting(&format!("{name}_over_{rest}"));
        let over_flag = of_flag("script").zip(of_flag("flag_value")).map(|(script, value)| PluginOverFlag {
            flag: OverFlag { value: Mask::new(value), lazy: of_flag("flag_lazy_check").is_some_and(is_yes) },
            attribute: of_flag("flag").map(Into::into),
            script: script.into(),
        });
        Ok(PluginRoot { root, over_flag })
    }
}

/// `name`, `name2`, `name3`, … up to the first that is missing.
fn list<'a>(name: &str, setting: &impl Fn(&str) -> Option<&'a str>, notes: &mut Vec<String>) -> Vec<(String, &'a str)> {
    let numbered = |number| if number == 1 { name.to_owned() } else { format!("{name}{number}") };
    let mut values = Vec::new();
    while let Some(value) = setting(&numbered(values.len() + 1)) {
        values.push((numbered(values.len() + 1), value));
    }
    let gap = values.len() + 1;
    for behind in (gap + 1..=gap + LOOK_BEHIND).map(numbered).filter(|name| setting(name).is_some()) {
        notes.push(format!("{behind} is not used, because there is no {}", numbered(gap)));
    }
    values
}

/// Dovecot takes every value for yes that does not begin like no, false or 0.
fn is_yes(value: &str) -> bool {
    !value.starts_with(['n', 'N', 'f', 'F', '0'])
}

/// The words before the semicolon of the innermost fault are Dovecot's where it has any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    #[error("Invalid quota root {root}: {fault}")]
    Root { root: Box<str>, fault: PluginFault },
    #[error("quota_max_mail_size: {0}")]
    MaxMailSize(#[from] MailSizeFault),
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginFault {
    #[error("the definition is empty; accepted: backend:name, or no such setting at all")]
    Empty,
    #[error(transparent)]
    Definition(#[from] RootFault),
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error(transparent)]
    Warning(#[from] WarningError),
    #[error("Invalid {name} value '{value}': {fault}")]
    Grace { name: Box<str>, value: Box<str>, fault: GraceFault },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::quantity::Change;

    fn read(settings: &[(&str, &'static str)]) -> Result<Plugin, PluginError> {
        Plugin::read(|name| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
    }

    fn error(settings: &[(&str, &'static str)]) -> String {
        read(settings).unwrap_err().to_string()
    }

    #[test]
    fn nothing_is_no_roots() {
        assert_eq!(read(&[]), Ok(Plugin::default()));
    }

    #[test]
    fn two_roots() {
        let plugin = read(&[
            ("quota", "count:User quota"),
            ("quota_rule", "*:storage=1G"),
            ("quota_rule2", "Trash:storage=100M"),
            ("quota2", "count:Shared:ns=Shared/"),
            ("quota2_grace", "5M"),
            ("quota2_warning", "storage=80% quota-warning 80"),
            ("quota2_over_script", "unix:over.sock"),
            ("quota2_over_flag_value", "TRUE"),
            ("quota2_over_flag_lazy_check", "yes"),
            ("quota_max_mail_size", "50 M"),
        ])
        .unwrap();
        let [user, shared] = &plugin.roots[..] else { panic!("{plugin:?}") };
        assert_eq!((&*user.root.name, user.root.grace), ("User quota", Change::Percent(10)));
        assert_eq!((&*shared.root.name, shared.root.grace), ("Shared", Change::Amount(5 << 20)));
        assert_eq!((shared.root.warnings.len(), plugin.max_mail_size), (1, Some(50 << 20)));
        assert!(shared.over_flag.as_ref().is_some_and(|flag| flag.flag.lazy) && user.over_flag.is_none());
        assert!(plugin.notes[0].contains("should be changed to 'storage=+100M'"), "{:?}", plugin.notes);
    }

    #[test]
    fn what_stands_behind_a_gap_is_not_used_and_noted() {
        let plugin = read(&[("quota", "count"), ("quota_rule", "*:storage=1"), ("quota_rule3", "INBOX:ignore")]);
        let plugin = plugin.unwrap();
        assert!(!plugin.roots[0].root.rules.ignores("INBOX"));
        assert_eq!(plugin.notes, ["quota_rule3 is not used, because there is no quota_rule2"]);
    }

    #[test]
    fn errors_name_the_root_and_the_setting() {
        let rule = error(&[("quota", "count"), ("quota2", "count"), ("quota2_rule", "*:storage=1P")]);
        assert!(rule.starts_with("Invalid quota root quota2: Invalid rule *:storage=1P: Invalid rule limit value"));
        let grace = error(&[("quota", "count"), ("quota_grace", "50 M")]);
        assert!(grace.starts_with("Invalid quota root quota: Invalid quota_grace value '50 M': Unknown unit:  M;"));
        let warning = error(&[("quota", "count"), ("quota_warning", "storage=80%")]);
        assert!(warning.starts_with("Invalid quota root quota: Invalid warning rule: storage=80%:"));
        assert!(error(&[("quota", "")]).starts_with("Invalid quota root quota: the definition is empty;"));
        assert!(error(&[("quota_max_mail_size", "x")]).starts_with("quota_max_mail_size: Invalid size: x;"));
    }
}
