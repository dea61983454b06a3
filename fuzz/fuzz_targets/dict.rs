//! The bytes of a connection: however they are cut up, they mean the same, and replies are whole lines.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::service::conversation::Conversation;
use mailquotad::service::dict::{Broken, Change, Dialog, Keeper};
use mailquotad::service::socket::Peer;
use mailquotad::wire::dict::Committed;
use mailquotad::wire::dict::key::Key;

/// Throws back whatever the client said, which is the worst that a reply's text can hold.
struct Parrot;

impl Keeper for Parrot {
    fn look_up(&self, user: &str, key: Key<'_>) -> Option<u64> {
        (key != Key::Other).then_some(user.len() as u64)
    }

    fn commit(&self, user: &str, changes: &[Change], _: &Peer) -> Committed {
        match changes.last() {
            Some(change) => Committed::Failed(format!("{user}{}", change.key)),
            None => Committed::NotFound,
        }
    }
}

fn replies(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<Broken>) {
    let peer = Peer::Unix(None);
    let mut conversation = Conversation::new(Dialog::new(&Parrot, &peer));
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
                Err(broken) => return (conversation.output().to_vec(), Some(broken)),
            }
        }
    }
    (conversation.output().to_vec(), None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let at_once = replies(bytes, usize::MAX);
    assert_eq!(at_once, replies(bytes, usize::from(piece).max(1)));
    assert!(at_once.0.is_empty() || at_once.0.ends_with(b"\n"));
    assert!(!at_once.0.contains(&0) && !at_once.0.contains(&b'\r'));
});
