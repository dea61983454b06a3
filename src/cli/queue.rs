//! `mailquotad queue`: what waits in the mail queue, against its quotas.

use anyhow::Result;

use super::args::{Queue, TableFormat};
use super::check::csv;
use super::client::{Client, part};
use super::exit::Exit;
use super::out::say;
use super::table::{Bytes, Count, Table};
use crate::service::queue::report::{GroupReport, Line, SourceReport};

pub async fn queue(client: &Client, args: &Queue) -> Result<Exit> {
    let mut path = format!("/v1/queue?full={}&most={}", args.full, args.most);
    if let Some(quota) = &args.quota {
        path.push_str(&format!("&quota={}", part(quota)));
    }
    let mut answer = client.get_lines(&path).await?;
    let (mut sources, mut groups) = (Vec::new(), Vec::new());
    let mut wrong = false;
    if args.format == TableFormat::Csv {
        say!("quota,group,bytes,bytes_limit,messages,messages_limit,percent,full");
    }
    while let Some(line) = answer.line::<Line>().await? {
        wrong |= match &line {
            Line::Source(source) => source.problem.is_some(),
            Line::Group(group) => group.full,
        };
        match (args.format, line) {
            (TableFormat::Json, line) => say!("{}", serde_json::to_string(&line)?),
            (TableFormat::Csv, Line::Group(group)) => say!("{}", csv(&fields(&group))),
            // Lines of a table for a spreadsheet are all of one kind.
            (TableFormat::Csv, Line::Source(_)) => {}
            (TableFormat::Text, Line::Source(source)) => sources.push(source),
            (TableFormat::Text, Line::Group(group)) => groups.push(group),
        }
    }
    if args.format == TableFormat::Text {
        print(&sources, &groups);
    }
    Ok(if wrong { Exit::Findings } else { Exit::Fine })
}

fn named(group: &GroupReport) -> String {
    match group.group.is_empty() {
        true => "all".into(),
        false => group.group.iter().map(|(part, value)| format!("{part}={value}")).collect::<Vec<_>>().join(" "),
    }
}

fn fields(group: &GroupReport) -> Vec<String> {
    let number = |limit: Option<u64>| limit.map(|limit| limit.to_string()).unwrap_or_default();
    vec![
        group.quota.clone(),
        named(group),
        group.used.bytes.to_string(),
        number(group.limit.bytes),
        group.used.messages.to_string(),
        number(group.limit.messages),
        group.percent.to_string(),
        group.full.to_string(),
    ]
}

fn print(sources: &[SourceReport], groups: &[GroupReport]) {
    let mut rows = Table::new(&["QUEUE", "MESSAGES", "READ", "TOOK", "PROBLEM"], &[1, 3]);
    for source in sources {
        let read = source.read.as_deref().unwrap_or("never");
        let (took, problem) = (format!("{} ms", source.took_ms), source.problem.as_deref().unwrap_or_default());
        rows.row(&[&source.source, &source.messages, &read, &took, &problem]);
    }
    if !sources.is_empty() {
        rows.print();
        say!();
    }
    if groups.is_empty() {
        say!("no queue quota holds any of it");
        return;
    }
    let mut rows = Table::new(&["QUOTA", "GROUP", "BYTES", "MESSAGES", "FULL", ""], &[2, 3, 4]);
    for group in groups {
        let (used, limit) = (group.used, group.limit);
        let (bytes, messages) = (Bytes(used.bytes, limit.bytes), Count(used.messages, limit.messages));
        let (percent, full) = (format!("{}%", group.percent), if group.full { "full" } else { "" });
        rows.row(&[&group.quota, &named(group), &bytes, &messages, &percent, &full]);
    }
    rows.print();
}
