//! The bytes of a connection: however they are cut up, they mean the same, and replies are whole lines.

#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use mailquotad::service::dict::{Change, Dialog, Keeper};
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

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let peer = Peer::Unix(None);
    let replies = |piece| pieces::replies(Dialog::new(&Parrot, &peer), bytes, piece);
    let at_once = replies(usize::MAX);
    assert_eq!(at_once, replies(usize::from(piece).max(1)));
    assert!(at_once.0.is_empty() || at_once.0.ends_with(b"\n"));
    assert!(!at_once.0.contains(&0) && !at_once.0.contains(&b'\r'));
});
