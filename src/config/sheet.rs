//! The layers, joined into one tree whose every value knows where it stands: the file, then the
//! environment over it.
//!
//! The file is read by `toml`, because only its spans give lines; the `config` crate lays the environment
//! over it. A value's origin is `file:line`, or [`ENVIRONMENT`].

use std::collections::HashMap;

use config::{Map, Source, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

pub(super) const PREFIX: &str = "MAILQUOTAD";
pub(super) const SEPARATOR: &str = "__";
/// What the `config` crate calls the origin of a value that an environment variable has set.
pub(super) const ENVIRONMENT: &str = "the environment";

/// The variables that could override a key, by name.
pub type Variables = HashMap<String, String>;

/// The layers as one tree.
pub(super) struct Joined {
    pub root: Value,
    /// Where the sections stand, by their names with dots: joining makes them anew, without an origin.
    pub sections: HashMap<String, String>,
}

/// Reads `text`, which came from the file called `name`, and lays `variables` over it.
pub(super) fn join(name: &str, text: &str, variables: &Variables) -> Result<Joined, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::new(name, text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| Problem {
            place: lines.place(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            what: format!("not TOML: {}", error.message().replace('\n', ", ")),
        };
        return Err(errors.iter().map(problem).collect());
    }
    let file = FileLayer(lines.table(table.get_ref()));
    let mut sections = HashMap::from([(String::new(), lines.place(0))]);
    note_sections(&file.0, "", &mut sections);
    let environment = config::Environment::with_prefix(PREFIX).prefix_separator(SEPARATOR).separator(SEPARATOR);
    let joined = config::Config::builder()
        .add_source(file)
        .add_source(environment.source(Some(variables.clone().into_iter().collect())))
        .build();
    match joined {
        Ok(joined) => Ok(Joined { root: joined.cache, sections }),
        Err(error) => Err(vec![Problem { place: name.into(), key: String::new(), what: error.to_string() }]),
    }
}

fn note_sections(table: &Map<String, Value>, path: &str, found: &mut HashMap<String, String>) {
    for (name, value) in table {
        if let (ValueKind::Table(inner), Some(place)) = (&value.kind, value.origin()) {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            note_sections(inner, &path, found);
            found.insert(path, place.to_owned());
        }
    }
}

/// The file as a layer of the `config` crate.
#[derive(Clone, Debug)]
struct FileLayer(Map<String, Value>);

impl Source for FileLayer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// Turns byte offsets into `file:line`.
struct Lines<'a> {
    name: &'a str,
    ends: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(name: &'a str, text: &str) -> Lines<'a> {
        Lines { name, ends: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.name, self.ends.partition_point(|end| *end < offset) + 1)
    }

    fn table(&self, table: &DeTable) -> Map<String, Value> {
        table.iter().map(|(key, value)| (key.get_ref().to_string(), self.value(value, key.span().start))).collect()
    }

    /// `at` is where the key stands: a table that was opened by a header has no better place.
    fn value(&self, value: &Spanned<DeValue>, at: usize) -> Value {
        let origin = self.place(at);
        let kind = match value.get_ref() {
            DeValue::String(text) => ValueKind::String(text.to_string()),
            DeValue::Boolean(flag) => ValueKind::Boolean(*flag),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => ValueKind::I64(number),
                Err(_) => ValueKind::String(number.to_string()),
            },
            DeValue::Float(number) => ValueKind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Datetime(instant) => ValueKind::String(instant.to_string()),
            DeValue::Array(values) => {
                ValueKind::Array(values.iter().map(|value| self.value(value, value.span().start)).collect())
            }
            DeValue::Table(table) => ValueKind::Table(self.table(table)),
        };
        Value::new(Some(&origin), kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines_and_the_environment_wins() {
        let text = "[policy]\nlisten = [\n  'a',\n  'b',\n]\nmode = '0600'\n";
        let variables = HashMap::from([("MAILQUOTAD__POLICY__MODE".to_owned(), "0660".to_owned())]);
        let joined = join("x.toml", text, &variables).unwrap();
        assert_eq!(joined.sections["policy"], "x.toml:1");
        let root = joined.root.into_table().unwrap();
        let policy = root["policy"].clone().into_table().unwrap();
        assert_eq!(policy["listen"].origin(), Some("x.toml:2"));
        let listen = policy["listen"].clone().into_array().unwrap();
        assert_eq!(listen[1].origin(), Some("x.toml:4"));
        assert_eq!(policy["mode"], Value::new(Some(&ENVIRONMENT.to_owned()), "0660"));
        assert_eq!(policy["mode"].origin(), Some(ENVIRONMENT));
    }

    #[test]
    fn every_syntax_error_has_its_line() {
        let joined = join("x.toml", "[a]\nb = \n[c]\nd = 'x\n", &Variables::new());
        let problems = joined.err().unwrap();
        let places: Vec<_> = problems.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(places, ["x.toml:2", "x.toml:4"]);
    }
}
