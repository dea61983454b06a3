//! `iminitquota`: Oracle Messaging Server's command of that name, done by `resync`.

use std::path::PathBuf;

use clap::{ArgGroup, Parser};

use super::args::{CONFIG_FILE, Format, Resync, Source};

const NOTES: &str = "\
Usage, limits and statuses are kept up to date all the time; this puts right what went unnoticed. It is
`mailquotad resync` under the name that Oracle Messaging Server gave it.";

/// Read quota limits from the directory again and measure mailboxes
#[derive(Debug, Parser)]
#[command(name = "iminitquota", version, max_term_width = 100, after_help = NOTES)]
#[command(group = ArgGroup::new("whom").args(["all", "user"]).required(true))]
pub struct IminitQuota {
    /// Every user
    #[arg(short)]
    pub all: bool,
    /// One user, by address
    #[arg(short, value_name = "USERID")]
    pub user: Option<String>,
    /// Only the limits
    #[arg(short, conflicts_with = "status")]
    pub quota_only: bool,
    /// Limits, usage and the overquota status, which is what happens without -q anyway
    #[arg(short)]
    pub status: bool,
    /// The configuration file
    #[arg(short, long, value_name = "FILE", env = "MAILQUOTAD_CONFIG", default_value = CONFIG_FILE)]
    pub config: PathBuf,
}

impl IminitQuota {
    pub fn resync(&self) -> Resync {
        Resync {
            all: self.all,
            accounts: self.user.iter().cloned().collect(),
            domain: None,
            limits_only: self.quota_only,
            format: Format::Text,
            source: Source { offline: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_the_original() {
        let read = |args: &[&str]| IminitQuota::try_parse_from([&["iminitquota"], args].concat());
        assert!(read(&["-a"]).unwrap().resync().all);
        let one = read(&["-q", "-u", "anna@example.org"]).unwrap().resync();
        assert!(one.limits_only && one.accounts == ["anna@example.org"]);
        assert!(!read(&["-s", "-a"]).unwrap().resync().limits_only);
        for bad in [&[] as &[&str], &["-q"], &["-a", "-u", "x"], &["-q", "-s", "-a"], &["-x"]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
