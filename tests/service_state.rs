//! The state between the adapters: totals, limits, standings, wishes; and what happens when the ledger fails.

mod support {
    pub mod failing_ledger;
    pub mod site;
}

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mailquotad::account::{EntryId, Status};
use mailquotad::directory::Change;
use mailquotad::ledger::{Ledger, MemoryLedger, Op, Outcome, Shelf};
use mailquotad::mailstore::maildir::{MaildirOptions, MaildirStore};
use mailquotad::quota::{CellKey, Delta, Level, Moment, Usage};
use mailquotad::service::accounting::ChangeError;
use mailquotad::service::admission::Message;
use mailquotad::service::measuring::Measuring;
use mailquotad::service::policy::Answer;
use mailquotad::service::report;
use mailquotad::service::socket::Peer;
use mailquotad::wire::policy::{Parser, Reply, Request};
use proptest::prelude::*;
use support::failing_ledger::FailingLedger;
use support::site::{Site, account, domain};

const MINUTE: u64 = 60_000;

fn level(site: &Site, address: &str) -> Level {
    let account = site.accounting.book.account(address).unwrap();
    site.accounting.level(&account.lock(), &site.accounting.settings.load())
}

fn wished(site: &Site) -> Vec<String> {
    let mut keys = Vec::new();
    site.accounting
        .ledger
        .shelf_all(Shelf::Outbox, &mut |key, _| keys.push(String::from_utf8_lossy(key).into()))
        .unwrap();
    keys
}

fn verdict(site: &Site, recipient: &str, folder: &str, size: u64) -> String {
    let request = Request { recipient, size, ..Request::default() };
    let message = Message { size, folder, kind: None };
    report::explain(&site.admission(), &site.accounting, &request, message).verdict
}

#[test]
fn a_standing_moves_with_the_clock_and_leaves_a_wish_behind() {
    let mut site = Site::new("[enforcement]\ngrace_period = \"10m\"\n");
    site.clock.set(Moment(100 * MINUTE));
    site.load([domain(1, "example.org", ""), account(2, "anna@example.org", "100")]);
    assert_eq!(level(&site, "anna@example.org"), Level::Under);
    site.holds("anna@example.org", 95, 1);
    assert_eq!(level(&site, "anna@example.org"), Level::Warned);
    site.holds("anna@example.org", 100, 2);
    assert_eq!(level(&site, "anna@example.org"), Level::Over);
    assert!(wished(&site).is_empty(), "the grace period runs");
    assert_eq!(site.accounting.timers.next(), Some(Moment(110 * MINUTE)));

    site.clock.set(Moment(110 * MINUTE));
    site.accounting.settle_accounts();
    assert_eq!(level(&site, "anna@example.org"), Level::Blocked);
    assert_eq!(wished(&site), ["aanna@example.org"]);

    // The limit grows: the reason is gone, and with it the wish.
    site.sync.apply(Change::Entry(account(2, "anna@example.org", "1000")));
    assert_eq!(level(&site, "anna@example.org"), Level::Under);
    assert!(wished(&site).is_empty());
    let stored = site.accounting.ledger.read("anna@example.org").unwrap().unwrap();
    assert!(stored.standings.is_empty());
}

#[test]
fn mail_comes_in_again_before_the_directory_has_been_told() {
    let mut site = Site::new("[enforcement]\ngrace_period = \"0s\"\n");
    let mut entry = account(1, "anna@example.org", "10");
    if let mailquotad::account::Entry::Account(entry) = &mut entry {
        entry.mail_status = Status::OverQuota;
    }
    site.load([entry]);
    assert_eq!(wished(&site), ["aanna@example.org"], "overquota has no reason");
    assert_eq!(verdict(&site, "anna@example.org", "INBOX", 1), "pass");
    site.holds("anna@example.org", 20, 1);
    assert!(wished(&site).is_empty(), "now it has one again");
    assert_eq!(verdict(&site, "anna@example.org", "INBOX", 1), "reject");
}

#[test]
fn an_admins_status_is_never_wished_away() {
    let mut site = Site::new("[enforcement]\ngrace_period = \"0s\"\n");
    for (number, status) in
        [Status::Inactive, Status::Disabled, Status::Deleted, Status::Hold, Status::Removed].into_iter().enumerate()
    {
        let address = format!("user{number}@example.org");
        let mut entry = account(number as u128, &address, "10");
        if let mailquotad::account::Entry::Account(entry) = &mut entry {
            entry.mail_status = status;
        }
        site.load([entry]);
        site.holds(&address, 100, 1);
        assert_eq!(level(&site, &address), Level::Blocked);
        assert!(wished(&site).is_empty(), "{status:?}");
    }
}

#[test]
fn what_was_over_before_a_restart_is_over_since_then() {
    let ledger = Arc::new(MemoryLedger::new());
    let settings = "[enforcement]\ngrace_period = \"10m\"\n";
    let entries = || [domain(1, "example.org", "50"), account(2, "anna@example.org", "100;Old%5")];
    let mut before = Site::on(ledger.clone(), settings);
    before.clock.set(Moment(MINUTE));
    before.load(entries());
    before.holds("anna@example.org", 100, 1);
    let mut after = Site::on(ledger, settings);
    after.clock.set(Moment(5 * MINUTE));
    after.load(entries());
    let report = report::account(&after.accounting, &after.accounting.book.account("anna@example.org").unwrap());
    assert_eq!((report.standing, report.since.as_deref()), (Level::Over, Some("1970-01-01T00:01:00Z")));
    assert_eq!(report.buckets[0].used.bytes, 100);
    let domain = report::domain(&after.accounting.book.domain("example.org").unwrap());
    assert_eq!((domain.standing, domain.used.bytes), (Level::Blocked, 100));
}

#[test]
fn a_domain_that_was_over_before_a_restart_is_over_since_then() {
    let ledger = Arc::new(MemoryLedger::new());
    let settings = "[enforcement]\ndomain_grace_period = \"10m\"\n";
    let entries = || [domain(1, "example.org", "50"), account(2, "anna@example.org", "")];
    let stored = |ledger: &MemoryLedger| {
        let mut names = Vec::new();
        ledger.shelf_all(Shelf::Domains, &mut |name, _| names.push(String::from_utf8_lossy(name).into())).unwrap();
        names as Vec<String>
    };
    let mut before = Site::on(ledger.clone(), settings);
    before.clock.set(Moment(MINUTE));
    before.load(entries().into_iter().chain([domain(3, "example.net", "50"), account(4, "ben@example.net", "")]));
    before.holds("anna@example.org", 100, 1);
    before.holds("ben@example.net", 100, 1);
    assert_eq!(stored(&ledger), ["example.net", "example.org"]);
    for (minute, standing) in [(5, Level::Over), (10, Level::Over), (11, Level::Blocked)] {
        let mut after = Site::on(ledger.clone(), settings);
        after.clock.set(Moment(minute * MINUTE));
        after.load(entries());
        let domain = report::domain(&after.accounting.book.domain("example.org").unwrap());
        assert_eq!((domain.standing, domain.since.as_deref()), (standing, Some("1970-01-01T00:01:00Z")), "{minute}");
        assert_eq!(after.accounting.domains_at.at(standing), 1);
        assert_eq!(stored(&ledger), ["example.org"], "the other one is no more");
    }
}

#[test]
fn an_entry_that_goes_and_comes_back_keeps_its_usage_and_its_clock() {
    let mut site = Site::new("[enforcement]\ngrace_period = \"10m\"\n");
    site.clock.set(Moment(MINUTE));
    site.load([account(1, "anna@example.org", "10"), account(2, "ben@example.org", "10")]);
    site.holds("anna@example.org", 20, 1);
    site.load([account(2, "ben@example.org", "10")]);
    assert!(site.accounting.book.account("anna@example.org").is_none());
    assert_eq!(site.accounting.book.domain("example.org").unwrap().lock().held.usage(), Usage::ZERO);
    assert_eq!(site.accounting.accounts_at.at(Level::Over), 0);
    site.clock.set(Moment(9 * MINUTE));
    site.sync.apply(Change::Entry(account(1, "anna@example.org", "10")));
    let report = report::account(&site.accounting, &site.accounting.book.account("anna@example.org").unwrap());
    assert_eq!((report.standing, report.since.as_deref()), (Level::Over, Some("1970-01-01T00:01:00Z")));
}

#[test]
fn an_address_may_move_to_another_entry_within_one_load() {
    let mut site = Site::new("");
    site.load([account(1, "anna@example.org", "10")]);
    site.holds("anna@example.org", 7, 1);
    site.load([account(9, "anna@example.org", "20")]);
    let report = report::account(&site.accounting, &site.accounting.book.account("anna@example.org").unwrap());
    assert_eq!((report.buckets[0].used.bytes, report.buckets[0].limit.bytes), (7, Some(20)));
    assert_eq!(site.accounting.book.domain("example.org").unwrap().lock().held.usage(), Usage::new(7, 1));
    assert_eq!(site.accounting.book.accounts(), 1);
    site.sync.apply(Change::Gone(EntryId(1)));
    assert!(site.accounting.book.account("anna@example.org").is_some(), "the entry that had it before is long gone");
}

#[tokio::test]
async fn a_repeated_change_counts_once_also_when_both_are_under_way() {
    let mut site = Site::new("");
    site.load([account(1, "anna@example.org", "")]);
    let anna = site.accounting.book.account("anna@example.org").unwrap();
    let change = |key| {
        let delta = Delta { bytes: 10, messages: 1 };
        site.accounting.change(&anna, vec![(CellKey::new("INBOX", None), delta)], key)
    };
    let (one, two) = tokio::join!(change(Some(7)), change(Some(7)));
    let mut outcomes = [one.unwrap(), two.unwrap()].map(|outcome| format!("{outcome:?}"));
    outcomes.sort();
    assert_eq!(outcomes, ["Applied", "Duplicate"]);
    assert_eq!(change(Some(7)).await.unwrap(), Outcome::Duplicate);
    assert_eq!(change(None).await.unwrap(), Outcome::Applied);
    assert_eq!(anna.lock().total(), Usage::new(20, 2));
    assert_eq!(site.accounting.ledger.read("anna@example.org").unwrap().unwrap().cells, anna.lock().cells);
}

#[tokio::test]
async fn a_change_of_an_account_that_has_gone_counts_nowhere() {
    let mut site = Site::new("");
    site.load([domain(1, "example.org", ""), account(2, "anna@example.org", ""), account(3, "ben@example.org", "")]);
    assert_eq!(site.metrics.directory_changes.get(), 3);
    site.holds("anna@example.org", 10, 1);
    site.holds("ben@example.org", 7, 1);
    // As a request has it in hand while the directory tells of its end.
    let anna = site.accounting.book.account("anna@example.org").unwrap();
    site.sync.apply(Change::Gone(EntryId(2)));
    assert_eq!(site.metrics.directory_changes.get(), 4);
    let before = site.accounting.ledger.read("anna@example.org").unwrap();
    let change = vec![(CellKey::new("INBOX", None), Delta { bytes: 60, messages: 1 })];
    assert!(matches!(site.accounting.change(&anna, change, None).await, Err(ChangeError::Gone)));
    assert_eq!(site.accounting.book.domain("example.org").unwrap().lock().held.usage(), Usage::new(7, 1));
    assert_eq!(site.accounting.ledger.read("anna@example.org").unwrap(), before);
}

#[tokio::test]
async fn verdicts_go_on_when_the_ledger_cannot_write_and_a_measurement_heals() {
    let broken = Arc::new(AtomicBool::new(false));
    let fails = broken.clone();
    let ledger = FailingLedger::new(MemoryLedger::new(), move |_| fails.load(Ordering::SeqCst));
    let mut site = Site::on(Arc::new(ledger), "[enforcement]\nallowance = \"none\"\n");
    site.load([account(1, "anna@example.org", "100")]);
    let anna = site.accounting.book.account("anna@example.org").unwrap();
    let delta = || vec![(CellKey::new("INBOX", None), Delta { bytes: 60, messages: 1 })];
    broken.store(true, Ordering::SeqCst);
    let refused = site.accounting.change(&anna, delta(), Some(1)).await;
    assert!(refused.unwrap_err().to_string().contains("no space left"), "the change is not acknowledged");
    assert_eq!(verdict(&site, "anna@example.org", "INBOX", 50), "defer", "memory knows of it all the same");
    assert!(site.accounting.ledger.read("anna@example.org").unwrap().is_none(), "and the ledger does not");

    // The disk has room again. A measurement is based on what memory has, finds that the ledger never got
    // that far, and puts both right.
    broken.store(false, Ordering::SeqCst);
    let folder = tempfile::tempdir().unwrap();
    let cur = folder.path().join("anna/cur");
    std::fs::create_dir_all(&cur).unwrap();
    std::fs::write(cur.join("1.M1.h,S=70:2,"), [b'x'; 70]).unwrap();
    let path = format!("{}/%n", folder.path().display()).parse().unwrap();
    let store = Arc::new(MaildirStore::new(MaildirOptions::new(path)));
    let measured = Measuring::new(site.accounting.clone(), store, 1).measure(&anna).await.unwrap();
    assert_eq!((measured.before.bytes, measured.after.bytes), (60, 70));
    assert_eq!(anna.lock().total(), Usage::new(70, 1));
    let stored = site.accounting.ledger.read("anna@example.org").unwrap().unwrap();
    assert_eq!((stored.cells.total(), stored.revision), (Usage::new(70, 1), anna.lock().revision));
}

#[test]
fn what_a_failing_ledger_missed_is_stored_by_the_next_settling() {
    let broken = Arc::new(AtomicBool::new(false));
    let fails = broken.clone();
    let ledger = FailingLedger::new(MemoryLedger::new(), move |_| fails.load(Ordering::SeqCst));
    let mut site = Site::on(Arc::new(ledger), "[enforcement]\ngrace_period = \"0s\"\n");
    site.load([domain(1, "example.org", "5"), account(2, "anna@example.org", "10")]);
    broken.store(true, Ordering::SeqCst);
    site.holds("anna@example.org", 20, 1);
    assert!(wished(&site).is_empty());
    site.accounting.settle_accounts();
    assert!(wished(&site).is_empty(), "still broken");
    broken.store(false, Ordering::SeqCst);
    // Whatever is written next shows that the ledger is well again; here it is what every job leaves.
    let put = Op::Put { shelf: Shelf::Jobs, key: b"enforce"[..].into(), value: Vec::new() };
    drop(site.accounting.ledger.submit(vec![put]));
    site.accounting.settle_accounts();
    site.accounting.settle_domains();
    assert_eq!(wished(&site), ["aanna@example.org", "dexample.org"]);
    let stored = site.accounting.ledger.read("anna@example.org").unwrap().unwrap();
    assert_eq!(stored.standings[0].1.level, Level::Blocked);
}

#[test]
fn what_was_told_while_the_ledger_failed_is_remembered_once_it_writes_again() {
    let broken = Arc::new(AtomicBool::new(false));
    let fails = broken.clone();
    let ledger = Arc::new(FailingLedger::new(MemoryLedger::new(), move |_| fails.load(Ordering::SeqCst)));
    let settings = "[notify]\nenabled = true\nfrom = \"quota@example.org\"\n";
    let entries = || [domain(1, "example.org", "5"), account(2, "anna@example.org", "10")];
    let mut site = Site::on(ledger.clone(), settings);
    site.load(entries());
    let heal = |site: &Site| {
        broken.store(false, Ordering::SeqCst);
        drop(ledger.submit(vec![Op::Remove { shelf: Shelf::Jobs, key: b"none"[..].into() }]));
        site.accounting.settle_accounts();
        site.accounting.settle_domains();
    };
    let told = || {
        let mut subjects = Vec::new();
        let mut each = |key: &[u8], _: &[u8]| {
            if let Some(subject) = key.strip_prefix(b"t") {
                subjects.push(String::from_utf8_lossy(subject).into_owned());
            }
        };
        ledger.shelf_all(Shelf::Notices, &mut each).unwrap();
        subjects
    };
    broken.store(true, Ordering::SeqCst);
    site.holds("anna@example.org", 20, 1);
    assert!(told().is_empty(), "the ledger has not heard of it");
    heal(&site);
    assert_eq!(told(), ["aanna@example.org", "dexample.org"]);
    // Another life of the daemon knows of it.
    let mut next = Site::on(ledger.clone(), settings);
    next.load(entries());
    let waiting = next.accounting.notices.waiting();
    assert!(waiting.is_empty(), "nothing is told twice: {waiting:?}");

    // And what is forgotten while the ledger fails does not stay in it.
    broken.store(true, Ordering::SeqCst);
    for days in [8, 16] {
        site.clock.set(Moment(days * 24 * 60 * MINUTE));
        site.holds("anna@example.org", 0, 0);
    }
    assert_eq!(told(), ["aanna@example.org", "dexample.org"]);
    heal(&site);
    assert_eq!(told(), [""; 0]);
}

#[test]
fn who_is_refused_is_measured_again_but_not_at_every_try() {
    let mut site = Site::new("[enforcement]\ngrace_period = \"0s\"\n");
    site.load([account(1, "anna@example.org", "10"), account(2, "ben@example.org", "10")]);
    site.holds("anna@example.org", 20, 1);
    let admission = site.admission();
    let ask = |recipient: &str| {
        let text = format!("request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient={recipient}\n\n");
        let (mut parser, mut out) = (Parser::default(), Vec::new());
        let (request, _) = parser.parse(text.as_bytes()).unwrap().unwrap();
        admission.answer(&request, &Peer::Unix(None), &mut Reply::new(&mut out));
        String::from_utf8(out).unwrap()
    };
    let hinted = |address: &str| std::mem::take(&mut site.accounting.book.account(address).unwrap().lock().hinted);
    hinted("anna@example.org");
    site.clock.set(Moment(MINUTE));
    assert!(ask("anna@example.org").contains("552 5.2.2"));
    assert!(!hinted("anna@example.org"), "it was measured within the last minute");
    site.clock.set(Moment(MINUTE + 1));
    assert!(ask("anna@example.org").contains("552 5.2.2"));
    assert!(hinted("anna@example.org"));
    hinted("ben@example.org");
    assert!(ask("ben@example.org").contains("DUNNO"));
    assert!(!hinted("ben@example.org"), "nothing is read for the sake of a RCPT that passes");
}

#[test]
fn promises_are_added_up() {
    let mut site = Site::new("[quota]\ndefault_mailbox = \"5\"\n");
    site.load([
        domain(1, "example.org", "100"),
        account(2, "a@example.org", "10"),
        account(3, "b@example.org", ""),
        account(4, "c@example.org", "-1"),
    ]);
    let report = |site: &Site| report::domain(&site.accounting.book.domain("example.org").unwrap());
    assert_eq!((report(&site).committed, report(&site).uncommitted, report(&site).accounts), (15, 1, 3));
    site.load([domain(1, "example.org", "100"), account(2, "a@example.org", "30"), account(4, "c@example.org", "1")]);
    assert_eq!((report(&site).committed, report(&site).uncommitted, report(&site).accounts), (31, 0, 2));
}

#[derive(Clone, Debug)]
enum Step {
    Put { who: usize, quota: &'static str },
    Drop { who: usize },
    Holds { who: usize, bytes: u64, messages: u64 },
    Reload,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let quotas = prop_oneof![Just("10"), Just("1000"), Just("-1"), Just("bad"), Just("")];
    let step = prop_oneof![
        (0usize..6, quotas).prop_map(|(who, quota)| Step::Put { who, quota }),
        (0usize..6).prop_map(|who| Step::Drop { who }),
        (0usize..6, 0u64..50, 0u64..5).prop_map(|(who, bytes, messages)| Step::Holds { who, bytes, messages }),
        Just(Step::Reload),
        Just(Step::Wait),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens in whatever order: a domain holds what its accounts hold, the tally knows how many
    /// stand where, and the ledger has what memory has.
    #[test]
    fn sums_and_tallies_are_those_of_the_accounts(steps in steps()) {
        let mut site = Site::new("[enforcement]\ngrace_period = \"10m\"\n");
        site.load([]);
        let mut present: BTreeMap<usize, &'static str> = BTreeMap::new();
        let address = |who: usize| format!("user{who}@{}.example", who % 2);
        let mut now = 0;
        for step in steps {
            match step {
                Step::Put { who, quota } => {
                    present.insert(who, quota);
                    site.sync.apply(Change::Entry(account(who as u128, &address(who), quota)));
                }
                Step::Drop { who } => {
                    present.remove(&who);
                    site.sync.apply(Change::Gone(EntryId(who as u128)));
                }
                Step::Holds { who, bytes, messages } if present.contains_key(&who) => {
                    site.holds(&address(who), bytes, messages);
                }
                Step::Holds { .. } => {}
                Step::Reload => site.load(present.iter().map(|(who, quota)| account(*who as u128, &address(*who), quota))),
                Step::Wait => {
                    now += 5 * MINUTE;
                    site.clock.set(Moment(now));
                    site.accounting.settle_accounts();
                }
            }
        }
        let mut held: BTreeMap<String, Usage> = BTreeMap::new();
        let mut levels: BTreeMap<Level, i64> = BTreeMap::new();
        for who in present.keys() {
            let account = site.accounting.book.account(&address(*who)).unwrap();
            let total = account.lock().total();
            let sum = held.entry(account.lock().domain.name.to_string()).or_default();
            *sum = *sum + total;
            *levels.entry(level(&site, &address(*who))).or_default() += 1;
            let stored = site.accounting.ledger.read(&address(*who)).unwrap().unwrap_or_default();
            prop_assert_eq!(&stored.cells, &account.lock().cells);
            prop_assert_eq!(stored.standings, account.lock().standings_kept());
        }
        prop_assert_eq!(site.accounting.book.accounts(), present.len());
        for domain in site.accounting.book.domains() {
            prop_assert_eq!(domain.lock().held.usage(), held.remove(&*domain.name).unwrap_or_default());
        }
        prop_assert!(held.is_empty());
        for standing in [Level::Warned, Level::Over, Level::Blocked] {
            prop_assert_eq!(site.accounting.accounts_at.at(standing), levels.get(&standing).copied().unwrap_or(0));
        }
    }
}

#[test]
fn rules_and_further_roots_are_part_of_the_verdict() {
    let mut site = Site::new(
        "[quota]\nrules = [\"Trash:storage=+1K\", \"SPAM:ignore\"]\n\
         [[quota.root]]\nname = \"everything\"\nrules = [\"*:bytes=500\"]\n\
         [enforcement]\nallowance = \"none\"\ngrace_period = \"0s\"\n",
    );
    site.load([account(1, "anna@example.org", "100"), account(2, "ben@example.org", "1000")]);
    site.holds("anna@example.org", 90, 1);
    assert_eq!(verdict(&site, "anna@example.org", "INBOX", 20), "defer");
    assert_eq!(verdict(&site, "anna@example.org", "Trash", 20), "pass", "Trash may have a KiB more");
    assert_eq!(verdict(&site, "anna@example.org", "SPAM", 99), "pass", "not counted in the first root");

    site.holds("ben@example.org", 490, 1);
    assert_eq!(verdict(&site, "ben@example.org", "INBOX", 20), "defer", "the second root holds 500 bytes");
    site.holds("ben@example.org", 500, 1);
    assert_eq!(verdict(&site, "ben@example.org", "INBOX", 1), "reject");
    let report = report::account(&site.accounting, &site.accounting.book.account("ben@example.org").unwrap());
    assert_eq!(
        (report.standing, &*report.roots[0].name, report.roots[0].standing),
        (Level::Under, "everything", Level::Blocked)
    );

    // An account's own rules come with its entry; a bad one leaves the last good ones in force.
    let with_rule = |rule: &str| match account(1, "anna@example.org", "100") {
        mailquotad::account::Entry::Account(mut entry) => {
            entry.rules = vec![rule.into()];
            mailquotad::account::Entry::Account(entry)
        }
        other => other,
    };
    site.sync.apply(Change::Entry(with_rule("*:bytes=300")));
    assert_eq!(verdict(&site, "anna@example.org", "INBOX", 20), "pass");
    site.sync.apply(Change::Entry(with_rule("*:bytes=lots")));
    assert_eq!(verdict(&site, "anna@example.org", "INBOX", 20), "pass");
    let anna = site.accounting.book.account("anna@example.org").unwrap();
    assert!(anna.lock().problem().unwrap().contains("quota rule `*:bytes=lots`"));
}
