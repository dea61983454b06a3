//! `imquotacheck`: Oracle Messaging Server's command of that name: reports, enforces domain quotas, tells users.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;

use super::args::CONFIG_FILE;
use super::client::{Client, part};
use super::exit::Exit;
use super::out::{self, say};
use super::rulefile::{self, RuleFile};
use crate::quota::{Limit, Units, Usage};
use crate::service::http::check::Line;
use crate::service::http::notify::{Enforced, ToEnforce, ToTell};
use crate::service::notify::rules::{Outcome, TellRule};
use crate::service::report::{AccountReport, DomainReport};

const NOTES: &str = "\
Without -n or -f a report is printed: usage in kilobytes. With a rule file and neither -i, -d nor -u, only users at
or above its least percentage are in it. The default rule file and message file are imq.rulefile and imq.msgfile beside
the configuration file. Notices of -n and those that the daemon makes by itself know of each other.";

/// Report mailbox usage, enforce domain quotas, tell users that are nearly over quota
#[derive(Debug, Parser)]
#[command(name = "imquotacheck", version, max_term_width = 100, after_help = NOTES)]
pub struct ImquotaCheck {
    /// Take users from the directory, which is where they always come from here
    #[arg(short)]
    pub all_in_directory: bool,
    /// Only users of this domain
    #[arg(short, value_name = "DOMAIN", conflicts_with = "user")]
    pub domain: Option<String>,
    /// Say of every user that a rule applies to what was done (with -n)
    #[arg(short = 'D')]
    pub debug: bool,
    /// Show the usage of every folder
    #[arg(short)]
    pub extended: bool,
    /// Enforce domain quotas: set mailDomainStatus to overquota, or back to active
    #[arg(short = 'f')]
    pub enforce: bool,
    /// Ignore the rule file: report every user
    #[arg(short)]
    pub ignore_rules: bool,
    /// Send notices by the rule file
    #[arg(short)]
    pub notify: bool,
    /// The rule file
    #[arg(short, value_name = "FILE")]
    pub rulefile: Option<PathBuf>,
    /// The message that rules without one of their own send
    #[arg(short, value_name = "FILE")]
    pub template: Option<PathBuf>,
    /// Report this user, with every folder
    #[arg(short, value_name = "USER")]
    pub user: Option<String>,
    /// Add standing and status to the report
    #[arg(short)]
    pub verbose: bool,
    /// The configuration file
    #[arg(short, long, value_name = "FILE", env = "MAILQUOTAD_CONFIG", default_value = CONFIG_FILE)]
    pub config: PathBuf,
}

pub async fn run(client: &Client, args: &ImquotaCheck) -> Result<Exit> {
    if args.enforce {
        enforce(client, args).await?;
    }
    if args.notify {
        notify(client, args).await?;
    }
    if !args.enforce && !args.notify {
        report(client, args).await?;
    }
    Ok(Exit::Fine)
}

async fn enforce(client: &Client, args: &ImquotaCheck) -> Result<()> {
    let mut answer = client.post_lines("/v1/enforce", &ToEnforce { domain: args.domain.clone() }).await?;
    while let Some(Enforced { domain, from, to }) = answer.line().await? {
        say!("{domain}: mailDomainStatus {from} -> {to}");
    }
    Ok(())
}

fn beside_config(args: &ImquotaCheck, name: &str) -> PathBuf {
    args.config.parent().unwrap_or(Path::new("/")).join(name)
}

/// The rule file that was named, else the one beside the configuration if it is there.
fn rules(args: &ImquotaCheck) -> Result<Option<RuleFile>> {
    let default = beside_config(args, "imq.rulefile");
    let file = match &args.rulefile {
        Some(file) => file,
        None if default.exists() => &default,
        None => return Ok(None),
    };
    let text = fs::read_to_string(file).with_context(|| format!("reading the rule file {}", file.display()))?;
    rulefile::read(&file.display().to_string(), &text).map(Some)
}

async fn notify(client: &Client, args: &ImquotaCheck) -> Result<()> {
    let Some(file) = rules(args)? else {
        bail!("-n needs a rule file: name one with -r, or put it at {}", beside_config(args, "imq.rulefile").display())
    };
    if file.rules.is_empty() {
        bail!("the rule file has no rule that is enabled");
    }
    if args.debug {
        file.notes.iter().for_each(|note| say!("{note}"));
    }
    let default = args.template.clone().unwrap_or_else(|| beside_config(args, "imq.msgfile"));
    let mut rules = Vec::new();
    for rule in file.rules {
        let path = rule.message_file.as_ref().unwrap_or(&default);
        let place = || format!("the message file {} of [{}]", path.display(), rule.name);
        let text = fs::read_to_string(path).with_context(place)?;
        crate::wire::notice::Template::percents(&text).with_context(place)?;
        let interval_seconds = rule.interval_hours.saturating_mul(3600);
        rules.push(TellRule { percentage: rule.percentage, interval_seconds, text });
    }
    let order = ToTell { domain: args.domain.clone(), user: args.user.clone(), rules, extended: args.extended };
    let mut answer = client.post_lines("/v1/notify", &order).await?;
    let (mut told, mut spared) = (0, 0);
    while let Some(outcome) = answer.line::<Outcome>().await? {
        let Outcome { account, bucket, percent, rule, told: now } = outcome;
        if now {
            told += 1
        } else {
            spared += 1
        }
        if args.debug {
            let done = if now { "told" } else { "told not long ago" };
            say!("{account} {bucket}: {percent}% used, rule at {rule}%: {done}");
        }
    }
    say!("{told} notices made, {spared} users told not long ago");
    Ok(())
}

async fn report(client: &Client, args: &ImquotaCheck) -> Result<()> {
    let folders = args.extended || args.user.is_some();
    let mut query = vec![format!("folders={folders}")];
    query.extend(args.user.as_ref().map(|user| format!("user={}", part(user))));
    query.extend(args.domain.as_ref().map(|domain| format!("domain={}", part(domain))));
    let every = args.ignore_rules || args.domain.is_some() || args.user.is_some();
    let least = if every { None } else { rules(args)?.and_then(|file| file.rules.first().map(|rule| rule.percentage)) };
    let mut answer = client.get_lines(&format!("/v1/check?{}", query.join("&"))).await?;
    let mut accounts: BTreeMap<String, Vec<AccountReport>> = BTreeMap::new();
    let mut domains: BTreeMap<String, DomainReport> = BTreeMap::new();
    while let Some(line) = answer.line_as(Line::read).await? {
        match line {
            Line::Account(report) if fullest(&report) >= u64::from(least.unwrap_or(0)) => {
                accounts.entry(report.domain.clone()).or_default().push(report);
            }
            Line::Domain(report) => drop(domains.insert(report.domain.clone(), report)),
            Line::Lost { directory_lost, .. } => {
                eprintln!("imquotacheck: the directory is away, and all of this is as it was: {directory_lost}");
            }
            Line::Account(_) | Line::Bad { .. } => {}
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = accounts.iter().try_for_each(|(domain, accounts)| {
        head(&mut out, domain, domains.get(domain), args)?;
        accounts.iter().try_for_each(|report| row(&mut out, report, args))
    });
    out::written(printed.and_then(|()| out.flush()));
    Ok(())
}

/// Of all buckets.
fn fullest(report: &AccountReport) -> u64 {
    let percent = |limit: Limit, used: Usage| limit.percent(used).unwrap_or(0);
    let of = |bucket: &crate::service::report::BucketReport| {
        percent(bucket.limit.limit(), Usage::new(bucket.used.bytes, bucket.used.messages))
    };
    report.buckets.iter().map(of).max().unwrap_or(0)
}

const RULE: &str = "-------------------------------------------------------------------------";

fn head(out: &mut impl Write, domain: &str, report: Option<&DomainReport>, args: &ImquotaCheck) -> io::Result<()> {
    let limit = report.map(|report| report.limit.limit()).unwrap_or_default();
    let disk = limit.bytes.map_or("not set".into(), |bytes| Units::Binary.exact(bytes).to_string());
    let messages = limit.messages.map_or("not set".into(), |messages| messages.to_string());
    writeln!(out, "{RULE}\nDomain {domain} (diskquota = {disk} msgquota = {messages}) quota usage")?;
    if let Some(report) = report {
        let used = Usage::new(report.used.bytes, report.used.messages);
        let percent = limit.percent(used).map(|percent| format!(", {percent}% of the quota")).unwrap_or_default();
        let more = if report.uncommitted > 0 {
            format!(" and {} users without a limit", report.uncommitted)
        } else {
            String::new()
        };
        let (bytes, promised) = (used.bytes.div_ceil(1024), report.committed / 1024);
        writeln!(out, "{bytes}K in {} messages{percent}; promised to users: {promised}K{more}", used.messages)?;
    }
    let more = if args.verbose { "  standing  status" } else { "" };
    writeln!(out, "{RULE}\n diskquota    size(K)  %use   msgquota       msgs  %use  user{more}")
}

fn row(out: &mut impl Write, report: &AccountReport, args: &ImquotaCheck) -> io::Result<()> {
    for (index, bucket) in report.buckets.iter().enumerate() {
        let (limit, used) = (bucket.limit.limit(), bucket.used);
        let name = if index == 0 { report.account.clone() } else { format!("{} {}", report.account, bucket.name) };
        let disk = limit.bytes.map_or("no quota".into(), |bytes| (bytes / 1024).to_string());
        let messages = limit.messages.map_or("no quota".into(), |messages| messages.to_string());
        let of =
            |limit: Limit, used: Usage| limit.percent(used).map(|percent| format!("{percent}%")).unwrap_or_default();
        let disk_use = of(Limit { messages: None, ..limit }, Usage::new(used.bytes, 0));
        let message_use = of(Limit { bytes: None, ..limit }, Usage::new(0, used.messages));
        let size = used.bytes.div_ceil(1024);
        write!(
            out,
            "{disk:>10} {size:>10} {disk_use:>5} {messages:>10} {:>10} {message_use:>5}  {name}",
            used.messages
        )?;
        if args.verbose {
            write!(out, "  {}  {}", bucket.standing.as_str(), report.status)?;
        }
        writeln!(out)?;
    }
    for folder in &report.folders {
        let kind = folder.kind.as_deref().map(|kind| format!(" #{kind}")).unwrap_or_default();
        let (size, count) = (folder.used.bytes.div_ceil(1024), folder.used.messages);
        writeln!(
            out,
            "           {size:>10}                  {count:>10}        {}/{}{kind}",
            report.account, folder.folder
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_the_original() {
        let read = |args: &[&str]| ImquotaCheck::try_parse_from([&["imquotacheck"], args].concat());
        let all =
            read(&["-a", "-D", "-e", "-f", "-i", "-n", "-v", "-d", "example.org", "-r", "/r", "-t", "/t"]).unwrap();
        assert!(all.all_in_directory && all.debug && all.extended && all.enforce && all.ignore_rules && all.notify);
        assert!(all.verbose && all.domain.as_deref() == Some("example.org") && all.rulefile == Some("/r".into()));
        assert_eq!(read(&["-u", "anna@example.org"]).unwrap().user.as_deref(), Some("anna@example.org"));
        assert!(read(&["-h"]).unwrap_err().to_string().contains("-D"));
        assert!(read(&["-u", "x", "-d", "y"]).is_err() && read(&["-p", "90"]).is_err());
    }
}
