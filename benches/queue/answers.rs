//! The policy server while the queue is read. Reading takes a core for showq whoever reads, so what our own part
//! costs is seen beside `postqueue -j`, which takes that core as well and knows nothing of our locks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mailquotad::service::admission::Admission;
use serde::Serialize;

use super::contender::Contender;
use super::figures::median;
use super::report::Round;
use super::site::{Site, account};
use super::support::postfix::Postfix;
use super::{ACCOUNTS, Plan, QUOTAS, Reader, client, postqueue, recipient};

const CONNECTIONS: [usize; 2] = [1, 16];

#[derive(Serialize)]
pub struct Line {
    connections: usize,
    meanwhile: &'static str,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    /// Medians of the ratios within each round: to when nobody reads, and to when `postqueue -j` does.
    p99_to_nobody: f64,
    p99_to_postqueue: f64,
}

pub fn measure(postfix: &Postfix, folder: &Path, plan: &Plan) -> anyhow::Result<Vec<Line>> {
    let reader = Reader::new(postfix)?;
    let mut site = Site::new(QUOTAS);
    site.load((0..ACCOUNTS).map(|number| account(number.into(), &recipient(number), "2G")));
    let admission = Admission::new(site.accounting.clone(), site.hints.clone(), site.metrics.clone());
    let admission = Arc::new(admission.with_queues(reader.queues.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let server = Contender::session("queue", admission, folder, &runtime)?;
    reader.read()?;
    type Run<'a> = Option<&'a (dyn Fn() -> anyhow::Result<()> + Sync)>;
    let (theirs, ours) = (|| postqueue(postfix), || reader.read().map(drop));
    let meanwhile: [(&str, Run); 3] =
        [("nobody reads", None), ("postqueue -j", Some(&theirs)), ("mailquotad", Some(&ours))];
    println!(
        "{:>5} {:14} {:>9} {:>9} {:>9} {:>9} {:>10} {:>13}",
        "conns", "meanwhile", "req/s", "p50 us", "p99 us", "p99.9 us", "to nobody", "to postqueue"
    );
    let mut lines = Vec::new();
    for connections in CONNECTIONS {
        let mut rounds: Vec<Vec<Round>> = Vec::new();
        for _ in 0..plan.rounds {
            let ask = || client::run(&server.tcp, connections, plan.length, ACCOUNTS);
            let round = |(_, run): &(&str, Run)| match run {
                Some(run) => during(run, ask),
                None => ask(),
            };
            rounds.push(meanwhile.iter().map(round).collect::<anyhow::Result<_>>()?);
        }
        for (which, (name, _)) in meanwhile.iter().enumerate() {
            let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(|round| figure(&round[which])).collect());
            let ratio = |to: usize| median(rounds.iter().map(|round| round[which].p99 / round[to].p99).collect());
            let line = Line {
                connections,
                meanwhile: name,
                per_second: of(|round| round.per_second),
                p50_us: of(|round| round.p50) / 1e3,
                p99_us: of(|round| round.p99) / 1e3,
                p999_us: of(|round| round.p999) / 1e3,
                p99_to_nobody: ratio(0),
                p99_to_postqueue: ratio(1),
            };
            println!(
                "{:>5} {:14} {:>9.0} {:>9.1} {:>9.1} {:>9.1} {:>10.3} {:>13.3}",
                line.connections,
                line.meanwhile,
                line.per_second,
                line.p50_us,
                line.p99_us,
                line.p999_us,
                line.p99_to_nobody,
                line.p99_to_postqueue
            );
            lines.push(line);
        }
    }
    println!("ratios of p99\n");
    Ok(lines)
}

/// Does `run` again and again while `ask` lasts.
fn during(
    run: &(dyn Fn() -> anyhow::Result<()> + Sync),
    ask: impl Fn() -> anyhow::Result<Round>,
) -> anyhow::Result<Round> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                run()?;
            }
            anyhow::Ok(())
        });
        let round = ask();
        over.store(true, Ordering::Relaxed);
        running.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
        round
    })
}
