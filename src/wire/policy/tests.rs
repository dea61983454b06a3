use super::*;
use proptest::prelude::*;

const FULL: &[u8] = b"request=smtpd_access_policy\nprotocol_state=END-OF-MESSAGE\nprotocol_name=ESMTP\n\
    helo_name=mx.example.net\nqueue_id=8045F2AB23\nsender=carol@example.net\nrecipient=dave+x@Example.org\n\
    recipient_count=1\nclient_address=192.0.2.7\nclient_name=mx.example.net\ninstance=14c7.6b01ef80.27765.0\n\
    sasl_username=carol\nsize=12345\npolicy_context=in\nserver_address=192.0.2.1\nserver_port=25\n\
    tls_sni=later\n\n";

fn request() -> Request<'static> {
    Request {
        state: State::EndOfMessage,
        sender: "carol@example.net",
        recipient: "dave+x@Example.org",
        recipient_count: 1,
        size: 12345,
        instance: "14c7.6b01ef80.27765.0",
        queue_id: "8045F2AB23",
        client_address: "192.0.2.7",
        client_name: "mx.example.net",
        helo_name: "mx.example.net",
        sasl_username: "carol",
        policy_context: "in",
        server_address: "192.0.2.1",
        server_port: "25",
    }
}

fn parse(bytes: &(impl AsRef<[u8]> + ?Sized)) -> Result<Option<(Request<'_>, usize)>, Invalid> {
    Parser::default().parse(bytes.as_ref())
}

fn policy(lines: &str) -> Vec<u8> {
    format!("request=smtpd_access_policy\n{lines}\n\n").into_bytes()
}

#[test]
fn every_attribute_finds_its_place() {
    assert_eq!(parse(FULL), Ok(Some((request(), FULL.len()))));
}

#[test]
fn lines_may_end_with_crlf_and_come_in_any_order() {
    let text = str::from_utf8(FULL).unwrap().trim_end();
    let backwards: Vec<&str> = text.split('\n').rev().collect();
    let bytes = format!("{}\r\n\r\n", backwards.join("\r\n")).into_bytes();
    assert_eq!(parse(&bytes), Ok(Some((request(), bytes.len()))));
}

#[test]
fn the_first_of_a_repeated_name_counts_even_if_empty() {
    let bytes = policy("recipient=\nrecipient=late@example.org");
    assert_eq!(parse(&bytes).unwrap().unwrap().0.recipient, "");
}

#[test]
fn a_value_may_hold_equals_signs() {
    let bytes = policy("sender=bounce=carol=example.net@list.example");
    assert_eq!(parse(&bytes).unwrap().unwrap().0.sender, "bounce=carol=example.net@list.example");
}

#[test]
fn a_recipient_that_is_not_utf8_is_neither_empty_nor_known() {
    let bytes = b"request=smtpd_access_policy\nrecipient=dav\xe9@example.org\n\n";
    assert_eq!(parse(bytes).unwrap().unwrap().0.recipient, NOT_UTF8);
}

#[test]
fn numbers_stop_at_the_largest() {
    let bytes = policy("size=99999999999999999999999");
    assert_eq!(parse(&bytes).unwrap().unwrap().0.size, u64::MAX);
}

macro_rules! invalid { ($($name:ident: $bytes:expr => $reason:ident,)*) => { $(
    #[test] fn $name() { assert_eq!(parse(&$bytes), Err(Invalid::$reason)); }
)* } }
invalid! {
    no_attribute_at_all: b"\n" => NotPolicy,
    no_request_attribute: b"protocol_state=RCPT\n\n" => NotPolicy,
    another_request: b"request=junk\n\n" => NotPolicy,
    http: b"GET / HTTP/1.1\r\n" => NoEquals,
    negative_size: policy("size=-1") => Size,
    size_in_words: policy("size=large") => Size,
    odd_recipient_count: policy("recipient_count=1.5") => RecipientCount,
    endless_line: [b'x'; LINE_LIMIT + 2] => LongLine,
    long_line: policy(&format!("x={}", "y".repeat(LINE_LIMIT - 1))) => LongLine,
    endless_request: b"a=b\n".repeat(REQUEST_LIMIT / 4) => LongRequest,
}

#[test]
fn the_limits_themselves_are_allowed() {
    let line = policy(&format!("x={}", "y".repeat(LINE_LIMIT - 2)));
    assert!(matches!(parse(&line), Ok(Some(_))));
    let mut whole = b"request=smtpd_access_policy\n".to_vec();
    let left = REQUEST_LIMIT - whole.len() - 1;
    let short = left / 4 - 1;
    whole.extend(b"a=b\n".repeat(short));
    whole.extend(format!("a={}\n\n", "y".repeat(left - 4 * short - 3)).bytes());
    assert_eq!(whole.len(), REQUEST_LIMIT);
    assert!(matches!(parse(&whole), Ok(Some((_, REQUEST_LIMIT)))));
}

fn written(write: impl FnOnce(&mut Reply)) -> String {
    let mut out = b"before".to_vec();
    let mut reply = Reply::new(&mut out);
    write(&mut reply);
    reply.finish();
    String::from_utf8(out.split_off(6)).unwrap()
}

fn full() -> Code {
    Code::new(452, 2, 2).unwrap()
}

#[test]
fn silence_is_dunno_and_the_last_word_counts() {
    assert_eq!(written(|_| ()), "action=DUNNO\n\n");
    assert_eq!(written(|reply| reply.refuse(full(), "Mailbox full")), "action=452 4.2.2 Mailbox full\n\n");
    let twice = |reply: &mut Reply| {
        reply.refuse(full(), "Mailbox full");
        reply.dunno();
    };
    assert_eq!(written(twice), "action=DUNNO\n\n");
}

#[test]
fn a_configured_reply_is_split() {
    assert_eq!(Code::split("452 4.2.2 Mailbox full"), Ok((full(), "Mailbox full")));
    assert_eq!("452 4.2.2".parse(), Ok(full()));
    assert_eq!(full().to_string(), "452 4.2.2");
}

macro_rules! bad_codes { ($($name:ident: $text:literal => $fault:ident,)*) => { $(
    #[test] fn $name() { assert_eq!(Code::split($text).unwrap_err().fault, reply::CodeFault::$fault); }
)* } }
bad_codes! {
    only_a_number_would_permit: "452" => Status,
    empty_would_permit: "" => Smtp,
    ok_would_permit: "OK" => Smtp,
    success: "250 2.0.0 fine" => Smtp,
    disconnects: "421 4.2.2 go away" => Smtp,
    disconnects_too: "521 5.2.2 go away" => Smtp,
    other_class: "452 5.2.2 Mailbox full" => Class,
    no_enhanced_code: "452 Mailbox full" => Status,
    four_numbers: "452 4.2.2.2 Mailbox full" => Status,
    no_text: "452 4.2.2 " => Text,
    line_break: "452 4.2.2 Mailbox\nfull" => Text,
}

proptest! {
    #[test]
    fn however_the_bytes_are_cut_the_requests_are_the_same(
        cuts in proptest::collection::vec(0usize..2 * FULL.len(), 0..12), crlf: bool,
    ) {
        let mut bytes = FULL.repeat(2);
        if crlf {
            bytes = String::from_utf8(bytes).unwrap().replace('\n', "\r\n").into_bytes();
        }
        let mut cuts: Vec<usize> = cuts.into_iter().chain([bytes.len()]).collect();
        cuts.sort_unstable();
        let (mut parser, mut begin, mut found) = (Parser::default(), 0, 0);
        for cut in cuts {
            while let Some((parsed, length)) = parser.parse(&bytes[begin..cut]).unwrap() {
                prop_assert_eq!(parsed, request());
                begin += length;
                found += 1;
            }
        }
        prop_assert_eq!((found, begin), (2, bytes.len()));
    }

    #[test]
    fn any_bytes_at_all_never_panic_and_piecemeal_means_the_same(
        bytes in proptest::collection::vec(prop_oneof![
            Just(b"request=smtpd_access_policy".to_vec()), Just(b"\n".to_vec()), Just(b"\r\n".to_vec()),
            Just(b"recipient=".to_vec()), Just(b"size=1".to_vec()), Just(vec![b'z'; LINE_LIMIT]), any::<Vec<u8>>(),
        ], 0..12).prop_map(|parts| parts.concat()),
        cut: prop::sample::Index,
    ) {
        let at_once = parse(&bytes);
        let mut parser = Parser::default();
        let cut = cut.index(bytes.len() + 1);
        let piecemeal = match parser.parse(&bytes[..cut]) {
            Ok(None) => parser.parse(&bytes),
            early => early,
        };
        prop_assert_eq!(piecemeal, at_once);
    }

    #[test]
    fn a_refusal_is_one_line_that_neither_permits_nor_hangs_up(
        smtp in 0u16..700, subject in 0u16..1200, detail in 0u16..1200, text in "\\PC{0,40}|(?s).{0,700}",
    ) {
        if let Some(code) = Code::new(smtp, subject, detail) {
            let reply = written(|reply| reply.refuse(code, &text));
            prop_assert!(reply.len() <= Reply::LIMIT);
            let action = reply.strip_prefix("action=").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
            prop_assert!(!action.chars().any(char::is_control));
            let start = format!("{smtp} {}.{subject}.{detail} ", smtp / 100);
            prop_assert!(action.starts_with(&start) && (400..600).contains(&smtp) && ![421, 521].contains(&smtp));
        }
    }
}
