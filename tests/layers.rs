//! Holds the arrows between the layers: a module uses its own floor's ports and what lies below, as `src/lib.rs`
//! says. Read from the source, test code left out.

use std::fs;
use std::path::{Path, PathBuf};

const PURE: [&str; 4] = ["quota", "wire", "account", "schedule"];
/// Whatever is on no floor of its own: from the ports up it may be used.
const COMMON: [&str; 2] = ["telemetry", "secret"];
const PORTS: [&str; 7] = ["directory", "ledger", "mailstore", "mailer", "mailqueue", "alarm", "unixquota"];
const SERVICE: &str = "service";
const CONFIG: &str = "config";

/// Modules beside a port that belong to it rather than to an adapter.
const PORT_PARTS: [(&str, &str); 2] = [("ledger", "export"), ("mailstore", "remote")];

/// What a pure module may not name: files, sockets, clocks, tasks, logs.
const WORLDLY: [&str; 14] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "SystemTime",
    "Instant::now",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "tokio::",
    "tracing::",
    "rustix::",
];

/// What only adapters may name.
const ENGINES: [&str; 4] = ["sled::", "ldap3::", "lettre::", "libc::"];

struct File {
    path: PathBuf,
    /// The modules that lead to it: `["directory", "ldif"]`.
    module: Vec<String>,
    text: String,
}

fn sources() -> Vec<File> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    let read = |path: PathBuf| {
        let module = module_of(path.strip_prefix(&src).unwrap());
        File { module, text: without_tests(&fs::read_to_string(&path).unwrap()), path }
    };
    // Below src: where the whole tree lies says nothing.
    files.into_iter().filter(|path| !is_test(path.strip_prefix(&src).unwrap())).map(read).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, files),
            false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
            false => {}
        }
    }
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().unwrap().to_str().unwrap().ends_with("tests")
}

fn module_of(path: &Path) -> Vec<String> {
    let names = path.with_extension("");
    let mut module: Vec<String> = names.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|name| ["mod", "lib", "main"].contains(&name.as_str())) {
        module.pop();
    }
    module
}

/// The code without comments and without the test module that ends a file.
fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let line = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    code.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The first two names of every path from the root of the crate, with the line that they stand in.
fn uses(file: &File) -> Vec<(String, Option<String>, usize)> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in file.text.match_indices(start) {
            let before = file.text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let line = file.text[..at].matches('\n').count() + 1;
            let mut rest = &file.text[at..];
            let mut base = file.module.clone();
            if let Some(after) = rest.strip_prefix("crate::") {
                (rest, base) = (after, Vec::new());
            }
            while let Some(after) = rest.strip_prefix("super::") {
                rest = after;
                base.pop();
            }
            for mut path in paths(rest) {
                let mut whole = base.clone();
                whole.append(&mut path);
                let mut names = whole.into_iter();
                if let Some(first) = names.next() {
                    found.push((first, names.next(), line));
                }
            }
        }
    }
    found
}

/// The paths that a text begins with: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(text: &str) -> Vec<Vec<String>> {
    if let Some(group) = text.strip_prefix('{') {
        let (mut depth, mut parts, mut begin) = (0, Vec::new(), 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                ',' if depth == 0 => {
                    parts.push(&group[begin..at]);
                    begin = at + 1;
                }
                '}' if depth == 0 => {
                    parts.push(&group[begin..at]);
                    break;
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return parts.into_iter().flat_map(|part| paths(part.trim())).filter(|path| !path.is_empty()).collect();
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let name = text[..end].to_owned();
    if name.is_empty() {
        return vec![Vec::new()];
    }
    match text[end..].strip_prefix("::") {
        Some(rest) => paths(rest).into_iter().map(|path| [vec![name.clone()], path].concat()).collect(),
        None => vec![vec![name]],
    }
}

fn is_adapter(port: &str, name: &str) -> bool {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(port);
    let exists = folder.join(name).is_dir() || folder.join(name).with_extension("rs").is_file();
    exists && !PORT_PARTS.contains(&(port, name))
}

/// Why a module may not use another, if so.
fn against(own: &str, used: &str, inner: Option<&str>) -> Option<&'static str> {
    let pure = PURE.contains(&used);
    let allowed = match own {
        _ if own == used || own == "cli" || own.is_empty() => true,
        _ if PURE.contains(&own) => pure,
        _ if COMMON.contains(&own) => pure,
        _ if PORTS.contains(&own) => pure || COMMON.contains(&used),
        SERVICE => pure || COMMON.contains(&used) || PORTS.contains(&used),
        CONFIG => used != "cli",
        _ => return Some("is of a floor that tests/layers.rs does not know"),
    };
    let adapter = || own == SERVICE && PORTS.contains(&used) && inner.is_some_and(|inner| is_adapter(used, inner));
    match allowed {
        false => Some("lies beside it or above it"),
        true if adapter() => Some("is an adapter"),
        true => None,
    }
}

fn faults(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files {
        let own = file.module.first().map_or("", String::as_str);
        for (used, inner, line) in uses(file) {
            if let Some(why) = against(own, &used, inner.as_deref()) {
                let inner = inner.map_or(String::new(), |inner| format!("::{inner}"));
                faults.push(format!("{}:{line}: {used}{inner} {why}", file.path.display()));
            }
        }
        let forbidden: &[&str] = match own {
            _ if PURE.contains(&own) => &WORLDLY,
            SERVICE => &ENGINES,
            _ => &[],
        };
        for name in forbidden.iter().chain(ENGINES.iter().filter(|_| PURE.contains(&own))) {
            let names = |line: &str| {
                let at = line.find(name);
                at.is_some_and(|at| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            };
            let lines = file.text.lines().enumerate().filter(|(_, line)| names(line));
            faults.extend(lines.map(|(index, _)| format!("{}:{}: names {name}", file.path.display(), index + 1)));
        }
    }
    faults
}

#[test]
fn arrows_only_go_down() {
    let files = sources();
    assert!(files.len() > 20, "{} files", files.len());
    let faults = faults(&files);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_wrong_arrow_is_seen() {
    for (module, text, expected) in [
        ("quota::x", "use crate::ledger::Record;", true),
        ("quota::x", "use crate::account::Status;", false),
        ("quota::x", "fn f() { std::fs::read(\"x\") }", true),
        ("wire::x", "use tokio::io;", true),
        ("wire::x", "// tokio::io is not for us", false),
        ("ledger::x", "use crate::{account::Entry, directory::Change};", true),
        ("ledger::x", "use super::super::directory::Change;", true),
        ("ledger::x", "use super::{Record, Shelf};", false),
        ("ledger::x", "use crate::telemetry::events;", false),
        ("telemetry::x", "use crate::service::Y;", true),
        ("service::x", "use crate::config::Config;", true),
        ("service::x", "use crate::ledger::{Ledger, Record};", false),
        ("service::x", "fn f(t: sled::Tree) {}", true),
        ("service::x", "#[cfg(test)]\nmod tests {\n    use crate::config::Config;\n}", false),
        ("config::x", "use crate::cli::args;", true),
        ("novelty::x", "use crate::quota::Limit;", true),
    ] {
        let module = module.split("::").map(str::to_owned).collect();
        let file = File { path: PathBuf::from("x.rs"), module, text: without_tests(text) };
        assert_eq!(!faults(&[file]).is_empty(), expected, "{text}");
    }
    // Any file beside a port is an adapter, so the first one that exists shows that they are seen.
    let beside = PORTS.iter().find_map(|port| {
        let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(port)).ok()?;
        let names = files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
        let mut names = names.filter(|name| name != "mod" && !PORT_PARTS.contains(&(*port, name)));
        names.next().map(|name| (*port, name))
    });
    if let Some((port, name)) = beside {
        assert_eq!(against(SERVICE, port, Some(&name)), Some("is an adapter"));
    }
}

/// Whatever reads bytes from outside is fuzzed, and every target is built.
#[test]
fn every_codec_has_a_fuzz_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let mut files = Vec::new();
    walk(&root.join("fuzz/fuzz_targets"), &mut files);
    let targets: Vec<String> = files.iter().map(|file| read(file)).collect();
    let codecs = read(&root.join("src/wire/mod.rs"));
    for codec in codecs.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        let used = targets.iter().any(|target| target.contains(&format!("wire::{codec}")));
        assert!(used, "wire/{codec}.rs is in no fuzz target");
    }
    let manifest = read(&root.join("fuzz/Cargo.toml"));
    let built = manifest.lines().filter(|line| line.starts_with("path = \"fuzz_targets/")).count();
    assert_eq!(built, targets.iter().filter(|target| target.contains("fuzz_target!")).count());
}
