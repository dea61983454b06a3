//! The letters: templates by language and event, and what stands for their variables.

use std::collections::BTreeMap;

use super::queue::Notice;
use super::stage::{Event, Stage};
use crate::quota::{Limit, Units, Usage};
use crate::service::accounting::Accounting;
use crate::service::settings::Settings;
use crate::wire::notice::{Address, Letter, Template, TemplateError, Variable};

/// The texts of one language, one for each event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Language {
    pub warned: Template,
    pub over: Template,
    pub blocked: Template,
    pub back: Template,
}

/// The names of the events as they part a template file: `== over`.
const PARTS: [&str; 4] = ["warned", "over", "blocked", "back"];

#[derive(Debug, thiserror::Error)]
pub enum LanguageError {
    #[error("the part `{0}` is not known; accepted: == warned, == over, == blocked, == back")]
    Part(String),
    #[error("the part `{part}`: {fault}")]
    Template { part: String, fault: TemplateError },
}

/// Neutral about whom it is for: the owner of a mailbox, or the postmaster of a domain.
const ENGLISH: &str = "\
== warned
Subject: Mail storage of [ID] [BUCKET] is [USED] full

The mail storage of [ID] [BUCKET] has passed [PERCENT] of its quota.

Used:   [DISKUSAGE] in [NUMMSG] messages
Quota:  [QUOTA], messages: [MSGQUOTA]

Please delete what is no longer needed, and empty the trash. Once the quota is
reached, new mail can no longer be stored.
== over
Subject: Mail storage of [ID] [BUCKET] is full

The mail storage of [ID] [BUCKET] has reached its quota. New mail is turned away
until there is room again.

Used:   [DISKUSAGE] in [NUMMSG] messages
Quota:  [QUOTA], messages: [MSGQUOTA]

Please delete what is no longer needed, and empty the trash. Senders try again for
a while; after that they are told that their mail could not be delivered.
== blocked
Subject: Mail for [ID] [BUCKET] is refused

The mail storage of [ID] [BUCKET] has been full for too long. New mail is refused,
and senders are told so.

Used:   [DISKUSAGE] in [NUMMSG] messages
Quota:  [QUOTA], messages: [MSGQUOTA]

Mail is accepted again as soon as there is room: please delete what is no longer
needed, and empty the trash.
== back
Subject: Mail storage of [ID] [BUCKET] has room again

The mail storage of [ID] [BUCKET] is below its quota again, and new mail is accepted.

Used:   [DISKUSAGE] in [NUMMSG] messages
Quota:  [QUOTA], messages: [MSGQUOTA]
";

impl Language {
    /// Reads a template file: a text for everything but `back`, or a part for each event. A part that is
    /// missing is the English one.
    pub fn read(text: &str) -> Result<Language, LanguageError> {
        let mut parts: BTreeMap<&str, String> = BTreeMap::new();
        let mut current = None;
        let mut whole = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("== ") {
                let known = PARTS.iter().find(|part| **part == name.trim());
                let part = *known.ok_or_else(|| LanguageError::Part(name.trim().into()))?;
                current = Some(part);
                parts.entry(part).or_default();
                continue;
            }
            let into = match current {
                Some(part) => parts.entry(part).or_default(),
                None => &mut whole,
            };
            into.push_str(line);
            into.push('\n');
        }
        if parts.is_empty() {
            for part in &PARTS[..3] {
                parts.insert(part, whole.clone());
            }
        }
        let read = |part: &str, text: &str| {
            let fail = |fault| LanguageError::Template { part: part.into(), fault };
            Template::brackets(text).map_err(fail)
        };
        let find = |part: &str| match parts.get(part) {
            Some(text) => read(part, text),
            None => {
                let begin = ENGLISH.split("== ").find(|text| text.starts_with(part)).unwrap_or_default();
                read(part, begin.split_once('\n').map_or("", |(_, text)| text))
            }
        };
        Ok(Language { warned: find("warned")?, over: find("over")?, blocked: find("blocked")?, back: find("back")? })
    }

    /// One template for everything but `back`.
    pub fn of_template(template: Template) -> Language {
        let back = Language::english().back;
        Language { warned: template.clone(), over: template.clone(), blocked: template, back }
    }

    pub fn english() -> Language {
        Language::read(ENGLISH).expect("the built-in texts, which a test reads, are templates")
    }

    fn of(&self, event: Event) -> &Template {
        match event {
            Event::Reached(Stage::Over) => &self.over,
            Event::Reached(Stage::Blocked) => &self.blocked,
            Event::Back => &self.back,
            Event::Reached(Stage::Threshold(_)) | Event::Rule(_) | Event::Digest => &self.warned,
        }
    }
}

/// All languages.
#[derive(Clone, Debug)]
pub struct Words {
    pub default: Language,
    /// By tag, in lower case: `de`, `pt-br`.
    pub others: BTreeMap<String, Language>,
    /// The attribute that holds an account's language.
    pub attribute: Box<str>,
}

impl Words {
    /// What is said where nothing is configured.
    pub fn english() -> Words {
        Words { default: Language::english(), others: BTreeMap::new(), attribute: "preferredLanguage".into() }
    }

    /// `de-AT, en;q=0.8` (RFC 2798) is looked for as `de-at`, then as `de`.
    fn find(&self, wanted: Option<&str>) -> &Language {
        let tag = wanted.unwrap_or_default().split([',', ';']).next().unwrap_or_default().trim().to_lowercase();
        let short = tag.split('-').next().unwrap_or_default();
        self.others.get(&tag).or_else(|| self.others.get(short)).unwrap_or(&self.default)
    }
}

/// The language of the account that a notice is about.
pub(super) fn language_of(accounting: &Accounting, notice: &Notice) -> Option<String> {
    let account = accounting.book.account(&notice.about).filter(|_| !notice.about_domain)?;
    let attribute = accounting.settings.load().notify.words.attribute.clone();
    let seat = account.lock();
    seat.attributes().get(&attribute).map(|value| value.to_string())
}

/// The address and the bytes of a notice; or why there can be none.
pub(super) fn letter(
    notice: &Notice,
    settings: &Settings,
    language: Option<&str>,
) -> Result<(Address, Vec<u8>), String> {
    let to: Address = notice.to.parse().map_err(|error: crate::wire::notice::AddressError| error.to_string())?;
    let given = notice.text.as_deref().map(Template::percents).transpose().map_err(|error| error.to_string())?;
    let notify = &settings.notify;
    let template = given.as_ref().unwrap_or_else(|| notify.words.find(language).of(notice.event));
    let value = |variable| value(notice, settings, variable);
    let letter = Letter {
        message_id: &notice.message_id,
        date: notice.at,
        from: &notify.from,
        to: &to,
        headers: template.headers(&value).collect(),
        body: match notice.event {
            // The digest is written when it is made.
            Event::Digest => notice.details.to_string(),
            _ => template.body(&value),
        },
    };
    Ok((to.clone(), letter.print()))
}

fn value(notice: &Notice, settings: &Settings, variable: Variable) -> String {
    let (used, limit) = (notice.used, notice.limit());
    let size = |bytes: Option<u64>| bytes.map_or("unlimited".into(), |bytes| settings.units.exact(bytes).to_string());
    let percent = |percent: Option<u64>| percent.map_or("0%".into(), |percent| format!("{percent}%"));
    match variable {
        Variable::Id => notice.about.to_string(),
        Variable::Bucket => match &*notice.bucket {
            "default" => "(all mail)".into(),
            name => format!("({name})"),
        },
        Variable::Domain => notice.domain.to_string(),
        Variable::DiskUsage => settings.units.rounded(used.bytes),
        Variable::Messages => used.messages.to_string(),
        Variable::Percent => match notice.event {
            Event::Reached(Stage::Threshold(reached)) | Event::Rule(reached) => format!("{reached}%"),
            Event::Reached(_) => "100%".into(),
            _ => percent(limit.percent(used)),
        },
        Variable::PercentUsed => percent(limit.percent(used)),
        Variable::Quota => size(notice.bytes),
        Variable::MessageQuota => notice.messages.map_or("unlimited".into(), |messages| messages.to_string()),
        Variable::Details => details(used, limit, settings.units) + &notice.details,
        Variable::Attribute => notice.attribute.to_string(),
    }
}

/// `%R%`: assigned quota, total size and percentage.
fn details(used: Usage, limit: Limit, units: Units) -> String {
    let quota = limit.bytes.map_or("unlimited".into(), |bytes| units.exact(bytes).to_string());
    let messages = limit.messages.map_or("unlimited".into(), |messages| messages.to_string());
    let percent = limit.percent(used).map_or("-".into(), |percent| format!("{percent}%"));
    let (bytes, count) = (units.rounded(used.bytes), used.messages);
    format!("Quota: {quota}, {messages} messages\nTotal: {bytes} in {count} messages\nUsed: {percent}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_english_texts_are_whole() {
        let words = Words::english();
        let none = |_: Variable| String::new();
        for event in [
            Event::Reached(Stage::Threshold(90)),
            Event::Reached(Stage::Over),
            Event::Reached(Stage::Blocked),
            Event::Back,
        ] {
            let body = words.default.of(event).body(&none);
            assert!(body.contains("Quota:") && !body.contains("=="), "{event:?}: {body}");
        }
        assert!(words.default.of(Event::Back).body(&none).contains("accepted"));
    }

    #[test]
    fn languages_are_found_by_tag_and_by_its_first_part() {
        let german = Language::read("Subject: voll\n\nvoll\n").unwrap();
        let mut words = Words::english();
        words.others.insert("de".into(), german.clone());
        assert_eq!(*words.find(Some("de-AT, en;q=0.8")), german);
        assert_eq!(*words.find(Some("DE")), german);
        assert_eq!(*words.find(Some("fr")), words.default);
        assert_eq!(*words.find(None), words.default);
    }

    #[test]
    fn a_file_may_have_a_part_for_each_event() {
        let language = Language::read("== over\nSubject: voll\n\nvoll\n== back\nSubject: frei\n\nfrei\n").unwrap();
        let none = |_: Variable| String::new();
        assert_eq!(language.over.body(&none), "voll\n");
        assert_eq!(language.back.body(&none), "frei\n");
        assert!(language.warned.body(&none).contains("Please delete"));
        assert!(Language::read("== odd\nSubject: x\n\n").unwrap_err().to_string().contains("`odd` is not known"));
        let error = Language::read("== over\nvoll\n").unwrap_err().to_string();
        assert!(error.contains("the part `over`: line 1"), "{error}");
    }
}
