//! The bytes of a connection: however they are cut up, they mean the same, and every reply is one line.

#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use mailquotad::service::policy::{Answer, PolicyProtocol};
use mailquotad::service::socket::Peer;
use mailquotad::wire::policy::{Code, Reply, Request};

/// Throws back whatever the client said, which is the worst that a reply's text can hold.
struct Parrot;

impl Answer for Parrot {
    fn answer(&self, request: &Request<'_>, _: &Peer, reply: &mut Reply<'_>) {
        if let Some(code) = Code::new(452, 2, 2) {
            reply.refuse(code, format_args!("{}{}", request.recipient, request.sender));
        }
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let replies = |piece| pieces::replies(PolicyProtocol::new(&Parrot, &Peer::Unix(None)), bytes, piece);
    let at_once = replies(usize::MAX);
    assert_eq!(at_once, replies(usize::from(piece).max(1)));
    let text = String::from_utf8(at_once.0).expect("replies are UTF-8");
    for reply in text.split_terminator("\n\n") {
        assert!(reply.starts_with("action=") && !reply.chars().any(char::is_control), "{reply:?}");
    }
});
