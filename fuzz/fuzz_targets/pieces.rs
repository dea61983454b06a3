//! A connection's bytes, cut into pieces.

use mailquotad::service::conversation::{Conversation, Protocol};

/// What a protocol replies to `bytes` that arrive `piece` at a time, and why it hangs up, if it does.
pub fn replies<P: Protocol>(protocol: P, bytes: &[u8], piece: usize) -> (Vec<u8>, Option<P::Invalid>) {
    let mut conversation = Conversation::new(protocol);
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
