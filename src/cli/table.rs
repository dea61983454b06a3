//! Reports for people: aligned columns for a terminal.

use std::io::{BufWriter, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::quota::{Limit, Units, Usage};
use crate::service::report::{AccountReport, Both, DomainReport};

/// `1.5G of 2G`, `1.5G` where nothing limits it.
pub fn bytes(used: u64, limit: Option<u64>) -> String {
    let shown = |bytes| Units::Binary.rounded(bytes);
    match limit {
        Some(limit) => format!("{} of {}", shown(used), shown(limit)),
        None => shown(used),
    }
}

pub fn count(used: u64, limit: Option<u64>) -> String {
    limit.map_or_else(|| used.to_string(), |limit| format!("{used} of {limit}"))
}

/// Of the scarcer resource; `-` where nothing limits it.
pub fn percent(used: Both<u64>, limit: Both<Option<u64>>) -> String {
    let percent = Limit::percent(&limit.limit(), Usage::new(used.bytes, used.messages));
    percent.map_or_else(|| "-".into(), |percent| format!("{percent}%"))
}

pub fn new(head: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(head.to_vec());
    for column in numbers {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Without the blanks that pad the last column.
pub fn print(table: &Table) {
    let mut out = BufWriter::new(std::io::stdout().lock());
    // `| head` has seen enough.
    let _ = table.lines().try_for_each(|line| writeln!(out, "{}", line.trim_end())).and_then(|()| out.flush());
}

pub fn account_rows(report: &AccountReport) -> Vec<[String; 6]> {
    let row = |(index, bucket): (usize, &crate::service::report::BucketReport)| {
        [
            if index == 0 { report.account.clone() } else { String::new() },
            bucket.name.clone(),
            bytes(bucket.used.bytes, bucket.limit.bytes),
            count(bucket.used.messages, bucket.limit.messages),
            percent(bucket.used, bucket.limit),
            bucket.standing.as_str().into(),
        ]
    };
    report.buckets.iter().enumerate().map(row).collect()
}

pub const ACCOUNT_HEAD: [&str; 6] = ["ACCOUNT", "BUCKET", "BYTES", "MESSAGES", "FULL", "STANDING"];
pub const DOMAIN_HEAD: [&str; 7] = ["DOMAIN", "ACCOUNTS", "BYTES", "MESSAGES", "FULL", "PROMISED", "STANDING"];

pub fn domain_row(report: &DomainReport) -> [String; 7] {
    let more = if report.uncommitted > 0 { "+" } else { "" };
    [
        report.domain.clone(),
        report.accounts.to_string(),
        bytes(report.used.bytes, report.limit.bytes),
        count(report.used.messages, report.limit.messages),
        percent(report.used, report.limit),
        format!("{}{more}", Units::Binary.rounded(report.committed)),
        report.standing.as_str().into(),
    ]
}
