//! Reports for people: aligned columns for a terminal.

use std::fmt::{self, Display, Write as _};
use std::io::{self, BufWriter, Write};

use unicode_width::UnicodeWidthStr;

use super::out;
use crate::quota::{Level, Limit, Units, Usage};
use crate::service::report::{Both, BucketReport, DomainReport};

/// `1.5G of 2G`, `1.5G` where nothing limits it.
pub struct Bytes(pub u64, pub Option<u64>);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Units::Binary.rounded(self.0))?;
        self.1.map_or(Ok(()), |limit| write!(f, " of {}", Units::Binary.rounded(limit)))
    }
}

/// The same for messages.
pub struct Count(pub u64, pub Option<u64>);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.1.map_or(Ok(()), |limit| write!(f, " of {limit}"))
    }
}

/// Of the scarcer resource; `-` where nothing limits it.
struct Percent(Both<u64>, Both<Option<u64>>);

impl Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Limit::percent(&self.1.limit(), Usage::new(self.0.bytes, self.0.messages)) {
            Some(percent) => write!(f, "{percent}%"),
            None => f.write_str("-"),
        }
    }
}

/// Rows under a heading, each column as wide as its widest cell, so nothing can be printed before the last row
/// is in. A large site has 200,000 rows: their cells lie one behind the other in a single text.
pub struct Table {
    text: String,
    /// Where each cell ends in the text, and how wide it looks.
    cells: Vec<(usize, usize)>,
    widths: Vec<usize>,
    /// The columns that are aligned on the right.
    numbers: &'static [usize],
}

impl Table {
    pub fn new(head: &[&str], numbers: &'static [usize]) -> Table {
        let mut table = Table { text: String::new(), cells: Vec::new(), widths: vec![0; head.len()], numbers };
        head.iter().for_each(|name| table.cell(name));
        table
    }

    /// A cell for each column.
    pub fn row(&mut self, cells: &[&dyn Display]) {
        debug_assert_eq!(cells.len(), self.widths.len(), "a cell for each column");
        cells.iter().for_each(|cell| self.cell(cell));
    }

    pub fn is_empty(&self) -> bool {
        self.cells.len() <= self.widths.len()
    }

    fn cell(&mut self, value: &dyn Display) {
        let begin = self.text.len();
        // A String takes whatever is written to it.
        let _ = write!(self.text, "{value}");
        self.end_cell(begin);
    }

    fn word(&mut self, word: &str) {
        let begin = self.text.len();
        self.text.push_str(word);
        self.end_cell(begin);
    }

    /// What was put behind `begin` is a cell.
    fn end_cell(&mut self, begin: usize) {
        // Names come from the directory: what is in them must not reach the terminal as a command.
        let plain = self.text[begin..].bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !plain && self.text[begin..].contains(char::is_control) {
            let shown = self.text[begin..].escape_debug().to_string();
            self.text.replace_range(begin.., &shown);
        }
        let cell = &self.text[begin..];
        let width = if plain { cell.len() } else { cell.width() };
        let column = self.cells.len() % self.widths.len();
        self.widths[column] = self.widths[column].max(width);
        self.cells.push((self.text.len(), width));
    }

    pub fn print(&self) {
        let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        out::written(self.print_to(&mut out).and_then(|()| out.flush()));
    }

    /// Two blanks between columns, and none at the end of a line.
    fn print_to(&self, out: &mut impl Write) -> io::Result<()> {
        let (mut begin, mut line) = (0, String::new());
        for row in self.cells.chunks(self.widths.len()) {
            line.clear();
            for (column, ((end, width), widest)) in row.iter().zip(&self.widths).enumerate() {
                let (cell, blanks) = (&self.text[begin..*end], widest - width);
                begin = *end;
                let (before, after) = if self.numbers.contains(&column) { (blanks, 0) } else { (0, blanks) };
                pad(&mut line, before);
                line.push_str(cell);
                pad(&mut line, after + 2);
            }
            line.truncate(line.trim_end().len());
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

fn pad(line: &mut String, mut blanks: usize) {
    const BLANKS: &str = "                                ";
    while blanks > 0 {
        let some = blanks.min(BLANKS.len());
        line.push_str(&BLANKS[..some]);
        blanks -= some;
    }
}

pub const ACCOUNT_HEAD: [&str; 6] = ["ACCOUNT", "BUCKET", "BYTES", "MESSAGES", "FULL", "STANDING"];
pub const DOMAIN_HEAD: [&str; 7] = ["DOMAIN", "ACCOUNTS", "BYTES", "MESSAGES", "FULL", "PROMISED", "STANDING"];

/// What a row says of a bucket.
pub struct Shown<'a> {
    pub name: &'a str,
    pub used: Both<u64>,
    pub limit: Both<Option<u64>>,
    pub standing: Level,
}

impl<'a> From<&'a BucketReport> for Shown<'a> {
    fn from(report: &'a BucketReport) -> Shown<'a> {
        Shown { name: &report.name, used: report.used, limit: report.limit, standing: report.standing }
    }
}

impl Table {
    /// A row for each bucket, the name in the first one alone.
    pub fn account<'a>(&mut self, name: &str, buckets: impl Iterator<Item = Shown<'a>>) {
        let mut name = name;
        for bucket in buckets {
            self.word(name);
            self.bucket(bucket);
            name = "";
        }
    }

    /// What follows the account's name.
    pub fn bucket(&mut self, bucket: Shown<'_>) {
        let Shown { name, used, limit, standing } = bucket;
        self.word(name);
        self.cell(&Bytes(used.bytes, limit.bytes));
        self.cell(&Count(used.messages, limit.messages));
        self.cell(&Percent(used, limit));
        self.word(standing.as_str());
    }

    pub fn domain(&mut self, report: &DomainReport) {
        self.cell(&report.domain);
        self.pool(report);
    }

    /// What follows the domain's name.
    pub fn pool(&mut self, report: &DomainReport) {
        let DomainReport { used, limit, .. } = report;
        let more = if report.uncommitted > 0 { "+" } else { "" };
        self.cell(&report.accounts);
        self.cell(&Bytes(used.bytes, limit.bytes));
        self.cell(&Count(used.messages, limit.messages));
        self.cell(&Percent(*used, *limit));
        self.cell(&format_args!("{}{more}", Units::Binary.rounded(report.committed)));
        self.cell(&report.standing.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(table: &Table) -> String {
        let mut out = Vec::new();
        table.print_to(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Table::new(&["NAME", "N", "LAST"], &[1]);
        assert!(table.is_empty());
        table.row(&[&"anna", &7, &""]);
        // The Chinese character takes two places.
        table.row(&[&"börje中", &1234, &"x"]);
        assert!(!table.is_empty());
        assert_eq!(printed(&table), "NAME        N  LAST\nanna        7\nbörje中  1234  x\n");
    }

    #[test]
    fn what_would_command_a_terminal_is_shown_instead() {
        let mut table = Table::new(&["NAME"], &[]);
        table.row(&[&"a\u{1b}[2Jb\nc"]);
        assert_eq!(printed(&table), "NAME\na\\u{1b}[2Jb\\nc\n");
    }
}
