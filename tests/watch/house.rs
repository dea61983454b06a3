//! The real watch, measurer and accounting over a spool in a temporary folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mailquotad::account::Entry;
use mailquotad::directory::Change;
use mailquotad::mailstore::maildir::{self, Layout, MaildirOptions, MaildirStore, Means};
use mailquotad::mailstore::{MailStore, Paths, Stop};
use mailquotad::quota::Usage;
use mailquotad::service::account::Account;
use mailquotad::service::clock::{Clock, SystemClock};
use mailquotad::service::hints::Delays;
use mailquotad::service::measuring::Measuring;
use mailquotad::service::watch::{WatchStatus, Watching};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::support::site::{Site, account};
use crate::support::wait::until;

pub struct House {
    pub site: Site,
    pub store: Arc<MaildirStore>,
    pub spool: TempDir,
    pub status: Arc<WatchStatus>,
    measuring: Arc<Measuring>,
    runtime: Runtime,
    stop: CancellationToken,
    watching: Option<std::thread::JoinHandle<()>>,
}

impl House {
    /// `template` is what comes below the spool. Nothing is loaded and nothing watched yet.
    pub fn new(template: &str, layout: Layout) -> House {
        let spool = TempDir::new().unwrap();
        let template = template.replace("SPOOL", &spool.path().display().to_string());
        let options = MaildirOptions { layout, ..MaildirOptions::new(template.parse().unwrap()) };
        let store = Arc::new(MaildirStore::new(options));
        let mut site = Site::new("");
        site.clock.set(SystemClock::default().now());
        let measuring = Arc::new(Measuring::new(site.accounting.clone(), store.clone(), 2));
        let (runtime, stop) = (Runtime::new().unwrap(), CancellationToken::new());
        let delays = Delays { delivery: Duration::from_secs(3600), change: Duration::from_millis(10) };
        let taken = site.hinted.take().unwrap();
        runtime.spawn(measuring.clone().follow_hints(taken, delays, stop.clone()));
        House { site, store, spool, status: Arc::default(), measuring, runtime, stop, watching: None }
    }

    /// Accounts that have been measured once.
    pub fn load(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.site.load(entries);
        let mut all = Vec::new();
        self.site.accounting.book.for_each_account(|account| all.push(account.clone()));
        for account in &all {
            self.runtime.block_on(self.measuring.measure(account)).unwrap();
        }
    }

    pub fn watch(&mut self, means: Means) {
        self.watch_at(means, self.spool.path().to_owned());
    }

    pub fn watch_at(&mut self, means: Means, path: PathBuf) {
        self.stop = CancellationToken::new();
        let (accounting, hints) = (self.site.accounting.clone(), self.site.hints.clone());
        let paths: Arc<dyn Paths> = self.store.clone();
        let watching = Watching::new(accounting, hints, paths, self.status.clone());
        let stop = self.stop.clone();
        let open = move |stop: &Stop| maildir::watch(std::slice::from_ref(&path), means, stop);
        self.watching = Some(std::thread::spawn(move || watching.run(&open, &stop)));
        until("it is watched", || self.status.state().is_some_and(|state| state.by.is_some()));
        let word = if means == Means::Inotify { "inotify" } else { "fanotify" };
        assert_eq!(self.status.state().unwrap().by, Some(word), "the tests run as root");
    }

    /// Ends watching and goes on with everything else.
    pub fn look_away(&mut self) {
        self.stop.cancel();
        self.watching.take().unwrap().join().unwrap();
    }

    pub fn account(&self, address: &str) -> Arc<Account> {
        self.site.accounting.book.account(address).unwrap()
    }

    pub fn add(&mut self, entry: Entry) {
        self.site.sync.apply(Change::Entry(entry));
    }

    pub fn held(&self, address: &str) -> Usage {
        self.account(address).lock().total()
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.spool.path().join(below)
    }

    /// Waits until the cells are those of a fresh scan.
    pub fn agrees(&self, address: &str) {
        let account = self.account(address);
        until(&format!("the cells of {address} are those of a fresh scan"), || {
            let fresh = self.store.measure(&account.mailbox(), &[]).unwrap();
            let known = account.lock().cells.clone();
            fresh.problems.is_empty() && fresh.cells == known
        });
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(watching) = self.watching.take() {
            let _ = watching.join();
        }
    }
}

pub fn with(number: u128, address: &str, attributes: &[(&str, &str)]) -> Entry {
    let Entry::Account(mut entry) = account(number, address, "") else { unreachable!() };
    entry.attributes =
        attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect::<BTreeMap<_, _>>();
    Entry::Account(entry)
}

pub fn make(folder: &Path) {
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
}

/// As every delivery agent does it.
pub fn deliver(folder: &Path, name: &str, size: usize) -> PathBuf {
    let (tmp, new) = (folder.join("tmp").join(name), folder.join("new").join(name));
    fs::write(&tmp, vec![b'x'; size]).unwrap();
    fs::rename(tmp, &new).unwrap();
    new
}
