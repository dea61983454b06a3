//! A policy server on a real socket, with the real verdict over a handful of accounts.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use mailquotad::account::Statuses;
use mailquotad::quota::standing::Starts;
use mailquotad::quota::verdict::{Allowance, Filling, Policy, Recipient, Untold, decide};
use mailquotad::quota::{Action, Grace, Level, Limit, Moment, Reason, Standing, Usage};
use mailquotad::service::listener::{self, Ended, Limits, Threads};
use mailquotad::service::paced::Pace;
use mailquotad::service::policy::{Answer, PolicySession};
use mailquotad::service::socket::{Access, Bound, Peer, Stream};
use mailquotad::telemetry::metrics::Metrics;
use mailquotad::wire::endpoint::Endpoint;
use mailquotad::wire::policy::{Code, Reply, Request};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The accounts of the dialogs, each with a limit of 1000 bytes: `room@example.org` uses nothing,
/// `full@example.org` all of it in the grace period, `blocked@example.org` all of it for too long.
#[derive(Clone)]
pub struct Accounts;

impl Answer for Accounts {
    fn answer(&self, request: &Request<'_>, _: &Peer, reply: &mut Reply<'_>) {
        let hour = Duration::from_secs(3600);
        let grace = Grace { threshold: 90, period: hour, starts: Starts::AtLimit };
        let policy = Policy { enforce: true, max_size: None, allowance: Allowance::None, grace, domain_grace: grace };
        let since = |level, since| Standing { level, since: Some(Moment(since)) };
        let now = Moment(10 * 3_600_000);
        let (used, standing) = match request.recipient {
            "room@example.org" => (0, Standing::UNDER),
            "full@example.org" => (1000, since(Level::Over, now.0)),
            "blocked@example.org" => (1000, since(Level::Blocked, 0)),
            _ => return,
        };
        let limit = Limit { bytes: Some(1000), messages: None };
        let roots = [Filling { limit, used: Usage::new(used, 1), standing, ..Filling::default() }];
        let recipient = Recipient::Account { statuses: Statuses::default(), standing, domain: None, roots: &roots };
        let verdict = decide(request.size, &recipient, &policy, now, &mut Untold);
        match (verdict.action, verdict.reason) {
            (Action::Pass, _) => reply.dunno(),
            (Action::Reject, Reason::LargerThanLimit) => refuse(reply, 552, 3, "Message too large for the mailbox"),
            (Action::Defer, _) => refuse(reply, 452, 2, "Mailbox full"),
            (Action::Reject, _) => refuse(reply, 552, 2, "Mailbox full"),
        }
    }
}

fn refuse(reply: &mut Reply<'_>, smtp: u16, detail: u16, text: &str) {
    reply.refuse(Code::new(smtp, 2, detail).unwrap(), text);
}

/// Long enough for any test to end first.
pub const NEVER: Duration = Duration::from_secs(600);

pub const UNHURRIED: Pace = Pace { idle: NEVER, request: NEVER };

pub struct Server {
    pub at: Endpoint,
    stop: CancellationToken,
    running: JoinHandle<std::io::Result<Ended>>,
    runtime: Runtime,
    metrics: Arc<Metrics>,
}

impl Server {
    pub fn start(answer: impl Answer, pace: Pace, limits: Limits) -> Server {
        Server::at(&"127.0.0.1:0".parse().unwrap(), answer, pace, limits)
    }

    pub fn at(at: &Endpoint, answer: impl Answer, pace: Pace, limits: Limits) -> Server {
        Server::on(vec![Bound::bind(at, Access::default()).unwrap()], answer, pace, limits)
    }

    /// On several sockets; [`Server::connect`] takes the first.
    pub fn on(bound: Vec<Bound>, answer: impl Answer, pace: Pace, limits: Limits) -> Server {
        super::log::start();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let at = bound[0].endpoint().clone();
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::default());
        let session = PolicySession { answer, pace, metrics: Arc::clone(&metrics) };
        let host = Threads::new("policy", session);
        let running = runtime.spawn(listener::run(bound, limits, host, stop.clone()));
        Server { at, stop, running, runtime, metrics }
    }

    /// Connections that were closed for what they sent, or for how slowly.
    pub fn garbage(&self) -> u64 {
        self.metrics.policy_garbage.get()
    }

    pub fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    pub fn stop(self) -> Ended {
        self.stop.cancel();
        self.runtime.block_on(self.running).unwrap().unwrap()
    }

    pub fn connect(&self) -> Stream {
        let stream = Stream::connect(&self.at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream
    }
}

pub const ROOMY: Limits = Limits { connections: 100, drain: NEVER };

pub fn request(recipient: &str) -> String {
    format!("request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient={recipient}\nsize=10\n\n")
}

pub fn send(mut stream: &Stream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

/// One reply, without the empty line.
pub fn receive(mut stream: &Stream) -> String {
    let mut reply = Vec::new();
    let mut byte = [0];
    while !reply.ends_with(b"\n\n") {
        match stream.read(&mut byte) {
            Ok(1) => reply.push(byte[0]),
            ended => panic!("{ended:?} after {:?}", String::from_utf8_lossy(&reply)),
        }
    }
    String::from_utf8(reply).unwrap().trim_end().to_owned()
}

pub fn ask(stream: &Stream, recipient: &str) -> String {
    send(stream, &request(recipient));
    receive(stream)
}

/// Waits until the server hangs up, and yields what it said before. A reset is a hanging up too: it had not read
/// all that was sent.
pub fn rest(mut stream: &Stream) -> String {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
            panic!("the server did not hang up: {error}")
        }
        _ => String::from_utf8(rest).unwrap(),
    }
}

/// The peer as the server sees and logs it.
pub fn name(stream: &Stream) -> String {
    match stream {
        Stream::Tcp(stream) => format!("client={} ", stream.local_addr().unwrap()),
        Stream::Unix(_) => panic!("the ends of unix connections have no names"),
    }
}
