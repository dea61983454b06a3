//! Replays what a real Dovecot 2.3.19.1 answered, row by row, through the functions that the daemon
//! answers with: settings are read by [`Plugin`], limits come from its roots, and [`decide`] decides.
//!
//! `CONFORMANCE_DIR` names another folder of such files (same names and columns). A row passes if the
//! outcome is Dovecot's, or if it is exactly what `docs/dovecot-deviations.md` says of such a row.

#[path = "conformance/deviations.rs"]
mod deviations;
#[path = "conformance/listed.rs"]
mod listed;
#[path = "conformance/parsing.rs"]
mod parsing;
#[path = "conformance/replay.rs"]
mod replay;
#[path = "conformance/unit_test.rs"]
mod unit_test;
#[path = "conformance/usage.rs"]
mod usage;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use replay::Pass;

/// Replays one row, given as its columns; `header` is the comment at the head of the file.
type Replay = fn(header: &str, columns: &[&str]) -> Result<Pass, String>;

fn rows_of(file: &str, columns: usize, replay: Replay) {
    let home = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance");
    let folder = std::env::var_os("CONFORMANCE_DIR").map_or_else(|| PathBuf::from(home), PathBuf::from);
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let header: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
    let header = header.join("\n");
    let (mut rows, mut deviating, mut failures) = (0, BTreeMap::<_, usize>::new(), Vec::new());
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        rows += 1;
        let found: Vec<&str> = line.split('\t').collect();
        let outcome = match found.len() == columns {
            true => replay(&header, &found),
            false => Err(format!("{} columns, expected {columns}", found.len())),
        };
        match outcome {
            Ok(Pass::Same) => {}
            Ok(Pass::Deviation(name)) => *deviating.entry(name).or_default() += 1,
            Err(why) => failures.push(format!("line {}: {why}\n  {line}", index + 1)),
        }
    }
    // Not by `println!`, which the test harness would keep to itself: the figure is for everyone to see.
    let passed = rows - failures.len();
    let listed: usize = deviating.values().sum();
    let names: String = deviating.iter().map(|(name, count)| format!("; {name} {count}")).collect();
    let told = format!("{file}: {passed} / {rows} rows passed, {listed} of them as listed deviations{names}\n");
    std::io::stdout().write_all(told.as_bytes()).expect("standard output");
    assert!(rows > 0, "{} has no rows", path.display());
    assert!(failures.is_empty(), "{}:\n{}", path.display(), failures.join("\n"));
}

#[test]
fn quota_status() {
    rows_of("dovecot-2.3.19.1-quota-status.tsv", 5, usage::quota_status);
}

#[test]
fn append() {
    rows_of("dovecot-2.3.19.1-append.tsv", 7, usage::append);
}

#[test]
fn rule_parse() {
    rows_of("dovecot-2.3.19.1-rule-parse.tsv", 3, parsing::rule_parse);
}

#[test]
fn warning() {
    rows_of("dovecot-2.3.19.1-warning.tsv", 8, usage::warning);
}

#[test]
fn overflag() {
    rows_of("dovecot-2.3.19.1-overflag.tsv", 7, usage::overflag);
}

#[test]
fn a_row_with_another_answer_fails() {
    let settings = r#"{"quota_rule": "*:storage=1M"}"#;
    let full = "action=554 5.2.2 Quota exceeded (mailbox for user is full)";
    for (used, reply, same) in
        [("1048575", "action=OK", true), ("1048576", full, true), ("1048576", "action=OK", false)]
    {
        assert_eq!(usage::quota_status("", &[settings, used, "1", "1", reply]).is_ok(), same, "{used} {reply}");
    }
    for (taken, log, same) in [
        ("*:storage=1G", r#"["Quota rule: root=UQ mailbox=* bytes=1073741824 messages=0"]"#, true),
        ("*:storage=1G", r#"["Quota rule: root=UQ mailbox=* bytes=1073741823 messages=0"]"#, false),
        ("*:storage=1G", r#"["Something else"]"#, false),
        ("*:storage=1P", "[]", false),
        ("*:storage=1P", r#"["Failed to initialize quota: Invalid quota root quota: Unheard of"]"#, false),
        ("*:storage=1G", r#"["Failed to initialize quota: Invalid quota root quota: Unheard of"]"#, false),
    ] {
        assert_eq!(parsing::rule_parse("", &["default", taken, log]).is_ok(), same, "{taken} {log}");
    }
}
