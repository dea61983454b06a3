//! The directory side of the service, in this process: an adapter, what takes its changes, and the outbox.
#![allow(dead_code, reason = "each test uses another part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mailquotad::account::{AccountEntry, Entry, Status};
use mailquotad::config::Config;
use mailquotad::directory::Directory;
use mailquotad::directory::entry::{EntryReader, Preset};
use mailquotad::directory::ldap::{Bind, LdapDirectory, LdapOptions};
use mailquotad::ledger::{Ledger, MemoryLedger, Shelf};
use mailquotad::quota::spec::Measure;
use mailquotad::quota::{Spec, Units};
use mailquotad::secret::Secret;
use mailquotad::service::account::{Account, Links};
use mailquotad::service::accounting::Accounting;
use mailquotad::service::clock::SystemClock;
use mailquotad::service::hints::hints;
use mailquotad::service::outbox;
use mailquotad::service::settings::Settings;
use mailquotad::service::status::DirectoryStatus;
use mailquotad::service::sync::Sync;
use mailquotad::telemetry::metrics::Metrics;
use mailquotad::wire::ldif::Records;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::slapd::{DAEMON, PASSWORD, SUFFIX, Slapd};

/// Without a grace period, so that a full account is blocked at once.
fn settings() -> Settings {
    let text = "[directory]\nkind = \"ldif\"\nfile = \"/nowhere\"\n\
                [enforcement]\ngrace_period = \"0s\"\nallowance = \"none\"\n";
    let config = Config::read("followed.toml", text, &Default::default()).unwrap_or_else(|error| panic!("{error}"));
    config.settings()
}

pub struct Followed {
    pub accounting: Arc<Accounting>,
    pub status: Arc<DirectoryStatus>,
    pub directory: Arc<dyn Directory>,
    pub ledger: Arc<dyn Ledger>,
    reloaded: watch::Sender<()>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Bound as the daemon, with time limits that suit a test.
pub fn options(servers: &[&Slapd]) -> LdapOptions {
    let urls: Vec<String> = servers.iter().map(|slapd| slapd.url()).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let mut options = LdapOptions::new(&urls, &[SUFFIX], EntryReader::new(Preset::Sun));
    options.bind = Bind::Simple { dn: DAEMON.to_owned(), password: Secret::Text(PASSWORD.to_owned()) };
    options.timeout = Duration::from_secs(5);
    options.writes_per_second = 100_000;
    options
}

impl Followed {
    pub fn start(options: LdapOptions) -> Followed {
        Followed::start_with(options, Arc::new(MemoryLedger::default()))
    }

    /// Goes on from what the ledger holds.
    pub fn start_with(options: LdapOptions, ledger: Arc<dyn Ledger>) -> Followed {
        let directory: Arc<dyn Directory> = Arc::new(LdapDirectory::new(options));
        let settings = Arc::new(ArcSwap::from_pointee(settings()));
        let metrics = Arc::new(Metrics::default());
        let accounting = Arc::new(Accounting::new(ledger.clone(), settings, Arc::new(SystemClock::default()), metrics));
        let status = Arc::new(DirectoryStatus::default());
        let mut sync = Sync::new(accounting.clone(), status.clone(), hints().0).keeping();
        let token = sync.restore().unwrap();
        let (sender, receiver) = mpsc::channel(4096);
        let (reloaded, stop) = (watch::Sender::new(()), CancellationToken::new());
        let following = {
            let (directory, stop) = (directory.clone(), stop.clone());
            tokio::spawn(async move { directory.follow(token, sender, stop).await.unwrap() })
        };
        let tasks = vec![
            following,
            tokio::spawn(sync.run(receiver, reloaded.subscribe(), stop.clone())),
            tokio::spawn(outbox::run(accounting.clone(), directory.clone(), stop.clone())),
        ];
        Followed { accounting, status, directory, ledger, reloaded, stop, tasks }
    }

    /// Lets everything end; what the ledger holds is then all that is left.
    pub async fn stop(self) -> Arc<dyn Ledger> {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        drop(self.reloaded);
        self.ledger
    }

    pub fn account(&self, uid: &str) -> Option<Arc<Account>> {
        self.accounting.book.account(&format!("{uid}@example.org"))
    }

    pub fn limit(&self, uid: &str) -> Option<u64> {
        self.account(uid)?.lock().limits.buckets()[0].limit.bytes
    }

    pub fn status_of(&self, uid: &str) -> Option<Status> {
        Some(self.account(uid)?.lock().mail_status)
    }

    /// Waits, far beyond what anything takes here.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Followed) -> bool) {
        let held = looking(Duration::from_millis(2), || holds(self)).await;
        assert!(held, "waited in vain until {what}; the directory: {:?}", self.status.state());
    }

    pub async fn loaded(&self) {
        self.until("the directory is loaded", |followed| followed.accounting.loaded()).await;
    }

    /// Waits until what was loaded, and the place to go on from, are in the ledger.
    pub async fn kept(&self) {
        let has_place = |f: &Followed| f.ledger.shelf_get(Shelf::Directory, b"p").unwrap().is_some();
        self.until("the directory is kept", has_place).await;
    }

    /// Every account as it is known, by address.
    pub fn view(&self) -> BTreeMap<String, Line> {
        let mut view = BTreeMap::new();
        self.accounting.book.for_each_account(|account| {
            let seat = account.lock();
            let links = seat.links().clone();
            let specs = (seat.specs.bytes.clone(), seat.specs.messages.clone());
            let line = (seat.dn.to_lowercase(), seat.inet_status, seat.mail_status, specs, sorted(links));
            view.insert(account.address.to_string(), line);
        });
        view
    }

    /// Waits until every account is known as ldapsearch shows it.
    pub async fn same_as(&self, slapd: &Slapd) {
        let expected = expected(slapd);
        if looking(Duration::from_millis(30), || self.view() == expected).await {
            return;
        }
        let view = self.view();
        let differing = expected.iter().filter(|(address, line)| view.get(*address) != Some(line)).count();
        let surplus = view.keys().filter(|address| !expected.contains_key(*address)).count();
        panic!(
            "the view is not the directory's: {differing} of {} differ or are missing, {surplus} are too many; {:?}",
            expected.len(),
            self.status.state()
        );
    }
}

/// Whether `holds` comes true, looked at again and again until it does or far too much time has passed.
async fn looking(pause: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let mut turn = tokio::time::interval(pause);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let look = async {
        while !holds() {
            turn.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), look).await.is_ok()
}

pub type Line = (String, Status, Status, (Spec, Spec), Links);

fn sorted(mut links: Links) -> Links {
    links.alternates.sort();
    links.forwards.sort();
    links
}

/// What ldapsearch shows, read by itself.
pub fn expected(slapd: &Slapd) -> BTreeMap<String, Line> {
    let text = slapd.search("(objectClass=inetMailUser)", &["*"]);
    let reader = EntryReader::new(Preset::Sun);
    let mut lines = BTreeMap::new();
    for record in Records::new(&text) {
        let record = record.unwrap();
        let Ok(Some(Entry::Account(entry))) = reader.read(&record.dn, None, &record.lines) else { continue };
        let specs = specs(&entry);
        let links = Links { alternates: entry.alternates, forwards: entry.forwards, rules: entry.rules };
        let line = (entry.dn.to_lowercase(), entry.inet_status, entry.mail_status, specs, sorted(links));
        lines.insert(entry.address.to_string(), line);
    }
    lines
}

fn specs(entry: &AccountEntry) -> (Spec, Spec) {
    let read = |value: &Option<Box<str>>, measure| match value {
        Some(text) => Spec::parse(text, measure).unwrap(),
        None => Spec::ABSENT,
    };
    let bytes = read(entry.quota.as_ref().unwrap(), Measure::Bytes(Units::Binary));
    (bytes, read(entry.messages.as_ref().unwrap(), Measure::Messages))
}
