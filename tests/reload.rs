//! Settings that are replaced while the daemon runs, and what the directory has said so far.

mod support {
    pub mod site;
    pub mod wait;
}

use std::sync::Arc;

use mailquotad::account::Entry;
use mailquotad::config::Config;
use mailquotad::quota::Limit;
use mailquotad::service::accounting::Accounting;
use support::site::{Site, account, domain};
use support::wait::until;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A site whose directory is followed.
struct Running {
    accounting: Arc<Accounting>,
    reloaded: watch::Sender<()>,
    _changes: mpsc::Sender<mailquotad::directory::Change>,
    _runtime: Runtime,
}

impl Running {
    fn start(quota: &str, entries: impl IntoIterator<Item = Entry>) -> Running {
        let mut site = Site::new(quota);
        site.load(entries);
        let ((changes, received), reloaded) = (mpsc::channel(1), watch::Sender::new(()));
        let runtime = Runtime::new().unwrap();
        runtime.spawn(site.sync.run(received, reloaded.subscribe(), CancellationToken::new()));
        Running { accounting: site.accounting, reloaded, _changes: changes, _runtime: runtime }
    }

    fn reload(&self, quota: &str) {
        let text = format!("[directory]\nkind = \"ldif\"\nfile = \"/nowhere\"\n{quota}");
        let config = Config::read("site.toml", &text, &Default::default()).unwrap();
        self.accounting.settings.store(Arc::new(config.settings()));
        self.reloaded.send_replace(());
    }

    /// Bytes and messages of the default bucket.
    fn limit(&self, address: &str) -> (Option<u64>, Option<u64>) {
        let Limit { bytes, messages } = self.accounting.book.account(address).unwrap().lock().limits.buckets()[0].limit;
        (bytes, messages)
    }

    fn limit_of_domain(&self, name: &str) -> Option<u64> {
        self.accounting.book.domain(name).unwrap().lock().limit.bytes
    }
}

/// The domain `name` with that limit of its own and that default for its users.
fn domain_with(number: u128, name: &str, quota: &str, users: &str) -> Entry {
    let Entry::Domain(mut entry) = domain(number, name, quota) else { unreachable!("a domain") };
    entry.user_quota = Ok(Some(users.into()));
    Entry::Domain(entry)
}

#[test]
fn the_defaults_of_a_domain_are_merged_with_the_new_ones_of_the_site() {
    let site = Running::start(
        "[quota]\ndefault_messages = \"10\"\n",
        [
            domain_with(1, "example.org", "0", "100;Archive%-2"),
            domain_with(2, "example.net", "", "0"),
            account(3, "anna@example.org", ""),
            account(4, "ben@example.org", "7"),
            account(5, "carl@example.net", ""),
            account(6, "dora@example.com", ""),
        ],
    );
    let limits =
        || ["anna@example.org", "ben@example.org", "carl@example.net", "dora@example.com"].map(|a| site.limit(a));
    let before = [(Some(100), Some(10)), (Some(7), Some(10)), (Some(0), Some(10)), (None, Some(10))];
    assert_eq!(limits(), before);
    assert_eq!(site.limit_of_domain("example.org"), Some(0));

    // What the domain leaves open is the site's, and 0 means something else, for the domain itself too.
    site.reload("[quota]\ndefault_messages = \"20\"\nzero = \"unlimited\"\n");
    let after = [(Some(100), Some(20)), (Some(7), Some(20)), (None, Some(20)), (None, Some(20))];
    until("members have the new defaults", || limits() == after);
    until("the domain has no limit", || site.limit_of_domain("example.org").is_none());

    // And back again: nothing was lost on the way.
    site.reload("[quota]\ndefault_messages = \"10\"\n");
    until("all is as it was", || limits() == before && site.limit_of_domain("example.org") == Some(0));
}

#[test]
fn folders_that_count_again_are_back_in_the_defaults_of_a_domain() {
    let default = "default_mailbox = \"1000;Archive%50\"\n";
    let site = Running::start(
        &format!("[quota]\n{default}folder_quotas = false\n"),
        [domain_with(1, "example.org", "", "-2;Archive%-2"), account(2, "anna@example.org", "")],
    );
    let buckets = || {
        let account = site.accounting.book.account("anna@example.org").unwrap();
        let limits = account.lock().limits.clone();
        limits.buckets().iter().map(|bucket| (bucket.name.to_string(), bucket.limit.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(buckets(), [("default".to_owned(), Some(1000))]);
    site.reload(&format!("[quota]\n{default}"));
    let both = [("default".to_owned(), Some(1000)), ("Archive".to_owned(), Some(50))];
    until("the folder counts", || buckets() == both);
}
