//! What the exit code says. Part of the interface: scripts and the unit file go by it.

use std::process::ExitCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    Fine = 0,
    /// The command could not do its work.
    Failed = 1,
    /// The configuration or the command line is wrong. Another try will fare no better, so systemd does not
    /// restart a daemon that ends so.
    Usage = 2,
    /// The command did its work, and found something over quota or could not finish all of it.
    Findings = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// For `--help` and the man pages.
pub(super) const EXPLAINED: &str = "\
Exit codes:
  0  fine
  1  failed
  2  the configuration or the command line is wrong
  3  ran, and something is over quota or incomplete";
