//! `mailquotad config import-stalwart`: the queue quotas of a Stalwart mail server as ours.
//!
//! Read are its MtaQueueQuota objects as JSON, wherever they stand in the file: alone, in a list, one a line, or
//! in an answer of its JMAP API.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::exit::Exit;
use super::out::say_part;
use crate::quota::Units;
use crate::quota::queue::Part;
use crate::quota::queue::message::VARIABLES;
use crate::wire::cel::Expression;
use crate::wire::stalwart;

/// What became of the objects: our configuration, and what it could not carry.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub toml: String,
    pub left: Vec<String>,
    names: BTreeSet<String>,
}

pub fn run(file: &Path) -> Result<Exit> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let imported = import(&text).with_context(|| format!("{}: not JSON", file.display()))?;
    say_part!("{}", imported.toml);
    imported.left.iter().for_each(|line| eprintln!("not carried over: {line}"));
    Ok(if imported.left.is_empty() { Exit::Fine } else { Exit::Findings })
}

/// Turns the objects of a file into a configuration.
pub fn import(text: &str) -> serde_json::Result<Imported> {
    let mut imported =
        Imported { toml: "# Queue quotas from a Stalwart mail server.\n".to_owned(), ..Imported::default() };
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        imported.find(&value?);
    }
    if imported.names.is_empty() {
        imported.left.push("the file: it holds no MtaQueueQuota object".into());
    }
    Ok(imported)
}

impl Imported {
    fn find(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.find(value)),
            Value::Object(object) if is_quota(object) => self.quota(object),
            Value::Object(object) => object.values().for_each(|value| self.find(value)),
            _ => {}
        }
    }

    fn quota(&mut self, object: &Map<String, Value>) {
        let name = self.name(object);
        let mut left = Vec::new();
        let mut enabled = object.get("enable").and_then(Value::as_bool).unwrap_or(true);
        let keys = keys(object.get("key"), &mut left);
        let condition = match object.get("match").and_then(theirs) {
            None => Ok(None),
            Some(theirs) => {
                if theirs.branches {
                    left.push("match: Stalwart itself passes over `if` and `then`; they are carried over as it documents them".into());
                }
                carry(&theirs.text).map(Some)
            }
        };
        let messages = object.get("messages").filter(|value| !value.is_null());
        let size = object.get("size").filter(|value| !value.is_null());
        let known = ["enable", "description", "key", "match", "messages", "size", "id", "@type"];
        left.extend(
            object
                .keys()
                .filter(|name| !known.contains(&name.as_str()))
                .map(|name| format!("{name}: there is nothing like it here")),
        );
        let mut lines = String::new();
        // A String takes whatever is written to it.
        for (name, value) in [("messages", messages), ("size", size)] {
            match value.map(|value| (amount(value), value)) {
                Some((Some(amount), _)) => drop(writeln!(lines, "{name} = {amount}")),
                Some((None, value)) => left.push(format!("{name} = {value}: no amount of 1 and more")),
                None => {}
            }
        }
        if lines.is_empty() {
            left.push("it has no limit, so it is left out".into());
            self.left.extend(left.into_iter().map(|why| format!("{name}: {why}")));
            return;
        }
        if !keys.is_empty() {
            let _ = writeln!(lines, "key = {keys:?}");
        }
        match &condition {
            Ok(Some(cel)) if cel != "true" => drop(writeln!(lines, "match = {}", toml::Value::from(cel.as_str()))),
            Ok(Some(_)) => {}
            Ok(None) => left.push("match is empty: there it never applied, here it applies to all mail".into()),
            Err(why) => {
                enabled = false;
                left.push(format!("{why}; it is switched off"));
            }
        }
        let _ = write!(self.toml, "\n[[queue.quota]]\nname = {}\n", toml::Value::from(name.as_str()));
        if !enabled {
            self.toml.push_str("enable = false\n");
        }
        self.toml.push_str(&lines);
        self.left.extend(left.into_iter().map(|why| format!("{name}: {why}")));
    }

    /// Its description, as far as that is a name of its own.
    fn name(&mut self, object: &Map<String, Value>) -> String {
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
        let given = text("description").or(text("id")).unwrap_or("stalwart");
        let given: String = given.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut name = given.clone();
        for number in 2.. {
            if self.names.insert(name.clone()) {
                break;
            }
            name = format!("{given} {number}");
        }
        name
    }
}

fn is_quota(object: &Map<String, Value>) -> bool {
    let has = |key: &str| object.contains_key(key);
    let typed = object.get("@type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("MtaQueueQuota"));
    typed || (has("messages") || has("size")) && !has("list") || has("key") && has("match")
}

fn keys(value: Option<&Value>, left: &mut Vec<String>) -> Vec<&'static str> {
    // A set is a list, or in JMAP an object whose members are true.
    let names: Vec<&str> = match value {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::Object(set)) => {
            let kept = set.iter().filter(|(_, value)| **value != Value::Bool(false));
            kept.map(|(name, value)| value.as_str().unwrap_or(name)).collect()
        }
        _ => Vec::new(),
    };
    let mut keys = Vec::new();
    for name in names {
        let plain = name.replace('_', "").to_ascii_lowercase();
        let part = Part::ALL.into_iter().find(|part| part.as_str().replace('_', "") == plain);
        match part {
            Some(part) => keys.push(part.as_str()),
            None => left.push(format!("key: `{name}` is not known here")),
        }
    }
    keys
}

struct Theirs {
    /// In CEL where it has branches, with their expressions in place.
    text: Tree,
    branches: bool,
}

enum Tree {
    Leaf(String),
    /// If, then, else.
    Branch(String, String, Box<Tree>),
}

/// The condition of a quota; `None` where there is none.
fn theirs(value: &Value) -> Option<Theirs> {
    let leaf = |text: &str| (!text.trim().is_empty()).then(|| Tree::Leaf(text.to_owned()));
    let object = match value {
        Value::String(text) => return leaf(text).map(|text| Theirs { text, branches: false }),
        Value::Object(object) => object,
        _ => return None,
    };
    let last = object.get("else").and_then(Value::as_str).and_then(leaf);
    let branches: Vec<&Value> = match object.get("match") {
        Some(Value::Array(branches)) => branches.iter().collect(),
        Some(Value::Object(branches)) => branches.values().collect(),
        _ => Vec::new(),
    };
    if branches.is_empty() {
        return last.map(|text| Theirs { text, branches: false });
    }
    let mut text = last.unwrap_or_else(|| Tree::Leaf("false".into()));
    for branch in branches.iter().rev() {
        let part = |name: &str| branch.get(name).and_then(Value::as_str).unwrap_or("false").to_owned();
        text = Tree::Branch(part("if"), part("then"), Box::new(text));
    }
    Some(Theirs { text, branches: true })
}

/// In CEL, and checked as our configuration would.
fn carry(tree: &Tree) -> Result<String, String> {
    fn cel(tree: &Tree) -> Result<String, String> {
        let part = |text: &str| stalwart::condition(text).map_err(|error| format!("match `{text}`: {error}"));
        match tree {
            Tree::Leaf(text) => part(text),
            Tree::Branch(condition, then, otherwise) => {
                Ok(format!("({}) ? ({}) : ({})", part(condition)?, part(then)?, cel(otherwise)?))
            }
        }
    }
    let text = cel(tree)?;
    match Expression::condition(&text, &VARIABLES) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("match as `{text}`: {error}")),
    }
}

/// A number, or a text with a unit as in `5 MB`. Nothing at all is no limit that anybody means.
fn amount(value: &Value) -> Option<u64> {
    let amount = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => {
            let text = text.trim().trim_end_matches(['b', 'B']).trim_end_matches('i').replace(' ', "");
            Units::Binary.parse(&text).ok()
        }
        _ => None,
    };
    amount.filter(|amount| *amount > 0 && i64::try_from(*amount).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Variables};

    fn read(text: &str) -> (Config, Vec<String>) {
        let imported = import(text).unwrap();
        let whole = format!("{}\n[directory]\nkind = \"ldif\"\nfile = \"/x.ldif\"\n", imported.toml);
        let config =
            Config::read("imported", &whole, &Variables::new()).unwrap_or_else(|error| panic!("{error}\n{whole}"));
        (config, imported.left)
    }

    fn shown(config: &Config) -> Vec<String> {
        let show = |quota: &crate::quota::queue::QueueQuota| {
            let keys: Vec<_> = quota.key.parts().map(Part::as_str).collect();
            let condition = quota.condition.as_ref().map_or("", Expression::text);
            format!("{} {keys:?} [{condition}] {:?} {:?}", quota.name, quota.limit.messages, quota.limit.bytes)
        };
        config.queue.settings.quotas.iter().map(show).collect()
    }

    #[test]
    fn the_examples_of_its_page_are_carried_over() {
        let (config, left) = read(
            r#"{"enable": true, "key": [], "match": {"else": "true"}, "messages": 100000, "size": 10737418240}
               {"key": ["rcpt"], "match": {"else": "true"}, "messages": 10}
               {"key": {"senderDomain": true, "rcptDomain": true}, "match": {"else": "true", "match": {}}, "size": 5242880}
               {"description": "one domain", "key": ["rcpt"], "match": {"else": "sender_domain = 'example.org'"},
                "messages": 900, "size": "7 MB", "id": "d"}"#,
        );
        assert_eq!(left, [""; 0]);
        assert_eq!(
            shown(&config),
            [
                "stalwart [] [] Some(100000) Some(10737418240)",
                r#"stalwart 2 ["rcpt"] [] Some(10) None"#,
                r#"stalwart 3 ["sender_domain", "rcpt_domain"] [] None Some(5242880)"#,
                r#"one domain ["rcpt"] [sender_domain == 'example.org'] Some(900) Some(7340032)"#,
            ]
        );
    }

    #[test]
    fn what_cannot_be_carried_is_listed() {
        let (config, left) = read(
            r#"{"methodResponses": [["x:MtaQueueQuota/get", {"list": [
                {"id": "a", "key": ["sender", "mx"], "match": {"else": "retry_num > 1"}, "messages": 5},
                {"id": "b", "enable": false, "messages": 5, "colour": "red"},
                {"id": "c", "match": {"else": "false", "match": [{"if": "size > 5", "then": "true"}]}, "size": 50},
                {"id": "d", "match": {"else": "true"}, "messages": 0, "key": []}
            ]}, "0"]]}"#,
        );
        assert_eq!(shown(&config), ["c [] [(size > 5) ? (true) : (false)] None Some(50)"]);
        let expected = [
            "a: key: `mx` is not known here",
            "a: match `retry_num > 1`: `retry_num` is not known when a message comes in; it is switched off",
            "b: colour: there is nothing like it here",
            "b: match is empty: there it never applied, here it applies to all mail",
            "c: match: Stalwart itself passes over `if` and `then`; they are carried over as it documents them",
            "d: messages = 0: no amount of 1 and more",
            "d: it has no limit, so it is left out",
        ];
        assert_eq!(left, expected);
        assert!(import("{}").unwrap().left[0].contains("holds no MtaQueueQuota object"));
        assert!(import("no").is_err());
    }
}
