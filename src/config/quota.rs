//! `[quota]` and `[enforcement]`: what the limits are and what happens at them.

use std::time::Duration;

use crate::quota::bucket::{Kinds, Zero};
use crate::quota::rule::Rule;
use crate::quota::spec::Measure;
use crate::quota::standing::Starts;
use crate::quota::verdict::Allowance;
use crate::quota::{Amount, Grace, Limits, Root, Rules, Spec, Units};
use crate::service::exempt::TypedCallers;
use crate::service::settings::{Blocks, StatusMode};
use crate::wire::content_type::TypeTable;

use super::exempt;
use super::reader::Section;
use super::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    pub units: Units,
    pub zero: Zero,
    /// For accounts that have no quota, and whose domain sets none.
    pub default_mailbox: Spec,
    pub default_messages: Spec,
    /// The root that every account has, with the rules of `quota.rules`, and those of `[[quota.root]]`.
    pub roots: Vec<Root>,
    /// Bytes; `None` is no limit.
    pub max_message_size: Option<u64>,
    /// Characters that part an address from its extension (`user+folder`).
    pub recipient_delimiter: Vec<char>,
    /// Whether an extension names the folder that the message lands in.
    pub extension_folders: bool,
    pub types: TypeTable,
    /// Which buckets beside the default one count.
    pub kinds: Kinds,
    /// Clients whose messages are of one type.
    pub typed: Vec<TypedCallers>,
}

impl Quota {
    /// The limits of an account about which the directory says nothing.
    pub fn defaults(&self) -> Limits {
        Limits::new(&self.default_mailbox, &self.default_messages, &Limits::default(), self.zero).only(self.kinds)
    }
}

/// `in_force` are the units that sizes are read in, whatever the file says, where a daemon runs already.
pub(super) fn read(section: Section, in_force: Option<Units>) -> Quota {
    let units = [("binary", Units::Binary), ("decimal", Units::Decimal)];
    let zero = [("no-mail", Zero::NoMail), ("unlimited", Zero::Unlimited)];
    let types = read_types(section.section("types"));
    let units = section.text("units", "binary", words::one_of(&units));
    let units = in_force.unwrap_or(units);
    let quota = Quota {
        units,
        zero: section.text("zero", "no-mail", words::one_of(&zero)),
        default_mailbox: section.text("default_mailbox", "-1", default_spec(Measure::Bytes(units))),
        default_messages: section.text("default_messages", "-1", default_spec(Measure::Messages)),
        roots: read_roots(&section),
        max_message_size: section.text("max_message_size", "-1", words::maximum(units)),
        recipient_delimiter: section.text("recipient_delimiter", "+", delimiter),
        extension_folders: section.flag("extension_folders", false),
        kinds: Kinds { types: section.flag("type_quotas", true), folders: section.flag("folder_quotas", true) },
        typed: exempt::read_typed(&section, types.names()),
        types,
    };
    section.finish();
    quota
}

/// A spec that stands on its own: the default cannot refer to a default.
fn default_spec(measure: Measure) -> impl Fn(&str) -> Result<Spec, String> {
    move |text| {
        let spec = Spec::parse(text, measure).map_err(|error| error.to_string())?;
        let refers = |amount: &Amount| *amount == Amount::Default;
        let refers = refers(&spec.default) || spec.named.iter().any(|(_, amount)| refers(amount));
        match refers {
            true => {
                Err(format!("`{text}` is itself the default, so -2 says nothing; accepted: a quota, or -1 for none"))
            }
            false => Ok(spec),
        }
    }
}

fn delimiter(text: &str) -> Result<Vec<char>, String> {
    match text.chars().find(|c| c.is_alphanumeric() || c.is_control() || c.is_whitespace() || *c == '@') {
        Some(c) => Err(format!("`{c}` cannot part an address; accepted: marks as in +, or nothing")),
        None => Ok(text.chars().collect()),
    }
}

fn read_roots(section: &Section) -> Vec<Root> {
    const NAME: &str = "a name of its own for each root";
    section.known(&["root.name", "root.namespace", "root.rules"]);
    section.known(&["root.noenforcing", "root.hidden", "root.ignoreunlimited"]);
    let mut roots = vec![Root { rules: read_rules(section), ..Root::default() }];
    for section in section.sections("root") {
        let name = section.required("name", NAME, words::any).unwrap_or_default();
        if roots.iter().skip(1).any(|root| *root.name == name) {
            section.refuse("name", format!("`{name}` is the name of an earlier root; accepted: {NAME}"));
        }
        roots.push(Root {
            name: name.into(),
            namespace: section.optional("namespace", words::any).map(Into::into),
            rules: read_rules(&section),
            advisory: section.flag("noenforcing", false),
            hidden: section.flag("hidden", false),
            ignore_unlimited: section.flag("ignoreunlimited", false),
            ..Root::default()
        });
        section.finish();
    }
    roots
}

fn read_rules(section: &Section) -> Rules {
    let mut rules = Rules::default();
    section
        .list("rules", &[], |text| Rule::parse(text).map_err(|error| error.to_string()))
        .into_iter()
        .for_each(|rule| rules.add(rule));
    rules
}

fn read_types(section: Section) -> TypeTable {
    let pattern = |text: &str| {
        let wrong = |_| format!("`{text}` is no content type; accepted: as in multipart/voice-message or audio/*");
        TypeTable::new([("x", [text])]).map(|_| text.to_owned()).map_err(wrong)
    };
    let mut types = Vec::new();
    for name in section.names() {
        let patterns = section.list(&name, &[], pattern);
        match TypeTable::new([(&name, [] as [&str; 0])]) {
            Ok(_) => types.push((name, patterns)),
            Err(error) => section.refuse(&name, error.to_string()),
        }
    }
    let table = TypeTable::new(types).unwrap_or_else(|error| {
        section.refuse_all(error.to_string());
        TypeTable::default()
    });
    section.finish();
    table
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcement {
    pub enabled: bool,
    pub grace: Grace,
    pub domain_grace: Grace,
    pub status: StatusMode,
    pub blocks: Blocks,
    pub allowance: Allowance,
    /// How long room is held for a message that was accepted and has not been seen in the store.
    pub reservation_timeout: Duration,
}

pub(super) fn read_enforcement(section: Section, units: Units) -> Enforcement {
    let starts = [("limit", Starts::AtLimit), ("warned", Starts::AtThreshold)];
    let status =
        [("after-grace", StatusMode::AfterGrace), ("at-once", StatusMode::AtOnce), ("never", StatusMode::Never)];
    let blocks = [("default-bucket", Blocks::DefaultBucket), ("any-bucket", Blocks::AnyBucket)];
    let starts = section.text("grace_starts", "limit", words::one_of(&starts));
    let grace = |period: &str, default: &str, threshold: &str| Grace {
        threshold: section.number(threshold, 90, 1..=100),
        period: section.text(period, default, words::duration),
        starts,
    };
    let enforcement = Enforcement {
        enabled: section.flag("enabled", true),
        grace: grace("grace_period", "120h", "threshold"),
        domain_grace: grace("domain_grace_period", "0s", "domain_threshold"),
        status: section.text("status", "after-grace", words::one_of(&status)),
        blocks: section.text("blocks", "default-bucket", words::one_of(&blocks)),
        allowance: section.text("allowance", "10%", words::allowance(units)),
        reservation_timeout: section.text("reservation_timeout", "10m", words::delay),
    };
    section.finish();
    enforcement
}
