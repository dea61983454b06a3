//! Whatever its words are, a notice has the header that it was given and no other, in lines that may be sent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::quota::Moment;
use mailquotad::wire::notice::{Address, Letter, Sender};

const NAMES: [&str; 12] = [
    "Date",
    "From",
    "To",
    "Subject",
    "X-Quota",
    "Message-ID",
    "Auto-Submitted",
    "Precedence",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

fuzz_target!(|input: (&str, &str, &str, &str, u64)| {
    let (to, subject, quota, body, date) = input;
    let from: Sender = "Mail quota <postmaster@example.org>".parse().expect("a sender");
    let to: Address = to.parse().unwrap_or_else(|_| "anna@example.org".parse().expect("an address"));
    let headers = vec![("Subject", subject.to_owned()), ("X-Quota", quota.to_owned())];
    let letter = Letter { message_id: "1@x", date: Moment(date), from: &from, to: &to, headers, body: body.to_owned() };
    let text = String::from_utf8(letter.print()).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a header and a body");
    let mut names = Vec::new();
    for line in head.split("\r\n") {
        assert!(line.len() <= 998 && !line.chars().any(char::is_control) && !line.trim().is_empty(), "{line:?}");
        // Only the address may be in another alphabet.
        assert!(line.is_ascii() || line.contains(to.as_str()), "{line:?}");
        if !line.starts_with(' ') {
            names.push(line.split_once(':').expect("a field").0);
        }
    }
    assert_eq!(names, NAMES);
    assert!(body.is_empty() || body.ends_with("\r\n"));
    for line in body.split("\r\n") {
        assert!(line.len() <= 998 && line.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)), "{line:?}");
    }
});
