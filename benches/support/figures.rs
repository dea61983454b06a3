//! What every bench needs: how long it may take, and where its figures go.
#![allow(dead_code, reason = "each of them uses another part")]

use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// Whether less will do: all benches in under two minutes.
pub fn quick() -> bool {
    std::env::var("BENCH").is_ok_and(|size| size == "quick")
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Keeps the figures of a bench in `target/bench/NAME.json`.
pub fn keep(name: &str, figures: &impl Serialize) -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    let file = folder.join(format!("{name}.json"));
    let keep = || -> anyhow::Result<()> {
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(&file, serde_json::to_vec_pretty(figures)?)?)
    };
    keep().with_context(|| format!("cannot write {}", file.display()))
}
