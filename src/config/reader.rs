//! Reads keys out of the joined tree. Every key is asked for in one place of the code, which says its name,
//! its default and what is accepted; from that come the problems, the effective configuration, and the
//! list of known keys that the documents are checked against.
//!
//! A bad value is noted and its default used, so that one run finds every problem.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::RangeInclusive;

use config::{Map, Value, ValueKind};

use super::problem::{Problem, nearest};
use super::sheet::{ENVIRONMENT, PREFIX, SEPARATOR};

/// Shown in the place of a secret.
pub(super) const HIDDEN: &str = "(hidden)";

/// Secrets by their keys with dots. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Secrets(BTreeMap<String, String>);

impl Secrets {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// What reading has brought to light so far.
#[derive(Default)]
pub(super) struct Findings {
    pub problems: RefCell<Vec<Problem>>,
    pub effective: RefCell<toml::Table>,
    /// Where the sections stand, by their names with dots.
    pub sections: HashMap<String, String>,
    /// What stands in the effective configuration as [`HIDDEN`].
    pub secrets: RefCell<Secrets>,
    /// Each key that the code knows, with dots; `[]` after the name of a repeated table.
    pub known: RefCell<BTreeSet<String>>,
}

/// A table of the configuration.
pub(super) struct Section<'a> {
    findings: &'a Findings,
    path: Vec<String>,
    place: String,
    table: Option<&'a Map<String, Value>>,
    asked: RefCell<BTreeSet<String>>,
    /// What must be set for the keys to have a meaning, while it is not.
    idle: RefCell<Option<String>>,
    /// Which of several tables of one name this is.
    index: Option<usize>,
}

type Parsed<T> = Result<T, String>;

impl<'a> Section<'a> {
    pub fn root(findings: &'a Findings, root: &'a Value) -> Section<'a> {
        let table = match &root.kind {
            ValueKind::Table(table) => Some(table),
            _ => None,
        };
        let place = findings.sections.get("").cloned().unwrap_or_default();
        Section::new(findings, Vec::new(), place, table)
    }

    fn new(findings: &'a Findings, path: Vec<String>, place: String, table: Option<&'a Map<String, Value>>) -> Self {
        let (asked, idle) = (RefCell::default(), RefCell::default());
        Section { findings, path, place, table, asked, idle, index: None }
    }

    /// From here on keys count only under a condition: where it does not hold, a key that is set is a
    /// problem, and none shows in the effective configuration.
    pub fn only(&self, holds: bool, condition: &str) {
        *self.idle.borrow_mut() = (!holds).then(|| condition.to_owned());
    }

    pub fn always(&self) {
        self.idle.borrow_mut().take();
    }

    pub fn section(&self, key: &str) -> Section<'a> {
        let (path, value) = (self.path_to(key), self.given(key));
        let place = value.map_or_else(|| self.place.clone(), |value| self.place_of(value, key));
        let table = match value.map(|value| &value.kind) {
            Some(ValueKind::Table(table)) => Some(table),
            Some(_) => {
                self.refuse(
                    key,
                    format!("a section is expected here; accepted: [{}] and keys below it", path.join(".")),
                );
                None
            }
            None => None,
        };
        Section::new(self.findings, path, place, table)
    }

    /// The tables of a name that may stand several times: `[[quota.root]]`.
    pub fn sections(&self, key: &str) -> Vec<Section<'a>> {
        let name = self.path_to(key).join(".");
        let refused = || {
            self.refuse(key, format!("accepted: [[{name}]], once for each, in the file"));
            Vec::new()
        };
        let tables = match self.given(key).map(|value| &value.kind) {
            None => return Vec::new(),
            Some(ValueKind::Array(tables)) => tables,
            Some(_) => return refused(),
        };
        let read = |(index, value): (usize, &'a Value)| match &value.kind {
            ValueKind::Table(table) => {
                let mut section =
                    Section::new(self.findings, self.path_to(key), self.place_of(value, key), Some(table));
                section.index = Some(index);
                Some(section)
            }
            _ => None,
        };
        tables.iter().enumerate().map(read).collect::<Option<Vec<_>>>().unwrap_or_else(refused)
    }

    /// Declares the keys of a repeated table even where it stands nowhere.
    pub fn known(&self, keys: &[&str]) {
        self.findings.known.borrow_mut().extend(keys.iter().map(|key| self.path_to(key).join(".")));
    }

    /// The names that a table with free names holds, in order.
    pub fn names(&self) -> Vec<String> {
        let names: BTreeSet<String> = self.table.into_iter().flat_map(|table| table.keys().cloned()).collect();
        names.into_iter().collect()
    }

    pub fn flag(&self, key: &str, default: bool) -> bool {
        let read = |value: &Value| match &value.kind {
            ValueKind::Boolean(flag) => Ok(*flag),
            ValueKind::String(text) if from_environment(value) => {
                text.parse().map_err(|_| format!("`{text}` is neither; accepted: true or false"))
            }
            other => Err(format!("{} is neither; accepted: true or false, without quotes", shown(other))),
        };
        let flag = self.take(key, read).unwrap_or(default);
        self.effective(key, flag.into());
        flag
    }

    pub fn number(&self, key: &str, default: u32, accepted: RangeInclusive<u32>) -> u32 {
        let read = |value: &Value| {
            let number = match &value.kind {
                ValueKind::I64(number) => u32::try_from(*number).ok(),
                ValueKind::String(text) if from_environment(value) => text.parse().ok(),
                _ => None,
            };
            let (low, high) = (accepted.start(), accepted.end());
            let wrong = || format!("{} is not accepted; accepted: {low} to {high}, without quotes", shown(&value.kind));
            number.filter(|number| accepted.contains(number)).ok_or_else(wrong)
        };
        let number = self.take(key, read).unwrap_or(default);
        self.effective(key, i64::from(number).into());
        number
    }

    /// A list of numbers; one number alone is a list of one.
    pub fn numbers(&self, key: &str, default: &[u32], accepted: RangeInclusive<u32>) -> Vec<u32> {
        let (low, high) = (*accepted.start(), *accepted.end());
        let number = |value: &Value| match &value.kind {
            ValueKind::I64(number) => u32::try_from(*number).ok().filter(|number| accepted.contains(number)),
            _ => None,
        };
        let read = |value: &Value| {
            let wrong = |value: &Value| {
                format!(
                    "{} is not accepted; accepted: numbers from {low} to {high}, as in [80, 90]",
                    shown(&value.kind)
                )
            };
            match &value.kind {
                ValueKind::Array(values) => values.iter().map(|one| number(one).ok_or_else(|| wrong(one))).collect(),
                ValueKind::String(text) if from_environment(value) => {
                    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                    let read = |part: &str| part.parse().ok().filter(|number| accepted.contains(number));
                    parts.map(|part| read(part).ok_or_else(|| wrong(value))).collect()
                }
                _ => number(value).map(|number| vec![number]).ok_or_else(|| wrong(value)),
            }
        };
        let numbers = self.take(key, read).unwrap_or_else(|| default.to_vec());
        let shown = numbers.iter().map(|number| toml::Value::from(i64::from(*number))).collect::<Vec<_>>();
        self.effective(key, shown.into());
        numbers
    }

    /// A text with a default that `read` accepts.
    pub fn text<T>(&self, key: &str, default: &str, read: impl Fn(&str) -> Parsed<T>) -> T {
        self.read(key, &read).unwrap_or_else(|| {
            self.effective(key, default.into());
            read(default).unwrap_or_else(|wrong| panic!("the default of {key} is bad: {wrong}"))
        })
    }

    pub fn optional<T>(&self, key: &str, read: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        self.read(key, &read)
    }

    pub fn required<T>(&self, key: &str, accepted: &str, read: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let value = self.read(key, &read);
        self.require(key, accepted);
        value
    }

    /// Refuses the absence of a key that counts.
    pub fn require(&self, key: &str, accepted: &str) {
        if !self.is_set(key) && self.idle.borrow().is_none() {
            self.refuse(key, format!("is missing; accepted: {accepted}"));
        }
    }

    /// A text that is never shown. An empty one is refused: to a directory it is an anonymous bind, which would seem
    /// to succeed.
    pub fn secret(&self, key: &str) -> Option<String> {
        let read = |value: &Value| match &value.kind {
            ValueKind::String(text) => Ok(text.clone()),
            // A number without its quotes is a secret too.
            _ => Err("is no text; accepted: a text in quotes".into()),
        };
        let secret = self.take(key, read)?;
        if secret.is_empty() {
            self.refuse(key, "is empty; accepted: what the server knows, or no such key");
        }
        self.effective(key, HIDDEN.into());
        self.findings.secrets.borrow_mut().0.insert(self.path_to(key).join("."), secret.clone());
        Some(secret)
    }

    /// A list of texts; one text alone is a list of one. In the environment, commas separate.
    pub fn list<T>(&self, key: &str, default: &[&str], read: impl Fn(&str) -> Parsed<T>) -> Vec<T> {
        let values = match self.given(key) {
            None => None,
            Some(value) => self.elements(key, value, &read),
        };
        let default = || {
            let texts: Vec<String> = default.iter().map(|text| (*text).to_owned()).collect();
            let values = default.iter().filter_map(|text| read(text).ok()).collect();
            (texts, values)
        };
        let (texts, values) = values.unwrap_or_else(default);
        self.effective(key, texts.into());
        values
    }

    fn elements<T>(
        &self,
        key: &str,
        value: &Value,
        read: &impl Fn(&str) -> Parsed<T>,
    ) -> Option<(Vec<String>, Vec<T>)> {
        let texts: Vec<(String, String)> = match &value.kind {
            ValueKind::Array(values) => {
                let element = |value: &Value| match text_of(value, false) {
                    Ok(text) => Some((self.place_of(value, key), text)),
                    Err(wrong) => {
                        self.note(self.place_of(value, key), key, wrong);
                        None
                    }
                };
                values.iter().map(element).collect::<Option<_>>()?
            }
            ValueKind::String(text) if from_environment(value) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                parts.map(|part| (self.place_of(value, key), part.to_owned())).collect()
            }
            ValueKind::String(text) => vec![(self.place_of(value, key), text.clone())],
            other => {
                self.refuse(key, format!("{} is no list; accepted: a list of texts", shown(other)));
                return None;
            }
        };
        let one = |(place, text): &(String, String)| match read(text) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.note(place.clone(), key, wrong);
                None
            }
        };
        let values: Vec<T> = texts.iter().filter_map(one).collect();
        (values.len() == texts.len()).then(|| (texts.into_iter().map(|(_, text)| text).collect(), values))
    }

    fn read<T>(&self, key: &str, read: &impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let (text, value) = self.take(key, |value| {
            let text = text_of(value, true)?;
            let parsed = read(&text)?;
            Ok((text, parsed))
        })?;
        self.effective(key, text.into());
        Some(value)
    }

    fn take<T>(&self, key: &str, read: impl Fn(&Value) -> Parsed<T>) -> Option<T> {
        match read(self.given(key)?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.refuse(key, wrong);
                None
            }
        }
    }

    pub fn is_set(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    fn given(&self, key: &str) -> Option<&'a Value> {
        self.findings.known.borrow_mut().insert(self.path_to(key).join("."));
        let first = self.asked.borrow_mut().insert(key.to_owned());
        let value = self.table?.get(key)?;
        match self.idle.borrow().as_deref() {
            None => Some(value),
            Some(condition) if first => {
                self.refuse(key, format!("has no effect here; accepted only with {condition}"));
                None
            }
            Some(_) => None,
        }
    }

    /// Notes a problem with a key, at its place or, where it is absent, at that of its table.
    pub fn refuse(&self, key: &str, what: impl Into<String>) {
        let value = self.table.and_then(|table| table.get(key));
        let place = value.map_or_else(|| self.place.clone(), |value| self.place_of(value, key));
        self.note(place, key, what.into());
    }

    /// Notes a problem with the section as a whole.
    pub fn refuse_all(&self, what: impl Into<String>) {
        let key = self.path.join(".");
        self.findings.problems.borrow_mut().push(Problem { place: self.place.clone(), key, what: what.into() });
    }

    fn note(&self, place: String, key: &str, what: String) {
        let key = self.path_to(key).join(".");
        self.findings.problems.borrow_mut().push(Problem { place, key, what });
    }

    /// To be called when every key was asked for: what is left over is unknown.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for name in self.names().iter().filter(|name| !asked.contains(*name)) {
            let what = match nearest(name, asked.iter().map(String::as_str)) {
                Some(near) => format!("unknown key; did you mean `{near}`?"),
                None => {
                    let known: Vec<&str> = asked.iter().map(String::as_str).collect();
                    format!("unknown key; accepted: {}", known.join(", "))
                }
            };
            self.refuse(name, what);
        }
    }

    fn path_to(&self, key: &str) -> Vec<String> {
        self.path.iter().cloned().chain([key.to_owned()]).collect()
    }

    fn place_of(&self, value: &Value, key: &str) -> String {
        match value.origin() {
            Some(ENVIRONMENT) => {
                format!("{PREFIX}{SEPARATOR}{}", self.path_to(key).join(SEPARATOR).to_uppercase())
            }
            Some(place) => place.to_owned(),
            None => self.findings.sections.get(&self.path_to(key).join(".")).unwrap_or(&self.place).clone(),
        }
    }

    fn effective(&self, key: &str, value: toml::Value) {
        if self.idle.borrow().is_some() {
            return;
        }
        let mut root = self.findings.effective.borrow_mut();
        if let Some(table) = descend(&mut root, &self.path, self.index) {
            table.insert(key.to_owned(), value);
        }
    }
}

/// The table at `path`, made where it is absent; with an index, that of a list of tables.
fn descend<'t>(root: &'t mut toml::Table, path: &[String], index: Option<usize>) -> Option<&'t mut toml::Table> {
    let Some((name, rest)) = path.split_first() else { return Some(root) };
    let repeated = index.filter(|_| rest.is_empty());
    let empty = || toml::Value::Table(toml::Table::new());
    let first = if repeated.is_some() { toml::Value::Array(Vec::new()) } else { empty() };
    match (root.entry(name.clone()).or_insert(first), repeated) {
        (toml::Value::Table(table), None) => descend(table, rest, index),
        (toml::Value::Array(tables), Some(index)) => {
            tables.resize_with(tables.len().max(index + 1), empty);
            tables[index].as_table_mut()
        }
        _ => None,
    }
}

fn from_environment(value: &Value) -> bool {
    value.origin() == Some(ENVIRONMENT)
}

fn text_of(value: &Value, numbers: bool) -> Parsed<String> {
    match &value.kind {
        ValueKind::String(text) => Ok(text.clone()),
        ValueKind::I64(number) if numbers => Ok(number.to_string()),
        other => Err(format!("{} is no text; accepted: a text in quotes", shown(other))),
    }
}

/// A value as a message names it.
fn shown(kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) => format!("the text `{text}`"),
        ValueKind::Table(_) => "a section".into(),
        ValueKind::Array(_) => "a list".into(),
        other => format!("`{other}`"),
    }
}
