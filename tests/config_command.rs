//! `config check` and `config print` as an admin meets them: what goes where, and the exit code.

use std::fs;
use std::process::{Command, Output};

fn mailquotad(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mailquotad"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("MAILQUOTAD_CONFIG")
        .env("MAILQUOTAD__LOG__LEVEL", "debug")
        .output()
        .unwrap()
}

fn said(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn faults_go_to_standard_error_a_line_each_and_the_exit_code_is_2() {
    let output = mailquotad(&["config", "check", "-c", "tests/broken-configs/policy.toml"]);
    assert_eq!((output.status.code(), said(&output.stdout)), (Some(2), ""));
    let expected = fs::read_to_string("tests/broken-configs/policy.expected").unwrap();
    let expected: Vec<String> = expected.lines().map(|line| format!("tests/broken-configs/{line}")).collect();
    assert_eq!(said(&output.stderr).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_missing_file_is_a_wrong_configuration() {
    let output = mailquotad(&["config", "check", "-c", "/nonexistent.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output.stderr).starts_with("/nonexistent.toml: "), "{}", said(&output.stderr));
}

#[test]
fn what_is_printed_can_be_used_as_it_is() {
    let output = mailquotad(&["config", "print", "-c", "config/mailquotad.toml"]);
    assert_eq!((output.status.code(), said(&output.stderr)), (Some(0), ""));
    assert!(said(&output.stdout).contains("level = \"debug\""), "the environment is in force");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("printed.toml");
    fs::write(&file, &output.stdout).unwrap();
    let again = mailquotad(&["-c", file.to_str().unwrap(), "config", "print"]);
    assert_eq!((again.status.code(), said(&again.stdout)), (Some(0), said(&output.stdout)));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_mailquotad"))
        .args(["config", "print", "-c", "config/mailquotad.toml"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!((output.status.code(), said(&output.stderr)), (Some(0), ""));
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    assert_eq!(mailquotad(&["config", "chek"]).status.code(), Some(2));
    assert_eq!(mailquotad(&["resync"]).status.code(), Some(2));
    assert_eq!(mailquotad(&["explain", "--help"]).status.code(), Some(0));
}
