//! Instructions of the functions that everything passes through, compared with those in `base.txt`: a figure that
//! a busy machine does not move, so that a regression is seen where it is made.
//!
//! `cargo bench --bench instructions`, which `make check` runs. valgrind counts them, twice with different
//! repetitions, so that what happens only once cancels out. Fails where a function needs more than [`MARGIN`]
//! beyond its base; `BLESS=1` writes the base anew, which is right where the reason is known and said.

mod hot;
#[path = "../../tests/support/site.rs"]
mod site;

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

const FLAG: &str = "--child";
const MARGIN: f64 = 1.05;
const FEW: u64 = 200;
const MANY: u64 = 1200;

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [flag, name, times] = &arguments[..]
        && flag == FLAG
    {
        let function = hot::all().into_iter().find(|function| function.name == name).context("no such function")?;
        let times = times.parse()?;
        (function.prepare)().repeat(times);
        return Ok(());
    }
    if cfg!(debug_assertions) {
        // `cargo test --benches` shows that all of them run; instructions of a debug build say nothing.
        hot::all().into_iter().for_each(|function| (function.prepare)().repeat(2));
        return Ok(());
    }
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/base.txt");
    let known = read(&std::fs::read_to_string(&base).unwrap_or_default())?;
    let (mut written, mut slower) = (String::new(), Vec::new());
    println!("{:28} {:>12} {:>12} {:>7}", "function", "instructions", "base", "ratio");
    for function in hot::all() {
        let found = (count(function.name, MANY)? - count(function.name, FEW)?) as f64 / (MANY - FEW) as f64;
        let before = known.iter().find(|(name, _)| name == function.name).map(|(_, instructions)| *instructions);
        let ratio = before.map(|before| found / before);
        let shown = |value: Option<f64>, digits| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        println!("{:28} {found:12.0} {:>12} {:>7}", function.name, shown(before, 0), shown(ratio, 3));
        writeln!(written, "{} {found:.0}", function.name)?;
        if ratio.is_none_or(|ratio| ratio > MARGIN) {
            slower.push(function.name);
        }
    }
    if std::env::var_os("BLESS").is_some() {
        return std::fs::write(&base, written).with_context(|| format!("cannot write {}", base.display()));
    }
    ensure!(
        slower.is_empty(),
        "{} needs more than {MARGIN} of its base, or has none: make it as it was, or run `BLESS=1 cargo bench --bench \
         instructions` and say why",
        slower.join(", ")
    );
    Ok(())
}

/// `name instructions` lines.
fn read(text: &str) -> anyhow::Result<Vec<(String, f64)>> {
    let line = |line: &str| {
        let (name, instructions) = line.split_once(' ').with_context(|| format!("no number in {line:?}"))?;
        Ok((name.to_owned(), instructions.parse()?))
    };
    text.lines().map(line).collect()
}

/// Instructions of a whole process that calls a function `times` times.
fn count(name: &str, times: u64) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([FLAG, name, &times.to_string()])
        .output()
        .context("valgrind counts the instructions, and cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let Some(total) = said.lines().find_map(|line| line.split_once("Collected :")) else {
        bail!("valgrind has counted nothing of {name}: {said}");
    };
    Ok(total.1.trim().parse()?)
}
