//! The repository checks itself: what operators see is documented, files stay small, and nothing in them names
//! the machine that they were written on. (Configuration keys: `config_file.rs`.)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mailquotad::quota::{Action, Level, Reason, Verdict};
use mailquotad::telemetry::metrics::{Metrics, Scan, Sent, StatusWrite, Total, UnixRead, Whose};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The words in backquotes that begin with `start`.
fn quoted(document: &str, start: &str) -> BTreeSet<String> {
    let words = document.split('`').skip(1).step_by(2);
    words.filter(|word| word.starts_with(start)).map(|word| word.split('{').next().unwrap().to_owned()).collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_one_exists() {
    let metrics = Metrics::default();
    metrics.verdict(Verdict { action: Action::Pass, reason: Reason::Room });
    metrics.lookup("status", "found");
    metrics.unix_read(UnixRead::Done);
    metrics.scan(Scan::Complete);
    metrics.folder_scan(Scan::Complete);
    metrics.watching("fanotify", true);
    metrics.status_write(StatusWrite::Done);
    metrics.job("resync");
    metrics.notice(Sent::Done);
    metrics.dict_total(Total::Agreed);
    metrics.warning("run", "done");
    metrics.standing(Whose::Account, Level::Over, 1);
    metrics.queue("postfix", 1, None, std::time::Duration::ZERO);
    metrics.queue_read("postfix", true);
    metrics.queue_quota("per-recipient", 1, 10);
    metrics.queue_refused(&"per-recipient".into());
    metrics.queue_faults(&"per-recipient".into());
    let rendered = metrics.render();
    let series = rendered.lines().filter(|line| !line.starts_with('#'));
    let known: BTreeSet<String> = series.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect();
    assert_eq!(quoted(&text("docs/monitoring.md"), "mailquotad_"), known);
}

#[test]
fn every_event_is_documented_and_every_documented_one_exists() {
    let source = text("src/telemetry/events.rs");
    let names = source.split("event = \"").skip(1).map(|rest| format!("event={}", rest.split('"').next().unwrap()));
    let known: BTreeSet<String> = names.collect();
    assert!(known.len() > 20, "{known:?}");
    assert_eq!(quoted(&text("docs/monitoring.md"), "event="), known);
}

fn files() -> Vec<PathBuf> {
    const SKIPPED: [&str; 4] = [".git", "target", "Cargo.lock", "corpus"];
    let (mut files, mut folders) = (Vec::new(), vec![root().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            let path = entry.path();
            let name = entry.file_name();
            match entry.file_type().unwrap() {
                _ if SKIPPED.iter().any(|skipped| name == *skipped) => {}
                kind if kind.is_dir() => folders.push(path),
                kind if kind.is_file() => files.push(path),
                _ => {}
            }
        }
    }
    files
}

#[test]
fn no_source_file_is_longer_than_500_lines() {
    let sources = files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let lines = |path: PathBuf| (fs::read_to_string(&path).unwrap().lines().count(), path);
    let (seen, long): (Vec<_>, Vec<_>) = (sources.map(lines)).partition(|(lines, _)| *lines <= 500);
    assert!(seen.len() > 30, "{}", seen.len());
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn nothing_names_the_machine_that_it_was_written_on() {
    // In two parts, so that this file does not name them either.
    let forbidden =
        [["/wo", "rk/"], ["/tmp/", "wt"], ["/root/", ".cargo"], ["/root/", ".rustup"], [".cargo/", "registry"]];
    let forbidden = forbidden.map(|parts| parts.concat());
    let mut found = Vec::new();
    for path in files() {
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for name in &forbidden {
            found.extend(text.lines().position(|line| line.contains(name)).map(|at| (path.clone(), at + 1, name)));
        }
    }
    assert!(found.is_empty(), "{found:?}");
}
