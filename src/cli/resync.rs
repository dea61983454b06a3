//! `mailquotad resync`: measures mailboxes anew.

use std::io::IsTerminal;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::{Format, Resync};
use super::client::Client;
use super::exit::Exit;
use super::out::say;
use crate::service::http::resync::Wanted;
use crate::service::resync::News;

pub async fn resync(client: &Client, args: &Resync) -> Result<Exit> {
    let wanted = Wanted {
        all: args.all,
        accounts: args.accounts.clone(),
        domain: args.domain.clone(),
        limits_only: args.limits_only,
    };
    let mut answer = client.post_lines("/v1/resync", &wanted).await?;
    let bar = bar();
    while let Some(news) = answer.line::<News>().await? {
        if args.format == Format::Json {
            say!("{}", serde_json::to_string(&news)?);
        }
        match news {
            News::Begin { of } => bar.set_length(of),
            News::Measured { account, before, after, .. } => {
                bar.inc(1);
                if args.format == Format::Text && before != after {
                    let shown = |usage: crate::service::report::Both<u64>| {
                        format!("{} bytes in {} messages", usage.bytes, usage.messages)
                    };
                    bar.suspend(|| say!("{account}: {} -> {}", shown(before), shown(after)));
                }
            }
            News::Failed { account, why } => {
                bar.inc(1);
                bar.suspend(|| eprintln!("{account}: {why}; its old usage stays"));
            }
            News::End { done, failed, changed, files } => {
                bar.finish_and_clear();
                if args.format == Format::Text {
                    say!("{done} accounts brought up to date, {changed} changed, {failed} failed, {files} files seen");
                }
                return Ok(if failed > 0 { Exit::Findings } else { Exit::Fine });
            }
        }
    }
    bail!("mailquotad broke off before it was done; run resync again")
}

/// Only where somebody watches.
fn bar() -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} accounts, {eta} left");
    ProgressBar::with_draw_target(None, target).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
