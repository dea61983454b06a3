//! The verdict itself allocates nothing for a message to one recipient, whatever it comes to.

mod support {
    pub mod counting;
    pub mod site;
}

use mailquotad::service::policy::Answer;
use mailquotad::service::socket::Peer;
use mailquotad::wire::policy::{Parser, Reply};
use support::counting::allocations;
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
    let peer = Peer::Unix(None);
    let mut out = Vec::with_capacity(4096);
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
        let text = format!(
            "request=smtpd_access_policy\nprotocol_state={state}\nrecipient={recipient}\nsize={size}\ninstance=1.2.3\n\n"
        );
        let mut counted = u64::MAX;
        // The first of its kind may grow a table or register a counter; from then on nothing does.
        for _ in 0..3 {
            out.clear();
            let mut parser = Parser::default();
            let before = allocations();
            let (request, _) = parser.parse(text.as_bytes()).unwrap().unwrap();
            let mut reply = Reply::new(&mut out);
            admission.answer(&request, &peer, &mut reply);
            reply.finish();
            counted = allocations() - before;
        }
        assert!(out.starts_with(expected.as_bytes()), "{recipient}: {}", String::from_utf8_lossy(&out));
        assert_eq!(counted, 0, "{state} {recipient} {size}");
    }
}
