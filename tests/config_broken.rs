//! Broken configurations and what is said of them: `tests/broken-configs/NAME.toml`, and in `NAME.expected` every
//! line of the message. `BLESS=1` writes the expected files anew; read the difference before committing it.

use std::fs;
use std::path::{Path, PathBuf};

use mailquotad::config::{Config, ConfigError, Problem, Variables};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken-configs")
}

#[test]
fn every_broken_configuration_is_refused_with_all_its_problems() {
    let mut names: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path()).collect();
    names.retain(|name| name.extension().is_some_and(|extension| extension == "toml"));
    assert!(names.len() >= 10, "{names:?}");
    let bless = std::env::var_os("BLESS").is_some();
    let mut differing = Vec::new();
    for name in names {
        let file = name.file_name().unwrap().to_str().unwrap();
        let error = Config::read(file, &fs::read_to_string(&name).unwrap(), &Variables::new()).err();
        let said = error.map_or_else(|| "accepted".to_owned(), |error| error.to_string()) + "\n";
        let expected = name.with_extension("expected");
        if bless {
            fs::write(&expected, &said).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != said || said == "accepted\n" {
            differing.push(said);
        }
    }
    assert!(differing.is_empty(), "not as expected:\n{}", differing.join("\n"));
}

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::read("x.toml", text, &variables.collect())
}

const MINIMAL: &str = "[directory]\nkind = \"ldif\"\nfile = \"/srv/x.ldif\"\n";

#[test]
fn the_environment_overrides_the_file_for_every_shape_of_value() {
    let config = with(
        MINIMAL,
        &[
            ("MAILQUOTAD__DIRECTORY__FILE", "/srv/y.ldif"),
            ("MAILQUOTAD__ENFORCEMENT__ENABLED", "false"),
            ("MAILQUOTAD__ENFORCEMENT__THRESHOLD", "75"),
            ("MAILQUOTAD__POLICY__LISTEN", "127.0.0.1:1, unix:/run/x.sock"),
            ("MAILQUOTAD__QUOTA__TYPES__VOICE", "audio/*"),
            ("MAILQUOTAD__QUOTA__DEFAULT_MAILBOX", "2G"),
            ("MAILQUOTAD_CONFIG", "elsewhere"),
            ("HOME", "/root"),
        ],
    );
    let printed = config.unwrap().print();
    for line in [
        "file = \"/srv/y.ldif\"",
        "enabled = false",
        "threshold = 75",
        "listen = [\"127.0.0.1:1\", \"unix:/run/x.sock\"]",
        "voice = [\"audio/*\"]",
        "default_mailbox = \"2G\"",
    ] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
}

#[test]
fn problems_of_the_environment_name_the_variable() {
    let error = with(
        MINIMAL,
        &[
            ("MAILQUOTAD__ENFORCEMENT__TRESHOLD", "75"),
            ("MAILQUOTAD__ENFORCEMENT__ENABLED", "yes"),
            ("MAILQUOTAD__QUOTA", "1G"),
            ("MAILQUOTAD__POLICY__TEXTS__OVER", "Full"),
        ],
    );
    let said = error.unwrap_err().to_string();
    for line in [
        "MAILQUOTAD__ENFORCEMENT__TRESHOLD: enforcement.treshold: unknown key; did you mean `threshold`?",
        "MAILQUOTAD__ENFORCEMENT__ENABLED: enforcement.enabled: `yes` is neither; accepted: true or false",
        "MAILQUOTAD__QUOTA: quota: a section is expected here; accepted: [quota] and keys below it",
        "MAILQUOTAD__POLICY__TEXTS__OVER: policy.texts.over: `Full`: the code is not one from 400 to 599",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert_eq!(said.lines().count(), 4, "{said}");
}

#[test]
fn the_minimal_configuration_says_where_accounts_are_and_no_more() {
    with(MINIMAL, &[]).unwrap();
    with("[directory]\nbase = \"dc=example,dc=org\"\n", &[]).unwrap();
    let Err(ConfigError::Problems(problems)) = with("", &[]) else { panic!("nothing is not enough") };
    let problem =
        |place: &str, key: &str, what: &str| Problem { place: place.into(), key: key.into(), what: what.into() };
    let what = "is missing; accepted: where users and domains are, as in \"dc=example,dc=org\", or a list";
    assert_eq!(problems, [problem("x.toml:1", "directory.base", what)]);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_way_out() {
    let error = Config::load(Path::new("/nonexistent/x.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/x.toml: ") && error.contains("MAILQUOTAD_CONFIG"), "{error}");
}
