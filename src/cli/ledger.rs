//! `mailquotad export` and `mailquotad import`: the ledger as a file.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::Result;

use super::adapters::open_ledger;
use super::args::{Export, Import};
use super::exit::Exit;
use crate::config::Config;
use crate::ledger::{Ledger, export};

pub fn export(config: &Config, args: &Export) -> Result<Exit> {
    let ledger = open_ledger(config)?;
    let name = named(&args.file, "standard output");
    let extent = match is_standard(&args.file) {
        true => export::export_to(&ledger, std::io::stdout().lock(), name)?,
        false => export::export(&ledger, name)?,
    };
    ledger.close()?;
    eprintln!("{} accounts and {} values written to {}", extent.accounts, extent.values, name.display());
    Ok(Exit::Fine)
}

pub fn import(config: &Config, args: &Import) -> Result<Exit> {
    let ledger = open_ledger(config)?;
    let name = named(&args.file, "standard input");
    let extent = match is_standard(&args.file) {
        true => export::import_from(&ledger, File::from(std::io::stdin().as_fd().try_clone_to_owned()?), name)?,
        false => export::import(&ledger, name)?,
    };
    ledger.close()?;
    eprintln!("{} accounts and {} values read from {}", extent.accounts, extent.values, name.display());
    Ok(Exit::Fine)
}

fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn named<'a>(file: &'a Path, standard: &'a str) -> &'a Path {
    if is_standard(file) { Path::new(standard) } else { file }
}
