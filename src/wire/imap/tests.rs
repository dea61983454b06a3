use super::command::{Command, login_name, sasl_plain};
use super::*;
use proptest::prelude::*;

/// Reads one response that ends where `bytes` end.
fn one(bytes: &[u8]) -> Response<'_> {
    let (response, length) = parse(bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len(), "{}", bytes.escape_ascii());
    response
}

fn listed(line: &str) -> (String, Option<char>, bool) {
    match one(line.as_bytes()) {
        Response::Mailbox(Mailbox { name, separator, selectable }) => {
            (String::from_utf8_lossy(&name).into_owned(), separator.map(char::from), selectable)
        }
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn mailboxes() {
    for (line, name, separator, selectable) in [
        ("* LIST () \"/\" INBOX\r\n", "INBOX", Some('/'), true),
        ("* LIST (\\HasNoChildren) \".\" \"INBOX.Sent Mail\"\r\n", "INBOX.Sent Mail", Some('.'), true),
        ("* LIST (\\Noselect \\HasChildren) \"/\" \"Public\"\r\n", "Public", Some('/'), false),
        ("* LIST (\\NonExistent \\Subscribed) \"/\" gone\r\n", "gone", Some('/'), false),
        ("* list (\\NOSELECT) nil \"flat\"\r\n", "flat", None, false),
        ("* LIST () NIL {7}\r\nquo\"te\\\r\n", "quo\"te\\", None, true),
        ("* LIST () \"\\\\\" \"a\\\\b\\\"c\"\r\n", "a\\b\"c", Some('\\'), true),
        ("* LIST () \"/\" {5+}\r\nliter\r\n", "liter", Some('/'), true),
        ("* LIST () \"/\" ~{3}\r\na\nb\r\n", "a\nb", Some('/'), true),
        ("* LIST () \"/\" \"\"\r\n", "", Some('/'), true),
        ("* LIST () \"/\" &ZeVnLIqe-]\r\n", "&ZeVnLIqe-]", Some('/'), true),
        ("* LIST (\\Marked) \"/\" x (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n", "x", Some('/'), true),
        ("* LIST (\\Marked)  \"/\"  x\n", "x", Some('/'), true),
    ] {
        assert_eq!(listed(line), (name.to_owned(), separator, selectable), "{line}");
    }
}

#[test]
fn figures_of_a_mailbox() {
    let figures = |line: &str| match one(line.as_bytes()) {
        Response::Status(found) => {
            let name = String::from_utf8_lossy(&found.name).into_owned();
            (name, found.messages, found.size, found.uid_next, found.uid_validity)
        }
        other => panic!("{line}: {other:?}"),
    };
    let named = |name: &str| name.to_owned();
    assert_eq!(
        figures("* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)\r\n"),
        (named("blurdybloop"), Some(231), None, Some(44292), None)
    );
    assert_eq!(
        figures("* STATUS {3}\r\na b (SIZE 18446744073709551615 messages 0 UIDVALIDITY 7)\r\n"),
        (named("a b"), Some(0), Some(u64::MAX), None, Some(7))
    );
    // What nobody asked for is skipped, whatever it is.
    assert_eq!(
        figures("* STATUS \"\" (DELETED 5 MAILBOXID (F22\"1\") X ((\"(\" {1}\r\n)) NIL) SIZE 4 )\r\n"),
        (named(""), None, Some(4), None, None)
    );
    assert_eq!(figures("* STATUS x ()\r\n"), (named("x"), None, None, None, None));
}

#[test]
fn messages() {
    let told = |line: &str| match one(line.as_bytes()) {
        Response::Message(found) => (found.number, found.uid, found.size, found.head.map(|head| head.into_owned())),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(told("* 12 FETCH (UID 5 RFC822.SIZE 44827)\r\n"), (12, Some(5), Some(44827), None));
    assert_eq!(told("* 12 fetch (rfc822.size 44827 uid 5)\r\n"), (12, Some(5), Some(44827), None));
    assert_eq!(told("* 1 FETCH (FLAGS (\\Seen $Junk \\*) UID 9)\r\n"), (1, Some(9), None, None));
    let head = Some(b"Content-Type: audio/wav\r\n\r\n".to_vec());
    for line in [
        "* 1 FETCH (BODY[HEADER.FIELDS (CONTENT-TYPE)] {27}\r\nContent-Type: audio/wav\r\n\r\n UID 2 RFC822.SIZE 3)\r\n",
        "* 1 FETCH (UID 2 BODY[HEADER.FIELDS (\"Content-Type\")]<0> {27}\r\nContent-Type: audio/wav\r\n\r\n RFC822.SIZE 3)\r\n",
        "* 1 FETCH (UID 2 RFC822.SIZE 3 body[header.fields (\"]\" X)] {27+}\r\nContent-Type: audio/wav\r\n\r\n)\r\n",
    ] {
        assert_eq!(told(line), (1, Some(2), Some(3), head.clone()), "{line}");
    }
    assert_eq!(told("* 1 FETCH (BODY[] NIL UID 2)\r\n"), (1, Some(2), None, Some(Vec::new())));
    // A body structure is a list of lists with anything in it.
    let structure =
        "BODYSTRUCTURE ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"U\\\"S\") NIL NIL \"7BIT\" 3 {2}\r\n)) 1)(NIL) \"MIXED\")";
    assert_eq!(told(&format!("* 3 FETCH ({structure} UID 4)\r\n")), (3, Some(4), None, None));
    let deep = format!("* 3 FETCH (X {}{} UID 4)\r\n", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(told(&deep), (3, Some(4), None, None));
}

#[test]
fn outcomes_and_what_is_said_with_them() {
    let done = |line: &str| match one(line.as_bytes()) {
        Response::Done { tag, outcome, said } => (String::from_utf8_lossy(tag).into_owned(), outcome, said),
        other => panic!("{line}: {other:?}"),
    };
    let (tag, outcome, said) = done("m7 OK done {10}\r\n");
    assert_eq!((&*tag, outcome, said.code, &*said.text), ("m7", Outcome::Ok, None, "done {10}"));
    let (_, outcome, said) = done("m7 no [NONEXISTENT] Mailbox doesn't exist: x\r\n");
    assert_eq!((outcome, said.code), (Outcome::No, Some(Code::NonExistent)));
    assert_eq!(said.text, "[NONEXISTENT] Mailbox doesn't exist: x");
    let (_, outcome, said) = done("m7 BAD [x\u{1}y\n");
    assert_eq!((outcome, said), (Outcome::Bad, Said { code: None, text: "[x\u{fffd}y".into() }));
}

#[test]
fn what_servers_say_unasked() {
    let said = |line: &str| match one(line.as_bytes()) {
        Response::Untagged { outcome, said } => (outcome, said.code, said.text),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(said("* OK\r\n"), (Outcome::Ok, None, String::new()));
    assert_eq!(said("* BYE Go\u{7}away\r\n"), (Outcome::Bye, None, "Go\u{fffd}away".to_owned()));
    assert_eq!(said("* PREAUTH hello\r\n").0, Outcome::Preauth);
    assert_eq!(said("* OK [UIDVALIDITY 3857529045] UIDs valid\r\n").1, Some(Code::UidValidity(3_857_529_045)));
    assert_eq!(said("* OK [uidnext 4392] Predicted\r\n").1, Some(Code::UidNext(4392)));
    assert_eq!(said("* OK [HIGHESTMODSEQ 715194045007] x\r\n").1, Some(Code::Other));
    assert_eq!(said("* OK [UIDNEXT 99999999999] x\r\n").1, None);
    assert_eq!(said("* OK [ALERT\r\n").1, None);
    for (line, expected) in [
        ("* 23 EXISTS\r\n", Response::Exists(23)),
        ("* 3 EXPUNGE\r\n", Response::Expunged),
        ("* 5 RECENT\r\n", Response::Other),
        ("* FLAGS (\\Answered {3}\r\n))) x)\r\n", Response::Other),
        ("* ESEARCH (TAG \"A\") UID ALL 1\r\n", Response::Other),
        ("+ \r\n", Response::Continue),
        ("+\r\n", Response::Continue),
        ("+ idling {5}\r\n", Response::Continue),
    ] {
        assert_eq!(one(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn what_a_server_can_do() {
    let can = |words: &str| match one(format!("* CAPABILITY {words}\r\n").as_bytes()) {
        Response::Capabilities(found) => found,
        other => panic!("{words}: {other:?}"),
    };
    let dovecot = can("IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE NAMESPACE LITERAL+ STARTTLS AUTH=PLAIN");
    let expected = Capabilities { sasl_ir: true, namespace: true, starttls: true, auth_plain: true, ..can("") };
    assert_eq!(dovecot, expected);
    assert!(can("imap4REV1 list-STATUS status=size LOGINDISABLED").status_size);
    assert!(can("IMAP4rev1 LOGINDISABLED").login_disabled && !can("IMAP4rev1 AUTH=PLAINISH").auth_plain);
    let (both, rev2) = (can("IMAP4rev1 IMAP4rev2"), can("IMAP4rev2"));
    assert!(!both.status_size && !both.utf8);
    assert!(rev2.status_size && rev2.list_status && rev2.namespace && rev2.sasl_ir && rev2.utf8);
    let greeting = one(b"* OK [CAPABILITY IMAP4rev1 SASL-IR] ready\r\n");
    let Response::Untagged { said, .. } = greeting else { panic!("{greeting:?}") };
    assert_eq!(said.code, Some(Code::Capabilities(can("IMAP4rev1 SASL-IR"))));
}

#[test]
fn whose_mailboxes_there_are() {
    let spaces = |line: &str| match one(line.as_bytes()) {
        Response::Namespaces(found) => found,
        other => panic!("{line}: {other:?}"),
    };
    let space = |prefix: &str, separator| Namespace { prefix: prefix.into(), separator };
    assert_eq!(
        spaces(
            "* NAMESPACE ((\"\" \"/\")(\"#mh/\" \"/\" \"X-PARAM\" (\"FLAG1\" \"FLAG2\"))) NIL ((\"Public/\" NIL) )\r\n"
        ),
        Namespaces {
            own: vec![space("", Some(b'/')), space("#mh/", Some(b'/'))],
            others: vec![],
            shared: vec![space("Public/", None)],
        }
    );
    assert_eq!(
        spaces("* NAMESPACE ((\"INBOX.\" \".\")) ((\"user.\" \".\")) nil\r\n"),
        Namespaces { own: vec![space("INBOX.", Some(b'.'))], others: vec![space("user.", Some(b'.'))], shared: vec![] }
    );
}

#[test]
fn what_is_no_imap() {
    for bytes in [
        "\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
        "220 mail.example.org ESMTP\r\n",
        "*\r\n",
        "*  \r\n",
        "* LIST\r\n",
        "* LIST () \"//\" x\r\n",
        "* LIST (() \"/\" x\r\n",
        "* LIST () \"/\" \"open\r\n",
        "* LIST () \"/\" \"bad\\escape\"\r\n",
        "* LIST () \"/\" {5}x\r\n",
        "* STATUS x MESSAGES 5\r\n",
        "* STATUS x (MESSAGES)\r\n",
        "* STATUS x (MESSAGES -1)\r\n",
        "* STATUS x (MESSAGES 18446744073709551616)\r\n",
        "* STATUS x (UIDNEXT 4294967296)\r\n",
        "* STATUS x (MESSAGES 1\r\n",
        "* NAMESPACE NIL NIL\r\n",
        "* NAMESPACE ((\"\")) NIL NIL\r\n",
        "* 1 FETCH\r\n",
        "* 1 FETCH (UID 1\r\n",
        "* 1 FETCH (UID x)\r\n",
        "* 1 FETCH (BODY[HEADER UID 1)\r\n",
        "* 1 FETCH (X (()\r\n",
        "* 1 FETCH (X )) UID 1)\r\n",
    ] {
        let said = parse(bytes.as_bytes()).unwrap_err().to_string();
        assert!(said.ends_with("is not IMAP"), "{bytes}: {said}");
    }
}

#[test]
fn nothing_is_longer_than_the_limit() {
    let endless = vec![b'x'; RESPONSE_LIMIT + 1];
    assert_eq!(parse(&endless), Err(Invalid::TooLong));
    assert_eq!(parse(&endless[..RESPONSE_LIMIT]), Ok(None));
    for announced in ["1048576", "99999999999", "18446744073709551616", "999999999999999999999999999"] {
        // Refused when it is announced, not when it has come.
        let line = format!("* LIST () \"/\" {{{announced}}}\r\n");
        assert_eq!(parse(line.as_bytes()), Err(Invalid::TooLong), "{announced}");
    }
    let many = "* LIST () \"/\" {0}\r\n ".to_owned() + &"{0}\r\n ".repeat(RESPONSE_LIMIT / 6);
    assert_eq!(parse(many.as_bytes()), Err(Invalid::TooLong));
}

#[test]
fn credentials() {
    assert_eq!(sasl_plain("anna", "mä", "p\" \\").as_deref(), Some("YW5uYQBtw6QAcCIgXA=="));
    assert_eq!(sasl_plain("", "anna*m", "p").as_deref(), Some("AGFubmEqbQBw"));
    assert_eq!(sasl_plain("a\0b", "m", "p"), None);
}

#[test]
fn names_of_logins() {
    for (template, name) in [
        ("%u*%m", Some("a%m@b*q%u")),
        ("%m", Some("q%u")),
        ("%u%%%m", Some("a%m@b%q%u")),
        ("x", Some("x")),
        ("%x", None),
        ("%u%", None),
    ] {
        assert_eq!(login_name(template, "a%m@b", "q%u").as_deref(), name, "{template}");
    }
}

/// What a server reads of a command, with its literals in place.
fn sent(command: Command) -> Vec<u8> {
    command.pieces().concat()
}

#[test]
fn commands() {
    let plain = sent(Command::new("m1", "LOGIN").string(b"anna*m").string(b"p\"\\ w"));
    assert_eq!(String::from_utf8(plain).unwrap(), "m1 LOGIN \"anna*m\" \"p\\\"\\\\ w\"\r\n");
    let literals = Command::new("m1", "LOGIN").string("ä".as_bytes()).string(b"a\r\nm2 DELETE INBOX").pieces();
    let pieces: Vec<String> = literals.into_iter().map(|piece| String::from_utf8(piece).unwrap()).collect();
    assert_eq!(pieces, ["m1 LOGIN {2}\r\n", "ä {18}\r\n", "a\r\nm2 DELETE INBOX\r\n"]);
    let words = Command::new("m1", "LIST \"\"").string(b"*").words("RETURN (STATUS (SIZE))");
    assert_eq!(sent(words), b"m1 LIST \"\" \"*\" RETURN (STATUS (SIZE))\r\n");
}

/// Responses as servers may send them.
fn response() -> impl Strategy<Value = Vec<u8>> {
    let name = proptest::collection::vec(any::<u8>(), 0..12);
    let string = prop_oneof![
        name.clone().prop_map(|text| [format!("{{{}}}\r\n", text.len()).into_bytes(), text].concat()),
        "[ !#-\\[\\]-~]{0,12}".prop_map(|text| format!("\"{text}\"").into_bytes()),
        "[A-Za-z.&,/-]{1,12}".prop_map(String::into_bytes),
    ];
    let list = string.clone().prop_map(|name| [&b"* LIST (\\Marked) \"/\" "[..], &name, b"\r\n"].concat());
    let status = (string.clone(), any::<u64>())
        .prop_map(|(name, size)| [b"* STATUS ", &name[..], format!(" (SIZE {size})\r\n").as_bytes()].concat());
    let fetch = (any::<u32>(), any::<u32>(), string).prop_map(|(number, uid, head)| {
        [format!("* {number} FETCH (UID {uid} BODY[X] ").as_bytes(), &head, b" FLAGS ())\r\n"].concat()
    });
    prop_oneof![list, status, fetch, Just(b"m1 OK [ALERT] x {5}\r\n".to_vec()), Just(b"* 5 EXISTS\r\n".to_vec())]
}

proptest! {
    #[test]
    fn however_it_is_cut_up_it_means_the_same(first in response(), second in response(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(first.len());
        prop_assert_eq!(parse(&first[..cut]), Ok(None));
        let both = [&first[..], &second].concat();
        let (alone, length) = parse(&first).unwrap().unwrap();
        prop_assert_eq!(length, first.len());
        prop_assert_eq!(parse(&both), Ok(Some((alone, length))));
    }

    #[test]
    fn anything_at_all_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Some((_, length))) = parse(&bytes) {
            prop_assert!(length > 0 && length <= bytes.len());
        }
    }

    #[test]
    fn almost_imap_is_read_or_refused(text in "\\* (LIST|STATUS|NAMESPACE|[0-9]{1,3} FETCH|OK)[ ()\"{}\\[\\]0-9A-Za-z\\\\<>~+]{0,60}\r\n") {
        if let Ok(Some((_, length))) = parse(text.as_bytes()) {
            prop_assert_eq!(length, text.len());
        }
    }

    #[test]
    fn a_name_comes_back_as_it_was_sent(name in proptest::collection::vec(any::<u8>(), 0..40)) {
        let sent = sent(Command::new("*", "LIST () \"/\"").string(&name));
        let Response::Mailbox(read) = one(&sent) else { panic!("{}", sent.escape_ascii()) };
        prop_assert_eq!(read.name.into_owned(), name);
    }

    #[test]
    fn what_is_shown_is_one_line_of_bounded_length(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let shown = shown(&bytes);
        prop_assert!(!shown.contains(char::is_control) && shown.chars().count() <= SHOWN);
    }
}
