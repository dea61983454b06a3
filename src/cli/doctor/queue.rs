//! The MTA's queue, where there are quotas on it: whether it can be read, and what that takes.

use std::time::Instant;

use super::Findings;
use crate::cli::adapters;
use crate::config::{Config, QueueSource};

const AREA: &str = "queue";

pub fn examine(config: &Config, findings: &mut Findings) {
    let queue = &config.queue;
    if queue.settings.quotas.is_empty() {
        return;
    }
    let quotas = queue.settings.quotas.len();
    if queue.sources.is_empty() {
        let decay = queue.settings.decay.as_secs();
        findings.fine(AREA, format!("{quotas} quotas; no queue is read, so accepted messages count for {decay} s"));
    }
    for source in &queue.sources {
        source_of(source, config, findings);
    }
}

fn source_of(source: &QueueSource, config: &Config, findings: &mut Findings) {
    let name = &source.source.name;
    let begun = Instant::now();
    match adapters::mailqueue(source, config.queue.timeout).scan(&mut |_| {}) {
        Ok(scan) if scan.unread > 0 => findings.wrong(
            AREA,
            format!("{name}: {} messages, and {} lines that cannot be read", scan.messages, scan.unread),
            "see what the command prints; accepted: what postqueue -j prints",
        ),
        Ok(scan) => {
            let took = begun.elapsed();
            findings.fine(AREA, format!("{name}: {} messages, read in {} ms", scan.messages, took.as_millis()));
            if took > config.queue.settings.interval {
                findings.wrong(
                    AREA,
                    format!("{name}: reading it takes longer than queue.interval"),
                    "raise queue.interval: the queue would be read without a pause",
                );
            }
        }
        Err(error) => findings.wrong(
            AREA,
            format!("{name}: {error}"),
            match source.showq {
                Some(_) => {
                    "see that Postfix runs, and that the daemon's user gets to the socket: by the group postdrop \
                     (SupplementaryGroups=postdrop in the unit) or by CAP_DAC_READ_SEARCH"
                }
                None => {
                    "run the command as the daemon's user; postqueue needs a group that NoNewPrivileges= in the unit \
                     withholds: set showq in its [[queue.source]] instead"
                }
            },
        ),
    }
    match adapters::departures(source) {
        Ok(Some(_)) => findings.fine(AREA, format!("{name}: its folders can be watched, so room is free at once")),
        Ok(None) => {}
        Err(error) => findings.fine(
            AREA,
            format!("{name}: its folders cannot be watched ({error}), so room is free within two readings"),
        ),
    }
}
