//! `mailquotad doctor`: looks whether all is in place. Every finding says what to do. Nothing is changed, and
//! the daemon may run or not.

mod directory;
mod dovecot;
mod postfix;
mod queue;
mod surroundings;
mod unixquota;

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::args::{Doctor, Format};
use super::exit::Exit;
use super::out::say;
use crate::config::Config;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Where: `configuration`, `daemon`, `directory`, `ledger`, `mailstore`, `unix quotas`, `sockets`, `postfix`,
    /// `dovecot`, `queue`.
    area: &'static str,
    fine: bool,
    what: String,
    /// What to do about it; only where it is not fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// The findings, as they are made.
#[derive(Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    fn fine(&mut self, area: &'static str, what: impl Into<String>) {
        self.0.push(Finding { area, fine: true, what: what.into(), advice: None });
    }

    fn wrong(&mut self, area: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Finding { area, fine: false, what: what.into(), advice: Some(advice.into()) });
    }
}

/// 0 where all is fine, 3 where something is to be done, 1 where there is no configuration to go by.
pub fn doctor(file: &Path, args: &Doctor) -> Result<Exit> {
    let mut findings = Findings::default();
    let exit = match Config::load(file) {
        Ok(config) => {
            findings.fine("configuration", format!("{}: no faults", file.display()));
            super::block_on(examine(&config, &mut findings))?;
            if findings.0.iter().all(|finding| finding.fine) { Exit::Fine } else { Exit::Findings }
        }
        Err(error) => {
            let advice = "mend the configuration; without it there is nothing else to look at";
            findings.wrong("configuration", error.to_string(), advice);
            Exit::Failed
        }
    };
    match args.format {
        Format::Json => say!("{}", serde_json::to_string(&serde_json::json!({ "findings": findings.0 }))?),
        Format::Text => print(&findings),
    }
    Ok(exit)
}

async fn examine(config: &Config, findings: &mut Findings) {
    let example = directory::examine(config, findings).await;
    let health = surroundings::health(config).await;
    surroundings::ledger(config, health.as_ref(), findings);
    surroundings::mailstore(config, example.as_ref(), findings);
    surroundings::watch(config, health.as_ref(), findings);
    unixquota::examine(config, example.as_ref(), findings).await;
    surroundings::sockets(config, health.as_ref(), findings).await;
    postfix::examine(config, findings);
    dovecot::examine(config, findings);
    queue::examine(config, findings);
}

fn print(findings: &Findings) {
    for Finding { area, fine, what, advice } in &findings.0 {
        let mark = if *fine { "ok  " } else { "BAD " };
        say!("{mark} {area}: {what}");
        if let Some(advice) = advice {
            say!("       -> {advice}");
        }
    }
    let wrong = findings.0.iter().filter(|finding| !finding.fine).count();
    match wrong {
        0 => say!("\nall is in place"),
        _ => say!("\n{wrong} of {} things want attention", findings.0.len()),
    }
}
