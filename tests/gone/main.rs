//! Accounts that have gone from the directory: what the ledger knows of them, for how long, and when it ends.

#[path = "../support"]
mod support {
    pub mod failing_ledger;
    pub mod site;
}

mod steps;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use mailquotad::account::{Entry, EntryId};
use mailquotad::directory::Change;
use mailquotad::ledger::{Ledger, MAX_OPS, MemoryLedger, Op, Record, Shelf, SledLedger};
use mailquotad::quota::{CellKey, Cells, Level, Moment, Usage};
use mailquotad::service::book::Target;
use support::failing_ledger::FailingLedger;
use support::site::{Site, account, domain};
use tokio::runtime::Runtime;

const HOUR: Duration = Duration::from_secs(3600);
const ANN: &str = "ann@example.org";
const BOB: &str = "bob@example.org";

/// Thirty hours, as its name says how long that is.
const KEEP: &str = "[ledger]\nkeep_gone = \"30h\"\n[enforcement]\ngrace_period = \"0s\"\n";

fn wait<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap());
    RUNTIME.block_on(future)
}

fn apply(site: &mut Site, changes: impl IntoIterator<Item = Change>) {
    wait(async {
        site.sync.apply_all(changes).await;
        site.sync.settle().await;
    });
}

fn load(entries: impl IntoIterator<Item = Entry>) -> impl Iterator<Item = Change> {
    [Change::Begin].into_iter().chain(entries.into_iter().map(Change::Entry)).chain([Change::Complete, reached()])
}

fn reached() -> Change {
    Change::Reached { token: b"here".to_vec() }
}

fn away() -> Change {
    Change::Lost { why: "nobody answers".into() }
}

fn look(site: &mut Site) {
    wait(site.sync.forget_who_is_due());
}

/// Time goes by, and the marks are looked at.
fn pass(site: &mut Site, time: Duration) {
    site.clock.pass(time);
    look(site);
}

/// A daemon that follows an LDAP directory.
fn following(ledger: &Arc<dyn Ledger>) -> Site {
    let mut site = Site::on(ledger.clone(), KEEP);
    site.sync = site.sync.keeping();
    site.clock.set(Moment(1_000_000));
    site
}

/// The same, which has read all of it and keeps it.
fn kept(ledger: &Arc<dyn Ledger>, entries: impl IntoIterator<Item = Entry>) -> Site {
    let mut site = following(ledger);
    apply(&mut site, load([]));
    apply(&mut site, entries.into_iter().map(Change::Entry).chain([reached()]));
    site
}

/// The same after a restart; whether what is kept was whole.
fn restarted(ledger: &Arc<dyn Ledger>) -> (Site, bool) {
    let mut site = following(ledger);
    let token = site.sync.restore().unwrap();
    (site, token.is_some())
}

/// Whatever the ledger has that bears this name.
fn traces(ledger: &dyn Ledger, address: &str) -> Vec<String> {
    let mut traces: Vec<String> = ledger.read(address).unwrap().map(|_| "record".into()).into_iter().collect();
    for shelf in Shelf::ALL {
        let mut each = |key: &[u8], _: &[u8]| {
            let key = String::from_utf8_lossy(key).into_owned();
            if key.contains(address) {
                traces.push(format!("{shelf:?} {key}"));
            }
        };
        ledger.shelf_all(shelf, &mut each).unwrap();
    }
    traces
}

fn known(ledger: &dyn Ledger, address: &str) -> Option<u64> {
    ledger.read(address).unwrap().map(|record| record.cells.total().bytes)
}

fn used(site: &Site, address: &str) -> u64 {
    site.accounting.book.account(address).unwrap().lock().total().bytes
}

fn memory() -> Arc<dyn Ledger> {
    Arc::new(MemoryLedger::new())
}

/// Ann is over her quota, in a site that leaves all the traces there are.
fn ann_is_over(ledger: &Arc<dyn Ledger>) -> Site {
    let more = format!(
        "{KEEP}[notify]\nenabled = true\nfrom = \"quota@example.org\"\n\
         [[warnings.rule]]\nwhen = \"storage=50%\"\nrun = [\"/bin/true\"]\n"
    );
    let mut site = Site::on(ledger.clone(), &more);
    site.clock.set(Moment(1_000_000));
    apply(&mut site, load([account(1, ANN, "10"), account(2, BOB, "100"), domain(3, "example.org", "")]));
    site.holds(BOB, 7, 1);
    site.holds(ANN, 11, 1);
    site.accounting.settle_accounts();
    let types = Op::Put { shelf: Shelf::Types, key: ANN.as_bytes().into(), value: vec![1] };
    ledger.submit(vec![types]).wait().unwrap();
    site
}

fn level(site: &Site, address: &str) -> Level {
    site.accounting.book.account(address).unwrap().lock().standing(0).level
}

#[test]
fn an_account_that_comes_back_in_time_finds_everything_again() {
    let ledger = memory();
    let mut site = ann_is_over(&ledger);
    assert_eq!(level(&site, ANN), Level::Blocked);
    apply(&mut site, [Change::Gone(EntryId(1))]);
    pass(&mut site, HOUR * 29);
    assert_eq!(site.metrics.gone.get(), 1);
    apply(&mut site, [Change::Entry(account(4, ANN, "10"))]);
    assert_eq!((used(&site, ANN), level(&site, ANN)), (11, Level::Blocked));
    assert_eq!(site.accounting.book.domain("example.org").unwrap().lock().held.usage(), Usage::new(18, 2));

    // Whoever goes again has the whole time again.
    apply(&mut site, [Change::Gone(EntryId(4))]);
    pass(&mut site, HOUR * 29);
    assert_eq!(known(&*ledger, ANN), Some(11));
    apply(&mut site, [Change::Entry(account(5, ANN, "10"))]);
    pass(&mut site, HOUR * 29);
    assert_eq!((traces(&*ledger, ANN).contains(&format!("Gone {ANN}")), site.metrics.gone.get()), (false, 0));
    pass(&mut site, HOUR * 1000);
    assert_eq!((known(&*ledger, ANN), known(&*ledger, BOB)), (Some(11), Some(7)));
}

#[test]
fn after_its_time_nothing_of_an_account_is_left_and_nothing_else_has_changed() {
    let ledger = memory();
    let mut site = ann_is_over(&ledger);
    // A wish that nobody got to before the entry went, as after a crash between the two.
    let wish = Op::Put { shelf: Shelf::Outbox, key: format!("a{ANN}").as_bytes().into(), value: Vec::new() };
    apply(&mut site, [Change::Gone(EntryId(1))]);
    ledger.submit(vec![wish]).wait().unwrap();
    let before = ["record", "Outbox a", "Types ", "Notices ta", "Notices r", "Gone "];
    let before = before.map(|trace| if trace == "record" { trace.into() } else { format!("{trace}{ANN}") });
    assert_eq!(traces(&*ledger, ANN).iter().collect::<std::collections::BTreeSet<_>>(), before.iter().collect());
    let sum = |site: &Site| site.accounting.book.domain("example.org").unwrap().lock().held.usage();
    assert_eq!(sum(&site), Usage::new(7, 1), "the domain does not count it from the moment on");
    let of_bob = (ledger.read(BOB).unwrap(), traces(&*ledger, BOB));

    pass(&mut site, HOUR * 30);
    assert_eq!(traces(&*ledger, ANN), Vec::<String>::new());
    assert_eq!((ledger.read(BOB).unwrap(), traces(&*ledger, BOB)), of_bob);
    assert_eq!((sum(&site), site.metrics.gone.get(), site.metrics.forgotten.get()), (Usage::new(7, 1), 0, 1));

    // An entry of that name is a new account.
    apply(&mut site, [Change::Entry(account(4, ANN, "10"))]);
    assert_eq!((used(&site, ANN), level(&site, ANN)), (0, Level::Under));
    assert!(site.accounting.book.account(ANN).unwrap().lock().hinted, "it is measured");
}

#[test]
fn never_means_never() {
    let ledger = memory();
    let mut site = Site::on(ledger.clone(), "[ledger]\nkeep_gone = \"never\"\n");
    apply(&mut site, load([account(1, ANN, "")]));
    site.holds(ANN, 11, 1);
    apply(&mut site, [Change::Gone(EntryId(1))]);
    pass(&mut site, HOUR * 1_000_000);
    assert_eq!((known(&*ledger, ANN), site.metrics.gone.get()), (Some(11), 1));
}

#[test]
fn an_account_that_is_renamed_or_taken_over_is_gone_only_where_nobody_has_its_address() {
    let ledger = memory();
    let mut site = following(&ledger);
    apply(&mut site, load([account(1, ANN, "")]));
    site.holds(ANN, 11, 1);
    // Another entry takes the address over, and only then does the first one go.
    apply(&mut site, [Change::Entry(account(2, ANN, "")), Change::Gone(EntryId(1))]);
    pass(&mut site, HOUR * 100);
    assert_eq!((used(&site, ANN), known(&*ledger, ANN), site.metrics.gone.get()), (11, Some(11), 0));
    // It gets another address: nobody has the first one any more.
    apply(&mut site, [Change::Entry(account(2, BOB, ""))]);
    pass(&mut site, HOUR * 100);
    assert_eq!((known(&*ledger, ANN), site.metrics.gone.get()), (None, 0));
}

/// An entry that was deleted and made anew comes before the news that the old one is gone.
#[test]
fn a_status_that_is_to_be_written_is_so_though_another_entry_takes_the_address_over() {
    let ledger = memory();
    let mut site = following(&ledger);
    apply(&mut site, load([account(1, ANN, "10")]));
    site.holds(ANN, 11, 1);
    let wish = format!("Outbox a{ANN}");
    assert!(traces(&*ledger, ANN).contains(&wish));
    apply(&mut site, [Change::Entry(account(2, ANN, "10")), Change::Gone(EntryId(1)), reached()]);
    assert!(traces(&*ledger, ANN).contains(&wish) && level(&site, ANN) == Level::Blocked);
    apply(&mut site, [Change::Gone(EntryId(2)), reached()]);
    assert!(!traces(&*ledger, ANN).contains(&wish));
}

/// Two entries with one address, by a mistake that is undone.
#[test]
fn of_two_entries_with_one_address_the_other_has_it_when_one_goes() {
    let ledger = memory();
    let mut site = following(&ledger);
    let with_alias = |number: u128, alias: &str, quota: &str| {
        let Entry::Account(mut entry) = account(number, ANN, quota) else { unreachable!() };
        entry.alternates = vec![alias.into()];
        Change::Entry(Entry::Account(entry))
    };
    let leads = |site: &Site, alias: &str| matches!(site.accounting.book.find(alias), Some(Target::Account(_)));
    apply(&mut site, load([]));
    apply(&mut site, [with_alias(1, "a@example.org", "1K"), with_alias(2, "b@example.org", "2K")]);
    site.holds(ANN, 11, 1);
    let limit = |site: &Site| site.accounting.book.account(ANN).unwrap().lock().limits.buckets()[0].limit.bytes;
    assert_eq!((limit(&site), leads(&site, "a@example.org"), leads(&site, "b@example.org")), (Some(2048), false, true));
    // The one that was there first is told again, as whenever something about it changes.
    apply(&mut site, [with_alias(1, "a@example.org", "3K")]);
    assert_eq!((limit(&site), used(&site, ANN)), (Some(3072), 11));
    for (gone, left) in [(1, 2), (2, 1)] {
        apply(&mut site, [with_alias(left, "x@example.org", "5K"), with_alias(gone, "y@example.org", "6K")]);
        apply(&mut site, [Change::Gone(EntryId(gone)), reached()]);
        assert_eq!((limit(&site), used(&site, ANN), site.metrics.gone.get()), (Some(5120), 11, 0), "{left} is left");
        assert_eq!((leads(&site, "x@example.org"), leads(&site, "y@example.org")), (true, false));
        let domain = site.accounting.book.domain("example.org").unwrap();
        let domain = domain.lock();
        assert_eq!((domain.held.usage(), domain.accounts()), (Usage::new(11, 1), 1));
    }
    pass(&mut site, HOUR * 100);
    apply(&mut site, [Change::Gone(EntryId(1)), reached()]);
    assert_eq!((site.accounting.book.accounts(), site.metrics.gone.get()), (0, 1));
}

#[test]
fn neither_an_outage_nor_a_stop_nor_a_clock_that_jumps_makes_anybody_older() {
    let ledger = memory();
    let mut site = kept(&ledger, [account(1, ANN, "")]);
    site.holds(ANN, 11, 1);
    apply(&mut site, [Change::Gone(EntryId(1)), reached()]);
    pass(&mut site, HOUR * 10);

    apply(&mut site, [away()]);
    pass(&mut site, HOUR * 1000);
    assert_eq!(known(&*ledger, ANN), Some(11), "the directory is away");
    apply(&mut site, [reached()]);
    look(&mut site);
    site.clock.set(Moment(u64::MAX / 2));
    look(&mut site);
    assert_eq!(known(&*ledger, ANN), Some(11), "the clock was put ahead");
    site.clock.set(Moment(1_000_000));
    pass(&mut site, HOUR * 10);
    wait(site.sync.settle());

    let (mut site, whole) = restarted(&ledger);
    assert!(whole);
    // Years later, and the directory does not answer.
    site.clock.set(Moment(u64::MAX / 2));
    pass(&mut site, HOUR * 1000);
    assert_eq!(known(&*ledger, ANN), Some(11), "nothing is forgotten before the directory has been heard of");
    apply(&mut site, [reached()]);
    pass(&mut site, HOUR * 9);
    assert_eq!(known(&*ledger, ANN), Some(11), "29 hours");
    pass(&mut site, HOUR);
    assert_eq!(known(&*ledger, ANN), None, "30 hours");
}

#[test]
fn who_went_while_the_daemon_was_down_is_found_at_the_start() {
    let ledger = memory();
    let site = kept(&ledger, [account(1, ANN, ""), account(2, BOB, "")]);
    site.holds(BOB, 7, 1);
    drop(site);
    // An account of a release that made no marks, and one that is behind all others.
    for name in ["al@example.org", "zoe@example.org"] {
        let cells: Cells = [(CellKey::new("INBOX", None), Usage::new(5, 1))].into_iter().collect();
        let restore = Op::Restore { account: name.into(), record: Record { cells, ..Record::default() } };
        ledger.submit(vec![restore]).wait().unwrap();
    }
    let (mut site, whole) = restarted(&ledger);
    assert!(whole, "there is a place to go on from");
    wait(site.sync.settle());
    let gone = |ledger: &dyn Ledger| {
        let mut gone = Vec::new();
        ledger.shelf_all(Shelf::Gone, &mut |key, _| gone.push(String::from_utf8_lossy(key).into_owned())).unwrap();
        gone
    };
    assert_eq!(gone(&*ledger), ["al@example.org", "zoe@example.org"]);
    // The directory has gone on without us: Bob is not there any more.
    apply(&mut site, [Change::Gone(EntryId(2)), reached()]);
    assert_eq!(gone(&*ledger), ["al@example.org", BOB, "zoe@example.org"]);

    pass(&mut site, HOUR * 20);
    wait(site.sync.settle());
    let (mut site, _) = restarted(&ledger);
    apply(&mut site, [reached()]);
    pass(&mut site, HOUR * 10);
    assert_eq!(gone(&*ledger), Vec::<String>::new(), "a mark is not made anew at every start");
    assert_eq!(known(&*ledger, BOB), None);
}

/// A load without anything kept of the directory: an LDIF file, or LDAP after the ledger had lost a part of it.
#[test]
fn only_a_load_that_is_complete_says_who_is_gone() {
    let ledger = memory();
    let mut site = following(&ledger);
    apply(&mut site, load([account(1, ANN, ""), account(2, BOB, "")]));
    site.holds(ANN, 11, 1);
    site.holds(BOB, 7, 1);
    drop(site);

    let mut site = Site::on(ledger.clone(), KEEP);
    apply(&mut site, [Change::Begin, Change::Entry(account(1, ANN, "")), away(), Change::Begin]);
    pass(&mut site, HOUR * 1000);
    assert_eq!((known(&*ledger, BOB), site.metrics.gone.get()), (Some(7), 0), "half of it has been read");
    apply(&mut site, [Change::Entry(account(1, ANN, "")), Change::Complete]);
    assert_eq!(site.metrics.gone.get(), 1);
    pass(&mut site, HOUR * 29);
    assert_eq!(known(&*ledger, BOB), Some(7));
    pass(&mut site, HOUR);
    assert_eq!((known(&*ledger, ANN), known(&*ledger, BOB)), (Some(11), None));
}

/// A search base that is wrong for a day: everybody is gone, and then back.
#[test]
fn a_whole_site_that_is_gone_for_a_day_is_back_as_it_was() {
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
    let name = |number: u128| format!("user{number:05}@example.org");
    let everybody = || (1..=3000).map(|number| account(number, &name(number), ""));
    let mut site = following(&ledger);
    apply(&mut site, load(everybody()));
    (1..=3000).for_each(|number| site.holds(&name(number), number as u64, 1));
    apply(&mut site, load([]));
    assert_eq!((site.accounting.book.accounts(), site.metrics.gone.get()), (0, 3000));
    pass(&mut site, HOUR * 24);
    apply(&mut site, load(everybody()));
    pass(&mut site, HOUR * 24);
    assert_eq!((site.accounting.book.accounts(), site.metrics.gone.get(), site.metrics.forgotten.get()), (3000, 0, 0));
    assert!((1..=3000).all(|number| used(&site, &name(number)) == number as u64));
}

/// More than a batch may hold, on the engine that lasts.
#[test]
fn a_site_that_has_moved_away_is_forgotten_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let ledger: Arc<dyn Ledger> = Arc::new(SledLedger::open(folder.path()).unwrap());
    let many = MAX_OPS as u128 * 3;
    let name = |number: u128| format!("user{number:05}@example.org");
    let mut site = following(&ledger);
    apply(&mut site, load((0..many).map(|number| account(number, &name(number), ""))));
    (0..many).for_each(|number| site.holds(&name(number), 5, 1));
    apply(&mut site, load([account(0, &name(0), "")]));
    pass(&mut site, HOUR * 30);
    wait(site.sync.settle());
    let mut left = Vec::new();
    ledger.read_all(&mut |address, _| left.push(address.to_owned())).unwrap();
    assert_eq!(left, [name(0)]);
    assert_eq!((site.metrics.forgotten.get(), ledger.health().errors), (many as u64 - 1, 0));
    ledger.close().unwrap();
}

#[test]
fn what_the_ledger_cannot_forget_now_it_forgets_later() {
    let failing = Arc::new(AtomicBool::new(false));
    let fails = failing.clone();
    let ledger: Arc<dyn Ledger> =
        Arc::new(FailingLedger::new(MemoryLedger::new(), move |_| fails.load(Ordering::SeqCst)));
    let mut site = ann_is_over(&ledger);
    apply(&mut site, [Change::Gone(EntryId(1))]);
    failing.store(true, Ordering::SeqCst);
    pass(&mut site, HOUR * 30);
    assert_eq!((known(&*ledger, ANN), site.metrics.forgotten.get()), (Some(11), 0));
    failing.store(false, Ordering::SeqCst);
    look(&mut site);
    assert_eq!((traces(&*ledger, ANN), site.metrics.forgotten.get()), (Vec::new(), 1));
}

/// The revisions of an account that was forgotten do not come back, and memory begins anew at 0: what the store
/// reports of an account of that name is in the ledger all the same.
#[test]
fn a_new_account_of_a_forgotten_name_is_stored_as_any_other() {
    let ledger = memory();
    let mut site = following(&ledger);
    apply(&mut site, load([account(1, ANN, "")]));
    (1..10).for_each(|bytes| site.holds(ANN, bytes, 1));
    apply(&mut site, [Change::Gone(EntryId(1)), reached()]);
    pass(&mut site, HOUR * 30);
    apply(&mut site, [Change::Entry(account(1, ANN, ""))]);
    site.holds(ANN, 100, 1);
    site.holds(ANN, 101, 1);
    let ann = site.accounting.book.account(ANN).unwrap();
    let present = ledger.read(ANN).unwrap().unwrap().revision;
    assert_eq!(known(&*ledger, ANN), Some(100), "the second is a conflict");
    site.accounting.stored_anew(&ann, present).wait().unwrap();
    assert_eq!(known(&*ledger, ANN), Some(101));
    site.holds(ANN, 102, 1);
    assert_eq!(known(&*ledger, ANN), Some(102), "from here on both count alike");
}
