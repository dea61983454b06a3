//! `mailquotad demo`: a small organisation in a folder, served, with things to try.
//!
//! Everything is real: the directory is an LDIF file, the mail lies in Maildirs, and the daemon is the
//! one that `serve` runs. The folder is kept, so that a second start goes on where the first stopped.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::args::Demo;
use super::exit::Exit;
use super::out::say;
use super::serve;
use crate::config::Config;
use crate::service::http::Api;
use crate::service::resync::measure_everything;
use crate::telemetry::log::{Log, LogOptions};

const LDIF: &str = include_str!("../../ldif/demo.ldif");
/// What stands for the folder in that configuration.
const PLACEHOLDER: &str = "/tmp/mailquotad-demo";
const CONFIGURATION: &str = include_str!("../../config/demo.toml");

/// Messages to put in place: account, folder of the Maildir, how many, bytes each, Content-Type.
const MAIL: [(&str, &str, usize, usize, &str); 8] = [
    ("anna", "", 3, 40_000, "text/plain"),
    ("anna", ".Archive.2025", 4, 90_000, "text/plain"),
    ("anna", ".Archive.2025", 2, 150_000, "multipart/voice-message"),
    ("ben", "", 19, 50_000, "text/plain"),
    ("carla", "", 11, 100_000, "text/plain"),
    ("dora", "", 2, 20_000, "text/plain"),
    ("dora", ".Sent", 5, 30_000, "text/plain"),
    ("emil", "", 6, 100_000, "text/plain"),
];

pub fn demo(args: &Demo) -> Result<Exit> {
    let dir = match &args.dir {
        Some(dir) => std::path::absolute(dir)?,
        None => own(std::env::temp_dir().join("mailquotad-demo"))?,
    };
    let file = dir.join("mailquotad.toml");
    match file.exists() {
        true => say!("Going on with the organisation in {}.", dir.display()),
        false => {
            furnish(&dir).with_context(|| format!("making an organisation in {}", dir.display()))?;
            say!("Made a small organisation in {}.", dir.display());
        }
    }
    let config = Config::load(&file)?;
    let log = Log::start(&LogOptions::default())?;
    let program = std::env::current_exe()?;
    let ready = async |api: &Api| {
        measure_everything(api.measuring.clone(), api.accounting.clone()).await;
        invite(&program, &file);
    };
    super::block_on(serve::run(&file, config, &log, ready))??;
    Ok(Exit::Fine)
}

/// Refuses a folder that somebody else has put where everybody may: a configuration can name programs to run.
fn own(dir: PathBuf) -> Result<PathBuf> {
    if let Ok(found) = fs::symlink_metadata(&dir) {
        let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
        anyhow::ensure!(ours, "{}: belongs to somebody else; name a folder of your own", dir.display());
    }
    Ok(dir)
}

fn furnish(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let mut number = 0;
    for (account, folder, count, size, kind) in MAIL {
        let folder = dir.join("mail/example.org").join(account).join("Maildir").join(folder);
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(folder.join(part))?;
        }
        for _ in 0..count {
            number += 1;
            let name = format!("1700000000.M{number}.demo,S={size}:2,S");
            fs::write(folder.join("cur").join(name), message(account, number, size, kind))?;
        }
    }
    fs::write(dir.join("organisation.ldif"), LDIF)?;
    // The configuration comes last: where it is, all is there.
    fs::write(dir.join("mailquotad.toml"), CONFIGURATION.replace(PLACEHOLDER, &dir.display().to_string()))?;
    Ok(())
}

/// A message of exactly `size` bytes.
fn message(account: &str, number: usize, size: usize, kind: &str) -> Vec<u8> {
    let mut text = format!(
        "From: demo@example.net\nTo: {account}@example.org\nSubject: Message {number}\nContent-Type: {kind}\n\n"
    )
    .into_bytes();
    while text.len() < size {
        let line = b"The quick brown fox jumps over the lazy dog, and once more, and again.\n";
        text.extend_from_slice(&line[..line.len().min(size - text.len())]);
    }
    text
}

fn invite(program: &Path, file: &Path) {
    let command = format!("{} -c {}", quoted(program), quoted(file));
    say!(
        "\nServing. anna has room, ben is near his limit, carla is over hers. Try, in another terminal:\n\n\
         \x20 {command} check\n\
         \x20 {command} explain carla@example.org --size 10K\n\
         \x20 {command} show anna@example.org\n\n\
         Ctrl-C ends it."
    );
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let path = PathBuf::from(path).display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_somebody_else_has_put_there_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, link) = (folder.path().join("mine"), folder.path().join("link"));
        fs::create_dir(&mine).unwrap();
        std::os::unix::fs::symlink(&mine, &link).unwrap();
        assert_eq!(own(mine.clone()).unwrap(), mine);
        assert!(own(folder.path().join("none")).is_ok());
        assert!(own(link).unwrap_err().to_string().contains("belongs to somebody else"));
        // Everybody's root, unless we are root.
        let theirs = PathBuf::from("/proc/1");
        let uid = fs::symlink_metadata(&theirs).unwrap().uid();
        assert_eq!(own(theirs).is_ok(), uid == rustix::process::geteuid().as_raw());
    }
}
