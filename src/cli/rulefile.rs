//! Rule files of `imquotacheck -n`, as Oracle's manual describes them:
//!
//! ```text
//! [General]
//! mailQuotaAttribute=mailQuota
//!
//! [nearly full]
//! notificationTriggerPercentage=80      ; required, each percentage once
//! notificationInterval=3                ; required, hours
//! messageFile=/etc/mailquotad/imq.msgfile
//! notificationMethod=library:function   ; not supported: refused, because it would be left undone
//! enabled=1                             ; default 1
//! ```
//!
//! Keys and section names are compared without regard to case. `#` and `;` begin a remark at the start of
//! a line, or after white space behind a number.

use std::path::PathBuf;

use anyhow::{Result, bail};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRule {
    pub name: String,
    pub percentage: u32,
    pub interval_hours: u64,
    pub message_file: Option<PathBuf>,
}

/// The rules that are enabled, by rising percentage; and what is in the file and has no effect.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RuleFile {
    pub rules: Vec<FileRule>,
    pub notes: Vec<String>,
}

#[derive(Default)]
struct Draft {
    name: String,
    line: usize,
    percentage: Option<u32>,
    interval: Option<u64>,
    message_file: Option<PathBuf>,
    enabled: bool,
}

/// Reads `text`; errors name `place` and the line.
pub fn read(place: &str, text: &str) -> Result<RuleFile> {
    let mut file = RuleFile::default();
    let mut drafts: Vec<Draft> = Vec::new();
    let mut general = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let at = format!("{place}:{number}");
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            general = name.trim().eq_ignore_ascii_case("general");
            if !general {
                let name = name.trim().to_owned();
                drafts.push(Draft { name, line: number, enabled: true, ..Draft::default() });
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            bail!("{at}: `{line}` is neither [section] nor key=value")
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        if general {
            match key.as_str() {
                // Limits always come from the directory, so the attribute is the configuration's business.
                "mailquotaattribute" => {
                    file.notes
                        .push(format!("{at}: mailQuotaAttribute is directory.attributes.quota of the configuration"));
                }
                "reportmethod" => file.notes.push(format!("{at}: reportMethod is not supported; see --format json")),
                _ => bail!("{at}: unknown key `{key}`; accepted in [General]: mailQuotaAttribute, reportMethod"),
            }
            continue;
        }
        let Some(draft) = drafts.last_mut() else { bail!("{at}: `{key}` stands before any [section]") };
        let number = || {
            let digits = value.split([' ', '\t', ';', '#']).next().unwrap_or_default();
            digits.parse::<u32>().map_err(|_| anyhow::anyhow!("{at}: {key}: `{value}` is no number"))
        };
        match key.as_str() {
            "notificationtriggerpercentage" => match number()? {
                0 => bail!("{at}: notificationTriggerPercentage: 0 would tell everybody; accepted: 1 and more"),
                percentage => draft.percentage = Some(percentage),
            },
            "notificationinterval" => draft.interval = Some(number()?.into()),
            "messagefile" if value.starts_with('/') => draft.message_file = Some(value.into()),
            "messagefile" => bail!("{at}: messageFile: `{value}` is no absolute path"),
            "enabled" => match number()? {
                flag @ (0 | 1) => draft.enabled = flag == 1,
                _ => bail!("{at}: enabled: `{value}` is neither 0 nor 1"),
            },
            "notificationmethod" => {
                bail!("{at}: notificationMethod: libraries are not loaded; leave it out, and notices go by mail")
            }
            _ => bail!(
                "{at}: unknown key `{key}`; accepted: notificationTriggerPercentage, notificationInterval, messageFile, \
                 notificationMethod, enabled"
            ),
        }
    }
    for draft in drafts {
        let at = format!("{place}:{}: [{}]", draft.line, draft.name);
        let Some(percentage) = draft.percentage else { bail!("{at}: notificationTriggerPercentage is missing") };
        let Some(interval_hours) = draft.interval else { bail!("{at}: notificationInterval (hours) is missing") };
        if file.rules.iter().any(|rule| rule.percentage == percentage) {
            bail!("{at}: {percentage} is the percentage of another rule; each may stand once");
        }
        match draft.enabled {
            false => file.notes.push(format!("{at}: not enabled")),
            true => file.rules.push(FileRule {
                name: draft.name,
                percentage,
                interval_hours,
                message_file: draft.message_file,
            }),
        }
    }
    file.rules.sort_by_key(|rule| rule.percentage);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_of_the_manual_is_read() {
        let text = "[General]\nmailQuotaAttribute=mailquota\n\n# three rules\n[Rule1]\nNotificationTriggerPercentage=60\n\
                    notificationinterval=3 ; hours\n[rule2]\nnotificationTriggerPercentage = 90\nnotificationInterval = 1\n\
                    messageFile=/etc/imq.msgfile\n[rule3]\nnotificationTriggerPercentage=80\nnotificationInterval=2\nenabled=0\n";
        let file = read("imq.rulefile", text).unwrap();
        let seen: Vec<_> =
            file.rules.iter().map(|rule| (rule.name.as_str(), rule.percentage, rule.interval_hours)).collect();
        assert_eq!(seen, [("Rule1", 60, 3), ("rule2", 90, 1)]);
        assert_eq!(file.rules[1].message_file, Some("/etc/imq.msgfile".into()));
        assert_eq!(file.notes.len(), 2, "{:?}", file.notes);
    }

    #[test]
    fn faults_name_their_place() {
        for (text, told) in [
            ("[a]\nnotificationInterval=1\n", "r:1: [a]: notificationTriggerPercentage is missing"),
            ("[a]\nnotificationTriggerPercentage=1\n", "notificationInterval (hours) is missing"),
            ("notificationInterval=1\n", "r:1: `notificationinterval` stands before"),
            ("[a]\nnotificationTriggerPercentage=x\n", "r:2: notificationtriggerpercentage: `x` is no number"),
            ("[a]\nnotificationTriggerPercentage=0\n", "would tell everybody"),
            ("[a]\nmessageFile=imq\n", "no absolute path"),
            ("[a]\nnotificationMethod=lib.so:f\n", "libraries are not loaded"),
            ("[a]\ncolour=red\n", "unknown key `colour`"),
            ("[a]\nenabled=2\n", "neither 0 nor 1"),
            ("hello\n", "neither [section] nor key=value"),
        ] {
            let error = read("r", text).unwrap_err().to_string();
            assert!(error.contains(told), "{text:?}: {error}");
        }
        let twice = "[a]\nnotificationTriggerPercentage=5\nnotificationInterval=1\n".repeat(2);
        assert!(read("r", &twice).unwrap_err().to_string().contains("r:4: [a]: 5 is the percentage of another rule"));
    }
}
