//! `config check` and `config print`.

use std::path::Path;

use super::out::{say, say_part};
use crate::config::Config;

use super::Exit;
use super::args::ConfigCommand;

pub fn run(command: ConfigCommand, file: &Path) -> anyhow::Result<Exit> {
    if let ConfigCommand::ImportMsconfig { file } = &command {
        return super::msconfig::run(file);
    }
    if let ConfigCommand::ImportStalwart { file } = &command {
        return super::stalwart::run(file);
    }
    let config = Config::load(file)?;
    match command {
        ConfigCommand::Check => say!("{}: fine", file.display()),
        ConfigCommand::ImportMsconfig { .. } | ConfigCommand::ImportStalwart { .. } => {}
        ConfigCommand::Print => say_part!("{}", config.print()),
    }
    Ok(Exit::Fine)
}
