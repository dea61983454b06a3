//! Replays the decision tables in `tests/decisions/`, which a mail admin can read and add to.
//!
//! A table begins with settings (`name = value`), then a line of column names and one case a line, columns
//! separated by `|`. `-` is "absent" or "unlimited". A setting may be changed between cases. Columns:
//! `bytes` and `messages` as used/limit, `way` (bytes on their way), `standing` as level or level@second,
//! `domain` as used/limit, `dstand` (the domain's standing), `status` as attribute:value, `size`, and what is
//! expected: `reply`, which is `DUNNO` or a code and an enhanced code.

use std::path::Path;
use std::time::Duration;

use mailquotad::account::{Status, Statuses};
use mailquotad::quota::bucket::Limit;
use mailquotad::quota::standing::Starts;
use mailquotad::quota::verdict::{Allowance, Filling, Policy, Recipient, Untold, decide};
use mailquotad::quota::{Grace, Level, Moment, Standing, Units, Usage};
use mailquotad::service::settings::Texts;

struct Table {
    policy: Policy,
    now: Moment,
    columns: Vec<String>,
}

#[test]
fn every_table_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions");
    let mut cases = 0;
    let mut wrong = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "table") {
            replay(&path, &mut cases, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases > 60, "only {cases} cases were found");
}

fn replay(path: &Path, cases: &mut usize, wrong: &mut Vec<String>) {
    let grace = Grace { threshold: 90, period: Duration::from_secs(0), starts: Starts::AtLimit };
    let policy = Policy { enforce: true, max_size: None, allowance: Allowance::None, grace, domain_grace: grace };
    let mut table = Table { policy, now: Moment(0), columns: Vec::new() };
    for (number, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
        let place = format!("{}:{}", path.file_name().unwrap().to_string_lossy(), number + 1);
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Some((name, value)) = line.split_once(" = ") {
            table.set(name.trim(), value.trim());
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells.contains(&"reply") {
            table.columns = cells.into_iter().map(str::to_owned).collect();
            continue;
        }
        assert_eq!(cells.len(), table.columns.len(), "{place}: as many cells as columns");
        *cases += 1;
        let (expected, got) = table.case(&cells);
        if expected != got {
            wrong.push(format!("{place}: {line}: got {got}"));
        }
    }
}

impl Table {
    fn set(&mut self, name: &str, value: &str) {
        let seconds = || Duration::from_secs(value.parse().unwrap());
        match name {
            "enforcement" => self.policy.enforce = value == "on",
            "maximum size" => self.policy.max_size = limit(value),
            "grace" => self.policy.grace.period = seconds(),
            "domain grace" => self.policy.domain_grace.period = seconds(),
            "clock starts" => {
                self.policy.grace.starts = if value == "warned" { Starts::AtThreshold } else { Starts::AtLimit }
            }
            "now" => self.now = Moment(value.parse::<u64>().unwrap() * 1000),
            "allowance" => {
                self.policy.allowance = match value {
                    "none" => Allowance::None,
                    "one message" => Allowance::OneMessage,
                    _ => match value.strip_suffix('%') {
                        Some(percent) => Allowance::Percent(percent.parse().unwrap()),
                        None => Allowance::Bytes(Units::Binary.parse(value).unwrap()),
                    },
                }
            }
            _ => panic!("no such setting: {name}"),
        }
    }

    fn case(&self, cells: &[&str]) -> (String, String) {
        let cell = |name: &str| self.columns.iter().position(|known| known == name).map(|at| cells[at]);
        let bytes = cell("bytes").map_or((0, None), usage);
        let messages = cell("messages").map_or((0, None), usage);
        let root = Filling {
            limit: Limit { bytes: bytes.1, messages: messages.1 },
            used: Usage::new(bytes.0, messages.0),
            reserved: Usage::new(cell("way").and_then(limit).unwrap_or(0), 0),
            standing: cell("standing").map_or(Standing::UNDER, standing),
            ..Filling::default()
        };
        let domain = cell("domain").filter(|text| *text != "-").map(|text| {
            let (used, limit) = usage(text);
            let standing = cell("dstand").map_or(Standing::UNDER, standing);
            let limit = Limit { bytes: limit, messages: None };
            Filling { limit, used: Usage::new(used, 1), standing, ..Filling::default() }
        });
        let recipient = match cell("recipient") {
            Some("unknown") => Recipient::Unknown,
            Some("exempt") => Recipient::Exempt,
            _ => {
                let statuses = cell("status").map_or(Statuses::default(), statuses);
                Recipient::Account { statuses, standing: root.standing, domain, roots: &[root] }
            }
        };
        let size = cell("size").and_then(limit).unwrap_or(0);
        let verdict = decide(size, &recipient, &self.policy, self.now, &mut Untold);
        let reply = Texts::default().reply(verdict).map_or("DUNNO".to_owned(), |text| text.code.to_string());
        (cell("reply").unwrap().to_owned(), reply)
    }
}

fn limit(text: &str) -> Option<u64> {
    (text != "-").then(|| Units::Binary.parse(text).unwrap())
}

fn usage(text: &str) -> (u64, Option<u64>) {
    match text.split_once('/') {
        Some((used, of)) => (limit(used).unwrap_or(0), limit(of)),
        None => (0, limit(text)),
    }
}

fn standing(text: &str) -> Standing {
    let (level, since) = match text.split_once('@') {
        Some((level, since)) => (level, Some(Moment(since.parse::<u64>().unwrap() * 1000))),
        None => (text, None),
    };
    let level = match level {
        "under" | "-" => Level::Under,
        "warned" => Level::Warned,
        "over" => Level::Over,
        "blocked" => Level::Blocked,
        _ => panic!("no such standing: {level}"),
    };
    Standing { level, since }
}

fn statuses(text: &str) -> Statuses {
    let mut statuses = Statuses::default();
    for part in text.split_whitespace().filter(|part| *part != "-") {
        let (attribute, value) = part.split_once(':').unwrap();
        let slot = match attribute {
            "inetDomainStatus" => &mut statuses.inet_domain,
            "mailDomainStatus" => &mut statuses.mail_domain,
            "inetUserStatus" => &mut statuses.inet_user,
            "mailUserStatus" => &mut statuses.mail_user,
            _ => panic!("no such attribute: {attribute}"),
        };
        *slot = Status::read(value);
    }
    statuses
}
