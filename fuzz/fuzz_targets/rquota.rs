//! Replies of RPC: what is cut off is never read as something else, and what stands behind one changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::rquota::{self, Answer, Invalid, Whose};

fuzz_target!(|input: (&[u8], &str, u32)| {
    let (message, path, id) = input;
    let _ = (rquota::xid(message), rquota::read_port(message));
    let read = rquota::read_quota(message);
    let longer = [message, &[0, 0, 0, 1]].concat();
    if read != Err(Invalid::Short) {
        assert_eq!(rquota::read_quota(&longer), read);
    }
    if let Ok(Answer::Quota(_)) = read {
        // Ten numbers, of which the last ends with the message or before.
        assert!(message.len() >= 40);
        for length in 0..40 {
            assert_eq!(rquota::read_quota(&message[..length]), Err(Invalid::Short));
        }
    }
    for whose in [Whose::User, Whose::Group] {
        let call = rquota::ask_quota(id, whose, path, id);
        assert_eq!((rquota::xid(&call), call.len() % 4), (Some(id), 0));
        // A call is no reply.
        assert!(rquota::read_quota(&call).is_err());
        let record = rquota::record(&call);
        let (mark, rest) = record.split_first_chunk().expect("a mark");
        assert_eq!(rquota::fragment(*mark), (rest.len(), true));
    }
});
