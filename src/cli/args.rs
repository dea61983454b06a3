//! The command line. Help, man pages and shell completions are all made from what stands here.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::quota::Units;

/// Read where neither `-c` nor `MAILQUOTAD_CONFIG` names a file.
pub const CONFIG_FILE: &str = "/etc/mailquotad/mailquotad.toml";

const EXAMPLES: &str = "\
Examples:
  mailquotad demo                              a small organisation to try things on
  mailquotad config check                      is the configuration right?
  mailquotad serve                             the daemon, in the foreground
  mailquotad explain bob@example.org --size 3M why would this message be refused?
  mailquotad check --over                      who is over quota?";

const CHECK_EXAMPLES: &str = "\
Examples:
  mailquotad check                             every account and domain, as a table
  mailquotad check --domain example.org        one domain and its accounts
  mailquotad check --enforce                   put mailDomainStatus right, for all domains
  mailquotad check --over --format csv         who is over, for a spreadsheet

Exits with 3 if anything that is shown is over quota.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  mailquotad explain bob@example.org
  mailquotad explain bob@example.org --size 25M --type voice
  mailquotad explain bob@example.org --folder Archive/2025 --format json";

const QUEUE_EXAMPLES: &str = "\
Examples:
  mailquotad queue                             every queue quota, its fullest groups first
  mailquotad queue --full                      what mail is refused for now
  mailquotad queue --quota per-recipient --format csv

Exits with 3 if a group is full, or a queue cannot be read.";

const RESYNC_EXAMPLES: &str = "\
Examples:
  mailquotad resync --all                      every account
  mailquotad resync bob@example.org            after his mail was moved by hand
  mailquotad resync --all --limits-only        limits changed, the mail did not";

const SET_EXAMPLES: &str = "\
Examples:
  mailquotad set bob@example.org --quota 2G
  mailquotad set bob@example.org --quota '2G;#voice%20M;Archive%100M' --messages 5000

A quota is a number with K, M, G or T, -1 for no limit, or -2 for the default.";

/// Mail quotas for Postfix, Dovecot and LDAP sites
///
/// mailquotad knows how much mail every mailbox and every domain of a directory may hold and how much it
/// holds, answers the MTA before a message is accepted, and writes the standing back into the directory.
#[derive(Debug, Parser)]
#[command(name = "mailquotad", version, max_term_width = 100, after_help = EXAMPLES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct CommandLine {
    /// The configuration file
    #[arg(short, long, global = true, value_name = "FILE", env = "MAILQUOTAD_CONFIG", default_value = CONFIG_FILE)]
    pub config: PathBuf,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon, in the foreground
    Serve,
    /// Make a small organisation to try things on, and serve it
    Demo(Demo),
    /// Re-read limits, measure mailboxes, put standings and statuses right
    #[command(after_help = RESYNC_EXAMPLES)]
    Resync(Resync),
    /// Report usage against quotas; enforce domain quotas
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Say what would become of a message, step by step
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// Show what waits in the mail queue, against the queue quotas
    #[command(after_help = QUEUE_EXAMPLES)]
    Queue(Queue),
    /// Show one account or domain
    Show(Show),
    /// Write a quota to the directory
    #[command(after_help = SET_EXAMPLES)]
    Set(Set),
    /// Look whether all is in place, and say what to do about what is not
    Doctor(Doctor),
    /// Check or print the configuration
    #[command(subcommand, arg_required_else_help = true)]
    Config(ConfigCommand),
    /// Write the ledger to a file that can be kept and read
    Export(Export),
    /// Fill an empty ledger from an export; the daemon must not be running
    Import(Import),
    /// Write the manual pages into a folder
    Man(Man),
    /// Write completions for a shell to standard output
    Completions(Completions),
}

/// How a report is written. `json` and `csv` are stable from release to release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// A table for people
    #[default]
    Text,
    /// One object a line
    Json,
    Csv,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// One object, stable from release to release
    Json,
}

/// Where a command gets its answers.
#[derive(Clone, Copy, Debug, Args)]
pub struct Source {
    /// Open the ledger and the directory directly; the daemon must not be running
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Where to put the organisation [default: a temporary folder]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whom").args(["all", "accounts", "domain"]).required(true).multiple(true))]
pub struct Resync {
    /// Every account
    #[arg(long, conflicts_with = "accounts")]
    pub all: bool,
    /// These accounts, by address
    #[arg(value_name = "ACCOUNT")]
    pub accounts: Vec<String>,
    /// The accounts of this domain
    #[arg(long, value_name = "DOMAIN", conflicts_with = "accounts")]
    pub domain: Option<String>,
    /// Only re-read the limits; take the usage as it is known
    #[arg(long)]
    pub limits_only: bool,
    /// How the story is told; `json` is one object a line
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[command(flatten)]
    pub source: Source,
}

#[derive(Debug, Args)]
pub struct Check {
    /// This account only, with its buckets
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "domain")]
    pub user: Option<String>,
    /// This domain and its accounts only
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Set the status of domains that are over, and take it back from those that no longer are
    #[arg(long, conflicts_with = "user")]
    pub enforce: bool,
    /// Send the notices that are due, even where they are not sent as things happen
    #[arg(long)]
    pub notify: bool,
    /// Leave out what is not over
    #[arg(long)]
    pub over: bool,
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
    #[command(flatten)]
    pub source: Source,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// The recipient, as an MTA would ask for it
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    /// The size of the message, in bytes or with K, M, G or T
    #[arg(long, default_value = "0", value_parser = bytes)]
    pub size: u64,
    /// The folder that it is filed in [default: INBOX, or what the address says]
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<String>,
    /// The message type, by its name in [quota.types]
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// The sender
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pub sender: String,
    /// The address of the client that sends it
    #[arg(long, value_name = "IP")]
    pub client: Option<String>,
    /// The name that the client has logged in with
    #[arg(long, value_name = "NAME")]
    pub login: Option<String>,
    /// The policy_context of the service that asks
    #[arg(long, value_name = "TEXT")]
    pub context: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[command(flatten)]
    pub source: Source,
}

#[derive(Debug, Args)]
pub struct Queue {
    /// Groups of this quota only
    #[arg(long, value_name = "NAME")]
    pub quota: Option<String>,
    /// Leave out groups that have room
    #[arg(long)]
    pub full: bool,
    /// How many groups of each quota, the fullest first
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub most: usize,
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
}

#[derive(Debug, Args)]
pub struct Show {
    /// An address, or the name of a domain
    #[arg(value_name = "ACCOUNT|DOMAIN")]
    pub name: String,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[command(flatten)]
    pub source: Source,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["quota", "messages"]).required(true).multiple(true))]
pub struct Set {
    /// The account, by address
    pub account: String,
    /// The new mailQuota
    #[arg(long, value_name = "SPEC", allow_hyphen_values = true)]
    pub quota: Option<String>,
    /// The new mailMsgQuota
    #[arg(long, value_name = "SPEC", allow_hyphen_values = true)]
    pub messages: Option<String>,
}

#[derive(Debug, Args)]
pub struct Doctor {
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Say every fault of the configuration, each with its line and what is accepted
    Check,
    /// Print the configuration in force as TOML, defaults included and secrets hidden
    Print,
    /// Turn the queue quotas of a Stalwart mail server (MtaQueueQuota objects, as JSON) into ours
    ImportStalwart {
        /// The objects
        file: PathBuf,
    },
    /// Turn the store.* settings of an Oracle (Sun) Messaging Server, as configutil or msconfig print them, into ours
    ImportMsconfig {
        /// The printed settings
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Export {
    /// The file to write; `-` is standard output
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct Import {
    /// An export; `-` is standard input
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct Man {
    /// The folder, which is made if it does not exist
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct Completions {
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

fn bytes(text: &str) -> Result<u64, String> {
    Units::Binary.parse(text).map_err(|error| error.fault.to_string())
}

#[cfg(test)]
mod tests;
