//! Puts requests to the verdicts as the policy server does, and counts what that allocates.
#![allow(dead_code, reason = "each test uses another part")]

use mailquotad::service::admission::Admission;
use mailquotad::service::policy::Answer;
use mailquotad::service::socket::Peer;
use mailquotad::wire::policy::{Parser, Reply, Request};

use super::counting::allocations;

/// The reply to a request, in bytes, goes into `out`; how often that allocated, from the bytes of the one to those of
/// the other.
pub fn ask(admission: &Admission, text: &str, out: &mut Vec<u8>) -> u64 {
    settled(out, |out| {
        let mut parser = Parser::default();
        let (request, _) = parser.parse(text.as_bytes()).unwrap().unwrap();
        answer(admission, &request, out);
    })
}

/// The same without the reading.
pub fn ask_read(admission: &Admission, request: &Request<'_>, out: &mut Vec<u8>) -> u64 {
    settled(out, |out| answer(admission, request, out))
}

fn answer(admission: &Admission, request: &Request<'_>, out: &mut Vec<u8>) {
    let mut reply = Reply::new(out);
    admission.answer(request, &Peer::Unix(None), &mut reply);
    reply.finish();
}

/// The first of its kind may grow a table or register a counter; from then on nothing does.
fn settled(out: &mut Vec<u8>, mut ask: impl FnMut(&mut Vec<u8>)) -> u64 {
    let mut counted = u64::MAX;
    for _ in 0..3 {
        out.clear();
        let before = allocations();
        ask(out);
        counted = allocations() - before;
    }
    counted
}
