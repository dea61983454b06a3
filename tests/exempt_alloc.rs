//! Exemptions, types by client and the look for our own notices allocate nothing either.

mod support {
    pub mod asked;
    pub mod counting;
    pub mod organisation;
    pub mod site;
}

use mailquotad::quota::{CellKey, Delta, Moment};
use mailquotad::wire::policy::{Request, State};
use support::asked::ask_read;
use support::counting::allocations;
use support::organisation::Organisation;

const CONFIG: &str = "[notify]\nenabled = true\nfrom = \"q@example.org\"\n\
    [exempt]\nclients = [\"192.0.2.0/24\", \"2001:db8::/32\"]\npolicy_contexts = [\"pbx\"]\nlogins = [\"tel\"]\n\
    senders = [\"@pbx.example\", \"fax@example.net\"]\n[quota.types]\nvoice = [\"audio/*\"]\n\
    [[quota.client]]\ntype = \"voice\"\nclients = [\"198.51.100.0/24\"]\n";

#[test]
fn no_verdict_allocates() {
    let organisation = Organisation::new(CONFIG, Moment(1_000_000));
    organisation.account("full@example.org", "100;#voice%10");
    organisation.account("free@example.org", "100M");
    let fill = vec![(CellKey::new("INBOX", None), Delta { bytes: 200, messages: 1 })];
    organisation.change("full@example.org", fill);
    let none = Request {
        state: State::Rcpt,
        size: 5,
        recipient: "full@example.org",
        sender: "x@elsewhere.example",
        ..Request::default()
    };
    let requests = [
        (none, "action=452"),
        (Request { recipient: "Full+box@Example.ORG", ..none }, "action=452"),
        (Request { client_address: "203.0.113.9", ..none }, "action=452"),
        (Request { client_address: "192.0.2.9", ..none }, "action=DUNNO"),
        (Request { client_address: "2001:db8::9", ..none }, "action=DUNNO"),
        (Request { client_address: "198.51.100.9", ..none }, "action=DUNNO"),
        (Request { client_address: "198.51.100.9", size: 11, ..none }, "action=552"),
        (Request { policy_context: "pbx", ..none }, "action=DUNNO"),
        (Request { sasl_username: "tel", ..none }, "action=DUNNO"),
        (Request { sender: "a@PBX.example", ..none }, "action=DUNNO"),
        (Request { sender: "q@example.org", ..none }, "action=DUNNO"),
        (Request { sender: "q@example.org", size: 1 << 20, ..none }, "action=552"),
        (Request { recipient: "free@example.org", ..none }, "action=DUNNO"),
        (Request { recipient: "nobody@example.org", ..none }, "action=DUNNO"),
    ];
    let mut output = Vec::with_capacity(1 << 16);
    for (request, expected) in &requests {
        let counted = ask_read(&organisation.admission, request, &mut output);
        let reply = String::from_utf8_lossy(&output);
        assert!(reply.starts_with(expected), "{request:?}: {reply}");
        assert_eq!(counted, 0, "{request:?}");
    }
    // The witness would have noticed.
    let before = allocations();
    std::hint::black_box(Vec::<u8>::with_capacity(10));
    assert_eq!(allocations() - before, 1);
}
