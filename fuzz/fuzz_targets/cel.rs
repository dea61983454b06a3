//! A condition is refused with a place that it has, or always comes to `true`, `false` or a fault that CEL knows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::quota::queue::message::{Addressed, Message, Session, VARIABLES};
use mailquotad::wire::cel::{Expression, Fault};

fuzz_target!(|input: (&str, &str, u64)| {
    let (text, word, size) = input;
    match Expression::condition(text, &VARIABLES) {
        Err(error) => {
            let line = text.split('\n').nth(error.line - 1).expect("a line of the text");
            assert!(error.column >= 1 && error.column <= line.chars().count() + 1, "{error}");
        }
        Ok(condition) => {
            assert_eq!(condition.text(), text);
            let session = Session { client: word, client_name: word, helo: "x", login: "anna", context: "", port: 25 };
            let message = Message { sender: word, size, session };
            for rcpt in ["", "anna@example.org", word] {
                // Types are checked when the text is read.
                assert_ne!(condition.holds(&Addressed { message: &message, rcpt }), Err(Fault::Type));
            }
        }
    }
});
