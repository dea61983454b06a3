//! The policy server: requests of the Postfix policy protocol in, replies out. Nothing is allocated for a request.

use std::sync::Arc;

use crate::telemetry::metrics::Metrics;
use crate::wire::policy::{Invalid, Parser, REQUEST_LIMIT, Reply, Request, State};

use super::conversation::{Protocol, Tally, converse};
use super::listener::{Connection, Session};
use super::paced::Pace;
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

/// The policy protocol on one connection.
pub struct PolicyProtocol<'a, A> {
    parser: Parser,
    answers: &'a A,
    peer: &'a Peer,
}

impl<'a, A> PolicyProtocol<'a, A> {
    pub fn new(answers: &'a A, peer: &'a Peer) -> PolicyProtocol<'a, A> {
        PolicyProtocol { parser: Parser::default(), answers, peer }
    }
}

impl<A: Answer> Protocol for PolicyProtocol<'_, A> {
    type Invalid = Invalid;

    const REQUEST_LIMIT: usize = REQUEST_LIMIT;

    fn answer(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Option<usize>, Invalid> {
        let Some((request, length)) = self.parser.parse(input)? else { return Ok(None) };
        let mut reply = Reply::new(output);
        if matches!(request.state, State::Rcpt | State::EndOfMessage) {
            self.answers.answer(&request, self.peer, &mut reply);
        }
        reply.finish();
        Ok(Some(length))
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

impl<A: Answer> Session for PolicySession<A> {
    fn talk(&self, connection: &Connection) {
        let protocol = PolicyProtocol::new(&self.answer, &connection.peer);
        let tally = Tally { open: &self.metrics.policy_connections, garbage: &self.metrics.policy_garbage };
        converse("policy", connection, self.pace, protocol, tally);
    }
}
