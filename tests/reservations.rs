//! Room that is promised to a message is nobody else's, however many end at once, until the store has it.

mod support {
    pub mod site;
}

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mailquotad::quota::{CellKey, Cells, Moment, Usage};
use mailquotad::service::admission::Admission;
use mailquotad::service::policy::Answer;
use mailquotad::service::socket::Peer;
use mailquotad::wire::policy::{Reply, Request, State};
use support::site::{Site, account, domain};

const MB: u64 = 1 << 20;

fn end_of_message(admission: &Admission, recipient: &str, size: u64) -> bool {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out);
    let request = Request { state: State::EndOfMessage, recipient, recipient_count: 1, size, ..Request::default() };
    admission.answer(&request, &Peer::Unix(None), &mut reply);
    reply.finish();
    out.starts_with(b"action=DUNNO")
}

fn site() -> Site {
    let mut site = Site::new("[enforcement]\nallowance = \"none\"\nreservation_timeout = \"10m\"\n");
    site.load([domain(1, "example.org", "1T"), account(2, "anna@example.org", "100M")]);
    site.holds("anna@example.org", 50 * MB, 1);
    site
}

#[test]
fn of_many_messages_that_end_at_once_those_pass_that_fit() {
    for round in 0..20 {
        let site = site();
        let (admission, accepted) = (site.admission(), AtomicU64::new(0));
        let (threads, each) = (20, 10);
        let together = Barrier::new(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    together.wait();
                    for _ in 0..each {
                        let passed = end_of_message(&admission, "anna@example.org", MB);
                        accepted.fetch_add(u64::from(passed), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(accepted.into_inner(), 50, "round {round}");
    }
}

#[test]
fn room_is_given_back_when_the_store_has_the_message_or_the_time_is_up() {
    let site = site();
    let admission = site.admission();
    let account = site.accounting.book.account("anna@example.org").unwrap();
    let reserved = || account.lock().reserved(site.accounting.clock.now());
    assert!(end_of_message(&admission, "anna@example.org", 30 * MB));
    assert!(!end_of_message(&admission, "anna@example.org", 30 * MB), "only 20 MB are left");
    assert_eq!(reserved(), Usage::new(30 * MB, 1), "what is refused holds nothing");
    // The store reports one message more: it has arrived, and is counted once.
    let cells: Cells = [(CellKey::new("INBOX", None), Usage::new(80 * MB, 2))].into_iter().collect();
    let revision = account.lock().revision;
    drop(site.accounting.measured(&account, revision, cells, Moment(1)));
    assert_eq!(reserved(), Usage::ZERO);
    assert!(end_of_message(&admission, "anna@example.org", 20 * MB));
    assert!(!end_of_message(&admission, "anna@example.org", 1));
    // What never arrives is let go.
    let now = site.accounting.clock.now();
    site.clock.set(now.after(Duration::from_secs(599)));
    assert_eq!(reserved(), Usage::new(20 * MB, 1));
    site.clock.set(now.after(Duration::from_secs(601)));
    assert_eq!(reserved(), Usage::ZERO);
}
