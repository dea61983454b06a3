//! Folders that are marked as changed: they alone are measured, soon, and however things overlap the cells end
//! up as a fresh scan has them.

mod support {
    pub mod failing_ledger;
    pub mod site;
    pub mod wait;
}

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mailquotad::ledger::MemoryLedger;
use mailquotad::mailstore::maildir::{MaildirOptions, MaildirStore};
use mailquotad::mailstore::{MailStore, MailStoreError, MailboxRef, Measurement};
use mailquotad::quota::{CellKey, Cells, Delta, Moment, Usage};
use mailquotad::service::account::Account;
use mailquotad::service::hints::{Delays, MOST_FOLDERS};
use mailquotad::service::measuring::Measuring;
use support::failing_ledger::FailingLedger;
use support::site::{Site, account, domain};
use support::wait::until;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const ANNA: &str = "anna@example.org";

/// The Maildir store, with a count of how it was asked.
struct Counted {
    store: MaildirStore,
    whole: AtomicUsize,
    folders: AtomicUsize,
}

impl MailStore for Counted {
    fn measure(&self, mailbox: &MailboxRef, memory: &[u8]) -> Result<Measurement, MailStoreError> {
        self.whole.fetch_add(1, Ordering::SeqCst);
        self.store.measure(mailbox, memory)
    }

    fn measure_folder(&self, mailbox: &MailboxRef, folder: &str, memory: &[u8]) -> Result<Measurement, MailStoreError> {
        self.folders.fetch_add(1, Ordering::SeqCst);
        self.store.measure_folder(mailbox, folder, memory)
    }
}

/// Anna's mailbox on disk and in memory, and a measurer that follows hints.
struct House {
    site: Site,
    anna: Arc<Account>,
    store: Arc<Counted>,
    measuring: Arc<Measuring>,
    runtime: Runtime,
    stop: CancellationToken,
    folder: TempDir,
}

impl House {
    fn new() -> House {
        House::with(Site::new("[quota]\ndefault_mailbox = \"10K\"\n"))
    }

    fn with(mut site: Site) -> House {
        let folder = TempDir::new().unwrap();
        site.load([domain(1, "example.org", ""), account(2, ANNA, "10K;Archive%1K")]);
        let anna = site.accounting.book.account(ANNA).unwrap();
        // What the load has hinted at is not what these tests are about.
        anna.lock().hinted = true;
        let path = format!("{}/%n", folder.path().display()).parse().unwrap();
        let store = MaildirStore::new(MaildirOptions::new(path));
        let store = Arc::new(Counted { store, whole: AtomicUsize::new(0), folders: AtomicUsize::new(0) });
        let measuring = Arc::new(Measuring::new(site.accounting.clone(), store.clone(), 2));
        let runtime = Runtime::new().unwrap();
        let stop = CancellationToken::new();
        let house = House { site, anna, store, measuring, runtime, stop, folder };
        house.put("", "first", 100);
        house
    }

    /// The mailbox has been measured, and hints are followed from now on.
    fn follow(&mut self) {
        self.runtime.block_on(self.measuring.measure(&self.anna)).unwrap();
        self.follow_unmeasured();
    }

    fn follow_unmeasured(&mut self) {
        self.store.whole.store(0, Ordering::SeqCst);
        let delays = Delays { delivery: Duration::from_secs(3600), change: Duration::from_millis(1) };
        let taken = self.site.hinted.take().unwrap();
        self.runtime.spawn(self.measuring.clone().follow_hints(taken, delays, self.stop.clone()));
    }

    fn path(&self, folder: &str) -> PathBuf {
        self.folder.path().join("anna").join(folder)
    }

    fn put(&self, folder: &str, name: &str, size: usize) {
        put(&self.path(folder), name, size);
    }

    fn mark(&self, folder: &str) {
        self.site.hints.folder(&self.anna, folder);
    }

    fn cells(&self) -> Vec<(String, u64, u64)> {
        rows(&self.anna.lock().cells)
    }

    fn fresh(&self) -> Vec<(String, u64, u64)> {
        rows(&self.store.store.measure(&self.anna.mailbox(), &[]).unwrap().cells)
    }

    /// Waits until memory has what is on disk, and the ledger what memory has.
    fn agrees(&self) {
        until("the cells are those of a fresh scan", || self.cells() == self.fresh());
        until("the ledger has them too", || {
            let stored = self.site.accounting.ledger.read(ANNA).unwrap().unwrap_or_default();
            let seat = self.anna.lock();
            (stored.cells, stored.revision) == (seat.cells.clone(), seat.revision)
        });
        let seat = self.anna.lock();
        assert_eq!(seat.domain.lock().held.usage(), seat.total());
    }

    fn whole(&self) -> usize {
        self.store.whole.load(Ordering::SeqCst)
    }

    fn correct(&self, folder: &str, bytes: i64, messages: i64) {
        let deltas = vec![(CellKey::new(folder, None), Delta { bytes, messages })];
        self.runtime.block_on(self.site.accounting.change(&self.anna, deltas, None)).unwrap();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn put(folder: &Path, name: &str, size: usize) {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    let tmp = folder.join("tmp").join(name);
    fs::write(&tmp, vec![b'x'; size]).unwrap();
    fs::rename(tmp, folder.join("new").join(name)).unwrap();
}

fn rows(cells: &Cells) -> Vec<(String, u64, u64)> {
    cells.iter().map(|(key, usage)| (key.folder.to_string(), usage.bytes, usage.messages)).collect()
}

fn row(folder: &str, bytes: u64, messages: u64) -> (String, u64, u64) {
    (folder.to_owned(), bytes, messages)
}

#[test]
fn a_marked_folder_is_measured_and_no_other() {
    let mut house = House::new();
    house.put(".Archive", "old", 500);
    house.follow();
    house.put("", "new", 200);
    // Nobody said that this one changed.
    house.put(".Archive", "unseen", 7);
    house.mark("inbox");
    until("INBOX is measured", || house.cells() == [row("Archive", 500, 1), row("INBOX", 300, 2)]);
    assert_eq!(house.whole(), 0);

    fs::remove_dir_all(house.path(".Archive")).unwrap();
    house.mark("Archive");
    until("the folder is gone", || house.cells() == [row("INBOX", 300, 2)]);
    assert_eq!(house.whole(), 0);
    house.agrees();
    let text = house.site.metrics.render();
    assert!(text.contains(r#"mailquotad_folder_scans_total{result="complete"} 2"#), "{text}");
}

#[test]
fn an_account_that_was_never_measured_is_measured_as_a_whole() {
    let mut house = House::new();
    house.put(".Archive", "old", 500);
    house.follow_unmeasured();
    house.mark("INBOX");
    until("everything is measured", || house.cells() == [row("Archive", 500, 1), row("INBOX", 100, 1)]);
    // The load has asked for it too, and who comes second may have to look again.
    assert!(house.whole() >= 1);
    assert!(house.anna.lock().measured().is_some());
}

#[test]
fn a_measurement_of_folders_does_not_pass_for_one_of_the_mailbox() {
    let mut house = House::new();
    house.site.clock.set(Moment(5000));
    house.follow();
    house.site.clock.set(Moment(9000));
    house.put("", "new", 200);
    house.mark("INBOX");
    house.agrees();
    assert_eq!(house.anna.lock().measured(), Some(Moment(5000)));
    assert_eq!(house.site.accounting.ledger.read(ANNA).unwrap().unwrap().measured, Some(Moment(5000)));
}

#[test]
fn too_many_folders_are_one_walk() {
    let mut house = House::new();
    house.follow();
    let names: Vec<String> = (0..=MOST_FOLDERS).map(|number| format!("f{number}")).collect();
    for name in &names {
        house.put(&format!(".{name}"), "one", 10);
        house.mark(name);
    }
    house.agrees();
    assert_eq!(house.cells().len(), MOST_FOLDERS + 2);

    // Marked in one go, so that they wait together: the runtime has one thread and is busy with this.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut house = House::new();
    runtime.block_on(house.measuring.measure(&house.anna)).unwrap();
    let taken = house.site.hinted.take().unwrap();
    let before = house.whole();
    names.iter().for_each(|name| {
        house.put(&format!(".{name}"), "one", 10);
        house.mark(name);
    });
    let delays = Delays { delivery: Duration::from_secs(3600), change: Duration::ZERO };
    runtime.block_on(async {
        let following = tokio::spawn(house.measuring.clone().follow_hints(taken, delays, house.stop.clone()));
        let measured = async {
            while house.cells().len() < MOST_FOLDERS + 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), measured).await.expect("everything is measured");
        house.stop.cancel();
        following.await.unwrap();
    });
    assert_eq!((house.whole() - before, house.store.folders.load(Ordering::SeqCst)), (1, 0));
}

#[test]
fn nothing_new_is_not_written() {
    let mut house = House::new();
    house.follow();
    let before = house.anna.lock().revision;
    let from = house.path("new/first");
    fs::rename(from, house.path("cur/first:2,S")).unwrap();
    house.mark("INBOX");
    until("the folder is measured", || house.store.folders.load(Ordering::SeqCst) == 1);
    // The next change is measured after that one.
    house.put("", "second", 1);
    house.mark("INBOX");
    house.agrees();
    assert_eq!(house.anna.lock().revision, before + 1, "seen changed nothing, the second message did");
}

#[test]
fn an_unreadable_folder_keeps_its_usage_and_a_later_mark_heals() {
    let mut house = House::new();
    house.put(".Archive", "old", 500);
    house.follow();
    let (cur, away) = (house.path(".Archive/new"), house.path("away"));
    fs::rename(&cur, &away).unwrap();
    std::os::unix::fs::symlink("/nowhere", &cur).unwrap();
    house.mark("Archive");
    let failed = r#"mailquotad_folder_scans_total{result="incomplete"} 1"#;
    until("it could not be read", || house.site.metrics.render().contains(failed));
    assert_eq!(house.cells(), [row("Archive", 500, 1), row("INBOX", 100, 1)]);
    fs::remove_file(&cur).unwrap();
    fs::rename(&away, &cur).unwrap();
    house.put(".Archive", "new", 5);
    house.mark("Archive");
    house.agrees();
}

#[test]
fn marks_that_come_while_everything_changes_are_not_lost() {
    let mut house = House::new();
    house.follow();
    let (begun, mut state) = (Instant::now(), 88172645463325252_u64);
    let mut roll = |sides: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % sides
    };
    let folders = ["", ".Archive", ".Archive.2025", ".Sent"];
    let names = ["INBOX", "Archive", "Archive/2025", "Sent"];
    for number in 0..1000 {
        let at = roll(4) as usize;
        match roll(8) {
            0..=4 => house.put(folders[at], &format!("{number}.M{number}.h"), roll(400) as usize),
            5 => {
                if let Some(message) =
                    fs::read_dir(house.path(folders[at]).join("new")).ok().and_then(|mut all| all.next())
                {
                    fs::remove_file(message.unwrap().path()).unwrap();
                }
            }
            // Somebody else's measurement and a correction by the API come between.
            6 => drop(house.runtime.block_on(house.measuring.measure(&house.anna))),
            _ => house.correct(names[at], 9, 1),
        }
        house.mark(names[at]);
    }
    house.agrees();
    let text = house.site.metrics.render();
    let scans = text.lines().find(|line| line.starts_with("mailquotad_folder_scans_total{result=\"complete\"}"));
    println!("1000 changes in {:?}: {}", begun.elapsed(), scans.unwrap());
}

#[test]
fn the_whole_account_is_measured_when_nobody_knows_where_it_changed() {
    let mut house = House::new();
    house.put(".Archive", "old", 500);
    house.follow();
    house.put(".Archive", "unseen", 7);
    house.put("", "unseen", 8);
    house.site.hints.account(&house.anna);
    house.agrees();
    assert_eq!((house.whole(), house.store.folders.load(Ordering::SeqCst)), (1, 0));
}

#[test]
fn a_renamed_folder_takes_its_mail_to_another_bucket_at_once() {
    let mut house = House::new();
    house.put(".Work", "one", 400);
    house.put(".Work.2025", "two", 300);
    house.follow();
    let bucket = |name: &str| {
        let seat = house.anna.lock();
        let at = seat.limits.buckets().iter().position(|bucket| bucket.name.to_string() == name).unwrap();
        seat.used(at).bytes
    };
    assert_eq!((bucket("default"), bucket("Archive")), (800, 0));
    fs::rename(house.path(".Work"), house.path(".Archive.Work")).unwrap();
    fs::rename(house.path(".Work.2025"), house.path(".Archive.Work.2025")).unwrap();
    house.runtime.block_on(house.site.accounting.renamed(&house.anna, "Work", "Archive/Work").durable()).unwrap();
    assert_eq!((bucket("default"), bucket("Archive")), (100, 700));
    house.agrees();
    assert_eq!((house.whole(), house.store.folders.load(Ordering::SeqCst)), (0, 0), "without reading anything");
}

#[test]
fn what_the_ledger_missed_is_put_right_by_the_next_mark() {
    let broken = Arc::new(AtomicUsize::new(0));
    let fails = broken.clone();
    let ledger = FailingLedger::new(MemoryLedger::new(), move |_| fails.load(Ordering::SeqCst) == 1);
    let mut house = House::with(Site::on(Arc::new(ledger), ""));
    house.follow();
    broken.store(1, Ordering::SeqCst);
    house.put("", "new", 50);
    house.mark("INBOX");
    until("memory has it", || house.anna.lock().total() == Usage::new(150, 2));
    assert_eq!(house.site.accounting.ledger.read(ANNA).unwrap().unwrap().cells.total(), Usage::new(100, 1));
    broken.store(0, Ordering::SeqCst);
    house.put("", "newer", 5);
    house.mark("INBOX");
    house.agrees();
}
