//! The lookup server over real sockets, with the real state and verdicts behind it.

mod support {
    pub mod site;
}
#[path = "policy_server/log.rs"]
mod log;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mailquotad::account::{AccountEntry, DomainEntry, Entry, Status};
use mailquotad::account::{GroupEntry, Member};
use mailquotad::quota::Moment;
use mailquotad::service::listener::{self, Ended, Limits, Threads};
use mailquotad::service::lookup::{LookupSession, Lookups};
use mailquotad::service::paced::Pace;
use mailquotad::service::socket::{Access, Bound, Stream};
use mailquotad::wire::endpoint::Endpoint;
use mailquotad::wire::netstring;
use support::site::{Site, account, domain};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const NEVER: Duration = Duration::from_secs(600);
const UNHURRIED: Pace = Pace { idle: NEVER, request: NEVER };
const HOUR: u64 = 3_600_000;

struct Server {
    site: Site,
    at: Vec<Endpoint>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<std::io::Result<Ended>>,
    runtime: tokio::runtime::Runtime,
    _folder: TempDir,
}

impl Server {
    fn start(pace: Pace) -> Server {
        Server::with("", pace)
    }

    /// `settings` is TOML. A site with users and domains that each stand for a situation.
    fn with(settings: &str, pace: Pace) -> Server {
        log::start();
        let mut site = Site::new(settings);
        site.clock.set(Moment(100 * HOUR));
        if !settings.contains("# nothing loaded") {
            site.load(entries());
            site.holds("full@example.org", 1024, 1);
            site.holds("half@example.org", 500, 2);
            site.holds("big@over.example", 4096, 4);
        }
        let folder = TempDir::new().unwrap();
        let unix = Endpoint::Unix(folder.path().join("lookup.sock"));
        let sockets = ["127.0.0.1:0".parse().unwrap(), unix];
        let bound: Vec<Bound> = sockets.iter().map(|at| Bound::bind(at, Access::default()).unwrap()).collect();
        let at = bound.iter().map(|bound| bound.endpoint().clone()).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let session = LookupSession { lookups: Lookups::new(site.admission()), pace, metrics: site.metrics.clone() };
        let (stop, limits) = (CancellationToken::new(), Limits { connections: 20, drain: NEVER });
        let running = runtime.spawn(listener::run(bound, limits, Threads::new("lookup", session), stop.clone()));
        Server { site, at, stop, running, runtime, _folder: folder }
    }

    fn connect(&self) -> Stream {
        let stream = Stream::connect(&self.at[0]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream
    }

    fn look(&self, map: &str, key: &str) -> String {
        ask(&self.connect(), &format!("{map} {key}"))
    }
}

fn entries() -> Vec<Entry> {
    let with = |number, address: &str, quota, change: fn(&mut AccountEntry)| {
        let Entry::Account(mut entry) = account(number, address, quota) else { panic!() };
        change(&mut entry);
        Entry::Account(entry)
    };
    let domain_with = |number, name, quota, change: fn(&mut DomainEntry)| {
        let Entry::Domain(mut entry) = domain(number, name, quota) else { panic!() };
        change(&mut entry);
        Entry::Domain(entry)
    };
    let group = GroupEntry {
        id: mailquotad::account::EntryId(30),
        dn: "cn=team,o=site".into(),
        address: "team@example.org".into(),
        alternates: Vec::new(),
        members: vec![Member::Address("half@example.org".into()), Member::Address("full@example.org".into())],
    };
    vec![
        domain_with(1, "example.org", "", |_| {}),
        domain_with(2, "over.example", "4K", |_| {}),
        domain_with(3, "closed.example", "", |domain| domain.mail_status = Status::Inactive),
        with(10, "half@example.org", "1K", |entry| entry.alternates = vec!["alias@example.org".into()]),
        with(11, "full@example.org", "1K", |_| {}),
        with(12, "off@example.org", "", |entry| entry.mail_status = Status::Disabled),
        with(13, "held@example.org", "", |entry| entry.mail_status = Status::Hold),
        with(14, "big@over.example", "", |_| {}),
        with(15, "any@closed.example", "", |_| {}),
        Entry::Group(group),
    ]
}

fn ask(stream: &Stream, request: &str) -> String {
    send(stream, &netstring_of(request));
    receive(stream)
}

fn netstring_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    netstring::write(&mut bytes, &[text.as_bytes()]);
    bytes
}

fn send(mut stream: &Stream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
}

fn receive(mut stream: &Stream) -> String {
    let mut bytes = Vec::new();
    loop {
        if let Some((content, _)) = netstring::parse(&bytes, 100_000).unwrap() {
            return String::from_utf8(content.to_vec()).unwrap();
        }
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "hung up after {bytes:?}");
        bytes.push(byte[0]);
    }
}

/// Waits until the server hangs up; what it said before.
fn rest(mut stream: &Stream) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("it did not hang up: {error}"),
        _ => rest,
    }
}

fn name(stream: &Stream) -> String {
    match stream {
        Stream::Tcp(stream) => format!("client={} ", stream.local_addr().unwrap()),
        Stream::Unix(_) => unreachable!("the tests of the log use TCP"),
    }
}

/// What a table of questions and answers says. A mail admin can add a line.
const ANSWERS: &str = "
status half@example.org                 | NOTFOUND
status alias@example.org                | NOTFOUND
status full@example.org                 | OK 452 4.2.2 Mailbox is full, try again later
status FULL@Example.ORG                 | OK 452 4.2.2 Mailbox is full, try again later
status <full@example.org>               | OK 452 4.2.2 Mailbox is full, try again later
status full+lists@example.org           | OK 452 4.2.2 Mailbox is full, try again later
status half@example.org 2000            | OK 552 5.2.3 Message is larger than the mailbox may hold
status half@example.org 900             | OK 452 4.2.2 Mailbox has no room for this message, try again later
status half@example.org 100             | NOTFOUND
status half@example.org 99999999999999999999 | OK 552 5.2.3 Message is larger than the mailbox may hold
status team@example.org                 | NOTFOUND
status off@example.org                  | OK 550 5.2.1 Mailbox is disabled
status held@example.org                 | NOTFOUND
status any@closed.example               | OK 450 4.2.1 Mailbox is inactive, try again later
status closed.example                   | OK 450 4.2.1 Mailbox is inactive, try again later
status big@over.example                 | OK 552 5.2.2 Mail storage of this domain is full
status over.example                     | OK 552 5.2.2 Mail storage of this domain is full
status OVER.example                     | OK 552 5.2.2 Mail storage of this domain is full
status example.org                      | NOTFOUND
status nobody@example.org               | NOTFOUND
status someone@elsewhere.example        | NOTFOUND
status elsewhere.example                | NOTFOUND
status @                                | NOTFOUND
status <>                               | NOTFOUND
verdict half@example.org                | OK pass room
verdict full@example.org                | OK defer over 452 4.2.2 Mailbox is full, try again later
verdict over.example                    | OK reject domain-over 552 5.2.2 Mail storage of this domain is full
verdict off@example.org                 | OK reject status-disabled 550 5.2.1 Mailbox is disabled
verdict nobody@example.org              | NOTFOUND
quota half@example.org                  | OK used=500 limit=1024 messages=2 message_limit=-1 standing=under status=active
quota full+x@example.org                | OK used=1024 limit=1024 messages=1 message_limit=-1 standing=over status=active
quota off@example.org                   | OK used=0 limit=-1 messages=0 message_limit=-1 standing=under status=disabled
quota over.example                      | OK used=4096 limit=4096 messages=4 message_limit=-1 standing=blocked status=active
quota team@example.org                  | NOTFOUND
quota nobody@example.org                | NOTFOUND
aliases half@example.org                | PERM no such map; there are status, verdict and quota
";

#[test]
fn every_map_answers_what_the_verdict_is() {
    let server = Server::start(UNHURRIED);
    let client = server.connect();
    let mut asked = 0;
    for line in ANSWERS.trim().lines() {
        let (question, expected) = line.split_once('|').unwrap();
        assert_eq!(ask(&client, question.trim()).trim_end(), expected.trim(), "{question}");
        asked += 1;
    }
    assert!(asked > 30);
    let metrics = server.site.metrics.render();
    assert!(metrics.contains("mailquotad_lookups_total{map=\"status\",result=\"found\"} 13"), "{metrics}");
    assert!(metrics.contains("mailquotad_lookups_total{map=\"unknown\",result=\"error\"} 1"), "{metrics}");
}

#[test]
fn an_answer_changes_with_what_the_mailbox_holds() {
    let server = Server::start(UNHURRIED);
    assert!(server.look("status", "full@example.org").starts_with("OK 452"));
    server.site.holds("full@example.org", 10, 1);
    assert_eq!(server.look("status", "full@example.org"), "NOTFOUND ");
}

#[test]
fn a_lookup_announces_mail_and_holds_no_room() {
    let server = Server::start(UNHURRIED);
    let half = server.site.accounting.book.account("half@example.org").unwrap();
    half.lock().hinted = false;
    server.look("verdict", "half@example.org");
    server.look("quota", "half@example.org");
    assert!(!half.lock().hinted, "whoever only looks announces nothing");
    server.look("status", "half@example.org 100");
    assert!(half.lock().hinted);
    assert_eq!(half.lock().reserved(Moment(100 * HOUR)).messages, 0);
}

#[test]
fn nothing_loaded_is_nobody_known_or_later_as_the_site_wishes() {
    let server = Server::with("# nothing loaded", UNHURRIED);
    assert_eq!(server.look("status", "half@example.org"), "NOTFOUND ");
    let server = Server::with("[policy]\non_failure = \"defer\"\n# nothing loaded", UNHURRIED);
    let later = "451 4.3.0 Quota is not known yet, try again later";
    assert_eq!(server.look("status", "half@example.org"), format!("OK {later}"));
    assert_eq!(server.look("verdict", "half@example.org"), format!("OK defer unavailable {later}"));
    assert_eq!(server.look("quota", "half@example.org"), "NOTFOUND ");
}

#[test]
fn a_unix_socket_answers_too_and_a_half_close_gets_its_answer() {
    let server = Server::start(UNHURRIED);
    let client = Stream::connect(&server.at[1]).unwrap();
    send(&client, &netstring_of("verdict half@example.org"));
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&client), b"12:OK pass room,");
}

#[test]
fn garbage_is_logged_with_its_reason_and_what_came_before_is_answered() {
    let server = Server::start(UNHURRIED);
    let good = netstring_of("verdict half@example.org");
    for (garbage, reason) in [
        (&b"GET / HTTP/1.0\r\n\r\n"[..], "does not begin with its length"),
        (b"012:", "does not begin with its length"),
        (b"9999999999", "does not begin with its length"),
        (b"999999:", "a netstring of 999999 bytes; accepted: up to 8192"),
        (b"5:hello!", "no comma at the end"),
        (b"6:status,", "not a map's name, a space and a key"),
        (b"10:status \xff\xfe\xfd,", "not UTF-8"),
    ] {
        let client = server.connect();
        send(&client, &[&good, garbage].concat());
        assert_eq!(rest(&client), b"12:OK pass room,");
        let line = log::wait(&["WARN", "event=\"garbage\"", "service=\"lookup\"", &name(&client)]);
        assert!(line.contains(reason), "{line}");
    }
    assert_eq!(server.site.metrics.lookup_garbage.get(), 7);
    assert!(server.look("verdict", "half@example.org").starts_with("OK pass"), "others do not notice");
}

#[test]
fn slow_idle_and_half_requests_are_bounded() {
    let short = Duration::from_millis(100);
    let server = Server::start(Pace { idle: NEVER, request: short });
    let slow = server.connect();
    send(&slow, b"30:status half");
    assert_eq!(rest(&slow), b"");
    log::wait(&["event=\"garbage\"", &name(&slow), "not complete within its time limit"]);
    let half = server.connect();
    send(&half, b"30:status half");
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&half), b"");
    let server = Server::start(Pace { idle: short, request: NEVER });
    let idle = server.connect();
    assert_eq!(rest(&idle), b"");
    log::wait(&["event=\"idle\"", "service=\"lookup\"", &name(&idle)]);
}

#[test]
fn pipelined_requests_are_answered_in_order_and_the_longest_fits() {
    let server = Server::start(UNHURRIED);
    let client = server.connect();
    let longest = format!("status {}@example.org", "x".repeat(8 * 1024 - 19));
    assert_eq!(longest.len(), 8 * 1024);
    let questions = [longest.as_str(), "status full@example.org", "verdict half@example.org"];
    let all: Vec<u8> = (0..600).flat_map(|n: usize| netstring_of(questions[n % 3])).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            send(&client, &all);
            client.shutdown(Shutdown::Write).unwrap();
        });
        let answers = ["NOTFOUND ", "OK 452 4.2.2 Mailbox is full, try again later", "OK pass room"];
        for number in 0..600 {
            assert_eq!(receive(&client), answers[number % 3], "reply {number}");
        }
        assert_eq!(rest(&client), b"");
    });
}

#[test]
fn a_stop_answers_what_was_read_and_ends() {
    let server = Server::start(UNHURRIED);
    let client = server.connect();
    assert_eq!(ask(&client, "verdict half@example.org"), "OK pass room");
    server.stop.cancel();
    assert_eq!(rest(&client), b"");
    assert_eq!(server.runtime.block_on(server.running).unwrap().unwrap(), Ended::Drained);
}
