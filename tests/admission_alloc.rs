//! The verdict itself allocates nothing for a message to one recipient, whatever it comes to.

mod support {
    pub mod asked;
    pub mod counting;
    pub mod site;
}

use std::sync::Arc;
use std::time::Duration;

use mailquotad::quota::unix::{Reading, Resource};
use mailquotad::service::admission::Admission;
use mailquotad::service::unixquota::{Options, UnixReading};
use mailquotad::unixquota::{Found, Kind, Readings, UnixQuotas};
use support::asked::ask;
use support::site::{Site, account, domain};

#[test]
fn a_verdict_allocates_nothing() {
    let mut site = Site::new("[enforcement]\nallowance = \"none\"\n");
    site.load([
        domain(1, "example.org", "1T"),
        account(2, "roomy@example.org", "1G"),
        account(3, "full@example.org", "1K"),
        account(4, "blocked@example.org", "1K;Archive%1M"),
    ]);
    for full in ["full@example.org", "blocked@example.org"] {
        site.holds(full, 2000, 2);
    }
    let admission = site.admission();
    for (state, recipient, size, expected) in [
        ("RCPT", "roomy@example.org", 100, "action=DUNNO"),
        ("RCPT", "Roomy+Lists@Example.ORG", 100, "action=DUNNO"),
        ("RCPT", "full@example.org", 100, "action=452 4.2.2"),
        ("RCPT", "full@example.org", 5000, "action=552 5.2.3"),
        ("RCPT", "blocked@example.org", 100, "action=452 4.2.2"),
        ("RCPT", "nobody@example.org", 100, "action=DUNNO"),
        ("RCPT", "nobody@elsewhere.example", 100, "action=DUNNO"),
        ("END-OF-MESSAGE", "full@example.org", 100, "action=452 4.2.2"),
    ] {
        let text = request(state, "", recipient, size);
        assert_eq!(counted(&admission, &text, expected), 0, "{state} {recipient} {size}");
    }
}

/// The examples of `docs/queue-quotas.md`, and what else a condition may do without memory.
const QUOTAS: &str = "
[[queue.quota]]
name = \"pairs\"
key = [\"sender_domain\", \"rcpt_domain\"]
size = \"5M\"
[[queue.quota]]
name = \"example.org\"
match = \"sender_domain == 'example.org'\"
key = [\"rcpt\"]
messages = 1
[[queue.quota]]
name = \"everything\"
messages = 100000
size = \"10G\"
[[queue.quota]]
name = \"users\"
match = \"login != '' && !cidr('198.51.100.0/24').containsIP(client) && !login.matches('^list-[0-9]+$')\"
key = [\"sender\", \"rcpt\"]
messages = 200
[[queue.quota]]
name = \"size\"
match = \"size > 10 ? rcpt_domain in ['example.org', 'example.net'] : size * 2 + 1 == 7 && 'x'.size() < 2\"
messages = 1000
";

#[test]
fn nor_does_one_that_queue_quotas_take_part_in() {
    let mut site = Site::new(&format!("[enforcement]\nallowance = \"none\"\n{QUOTAS}"));
    site.load([
        domain(1, "example.org", "1T"),
        account(2, "roomy@example.org", "1G"),
        account(3, "full@example.org", "1K"),
    ]);
    site.holds("full@example.org", 2000, 2);
    let admission = site.admission_with_queues();
    let verp = "bounces+4711-8f3a-anna=example.net-2026-11-22@mail-out-0042.eu-central-1.newsletters.elsewhere.example";
    assert!(verp.len() > 90);
    let end = request("END-OF-MESSAGE", "a@example.org", "roomy@example.org", 100);
    assert_ne!(counted(&admission, &end, "action=DUNNO"), 0, "a message is written down at its end");
    for (sender, recipient, size, expected) in [
        ("a@elsewhere.example", "roomy@example.org", 100, "action=DUNNO"),
        ("A@Elsewhere.EXAMPLE", "Roomy+Lists@Example.ORG", 100, "action=DUNNO"),
        (verp, "roomy@example.org", 100, "action=DUNNO"),
        ("", "nobody@elsewhere.example", 0, "action=DUNNO"),
        ("b@example.org", "nobody@example.org", 100, "action=DUNNO"),
        ("b@example.org", "Roomy@example.org", 100, "action=452 4.3.1"),
        ("a@elsewhere.example", "roomy@example.org", 6 << 20, "action=552 5.3.4"),
        ("a@elsewhere.example", "full@example.org", 100, "action=452 4.2.2"),
    ] {
        let text = request("RCPT", sender, recipient, size);
        assert_eq!(counted(&admission, &text, expected), 0, "{sender} {recipient} {size}");
    }
}

/// Two file systems, with a quota of the user and one of his group on each.
struct Home;

impl UnixQuotas for Home {
    fn read(&self, user: &str) -> Readings {
        let used = if user == "full" { 1000 } else { 10 };
        let bytes = Resource { used, hard: 1000, soft: 900, ..Resource::default() };
        let reading = Reading { bytes, files: Resource { used: 5, hard: 100, ..Resource::default() } };
        let found = |place: &str, kind| Found { place: place.into(), kind, reading };
        let both = |place| [found(place, Kind::User), found(place, Kind::Group)];
        let found = ["/home", "/var/mail"].into_iter().flat_map(both).collect();
        Readings { found, known: true, ..Readings::default() }
    }
}

#[tokio::test]
async fn nor_does_one_on_a_unix_user() {
    let mut site = Site::new("[unix_quota]\ndomains = [\"example.org\"]\n[enforcement]\nallowance = \"none\"\n");
    site.load([
        domain(1, "example.org", "1T"),
        account(2, "roomy@example.org", "1G"),
        account(3, "full@example.org", "1G"),
    ]);
    let long = Duration::from_secs(600);
    let options =
        Options { domains: ["example.org".into()].into(), user_attribute: None, interval: long, timeout: long };
    let reading = UnixReading::new(site.accounting.clone(), Arc::new(Home), options);
    for address in ["roomy@example.org", "full@example.org"] {
        reading.read(&site.accounting.book.account(address).unwrap()).await;
    }
    let admission = site.admission();
    for (recipient, size, expected) in [
        ("roomy@example.org", 100, "action=DUNNO"),
        ("roomy@example.org", 995, "action=452 4.2.2"),
        ("roomy@example.org", 2000, "action=552 5.2.3"),
        ("full@example.org", 100, "action=452 4.2.2"),
    ] {
        let text = request("RCPT", "a@elsewhere.example", recipient, size);
        assert_eq!(counted(&admission, &text, expected), 0, "{recipient} {size}");
    }
}

fn request(state: &str, sender: &str, recipient: &str, size: u64) -> String {
    format!(
        "request=smtpd_access_policy\nprotocol_state={state}\nsender={sender}\nrecipient={recipient}\nsize={size}\n\
         client_address=192.0.2.7\nclient_name=client.example.net\nsasl_username=anna\ninstance=1.2.3\n\
         queue_id={}\n\n",
        if state == "RCPT" { "" } else { "4F00000001" }
    )
}

/// How often a request allocates that is answered so.
fn counted(admission: &Admission, text: &str, expected: &str) -> u64 {
    let mut out = Vec::with_capacity(4096);
    let counted = ask(admission, text, &mut out);
    assert!(out.starts_with(expected.as_bytes()), "{text}: {}", String::from_utf8_lossy(&out));
    counted
}
