use super::*;
use proptest::prelude::*;

fn printed(subject: &str, body: &str) -> String {
    let from: Sender = "Poststelle Köln <postmaster@example.org>".parse().unwrap();
    let to: Address = "anna@example.org".parse().unwrap();
    let letter = Letter {
        message_id: "1.2@example.org",
        date: Moment(1_700_000_000_000),
        from: &from,
        to: &to,
        headers: vec![("Subject", subject.to_owned())],
        body: body.to_owned(),
    };
    String::from_utf8(letter.print()).unwrap()
}

/// The header fields as a reader unfolds them, and the body.
fn read(letter: &str) -> (Vec<(String, String)>, String) {
    let (head, body) = letter.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ");
    let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    (unfolded.split("\r\n").map(|line| field(line).unwrap()).collect(), body.to_owned())
}

/// Reads encoded words back (RFC 2047 section 6.2).
fn decoded(value: &str) -> String {
    let mut text = String::new();
    let mut bytes = Vec::new();
    for word in value.split(' ') {
        match word.strip_prefix("=?utf-8?B?").and_then(|rest| rest.strip_suffix("?=")) {
            Some(encoded) => {
                let chunk = STANDARD.decode(encoded).unwrap();
                assert!(std::str::from_utf8(&chunk).is_ok(), "no character is cut in two");
                bytes.extend(chunk);
            }
            None => text.push_str(&format!(" {word}")),
        }
    }
    if bytes.is_empty() { text.trim().to_owned() } else { String::from_utf8(bytes).unwrap() + &text }
}

#[test]
fn a_letter_is_what_the_standards_ask_for() {
    let letter = printed("Your mailbox is nearly full", "Hello,\nplease tidy up.\n");
    assert_eq!(
        letter,
        "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nFrom: =?utf-8?B?UG9zdHN0ZWxsZSBLw7Zsbg==?= <postmaster@example.org>\r\n\
         To: anna@example.org\r\nSubject: Your mailbox is nearly full\r\nMessage-ID: <1.2@example.org>\r\n\
         Auto-Submitted: auto-generated\r\nPrecedence: bulk\r\nX-Auto-Response-Suppress: All\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         Hello,\r\nplease tidy up.\r\n"
    );
}

#[test]
fn other_alphabets_are_encoded_in_header_and_body() {
    let subject = "Ihr Postfach ist fast voll: größer als erlaubt, 満杯です, und noch viel mehr davon zu sagen";
    let (headers, body) = read(&printed(subject, "Grüße\n"));
    assert_eq!(decoded(&headers[3].1), subject);
    assert!(headers.contains(&("Content-Transfer-Encoding".into(), "base64".into())));
    assert_eq!(STANDARD.decode(body.replace("\r\n", "")).unwrap(), "Grüße\r\n".as_bytes());
}

#[test]
fn lines_too_long_for_smtp_are_encoded() {
    let (headers, body) = read(&printed("x", &"y".repeat(1000)));
    assert!(headers.contains(&("Content-Transfer-Encoding".into(), "base64".into())));
    assert!(body.split("\r\n").all(|line| line.len() <= 76));
}

#[test]
fn addresses_that_could_do_harm_are_none() {
    for good in ["a@b", "anna.b+x@mail.example.org", "ä@ö.example", "o'neil@example.org"] {
        assert!(good.parse::<Address>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "a",
        "@b",
        "a@",
        "a@b@c",
        "a b@c",
        "a@b c",
        "a\r\n@b",
        "a@b\nBcc: x@y",
        "<a@b>",
        "a,b@c",
        "a@b>",
        "a..b@c",
        "\"a b\"@c",
        "a@[192.0.2.1]",
        "a@-b",
        "a;b@c",
        "a@b\u{2028}c",
        "a\u{0}@b",
    ] {
        assert!(bad.parse::<Address>().is_err(), "{bad:?}");
    }
    assert!(format!("{}@b", "a".repeat(400)).parse::<Address>().is_err());
}

#[test]
fn senders_may_have_a_name() {
    let sender: Sender = "\"Mail, quota\" <q@example.org>".parse().unwrap();
    assert_eq!((&*sender.name, sender.address.as_str()), ("Mail, quota", "q@example.org"));
    assert!("q@example.org".parse::<Sender>().is_ok() && "Name <x".parse::<Sender>().is_err());
    assert!("A\nB <q@example.org>".parse::<Sender>().is_err());
    assert_eq!(phrase("Mail, \"quota\""), "\"Mail, \\\"quota\\\"\"");
}

proptest! {
    #[test]
    fn whatever_the_values_hold_the_header_stays_as_it_is(subject in "(?s).{0,200}", body in "(?s).{0,200}") {
        let letter = printed(&subject, &body);
        let (headers, _) = read(&letter);
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "Subject").collect();
        let expected = [
            "Date", "From", "To", "Message-ID", "Auto-Submitted", "Precedence", "X-Auto-Response-Suppress", "MIME-Version",
            "Content-Type", "Content-Transfer-Encoding",
        ];
        prop_assert_eq!(names, expected);
        prop_assert!(letter.split("\r\n").all(|line| line.len() <= 998 && line.is_ascii() && !line.contains(['\r', '\n'])));
    }

    #[test]
    fn encoded_words_say_what_they_were_given(subject in "[a-z äöü満]{1,200}") {
        let clean = subject.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let (headers, _) = read(&printed(&clean, ""));
        let found = headers.iter().find(|(name, _)| name == "Subject").map(|(_, value)| decoded(value)).unwrap_or_default();
        prop_assert_eq!(found, clean);
    }
}

/// Years of mail have four digits; a clock that is far off must not end the daemon.
#[test]
fn a_date_that_mail_cannot_have_is_left_at_the_beginning() {
    let from: Sender = "postmaster@example.org".parse().unwrap();
    let to: Address = "anna@example.org".parse().unwrap();
    for millis in [253_402_300_800_000, 1 << 60, u64::MAX] {
        let date = Moment(millis);
        let letter = Letter { message_id: "1@x", date, from: &from, to: &to, headers: Vec::new(), body: String::new() };
        assert!(String::from_utf8(letter.print()).unwrap().contains(" Jan 1970 00:00:00 +0000\r\n"), "{millis}");
    }
}
