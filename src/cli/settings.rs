//! `config check` and `config print`.

use std::path::Path;

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
        ConfigCommand::Check => println!("{}: fine", file.display()),
        ConfigCommand::ImportMsconfig { .. } | ConfigCommand::ImportStalwart { .. } => {}
        ConfigCommand::Print => print!("{}", config.print()),
    }
    Ok(Exit::Fine)
}
