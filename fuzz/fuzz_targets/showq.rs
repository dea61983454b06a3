//! A list means the same however it is cut up, and is complete at its end only.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::listed::Listed;
use mailquotad::wire::showq::{Invalid, Reader};

fn read(bytes: &[u8], piece: usize) -> (Vec<Listed>, Result<bool, Invalid>) {
    let (mut reader, mut shown) = (Reader::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        if let Err(invalid) = reader.feed(piece, &mut |message| shown.push(message.clone())) {
            return (shown, Err(invalid));
        }
    }
    let complete = reader.is_complete();
    (shown, Ok(complete))
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let at_once = read(bytes, usize::MAX);
    assert_eq!(at_once, read(bytes, usize::from(piece).max(1)));
    for message in &at_once.0 {
        assert!(!message.id.is_empty());
        assert!(message.recipients().all(|recipient| !recipient.contains('\0')));
    }
    if at_once.1 == Ok(true) {
        let more = [bytes, b"x\0"].concat();
        assert_eq!(read(&more, usize::MAX).1, Err(Invalid::Trailing));
    }
});
