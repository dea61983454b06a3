//! File-system quotas as part of an account's state: who is looked up, how long a reading counts, and what is
//! known again after a restart. The file systems are a table here; the real ones are in `tests/unix_quota`.

mod support {
    pub mod site;
}

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mailquotad::ledger::{Ledger, MemoryLedger};
use mailquotad::quota::unix::{Reading, Resource};
use mailquotad::quota::verdict::Untold;
use mailquotad::quota::{Action, Moment, Reason, Verdict};
use mailquotad::service::admission::{INBOX, Message};
use mailquotad::service::unixquota::{Options, UnixReading};
use mailquotad::unixquota::{Found, Kind, Problem, Readings, UnixQuotas};
use parking_lot::Mutex;
use support::site::{Site, account};

/// Users with the bytes that they use, of a hard limit of 1000, on `/home`.
#[derive(Default)]
struct Table {
    used: Mutex<HashMap<String, u64>>,
    down: Mutex<bool>,
    asked: Mutex<Vec<String>>,
}

impl UnixQuotas for Table {
    fn read(&self, user: &str) -> Readings {
        self.asked.lock().push(user.into());
        if *self.down.lock() {
            let problem = Problem { place: Some("/home".into()), why: "away".into() };
            return Readings { problems: vec![problem], known: true, ..Readings::default() };
        }
        let found = self.used.lock().get(user).map(|used| {
            let bytes = Resource { used: *used, hard: 1000, ..Resource::default() };
            Found { place: "/home".into(), kind: Kind::User, reading: Reading { bytes, files: Resource::default() } }
        });
        Readings { known: found.is_some(), found: found.into_iter().collect(), ..Readings::default() }
    }
}

const HOUR: u64 = 3_600_000;
const SETTINGS: &str = "[unix_quota]\ndomains = [\"example.org\"]\nmax_age = \"1h\"\n\
                        [enforcement]\ngrace_period = \"2h\"\nallowance = \"none\"\n";

struct Host {
    site: Site,
    table: Arc<Table>,
    reading: UnixReading,
}

impl Host {
    fn start(ledger: Arc<dyn Ledger>, user_attribute: Option<&str>) -> Host {
        let mut site = Site::on(ledger, SETTINGS);
        site.clock.set(Moment(100 * HOUR));
        let mut named = account(2, "b.adler@example.org", "");
        if let mailquotad::account::Entry::Account(entry) = &mut named {
            entry.attributes.insert("uid".into(), "ben".into());
        }
        site.load([account(1, "anna@example.org", "600"), named, account(3, "root@elsewhere.example", "")]);
        let table = Arc::new(Table::default());
        let options = Options {
            domains: ["example.org".into()].into(),
            user_attribute: user_attribute.map(Into::into),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(60),
        };
        let reading = UnixReading::new(site.accounting.clone(), table.clone(), options);
        Host { site, table, reading }
    }

    fn uses(&self, user: &str, bytes: u64) {
        self.table.used.lock().insert(user.into(), bytes);
    }

    async fn read(&self, address: &str) {
        self.reading.read(&self.site.accounting.book.account(address).unwrap()).await;
    }

    fn at(&self, hours: u64) {
        self.site.clock.set(Moment((100 + hours) * HOUR));
    }

    fn judge(&self, address: &str, size: u64) -> (Action, Reason) {
        let admission = self.site.admission();
        let account = self.site.accounting.book.account(address).unwrap();
        let message = Message { size, folder: INBOX, kind: None };
        let now = self.site.accounting.clock.now();
        let Verdict { action, reason } = admission.judge(&account, message, &admission.settings(), now, &mut Untold);
        (action, reason)
    }
}

fn host() -> Host {
    Host::start(Arc::new(MemoryLedger::new()), None)
}

const PASS: (Action, Reason) = (Action::Pass, Reason::Room);

#[tokio::test]
async fn the_strictest_limit_decides() {
    let host = host();
    host.uses("anna", 700);
    assert_eq!(host.judge("anna@example.org", 500), PASS, "nothing is read yet");
    host.read("anna@example.org").await;
    assert_eq!(host.judge("anna@example.org", 300), PASS);
    assert_eq!(host.judge("anna@example.org", 301), (Action::Defer, Reason::NoRoom), "700 of 1000 on /home");
    host.site.holds("anna@example.org", 500, 1);
    assert_eq!(host.judge("anna@example.org", 101), (Action::Defer, Reason::NoRoom), "500 of 600 in the mailbox");
    host.uses("anna", 1000);
    host.read("anna@example.org").await;
    assert_eq!(host.judge("anna@example.org", 1), (Action::Defer, Reason::Over));
}

#[tokio::test]
async fn only_accounts_of_the_named_domains_are_looked_up() {
    let host = Host::start(Arc::new(MemoryLedger::new()), Some("uid"));
    host.uses("root", 1000);
    host.uses("anna", 1000);
    host.uses("ben", 1000);
    for address in ["anna@example.org", "b.adler@example.org", "root@elsewhere.example"] {
        host.read(address).await;
    }
    assert_eq!(*host.table.asked.lock(), ["ben"], "anna has no uid, and root is no user of ours");
    assert_eq!(host.judge("b.adler@example.org", 1), (Action::Defer, Reason::Over));
    assert_eq!(host.judge("root@elsewhere.example", 1), PASS);
}

#[tokio::test]
async fn an_old_reading_has_no_opinion() {
    let host = host();
    host.uses("anna", 1000);
    host.read("anna@example.org").await;
    *host.table.down.lock() = true;
    host.at(1);
    host.read("anna@example.org").await;
    assert_eq!(host.judge("anna@example.org", 1), (Action::Defer, Reason::Over), "an hour is not too old");
    host.site.clock.set(Moment(101 * HOUR + 1));
    assert_eq!(host.judge("anna@example.org", 1), PASS);
    *host.table.down.lock() = false;
    host.read("anna@example.org").await;
    assert_eq!(host.judge("anna@example.org", 1), (Action::Defer, Reason::Over));
}

#[tokio::test]
async fn a_quota_that_is_gone_has_no_opinion_at_once() {
    let host = host();
    host.uses("anna", 1000);
    host.read("anna@example.org").await;
    host.table.used.lock().clear();
    host.read("anna@example.org").await;
    assert_eq!(host.judge("anna@example.org", 1), PASS);
    assert!(host.site.accounting.book.account("anna@example.org").unwrap().lock().unix().is_none());
}

#[tokio::test]
async fn the_grace_period_goes_on_after_a_restart() {
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
    let before = Host::start(ledger.clone(), None);
    before.uses("anna", 1000);
    before.read("anna@example.org").await;
    drop(before);

    let after = Host::start(ledger, None);
    after.uses("anna", 1000);
    after.at(1);
    // A server that is away at the start must not make the ledger forget.
    *after.table.down.lock() = true;
    after.read("anna@example.org").await;
    *after.table.down.lock() = false;
    after.read("anna@example.org").await;
    assert_eq!(after.judge("anna@example.org", 1), (Action::Defer, Reason::Over), "one hour of two is left");
    after.at(2);
    after.read("anna@example.org").await;
    assert_eq!(after.judge("anna@example.org", 1), (Action::Reject, Reason::Over));
    after.uses("anna", 10);
    after.read("anna@example.org").await;
    assert_eq!(after.judge("anna@example.org", 1), PASS);
    let kept = after.site.accounting.book.account("anna@example.org").unwrap().lock().standings_kept();
    assert!(kept.is_empty(), "{kept:?}");
}
