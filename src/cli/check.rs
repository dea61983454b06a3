//! `mailquotad check`: what everybody holds, as a table, JSON lines or CSV.

use std::borrow::Cow;
use std::io::Write;

use anyhow::Result;
use serde::Deserialize;

use super::args::{Check, TableFormat};
use super::client::{Client, part};
use super::exit::Exit;
use super::out::{self, say};
use super::table::{self, Shown, Table};
use crate::quota::Level;
use crate::service::http::check::{ACCOUNT_LINE, Line};
use crate::service::report::{AccountReport, Both, BucketReport, DomainReport};

pub async fn check(client: &Client, args: &Check) -> Result<Exit> {
    let mut query =
        vec![format!("over={}", args.over), format!("enforce={}", args.enforce), format!("notify={}", args.notify)];
    query.extend(args.user.as_ref().map(|user| format!("user={}", part(user))));
    query.extend(args.domain.as_ref().map(|domain| format!("domain={}", part(domain))));
    let mut answer = client.get_lines(&format!("/v1/check?{}", query.join("&"))).await?;
    let mut paper = Paper::new(args.format)?;
    let mut exit = Exit::Fine;
    while let Some((attention, written)) = answer.line_as(|line| paper.take(line)).await? {
        if attention {
            exit = Exit::Findings;
        }
        out::written(written);
    }
    paper.end();
    Ok(exit)
}

fn worth_attention(line: &Line) -> bool {
    match line {
        Line::Account(report) => {
            report.problem.is_some() || report.buckets.iter().any(|bucket| bucket.standing >= Level::Over)
        }
        Line::Domain(report) => report.problem.is_some() || report.standing >= Level::Over,
        Line::Bad { .. } | Line::Lost { .. } => true,
    }
}

/// Where the report goes. Tables need all rows to know how wide they are; the other forms flow.
enum Paper {
    Text(Box<Tables>),
    Json(std::io::BufWriter<std::io::StdoutLock<'static>>),
    Csv(std::io::BufWriter<std::io::StdoutLock<'static>>),
}

struct Tables {
    accounts: Table,
    domains: Table,
    notes: Vec<String>,
    /// Why the directory is away, and for how long.
    lost: Option<String>,
}

/// What a table shows of an account. Borrowed from the line, because a large site has a hundred thousand of them
/// and their many little texts would each be copied.
#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    account: Cow<'a, str>,
    #[serde(borrow)]
    buckets: Vec<RowBucket<'a>>,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct RowBucket<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    used: Both<u64>,
    limit: Both<Option<u64>>,
    standing: Level,
}

impl<'a> Row<'a> {
    /// `None` for a line about anything else.
    fn read(line: &'a [u8]) -> serde_json::Result<Option<Row<'a>>> {
        match std::str::from_utf8(line) {
            Ok(text) if text.starts_with(ACCOUNT_LINE) => serde_json::from_str(text).map(Some),
            _ => Ok(None),
        }
    }
}

impl RowBucket<'_> {
    fn shown(&self) -> Shown<'_> {
        Shown { name: &self.name, used: self.used, limit: self.limit, standing: self.standing }
    }
}

const CSV_HEAD: &str =
    "kind,name,bucket,used_bytes,limit_bytes,used_messages,limit_messages,standing,since,status,problem";

impl Paper {
    fn new(format: TableFormat) -> Result<Paper> {
        let out = || std::io::BufWriter::new(std::io::stdout().lock());
        Ok(match format {
            TableFormat::Text => Paper::Text(Box::new(Tables {
                accounts: Table::new(&table::ACCOUNT_HEAD, &[2, 3, 4]),
                domains: Table::new(&table::DOMAIN_HEAD, &[1, 2, 3, 4, 5]),
                notes: Vec::new(),
                lost: None,
            })),
            TableFormat::Json => Paper::Json(out()),
            TableFormat::Csv => {
                let mut out = out();
                writeln!(out, "{CSV_HEAD}")?;
                Paper::Csv(out)
            }
        })
    }

    /// Takes in a line of the answer: whether it is worth attention, and whether it could be written.
    fn take(&mut self, line: &[u8]) -> serde_json::Result<(bool, std::io::Result<()>)> {
        if let (Paper::Text(tables), Some(row)) = (&mut *self, Row::read(line)?) {
            tables.accounts.account(&row.account, row.buckets.iter().map(|bucket| bucket.shown()));
            tables.notes.extend(row.problem.as_ref().map(|problem| format!("{}: {problem}", row.account)));
            let over = row.buckets.iter().any(|bucket| bucket.standing >= Level::Over);
            return Ok((over || row.problem.is_some(), Ok(())));
        }
        let line = Line::read(line)?;
        Ok((worth_attention(&line), self.line(&line)))
    }

    fn line(&mut self, line: &Line) -> std::io::Result<()> {
        match self {
            Paper::Json(out) => {
                serde_json::to_writer(&mut *out, line)?;
                writeln!(out)
            }
            Paper::Csv(out) => rows(line).iter().try_for_each(|row| writeln!(out, "{}", csv(row))),
            Paper::Text(tables) => {
                let Tables { domains, notes, lost, .. } = &mut **tables;
                match line {
                    // Has been taken in as a row.
                    Line::Account(_) => {}
                    Line::Domain(report) => {
                        domains.domain(report);
                        notes.extend(report.problem.as_ref().map(|problem| format!("{}: {problem}", report.domain)));
                    }
                    Line::Bad { bad, why } => notes.push(format!("{bad}: {why}")),
                    Line::Lost { .. } => *lost = Some(told(line)),
                }
                Ok(())
            }
        }
    }

    fn end(self) {
        match self {
            Paper::Json(mut out) | Paper::Csv(mut out) => out::written(out.flush()),
            Paper::Text(tables) => {
                let Tables { accounts, domains, notes, lost } = *tables;
                let mut parts = 0;
                for table in [accounts, domains].iter().filter(|table| !table.is_empty()) {
                    if parts > 0 {
                        say!();
                    }
                    table.print();
                    parts += 1;
                }
                if parts == 0 && notes.is_empty() && lost.is_none() {
                    say!("nothing to report");
                }
                if let Some(lost) = lost {
                    say!("\n{lost}");
                }
                if !notes.is_empty() {
                    say!("\nThe last good limits are in force for:");
                    notes.iter().for_each(|note| say!("  {note}"));
                }
            }
        }
    }
}

/// That the directory is away, for people.
fn told(line: &Line) -> String {
    match line {
        Line::Lost { directory_lost, age_seconds: Some(age) } => {
            format!("As it was {age} seconds ago; the directory: {directory_lost}")
        }
        Line::Lost { directory_lost, .. } => format!("Not known to be current; the directory: {directory_lost}"),
        _ => String::new(),
    }
}

fn rows(line: &Line) -> Vec<Vec<String>> {
    let number = |limit: Option<u64>| limit.map(|limit| limit.to_string()).unwrap_or_default();
    match line {
        Line::Account(report @ AccountReport { account, status, problem, .. }) => {
            let row = |bucket: &BucketReport| {
                vec![
                    "account".into(),
                    account.clone(),
                    bucket.name.clone(),
                    bucket.used.bytes.to_string(),
                    number(bucket.limit.bytes),
                    bucket.used.messages.to_string(),
                    number(bucket.limit.messages),
                    bucket.standing.as_str().into(),
                    bucket.since.clone().unwrap_or_default(),
                    status.clone(),
                    problem.clone().unwrap_or_default(),
                ]
            };
            report.buckets.iter().map(row).collect()
        }
        Line::Domain(DomainReport { domain, status, standing, since, used, limit, problem, .. }) => vec![vec![
            "domain".into(),
            domain.clone(),
            String::new(),
            used.bytes.to_string(),
            number(limit.bytes),
            used.messages.to_string(),
            number(limit.messages),
            standing.as_str().into(),
            since.clone().unwrap_or_default(),
            status.clone(),
            problem.clone().unwrap_or_default(),
        ]],
        Line::Bad { bad, why } => {
            let mut row = vec!["bad".to_owned(), bad.clone()];
            row.resize(10, String::new());
            row.push(why.clone());
            vec![row]
        }
        Line::Lost { .. } => {
            let mut row = vec!["directory".to_owned()];
            row.resize(10, String::new());
            row.push(told(line));
            vec![row]
        }
    }
}

/// RFC 4180; a field that a spreadsheet would take for a formula is made text.
pub(super) fn csv(row: &[String]) -> String {
    let field = |field: &String| {
        let guarded = match field.chars().next() {
            Some('=' | '+' | '-' | '@') if field.parse::<i64>().is_err() => format!("'{field}"),
            _ => field.clone(),
        };
        match guarded.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", guarded.replace('"', "\"\"")),
            false => guarded,
        }
    };
    row.iter().map(field).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::csv;

    #[test]
    fn csv_quotes_and_disarms() {
        let row = ["a,b", "say \"hi\"", "=1+1", "-1", "plain"].map(str::to_owned);
        assert_eq!(csv(&row), "\"a,b\",\"say \"\"hi\"\"\",'=1+1,-1,plain");
    }
}
