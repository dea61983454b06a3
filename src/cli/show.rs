//! `mailquotad show` and `mailquotad explain`: one account, one domain, one verdict.

use anyhow::Result;
use serde_json::{Value, json};

use super::args::{Explain, Format, Show};
use super::client::{Client, part};
use super::exit::Exit;
use super::out::say;
use super::table::{ACCOUNT_HEAD, DOMAIN_HEAD, Shown, Table};
use crate::service::report::{AccountReport, DomainReport, Explanation};

pub async fn show(client: &Client, args: &Show) -> Result<Exit> {
    // An address has an @; whatever has none is a domain, or an account without one.
    let account = format!("/v1/accounts/{}", part(&args.name));
    if args.name.contains('@') {
        return show_account(&client.get(&account).await?, args.format);
    }
    match client.get(&format!("/v1/domains/{}", part(&args.name))).await {
        Ok(report) => show_domain(&report, args.format),
        Err(no_domain) => match client.get(&account).await {
            Ok(report) => show_account(&report, args.format),
            Err(_) => Err(no_domain),
        },
    }
}

fn show_account(report: &AccountReport, format: Format) -> Result<Exit> {
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(report)?);
        return Ok(Exit::Fine);
    }
    say!("account   {}", report.account);
    if !report.alternates.is_empty() {
        say!("also      {}", report.alternates.join(", "));
    }
    say!("domain    {}", report.domain);
    say!("status    {}", report.status);
    let since = report.since.as_deref().map(|since| format!(" since {since}")).unwrap_or_default();
    say!("standing  {}{since}", report.standing.as_str());
    say!("measured  {}", report.measured.as_deref().unwrap_or("never"));
    if let Some(problem) = &report.problem {
        say!("problem   {problem}");
    }
    say!();
    let mut rows = Table::new(&ACCOUNT_HEAD[1..], &[1, 2, 3]);
    report.buckets.iter().for_each(|bucket| rows.bucket(Shown::from(bucket)));
    rows.print();
    Ok(Exit::Fine)
}

fn show_domain(report: &DomainReport, format: Format) -> Result<Exit> {
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(report)?);
        return Ok(Exit::Fine);
    }
    say!("domain    {}", report.domain);
    say!("status    {}", report.status);
    let since = report.since.as_deref().map(|since| format!(" since {since}")).unwrap_or_default();
    say!("standing  {}{since}", report.standing.as_str());
    if let Some(problem) = &report.problem {
        say!("problem   {problem}");
    }
    say!();
    let mut rows = Table::new(&DOMAIN_HEAD[1..], &[0, 1, 2, 3, 4]);
    rows.pool(report);
    rows.print();
    Ok(Exit::Fine)
}

pub async fn explain(client: &Client, args: &Explain) -> Result<Exit> {
    let question: Value = json!({
        "recipient": args.recipient,
        "size": args.size,
        "folder": args.folder,
        "type": args.kind,
        "sender": args.sender,
        "client": args.client,
        "login": args.login,
        "context": args.context,
    });
    let told: Explanation = client.post("/v1/explain", &question).await?;
    if args.format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&told)?);
        return Ok(Exit::Fine);
    }
    let mut rows = Table::new(&["RULE", "SAYS", "WHY"], &[]);
    let mut whose = None;
    for step in &told.steps {
        if step.account != whose {
            whose.clone_from(&step.account);
            rows.row(&[&whose.as_deref().unwrap_or_default(), &"", &""]);
        }
        rows.row(&[&step.rule, &step.verdict.as_deref().unwrap_or("-"), &step.why]);
    }
    rows.print();
    say!();
    say!("verdict  {}", told.verdict);
    say!("reply    {}", told.reply);
    if let Some(bucket) = &told.bucket {
        say!("bucket   {bucket}");
    }
    Ok(Exit::Fine)
}
