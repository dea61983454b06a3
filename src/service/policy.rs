//! The policy server's session: requests of the Postfix policy protocol in, replies out, in order.
//!
//! [`Conversation`] is the session without its socket, so that tests and fuzzers can cut up the bytes as they
//! like; [`PolicySession`] puts it on a thread. Neither allocates once a connection is open.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::events;
use crate::telemetry::metrics::Metrics;
use crate::wire::policy::{Invalid, Parser, REQUEST_LIMIT, Reply, Request, State};

use super::listener::{Connection, Session};
use super::paced::{Pace, Paced, Stalled};
use super::socket::Peer;

/// Says what is to become of a message. It is asked on the session's thread, for states RCPT and
/// END-OF-MESSAGE only; a reply that is left empty is DUNNO. On the hot path: no I/O, no allocation, no lock
/// that a writer holds long.
pub trait Answer: Send + Sync + 'static {
    fn answer(&self, request: &Request<'_>, peer: &Peer, reply: &mut Reply<'_>);
}

impl<A: Answer + ?Sized> Answer for Arc<A> {
    fn answer(&self, request: &Request<'_>, peer: &Peer, reply: &mut Reply<'_>) {
        (**self).answer(request, peer, reply);
    }
}

/// Replies are written once this many bytes have gathered, or when there is no more to answer.
const WRITE_AT: usize = 16 * 1024;

/// The bytes of one connection.
pub struct Conversation {
    parser: Parser,
    input: Box<[u8]>,
    /// What has been read and not been answered is `input[begin..end]`.
    begin: usize,
    end: usize,
    output: Vec<u8>,
}

impl Default for Conversation {
    fn default() -> Conversation {
        Conversation {
            parser: Parser::default(),
            input: vec![0; REQUEST_LIMIT].into(),
            begin: 0,
            end: 0,
            output: Vec::with_capacity(WRITE_AT + Reply::LIMIT),
        }
    }
}

impl Conversation {
    /// Where the next bytes are to be put. Never empty while [`Conversation::answer`] said that it needs more:
    /// a request that fills the buffer is refused as too long.
    pub fn space(&mut self) -> &mut [u8] {
        if self.begin > 0 {
            self.input.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        &mut self.input[self.end..]
    }

    /// Says that `count` bytes have been put into the space.
    pub fn received(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.input.len());
    }

    /// Whether a part of a request has been read.
    pub fn within_request(&self) -> bool {
        self.end > self.begin
    }

    /// Answers one request; `false` if none is complete.
    pub fn answer(&mut self, answers: &(impl Answer + ?Sized), peer: &Peer) -> Result<bool, Invalid> {
        let Some((request, length)) = self.parser.parse(&self.input[self.begin..self.end])? else {
            return Ok(false);
        };
        let mut reply = Reply::new(&mut self.output);
        if matches!(request.state, State::Rcpt | State::EndOfMessage) {
            answers.answer(&request, peer, &mut reply);
        }
        reply.finish();
        self.begin += length;
        Ok(true)
    }

    /// The replies that have not been written.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    pub fn written(&mut self) {
        self.output.clear();
    }
}

/// Serves the protocol on a thread a connection.
pub struct PolicySession<A> {
    pub answer: A,
    /// `idle` should be longer than Postfix's `smtpd_policy_service_max_idle` (300 s), so that Postfix hangs
    /// up first: it tries a connection that the server has closed in vain before it opens another.
    pub pace: Pace,
    pub metrics: Arc<Metrics>,
}

/// As the log calls it.
const SERVICE: &str = "policy";

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Garbage(#[from] Invalid),
    #[error("{0}")]
    Stalled(#[from] Stalled),
    #[error("the client hung up within a request")]
    HalfRequest,
}

impl<A: Answer> Session for PolicySession<A> {
    fn talk(&self, connection: &Connection) {
        let _open = Counted::new(&self.metrics.policy_connections);
        let peer = &connection.peer;
        match self.converse(connection) {
            Ok(()) => {}
            Err(Broken::Stalled(Stalled::Idle)) => events::idle(SERVICE, peer),
            Err(Broken::Stalled(Stalled::Io(error))) => events::client_lost(SERVICE, peer, &error),
            Err(reason @ Broken::HalfRequest) => events::client_lost(SERVICE, peer, &reason),
            Err(reason @ (Broken::Garbage(_) | Broken::Stalled(_))) => {
                self.metrics.policy_garbage.inc();
                events::garbage(SERVICE, peer, &reason);
            }
        }
    }
}

/// Counts in a gauge for as long as it lives, a panic included.
struct Counted<'a>(&'a Gauge);

impl Counted<'_> {
    fn new(gauge: &Gauge) -> Counted<'_> {
        gauge.inc();
        Counted(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl<A: Answer> PolicySession<A> {
    fn converse(&self, connection: &Connection) -> Result<(), Broken> {
        let mut paced = Paced::new(&connection.stream, self.pace).map_err(Stalled::from)?;
        let mut conversation = Conversation::default();
        loop {
            let within = conversation.within_request();
            let count = paced.read(conversation.space(), within)?;
            if count == 0 {
                return match within && !connection.stopping() {
                    true => Err(Broken::HalfRequest),
                    false => Ok(()),
                };
            }
            conversation.received(count);
            let answered = self.answer_all(&mut conversation, connection, &mut paced);
            // What came before the garbage was sound and has its replies.
            if !conversation.output().is_empty() {
                paced.write(conversation.output())?;
                conversation.written();
            }
            answered?;
            if connection.stopping() {
                return Ok(());
            }
        }
    }

    fn answer_all(&self, said: &mut Conversation, connection: &Connection, paced: &mut Paced) -> Result<(), Broken> {
        while said.answer(&self.answer, &connection.peer)? {
            paced.completed();
            if said.output().len() >= WRITE_AT {
                paced.write(said.output())?;
                said.written();
            }
        }
        Ok(())
    }
}
