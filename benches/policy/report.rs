//! Medians over the rounds, ratios, the table and the JSON.

use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::contender::Contender;
use super::figures::{self, median};

/// What the clients measured in one round. Latencies in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Round {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Round {
    pub fn of(mut latencies: Vec<u32>, length: Duration) -> anyhow::Result<Round> {
        ensure!(!latencies.is_empty(), "no request was answered in time");
        latencies.sort_unstable();
        let at = |part: f64| f64::from(latencies[((latencies.len() - 1) as f64 * part) as usize]);
        let per_second = latencies.len() as f64 / length.as_secs_f64();
        Ok(Round { per_second, p50: at(0.5), p99: at(0.99), p999: at(0.999) })
    }
}

/// One kind of socket, one number of connections; of every round, the figures of every contender.
pub struct Setting {
    pub transport: &'static str,
    pub connections: usize,
    pub rounds: Vec<Vec<Round>>,
}

#[derive(Serialize)]
struct Line {
    transport: &'static str,
    connections: usize,
    contender: &'static str,
    rounds: usize,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    /// Medians of the ratios within each round, to the first contender.
    rate_ratio: f64,
    p99_ratio: f64,
}

impl Setting {
    fn lines(&self, contenders: &[Contender]) -> Vec<Line> {
        let line = |(which, contender): (usize, &Contender)| {
            let of = |figure: fn(&Round) -> f64| median(self.rounds.iter().map(|r| figure(&r[which])).collect());
            let ratio = |figure: fn(&Round) -> f64| {
                median(self.rounds.iter().map(|r| figure(&r[which]) / figure(&r[0])).collect())
            };
            Line {
                transport: self.transport,
                connections: self.connections,
                contender: contender.name,
                rounds: self.rounds.len(),
                per_second: of(|r| r.per_second),
                p50_us: of(|r| r.p50) / 1e3,
                p99_us: of(|r| r.p99) / 1e3,
                p999_us: of(|r| r.p999) / 1e3,
                rate_ratio: ratio(|r| r.per_second),
                p99_ratio: ratio(|r| r.p99),
            }
        };
        contenders.iter().enumerate().map(line).collect()
    }
}

pub fn print(contenders: &[Contender], settings: &[Setting]) {
    println!(
        "{:6} {:>5} {:12} {:>10} {:>9} {:>9} {:>9} {:>7} {:>7}",
        "socket", "conns", "server", "req/s", "p50 us", "p99 us", "p99.9 us", "rate", "p99"
    );
    for line in settings.iter().flat_map(|setting| setting.lines(contenders)) {
        println!(
            "{:6} {:>5} {:12} {:>10.0} {:>9.1} {:>9.1} {:>9.1} {:>7.3} {:>7.3}",
            line.transport,
            line.connections,
            line.contender,
            line.per_second,
            line.p50_us,
            line.p99_us,
            line.p999_us,
            line.rate_ratio,
            line.p99_ratio
        );
    }
    println!("rate, p99: ratios to {} (goal: rate >= 0.9, p99 <= 1.5)", contenders[0].name);
    let of = |name: &str| contenders.iter().position(|contender| contender.name == name);
    if let (Some(ours), Some(theirs)) = (of("daemon"), of("quota-status")) {
        for Setting { transport, connections, rounds } in settings {
            let times = median(rounds.iter().map(|r| r[ours].per_second / r[theirs].per_second).collect());
            println!(
                "{transport:6} {connections:>5} the daemon answers {times:.0} times as fast as quota-status (goal: 100)"
            );
        }
    }
}

pub fn keep(contenders: &[Contender], settings: &[Setting]) -> anyhow::Result<()> {
    let lines: Vec<Line> = settings.iter().flat_map(|setting| setting.lines(contenders)).collect();
    figures::keep("policy", &lines)
}
