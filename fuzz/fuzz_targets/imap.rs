//! The bytes of a server: a response is read once it is whole, means the same whatever comes behind it, and a name in
//! it comes back as it was sent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::imap::command::Command;
use mailquotad::wire::imap::{Response, parse};

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some((response, length))) = parse(bytes) else { return };
    assert!(length > 0 && length <= bytes.len());
    assert_eq!(parse(&bytes[..length]), Ok(Some((response.clone(), length))));
    for cut in 0..length {
        assert_eq!(parse(&bytes[..cut]), Ok(None));
    }
    if let Response::Mailbox(mailbox) = response {
        let sent = Command::new("*", "LIST () NIL").string(&mailbox.name).pieces().concat();
        match parse(&sent) {
            Ok(Some((Response::Mailbox(read), _))) => assert_eq!(read.name, mailbox.name),
            other => panic!("{other:?}"),
        }
    }
});
