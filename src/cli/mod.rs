//! The commands, one file each. This file finds the command and turns what became of it into an exit code.

pub mod args;
mod exit;
pub mod pages;
mod settings;

use std::io;

use anyhow::Context;
use clap::FromArgMatches;

use crate::config::ConfigError;
use args::{Command, CommandLine};
pub use exit::Exit;

/// Runs what the command line of this process asks for.
pub fn run() -> Exit {
    let line = pages::command().get_matches();
    let line = CommandLine::from_arg_matches(&line).unwrap_or_else(|error| error.exit());
    match dispatch(line) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("mailquotad: {error:#}");
            if error.is::<ConfigError>() { Exit::Usage } else { Exit::Failed }
        }
    }
}

fn dispatch(line: CommandLine) -> anyhow::Result<Exit> {
    match line.command {
        Command::Config(command) => settings::run(command, &line.config),
        Command::Man(man) => {
            let pages =
                pages::man(&man.dir).with_context(|| format!("cannot write man pages to {}", man.dir.display()))?;
            pages.iter().for_each(|page| println!("{}", page.display()));
            Ok(Exit::Fine)
        }
        Command::Completions(completions) => {
            pages::completions(completions.shell, &mut io::stdout());
            Ok(Exit::Fine)
        }
        other => anyhow::bail!("this build has no {other:?}"),
    }
}
