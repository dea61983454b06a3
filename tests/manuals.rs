//! The documents agree with the program: what they name exists, and what exists they name. (Metrics and events:
//! `documents.rs`; the keys of `config/mailquotad.toml`: `config_file.rs`.)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use mailquotad::cli::args::CommandLine;
use mailquotad::config::{Config, Variables};
use mailquotad::service::settings::Texts;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document, by its path from the root.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["", "docs"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push((path.clone(), text(path.to_str().unwrap())));
            }
        }
    }
    assert!(found.len() >= 10, "{found:?}");
    found
}

/// What stands between backquotes, in prose and tables; it may go on in the next line.
fn quoted(document: &str) -> impl Iterator<Item = &str> {
    let prose = document.split("```").step_by(2);
    let paragraphs = prose.flat_map(|text| text.split("\n\n")).filter(|paragraph| !paragraph.starts_with("    "));
    paragraphs.flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2))
}

/// The blocks of a document that are in `language`.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let fenced = document.split("```").skip(1).step_by(2);
    fenced.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

fn exists(path: &Path) -> bool {
    root().join(path).exists()
}

#[test]
fn every_link_leads_to_a_file() {
    let mut seen = 0;
    for (document, text) in documents() {
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if target.contains("://") {
                continue;
            }
            let mut path = PathBuf::new();
            for part in document.parent().unwrap().join(target.split('#').next().unwrap()).components() {
                match part {
                    std::path::Component::ParentDir => drop(path.pop()),
                    part => path.push(part),
                }
            }
            assert!(exists(&path), "{}: {target}", document.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_file_that_is_named_exists() {
    const FOLDERS: [&str; 9] =
        ["src/", "tests/", "docs/", "config/", "packaging/", "ldif/", "schema/", "benches/", "fuzz/"];
    let mut seen = 0;
    for (document, text) in documents() {
        for path in quoted(&text).filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder))) {
            assert!(exists(Path::new(path)), "{}: `{path}`", document.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_command_is_in_the_readme() {
    let readme = text("README.md");
    let named: BTreeSet<&str> = quoted(&readme).collect();
    let mut line = CommandLine::command().disable_help_subcommand(true);
    line.build();
    for command in line.get_subcommands() {
        match command.get_subcommands().next() {
            None => {
                let name = format!("mailquotad {}", command.get_name());
                assert!(named.contains(&*name), "`{name}`");
            }
            Some(_) => command.get_subcommands().for_each(|inner| {
                let name = format!("mailquotad {} {}", command.get_name(), inner.get_name());
                assert!(named.contains(&*name), "`{name}`");
            }),
        }
    }
}

#[test]
fn every_command_that_is_named_is_one() {
    let mut seen = 0;
    for (document, text) in documents() {
        let words = quoted(&text).chain(text.lines().filter_map(|line| line.strip_prefix("    ")));
        for line in words.filter(|line| line.starts_with("mailquotad ") && !line.contains('=') && !line.contains(':')) {
            let words = line.split_whitespace().filter(|word| !word.contains(['\'', '`']));
            let parsed = CommandLine::command().ignore_errors(true).try_get_matches_from(words).unwrap();
            assert!(parsed.subcommand_name().is_some(), "{}: {line}", document.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_key_that_is_named_exists() {
    let known: BTreeSet<String> = Config::known_keys().into_iter().collect();
    let sections: BTreeSet<&str> =
        known.iter().filter_map(|key| key.split_once('.')).map(|(section, _)| section).collect();
    let mut seen = 0;
    for (document, text) in documents() {
        for word in quoted(&text) {
            let key = word.split([' ', '=']).next().unwrap();
            let Some((section, rest)) = key.split_once('.') else { continue };
            let is_key = rest.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.');
            if sections.contains(section) && is_key && !matches!(rest, "rs" | "toml" | "md" | "ldif") {
                assert!(known.contains(key), "{}: `{key}`", document.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_configuration_that_is_shown_is_right() {
    let mut seen = 0;
    for (document, text) in documents() {
        for block in blocks(&text, "toml") {
            let read = Config::read(&document.display().to_string(), block, &Variables::new());
            read.unwrap_or_else(|error| panic!("{error}"));
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn every_reply_is_explained() {
    let document = text("docs/postfix.md");
    let replies: BTreeSet<&str> = quoted(&document).collect();
    let mut seen = 0;
    Texts::read(|key, text| {
        assert!(replies.contains(&*text.to_string()), "{key}: `{text}`");
        seen += 1;
        text
    });
    assert!(seen > 10, "{seen}");
}

#[test]
fn every_path_of_the_api_is_documented_and_every_documented_one_exists() {
    let source = text("src/service/http/mod.rs");
    let routes: BTreeSet<String> = source
        .split(".route(\"")
        .skip(1)
        .map(|rest| {
            let (path, rest) = rest.split_once("\", ").unwrap();
            format!("{} {path}", rest.split('(').next().unwrap().to_uppercase())
        })
        .collect();
    assert!(routes.len() > 5, "{routes:?}");
    let document = text("docs/http-api.md");
    let headings = document.lines().filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`'));
    assert_eq!(headings.map(str::to_owned).collect::<BTreeSet<_>>(), routes);
}

/// `docs/failure-modes.md` says which test holds a row.
#[test]
fn every_test_that_is_named_exists() {
    let mut code = String::new();
    let mut folders = vec![root().join("src"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("rs") => code.push_str(&fs::read_to_string(&path).unwrap()),
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    let document = text("docs/failure-modes.md");
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let mut seen = 0;
    for row in &rows {
        let held_by = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        for test in quoted(held_by).filter(|word| word.matches('_').count() >= 3) {
            assert!(code.contains(&format!("fn {test}()")) || code.contains(&format!("fn {test}(")), "`{test}`");
            seen += 1;
        }
    }
    assert!(rows.len() > 15 && seen >= rows.len(), "{seen} tests for {} rows", rows.len());
}

/// What an admin copies from a page is what `tests/mta` loads into the real program.
#[test]
fn blocks_for_mtas_are_the_files_that_the_tests_load() {
    // A page may indent a block.
    let plain = |text: &str| text.lines().map(|line| line.trim_start().to_owned() + "\n").collect::<String>();
    let pages: Vec<String> = documents().iter().map(|(_, text)| plain(text)).collect();
    let mut seen = 0;
    for folder in ["postfix", "exim", "sendmail"] {
        for file in fs::read_dir(root().join("packaging").join(folder)).unwrap() {
            let path = file.unwrap().path();
            let text = plain(&fs::read_to_string(&path).unwrap());
            assert!(pages.iter().any(|page| page.contains(&text)), "no page shows {} as it is", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
    // Nor does any page have a version of its own.
    let policy = plain(&text("packaging/postfix/policy.cf"));
    let (service, restrictions) = policy.split_once('\n').unwrap();
    for page in pages.iter().filter(|page| page.contains("mailquotad = check_policy_service")) {
        assert!(page.contains(service) && page.contains(restrictions), "{service} and so on in: {page}");
    }
}
