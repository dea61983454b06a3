//! What an admin is told once a day, instead of a copy of every notice: who is full, and what is wrong.

use std::fmt::Write;

use super::queue::{self, Notice};
use super::stage::Event;
use crate::ledger::Batch;
use crate::quota::{Level, Usage};
use crate::service::accounting::Accounting;
use crate::service::report;
use crate::wire::notice::Address;

/// How many names a digest lists of each kind; there are commands for all of them.
const LISTED: usize = 200;

/// The digest's subject, as a message file writes it.
const TEMPLATE: &str = "Subject: Mail quotas: %R%\n\n";

/// Makes today's digest for each admin. One with nothing to tell is made too: its absence would say that
/// mailquotad is not there. `trouble` is what else an admin should know, a line each.
pub fn make(accounting: &Accounting, trouble: &[String]) {
    let settings = accounting.settings.load_full();
    if settings.notify.admins.is_empty() {
        return;
    }
    let (body, summary) = body(accounting, trouble);
    let mut batch = Batch::new();
    for admin in &settings.notify.admins {
        let mut notice = letter_to(admin, &body, &summary, accounting);
        queue::push(&mut notice, &settings.notify, &mut batch);
    }
    let made = queue::in_batch(&batch);
    drop(accounting.ledger.submit(batch));
    accounting.notices.stored(made);
}

/// Makes a letter of its own for each admin; `about` and `summary` are its subject.
pub fn tell(accounting: &Accounting, about: &str, summary: &str, body: &str) {
    let settings = accounting.settings.load_full();
    let mut batch = Batch::new();
    for admin in &settings.notify.admins {
        let mut notice = letter_to(admin, body, summary, accounting);
        // A percent sign begins a variable there.
        notice.text = Some(format!("Subject: {}: {}\n\n", about.replace('%', "%%"), summary.replace('%', "%%")).into());
        queue::push(&mut notice, &settings.notify, &mut batch);
    }
    let made = queue::in_batch(&batch);
    drop(accounting.ledger.submit(batch));
    accounting.notices.stored(made);
}

fn letter_to(admin: &Address, body: &str, summary: &str, accounting: &Accounting) -> Notice {
    Notice {
        message_id: "".into(),
        at: accounting.clock.now(),
        to: admin.as_str().into(),
        about: "".into(),
        about_domain: false,
        domain: "".into(),
        bucket: "".into(),
        event: Event::Digest,
        used: Usage::ZERO,
        bytes: None,
        messages: None,
        attribute: "".into(),
        text: Some(TEMPLATE.replace("%R%", summary).into()),
        details: body.into(),
    }
}

fn body(accounting: &Accounting, trouble: &[String]) -> (String, String) {
    let mut accounts = List::default();
    accounting.book.for_each_account(|account| {
        let (standings, problem) = {
            let seat = account.lock();
            (seat.filled().any(|one| one.standing.level >= Level::Over), seat.problem().is_some())
        };
        if standings || problem {
            accounts.add(|| line_of_account(&report::account(accounting, account)));
        }
    });
    let mut domains = List::default();
    for domain in accounting.book.domains() {
        let over = domain.lock().standing.level >= Level::Over;
        if over {
            domains.add(|| {
                let report = report::domain(&domain);
                let since = report.since.unwrap_or_default();
                format!(
                    "  {}  {}  since {since}  {} bytes\n",
                    report.domain,
                    report.standing.as_str(),
                    report.used.bytes
                )
            });
        }
    }
    let waiting = accounting.notices.waiting().len();
    let summary = format!("{} accounts, {} domains full", accounts.count, domains.count);
    let mut text = String::new();
    // A String takes whatever is written to it.
    let _ = writeln!(text, "{} of {} accounts need attention.", accounts.count, accounting.book.accounts());
    text.push_str(&accounts.text("mailquotad check --over"));
    let _ = writeln!(text, "\n{} domains are over their quota.", domains.count);
    text.push_str(&domains.text("mailquotad check --over"));
    let _ = writeln!(text, "\n{waiting} notices are waiting to be sent.");
    for line in trouble {
        let _ = writeln!(text, "\nTrouble: {line}");
    }
    (text, summary)
}

fn line_of_account(report: &report::AccountReport) -> String {
    let mut text = String::new();
    for bucket in report.buckets.iter().filter(|bucket| bucket.standing >= Level::Over) {
        let since = bucket.since.as_deref().unwrap_or("-");
        let (name, level) = (&bucket.name, bucket.standing.as_str());
        let _ = writeln!(text, "  {}  {name}  {level}  since {since}  {} bytes", report.account, bucket.used.bytes);
    }
    if let Some(problem) = &report.problem {
        let _ = writeln!(text, "  {}  {problem}", report.account);
    }
    text
}

#[derive(Default)]
struct List {
    lines: Vec<String>,
    count: usize,
}

impl List {
    fn add(&mut self, line: impl FnOnce() -> String) {
        self.count += 1;
        if self.lines.len() < LISTED {
            self.lines.push(line());
        }
    }

    fn text(mut self, command: &str) -> String {
        self.lines.sort();
        let left = self.count - self.lines.len();
        if left > 0 {
            self.lines.push(format!("  and {left} more: {command}\n"));
        }
        self.lines.concat()
    }
}
