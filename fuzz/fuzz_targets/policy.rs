//! The bytes of a connection: however they are cut up, they mean the same, and every reply is one line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::service::conversation::Conversation;
use mailquotad::service::policy::{Answer, PolicyProtocol};
use mailquotad::service::socket::Peer;
use mailquotad::wire::policy::{Code, Invalid, Reply, Request};

/// Throws back whatever the client said, which is the worst that a reply's text can hold.
struct Parrot;

impl Answer for Parrot {
    fn answer(&self, request: &Request<'_>, _: &Peer, reply: &mut Reply<'_>) {
        if let Some(code) = Code::new(452, 2, 2) {
            reply.refuse(code, format_args!("{}{}", request.recipient, request.sender));
        }
    }
}

fn replies(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<Invalid>) {
    let mut conversation = Conversation::new(PolicyProtocol::new(&Parrot, &Peer::Unix(None)));
    let mut rest = bytes;
    while !rest.is_empty() {
        let space = conversation.space();
        assert!(!space.is_empty());
        let count = space.len().min(piece).min(rest.len());
        space[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        conversation.received(count);
        loop {
            match conversation.answer() {
                Ok(true) => {}
                Ok(false) => break,
                Err(invalid) => return (conversation.output().to_vec(), Some(invalid)),
            }
        }
    }
    (conversation.output().to_vec(), None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let at_once = replies(bytes, usize::MAX);
    assert_eq!(at_once, replies(bytes, usize::from(piece).max(1)));
    let text = String::from_utf8(at_once.0).expect("replies are UTF-8");
    for reply in text.split_terminator("\n\n") {
        assert!(reply.starts_with("action=") && !reply.chars().any(char::is_control), "{reply:?}");
    }
});
