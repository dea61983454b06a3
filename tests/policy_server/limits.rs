//! Clients that are slow, idle, endless, too many or plain wrong: each is bounded, and the others do not notice.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mailquotad::service::listener::{Ended, Limits};
use mailquotad::service::paced::Pace;
use mailquotad::service::policy::Answer;
use mailquotad::service::socket::{Access, Bound, Peer, Stream};
use mailquotad::wire::policy::{LINE_LIMIT, Reply, Request};

use super::log;
use super::server::*;

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn an_idle_client_is_hung_up_on() {
    let server = Server::start(Accounts, Pace { idle: SHORT, request: NEVER }, ROOMY);
    let client = server.connect();
    assert_eq!(rest(&client), "");
    log::wait(&["event=\"idle\"", &name(&client)]);
}

#[test]
fn a_client_that_sends_a_byte_now_and_then_does_not_hold_a_thread_for_ever() {
    let server = Server::start(Accounts, Pace { idle: NEVER, request: SHORT }, ROOMY);
    let slow = server.connect();
    let peer = name(&slow);
    // Each byte comes long before the limit; only their sum is late. The line limit is farther away than that.
    slow.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let drip = std::thread::spawn(move || {
        let mut sent = 0;
        while sent < LINE_LIMIT && (&slow).write_all(b"x").is_ok() {
            sent += 1;
            if (&slow).read(&mut [0]).is_ok() {
                break;
            }
        }
        (sent, slow)
    });
    let other = server.connect();
    assert_eq!(ask(&other, "full@example.org"), "action=452 4.2.2 Mailbox full");
    let line = log::wait(&["WARN", "event=\"garbage\"", &peer]);
    assert!(line.contains("not complete within its time limit"), "{line}");
    let (sent, slow) = drip.join().unwrap();
    assert!(sent < LINE_LIMIT);
    slow.set_read_timeout(None).unwrap();
    assert_eq!(rest(&slow), "");
    assert_eq!(ask(&other, "room@example.org"), "action=DUNNO");
}

#[test]
fn a_client_that_never_reads_its_replies_is_hung_up_on() {
    let server = Server::start(Accounts, Pace { idle: NEVER, request: Duration::from_secs(2) }, ROOMY);
    let client = server.connect();
    let many = request("full@example.org").repeat(100);
    // Ends when the server has hung up: until then it stops reading, and this blocks.
    while (&client).write_all(many.as_bytes()).is_ok() {}
    let line = log::wait(&["WARN", "event=\"garbage\"", &name(&client)]);
    assert!(line.contains("not taken"), "{line}");
}

#[test]
fn garbage_is_logged_with_its_reason() {
    let server = Server::start(Accounts, UNHURRIED, ROOMY);
    for (garbage, reason) in [
        ("EHLO mx.example.net\r\n", "a line is not name=value"),
        ("\n", "does not hold request=smtpd_access_policy"),
        (&"x".repeat(20_000), "a line is longer than 8192 bytes"),
        (&"a=b\n".repeat(10_000), "the request is longer than 16384 bytes"),
    ] {
        let client = server.connect();
        // The server may hang up before it has all.
        let _ = (&client).write_all(garbage.as_bytes());
        assert_eq!(rest(&client), "");
        let line = log::wait(&["WARN", "event=\"garbage\"", &name(&client)]);
        assert!(line.contains(reason), "{line}");
    }
    assert_eq!(server.garbage(), 4);
}

#[test]
fn half_a_request_gets_no_reply() {
    let server = Server::start(Accounts, UNHURRIED, ROOMY);
    let client = server.connect();
    send(&client, "request=smtpd_access_policy\nprotocol_state=RCPT\n");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&client), "");
    log::wait(&["client-lost", &name(&client), "within a request"]);
}

#[test]
fn sixty_four_kib_of_pipelined_requests_are_answered_in_order() {
    let server = Server::start(Accounts, UNHURRIED, ROOMY);
    let client = server.connect();
    let cast = ["room@example.org", "full@example.org", "blocked@example.org"];
    let replies = ["action=DUNNO", "action=452 4.2.2 Mailbox full", "action=552 5.2.2 Mailbox full"];
    let mut all = String::new();
    let mut count = 0;
    while all.len() < 64 * 1024 {
        all.push_str(&request(cast[count % 3]));
        count += 1;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            send(&client, &all);
            client.shutdown(Shutdown::Write).unwrap();
        });
        for number in 0..count {
            assert_eq!(receive(&client), replies[number % 3], "reply {number} of {count}");
        }
        assert_eq!(rest(&client), "");
    });
}

/// Notes whom it was asked about.
struct Diary(Arc<Mutex<Vec<String>>>);

impl Answer for Diary {
    fn answer(&self, request: &Request<'_>, _: &Peer, _: &mut Reply<'_>) {
        self.0.lock().unwrap().push(request.recipient.into());
    }
}

#[test]
fn a_client_over_the_cap_waits_until_another_goes() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let server = Server::start(Diary(Arc::clone(&asked)), UNHURRIED, Limits { connections: 2, drain: NEVER });
    let (first, second) = (server.connect(), server.connect());
    ask(&first, "first");
    ask(&second, "second");
    log::wait(&["crowded", "connections=2 "]);
    let third = server.connect();
    send(&third, &request("third"));
    ask(&first, "first again");
    ask(&second, "second again");
    drop(first);
    receive(&third);
    assert_eq!(*asked.lock().unwrap(), ["first", "second", "first again", "second again", "third"]);
    ask(&second, "second");
    drop((second, third));
    assert_eq!(server.stop(), Ended::Drained);
}

/// A loop that waits at another socket must not keep a seat there.
#[test]
fn clients_of_one_socket_may_have_all_the_seats_of_several() {
    let bind = |at: &str| Bound::bind(&at.parse().unwrap(), Access::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let unix = format!("unix:{}", folder.path().join("policy.sock").display());
    let sockets = vec![bind("127.0.0.1:0"), bind(&unix), bind("127.0.0.1:0")];
    let server = Server::on(sockets, Accounts, UNHURRIED, Limits { connections: 2, drain: NEVER });
    let (first, second) = (server.connect(), server.connect());
    assert_eq!(ask(&first, "room@example.org"), "action=DUNNO");
    assert_eq!(ask(&second, "room@example.org"), "action=DUNNO");
    // And none is lost: whoever comes to another socket gets the one that becomes free.
    drop(first);
    let other = Stream::connect(&unix.parse().unwrap()).unwrap();
    assert_eq!(ask(&other, "full@example.org"), "action=452 4.2.2 Mailbox full");
    drop((second, other));
    assert_eq!(server.stop(), Ended::Drained);
}

/// Has a bug.
struct Panics;

impl Answer for Panics {
    fn answer(&self, request: &Request<'_>, _: &Peer, _: &mut Reply<'_>) {
        assert_ne!(request.recipient, "bug", "this panic is part of the test");
    }
}

#[test]
fn a_bug_in_the_verdict_costs_one_connection_and_no_seat() {
    let server = Server::start(Panics, UNHURRIED, Limits { connections: 1, drain: NEVER });
    for _ in 0..3 {
        let client = server.connect();
        send(&client, &request("bug"));
        assert_eq!(rest(&client), "");
        log::wait(&["session-panicked", &name(&client)]);
    }
    assert_eq!(ask(&server.connect(), "other"), "action=DUNNO");
    assert_eq!(server.stop(), Ended::Drained);
}
