//! `mailquotad export` and `mailquotad import`: the ledger as a file.

use anyhow::Result;

use super::adapters::open_ledger;
use super::args::{Export, Import};
use super::exit::Exit;
use crate::config::Config;
use crate::ledger::{Ledger, export};

pub fn export(config: &Config, args: &Export) -> Result<Exit> {
    let ledger = open_ledger(config)?;
    let extent = export::export(&ledger, &args.file)?;
    ledger.close()?;
    eprintln!("{} accounts and {} values written to {}", extent.accounts, extent.values, args.file.display());
    Ok(Exit::Fine)
}

pub fn import(config: &Config, args: &Import) -> Result<Exit> {
    let ledger = open_ledger(config)?;
    let extent = export::import(&ledger, &args.file)?;
    ledger.close()?;
    eprintln!("{} accounts and {} values read from {}", extent.accounts, extent.values, args.file.display());
    Ok(Exit::Fine)
}
