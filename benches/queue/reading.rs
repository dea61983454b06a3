//! One reading of the whole queue.

use std::time::Instant;

use anyhow::{Context, ensure};
use serde::Serialize;

use super::figures::median;
use super::support::postfix::Postfix;
use super::{Plan, Reader, postqueue};

/// Milliseconds.
#[derive(Clone, Copy, Default)]
struct Cost {
    wall: f64,
    /// Of who reads.
    reader: f64,
    /// Of Postfix's showq, which opens every queue file for him.
    showq: f64,
}

#[derive(Serialize)]
pub struct Line {
    reader: &'static str,
    wall_ms: f64,
    reader_cpu_ms: f64,
    showq_cpu_ms: f64,
    /// Medians of the ratios within each round, to `postqueue -j`.
    wall_ratio: f64,
    cpu_ratio: f64,
}

pub fn measure(postfix: &Postfix, plan: &Plan) -> anyhow::Result<Vec<Line>> {
    let ours = Reader::new(postfix)?;
    let read = |reader: &Reader| {
        let messages = reader.read()?;
        ensure!(messages == plan.messages as u64, "{messages} messages were read");
        Ok(())
    };
    // Nothing is known of any message.
    let first = || read(&Reader::new(postfix)?);
    let again = || read(&ours);
    type Run<'a> = &'a dyn Fn() -> anyhow::Result<()>;
    let runs: [(&str, Run); 3] =
        [("postqueue -j", &|| postqueue(postfix)), ("mailquotad", &again), ("mailquotad, first", &first)];
    let mut rounds: Vec<Vec<Cost>> = Vec::new();
    // The first round warms the caches and is not counted.
    for round in 0..=plan.readings {
        let costs = runs.iter().map(|(_, run)| cost(postfix, run)).collect::<anyhow::Result<_>>()?;
        if round > 0 {
            rounds.push(costs);
        }
    }
    println!("one reading of {} messages", plan.messages);
    println!("{:18} {:>9} {:>14} {:>13} {:>7} {:>7}", "reader", "wall ms", "its CPU ms", "showq CPU ms", "wall", "CPU");
    let line = |(which, (reader, _)): (usize, &(&'static str, Run))| {
        let of = |figure: fn(&Cost) -> f64| median(rounds.iter().map(|round| figure(&round[which])).collect());
        let ratio = |figure: fn(&Cost) -> f64| {
            median(rounds.iter().map(|round| figure(&round[which]) / figure(&round[0])).collect())
        };
        let line = Line {
            reader,
            wall_ms: of(|cost| cost.wall),
            reader_cpu_ms: of(|cost| cost.reader),
            showq_cpu_ms: of(|cost| cost.showq),
            wall_ratio: ratio(|cost| cost.wall),
            cpu_ratio: ratio(|cost| cost.reader + cost.showq),
        };
        println!(
            "{:18} {:>9.1} {:>14.1} {:>13.1} {:>7.3} {:>7.3}",
            line.reader, line.wall_ms, line.reader_cpu_ms, line.showq_cpu_ms, line.wall_ratio, line.cpu_ratio
        );
        line
    };
    let lines = runs.iter().enumerate().map(line).collect();
    println!("wall, CPU: ratios to postqueue -j, of showq and reader together (goal: <= 1.2)\n");
    Ok(lines)
}

fn cost(postfix: &Postfix, run: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<Cost> {
    let (reader, showq, begun) = (own_cpu()?, showq_cpu(postfix)?, Instant::now());
    run()?;
    let wall = begun.elapsed().as_secs_f64() * 1e3;
    Ok(Cost { wall, reader: own_cpu()? - reader, showq: showq_cpu(postfix)? - showq })
}

/// Of this process, and of those that it has started and that have ended.
fn own_cpu() -> anyhow::Result<f64> {
    Ok(process("self")?.context("/proc/self")?.cpu())
}

/// Of the processes of Postfix that read the queue, those that have ended included.
fn showq_cpu(postfix: &Postfix) -> anyhow::Result<f64> {
    let master = std::fs::read_to_string(postfix.queue().join("pid/master.pid"))?;
    let master = master.trim();
    let mut sum = process(master)?.context("Postfix's master has gone")?.children;
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else { continue };
        // It may have ended meanwhile.
        if let Ok(Some(process)) = process(pid)
            && process.name == "showq"
            && process.parent == master
        {
            sum += process.cpu();
        }
    }
    Ok(sum)
}

/// What proc_pid_stat(5) says, times in milliseconds.
struct Process {
    name: String,
    parent: String,
    own: f64,
    /// Of children that it has waited for.
    children: f64,
}

impl Process {
    fn cpu(&self) -> f64 {
        self.own + self.children
    }
}

/// Milliseconds of a tick in which the kernel tells times (`USER_HZ`), on the machines that Rust is built for.
const TICK: f64 = 10.0;

fn process(pid: &str) -> anyhow::Result<Option<Process>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let read = || {
        let (head, tail) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = tail.split(' ').collect();
        let time = |from: usize| {
            let ticks: f64 = fields.get(from..from + 2)?.iter().filter_map(|field| field.parse::<f64>().ok()).sum();
            Some(ticks * TICK)
        };
        // The fields here begin with the third of the page.
        let (name, parent) = (head.split_once('(')?.1.to_owned(), fields.get(1)?.to_string());
        Some(Process { name, parent, own: time(11)?, children: time(13)? })
    };
    Ok(read())
}
