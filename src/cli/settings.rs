//! `config check` and `config print`.

use std::path::Path;

use crate::config::Config;

use super::Exit;
use super::args::ConfigCommand;

pub fn run(command: ConfigCommand, file: &Path) -> anyhow::Result<Exit> {
    if let ConfigCommand::ImportMsconfig { file } = &command {
        return super::msconfig::run(file);
    }
    let config = Config::load(file)?;
    match command {
        ConfigCommand::Check => println!("{}: fine", file.display()),
        ConfigCommand::ImportMsconfig { .. } => {}
        ConfigCommand::Print => print!("{}", config.print()),
    }
    Ok(Exit::Fine)
}
