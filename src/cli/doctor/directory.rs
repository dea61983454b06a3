//! The directory: an LDIF file, or servers.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{Access, access};

use super::Findings;
use crate::account::{AccountEntry, Entry};
use crate::cli::adapters;
use crate::config::{Config, DirectorySource};
use crate::directory::ldap::probe::probe;
use crate::wire::ldif::Records;

const AREA: &str = "directory";

/// Returns some account, to try other things with.
pub async fn examine(config: &Config, findings: &mut Findings) -> Option<AccountEntry> {
    match &config.directory.source {
        DirectorySource::Ldif { file } => ldif(config, file, findings),
        DirectorySource::Ldap(source) => {
            let options = adapters::ldap(&config.directory, source);
            let mut example = None;
            for url in &options.urls {
                let seen = probe(&options, url).await;
                for found in seen.findings {
                    match found.outcome {
                        Ok(()) => findings.fine(AREA, found.what),
                        Err(advice) => findings.wrong(AREA, found.what, advice),
                    }
                }
                example = example.or(seen.example);
            }
            example
        }
    }
}

fn ldif(config: &Config, file: &Path, findings: &mut Findings) -> Option<AccountEntry> {
    let name = file.display();
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) => {
            findings.wrong(AREA, format!("{name}: {error}"), "make the file, or set directory.file to where it is");
            return None;
        }
    };
    let (mut accounts, mut example) = (0, None);
    for record in Records::new(&text) {
        match record {
            Ok(record) => match config.directory.reader.read(&record.dn, None, &record.lines) {
                Ok(Some(Entry::Account(account))) => {
                    accounts += 1;
                    example.get_or_insert(account);
                }
                Ok(_) => {}
                Err(why) => findings.wrong(AREA, format!("{name}:{}: {why}", record.line), "mend the entry"),
            },
            Err(error) => {
                findings.wrong(AREA, format!("{name}:{error}"), "mend the line; until then the last state counts")
            }
        }
    }
    match accounts {
        0 => findings.wrong(AREA, format!("{name}: no accounts"), "check directory.user_filter against the file"),
        _ => findings.fine(AREA, format!("{name}: {accounts} accounts")),
    }
    // Statuses are written to a new file beside the one that is there, links followed.
    let real = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = real.parent().unwrap_or(Path::new("/"));
    match access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok() && File::options().append(true).open(file).is_ok()
    {
        true => findings.fine(AREA, format!("{}: statuses can be written", folder.display())),
        false => findings.wrong(
            AREA,
            format!("{}: may not be written, so statuses cannot be", folder.display()),
            "give the daemon's user write access to the folder and the file",
        ),
    }
    example
}
