//! The commands, one file each. This file finds the command and turns what became of it into an exit code.

mod adapters;
pub mod args;
mod check;
mod client;
mod demo;
mod doctor;
mod exit;
mod house;
pub mod iminitquota;
pub mod imquotacheck;
mod ledger;
pub mod msconfig;
mod out;
pub mod pages;
mod queue;
mod resync;
mod rulefile;
mod serve;
mod set;
mod settings;
mod show;
pub mod stalwart;
mod table;
mod users;

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::{FromArgMatches, Parser};
use tokio_util::sync::CancellationToken;

use self::out::say;
use crate::config::{Config, ConfigError};
use crate::service::http;
use args::{Command, CommandLine, Source};
use client::Client;
pub use exit::Exit;
use house::House;
use iminitquota::IminitQuota;
use imquotacheck::ImquotaCheck;

/// For commands that are no use without the daemon.
const NOW: Source = Source { offline: false };

/// Runs what the command line of this process asks for, under the name that the program was called by.
pub fn run() -> Exit {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let done = match name {
        "iminitquota" => {
            let args = IminitQuota::parse();
            ask(&args.config, NOW, async |client| resync::resync(client, &args.resync()).await)
        }
        "imquotacheck" => {
            let args = ImquotaCheck::parse();
            ask(&args.config, NOW, async |client| imquotacheck::run(client, &args).await)
        }
        _ => {
            let line = pages::command().get_matches();
            dispatch(CommandLine::from_arg_matches(&line).unwrap_or_else(|error| error.exit()))
        }
    };
    match done {
        Ok(exit) => exit,
        // One line for each fault, as compilers write them, so that editors find the place.
        Err(error) if error.is::<ConfigError>() => {
            eprintln!("{error:#}");
            Exit::Usage
        }
        Err(error) => {
            let name = if ["iminitquota", "imquotacheck"].contains(&name) { name } else { "mailquotad" };
            eprintln!("{name}: {error:#}");
            Exit::Failed
        }
    }
}

fn dispatch(line: CommandLine) -> anyhow::Result<Exit> {
    let file = &line.config;
    match line.command {
        Command::Serve => serve::serve(file),
        Command::Demo(args) => demo::demo(&args),
        Command::Resync(args) => ask(file, args.source, async |client| resync::resync(client, &args).await),
        Command::Check(args) => ask(file, args.source, async |client| check::check(client, &args).await),
        Command::Explain(args) => ask(file, args.source, async |client| show::explain(client, &args).await),
        Command::Queue(args) => ask(file, NOW, async |client| queue::queue(client, &args).await),
        Command::Show(args) => ask(file, args.source, async |client| show::show(client, &args).await),
        Command::Set(args) => ask(file, NOW, async |client| set::set(client, &args).await),
        Command::Doctor(args) => doctor::doctor(file, &args),
        Command::Config(command) => settings::run(command, file),
        Command::Export(args) => ledger::export(&Config::load(file)?, &args),
        Command::Import(args) => ledger::import(&Config::load(file)?, &args),
        Command::Man(man) => {
            let pages =
                pages::man(&man.dir).with_context(|| format!("cannot write man pages to {}", man.dir.display()))?;
            pages.iter().for_each(|page| say!("{}", page.display()));
            Ok(Exit::Fine)
        }
        Command::Completions(completions) => {
            pages::completions(completions.shell, &mut io::stdout());
            Ok(Exit::Fine)
        }
    }
}

/// How long `--offline` waits for the directory, and how long for one that is away: a server may just be starting.
const PATIENCE: Duration = Duration::from_secs(600);
const AWAY: Duration = Duration::from_secs(15);

/// Puts a command's questions to the daemon, or to the same service made for this one command.
fn ask(
    file: &Path,
    source: Source,
    command: impl AsyncFnOnce(&Client) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let config = Config::load(file)?;
    if !source.offline {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(command(&Client::Daemon(config.http.socket)));
    }
    block_on(async {
        let stop = CancellationToken::new();
        let mut house = House::build(&config)?;
        house.start_offline(&stop);
        let told = match house.loaded(PATIENCE, AWAY).await {
            Ok(()) => command(&Client::Here(http::router(house.api.clone(), None))).await,
            Err(error) => Err(error),
        };
        house.write_statuses().await;
        stop.cancel();
        house.finish().await.and(told)
    })?
}

/// What is still being read or written when all else has ended gets this long.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// Runs `work` to its end, on several threads. One that waits for a file server that is away, in a call that nothing
/// interrupts, does not keep the program from ending.
fn block_on<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LEFT_BEHIND);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    #[test]
    fn a_thread_that_hangs_does_not_keep_the_program() {
        let (_away, server) = mpsc::channel::<()>();
        let work = async {
            drop(tokio::task::spawn_blocking(move || server.recv()));
            "done"
        };
        assert_eq!(super::block_on(work).unwrap(), "done");
    }
}
