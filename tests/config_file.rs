//! `config/mailquotad.toml` shows every key with its default, and `config/*.toml` are right.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mailquotad::config::{Config, ConfigError, Variables};

const FILE: &str = "config/mailquotad.toml";

/// Keys that go only without another one, or only with another value than the file has.
const ALTERNATIVES: [&str; 6] =
    ["#file = ", "#bind_password = ", "#password = ", "#journald = ", "#doveadm_", "#imap_"];

fn file() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE)).unwrap()
}

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::read(FILE, text, &Variables::new())
}

/// Whether a line is a key or a header behind a `#`. Prose has a space there.
fn is_commented_out(line: &str) -> bool {
    line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase() || c == '[')
}

/// The file with those keys in force that `wanted` picks.
fn uncommented(wanted: impl Fn(&str) -> bool) -> String {
    let line = |line: &str| match is_commented_out(line) && wanted(line) {
        true => line[1..].to_owned() + "\n",
        false => line.to_owned() + "\n",
    };
    file().lines().map(line).collect()
}

fn is_alternative(line: &str) -> bool {
    ALTERNATIVES.iter().any(|start| line.starts_with(start))
}

/// The keys of a document, as `Config::known_keys` writes them.
fn keys(table: &toml::Table, path: &str, found: &mut BTreeSet<String>) {
    for (name, value) in table {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            toml::Value::Table(inner) => keys(inner, &key, found),
            toml::Value::Array(values) if values.iter().any(toml::Value::is_table) => {
                values.iter().filter_map(toml::Value::as_table).for_each(|inner| keys(inner, &key, found));
            }
            _ => drop(found.insert(key.clone())),
        }
        found.insert(key);
    }
}

#[test]
fn every_file_in_config_is_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut seen = 0;
    for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.display().to_string();
        Config::read(&name, &text, &Variables::new()).unwrap_or_else(|error| panic!("{error}"));
        seen += 1;
    }
    assert!(seen >= 2);
}

#[test]
fn every_key_that_the_code_knows_is_in_the_file_and_the_other_way_round() {
    let table: toml::Table = uncommented(|_| true).parse().unwrap();
    let mut documented = BTreeSet::new();
    keys(&table, "", &mut documented);
    // The names that a site gives itself.
    documented.remove("quota.types.voice");
    documented.remove("notify.templates.de");
    let known: BTreeSet<String> = Config::known_keys().into_iter().collect();
    let missing: Vec<_> = known.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not in {FILE}: {missing:?}; not known: {unknown:?}");
}

#[test]
fn every_key_in_the_file_loads() {
    read(&uncommented(|line| !is_alternative(line))).unwrap_or_else(|error| panic!("{error}"));
    let ldif = "[directory]\nkind = \"ldif\"\nfile = \"/var/lib/mailquotad/organisation.ldif\"\n";
    read(ldif).unwrap();
    read(&uncommented(|line| line.starts_with("#bind_dn") || line.starts_with("#bind_password = "))).unwrap();
    read(&uncommented(|line| line.starts_with("#journald"))).unwrap();
    read(&uncommented(|line| line.starts_with("#login") || line.starts_with("#password = "))).unwrap();
}

#[test]
fn the_values_behind_a_hash_are_the_defaults() {
    let defaults: toml::Table = read(&file()).unwrap().print().parse().unwrap();
    let shown: toml::Table = read(&uncommented(|line| !is_alternative(line))).unwrap().print().parse().unwrap();
    let mut differing = Vec::new();
    compare(&defaults, &shown, "", &mut differing);
    assert!(differing.is_empty(), "{differing:?}");
}

/// Only keys that have a default are in both.
fn compare(defaults: &toml::Table, shown: &toml::Table, path: &str, differing: &mut Vec<String>) {
    for (name, default) in defaults {
        let key = format!("{path}{name}");
        match (default, shown.get(name)) {
            (toml::Value::Table(defaults), Some(toml::Value::Table(shown))) => {
                compare(defaults, shown, &format!("{key}."), differing);
            }
            (_, Some(value)) if value == default => {}
            // The example of a token has a listener beside it; journald goes only without a folder.
            _ if ["http.listen", "log.journald"].contains(&key.as_str()) => {}
            (default, shown) => differing.push(format!("{key}: {default} is shown as {shown:?}")),
        }
    }
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let config = read(&uncommented(|line| !is_alternative(line) && !line.starts_with("#bind_"))).unwrap();
    let printed = Config::read("printed", &config.print(), &Variables::new()).unwrap();
    assert_eq!((printed.print(), format!("{printed:?}")), (config.print(), format!("{config:?}")));
}

#[test]
fn secrets_are_hidden() {
    let text = "[directory]\nbase = \"dc=x\"\nbind_dn = \"cn=y\"\nbind_password = \"hunter2\"\n";
    let config = read(text).unwrap();
    assert!(!config.print().contains("hunter2") && config.print().contains("(hidden)"), "{}", config.print());
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_junk_key_is_refused_at_every_level() {
    let text = uncommented(|line| !is_alternative(line));
    let table: toml::Table = text.parse().unwrap();
    let mut levels = Vec::new();
    tables(&table, &mut Vec::new(), &mut levels);
    assert!(levels.len() >= 13, "{levels:?}");
    for level in
        levels.into_iter().filter(|level| !["quota.types", "notify.templates"].contains(&level.join(".").as_str()))
    {
        let mut table = table.clone();
        inject(&mut table, &level);
        let error = read(&table.to_string()).unwrap_err().to_string();
        let key = level.iter().map(String::as_str).chain(["junk"]).collect::<Vec<_>>().join(".");
        assert!(error.contains(&format!(": {key}: unknown key")) && error.lines().count() == 1, "{key}: {error}");
    }
}

fn tables(table: &toml::Table, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    found.push(path.clone());
    for (name, value) in table {
        let inner = value.as_table().or_else(|| value.as_array()?.first()?.as_table());
        if let Some(inner) = inner {
            path.push(name.clone());
            tables(inner, path, found);
            path.pop();
        }
    }
}

fn inject(table: &mut toml::Table, path: &[String]) {
    let mut here = table;
    for name in path {
        here = match here.get_mut(name).unwrap() {
            toml::Value::Array(values) => values[0].as_table_mut().unwrap(),
            value => value.as_table_mut().unwrap(),
        };
    }
    here.insert("junk".into(), true.into());
}
