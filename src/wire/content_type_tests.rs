use super::*;
use proptest::prelude::*;

#[test]
fn heads_and_their_types() {
    for (head, kind) in [
        ("Content-Type: audio/wav\n\nx", "audio/wav"),
        ("Subject: x\r\ncontent-TYPE: Audio/WAV; name=\"a;b\"\r\n\r\n", "audio/wav"),
        ("Content-Type:\n multipart/voice-message;\n\tversion=2.0;\n boundary=\"=\"\n\n", "multipart/voice-message"),
        ("Content-Type: (a (nested\\) ) one) audio (b) / (c) basic (d)\n\n", "audio/basic"),
        ("Content-Type : text/html\n\n", "text/html"),
        ("Content-Type: audio/wav\nContent-Type: text/html\n\n", "audio/wav"),
        ("Subject: a\n Content-Type: audio/wav\n\n", "text/plain"),
        ("Subject: a\n\nContent-Type: audio/wav\n", "text/plain"),
        ("\nContent-Type: audio/wav\n", "text/plain"),
        ("\r\nContent-Type: audio/wav\n", "text/plain"),
        ("X-Content-Type: audio/wav\nContent-Type-X: audio/wav\n\n", "text/plain"),
        ("Content-Type: audio\n\n", "text/plain"),
        ("Content-Type: audio/wav x\n\n", "text/plain"),
        ("Content-Type: (endless audio/wav\n\n", "text/plain"),
        ("Content-Type:\n\n", "text/plain"),
        ("From ann Mon Jan  1\nContent-Type: audio/wav\n\n", "audio/wav"),
        ("Content-Type: audio/wav", "audio/wav"),
        ("", "text/plain"),
    ] {
        assert_eq!(content_type(head.as_bytes(), true).as_deref(), Some(kind), "{head:?}");
    }
}

#[test]
fn more_is_asked_for_until_the_answer_is_certain() {
    let message = b"Subject: x\r\nContent-Type: multipart/\r\n voice-message\r\nTo: y\r\n\r\n";
    let decided = (0..message.len()).find(|end| content_type(&message[..*end], false).is_some());
    // The `T` after the folded line is what tells that the field has ended.
    assert_eq!(decided, message.windows(3).position(|w| w == b"To:").map(|at| at + 1));
    assert_eq!(content_type(&vec![b'x'; HEAD_LIMIT], false).as_deref(), Some("text/plain"));
}

#[test]
fn exact_beats_wildcard_and_the_first_wins() {
    let table = TypeTable::new([
        ("sound", vec!["audio/*"]),
        ("voice", vec!["multipart/voice-message", "AUDIO/Basic"]),
        ("late", vec!["audio/*", "audio/basic"]),
    ])
    .unwrap();
    let name = |kind| table.find(kind).map(|number| &*table.names()[usize::from(number)]);
    assert_eq!(name("audio/wav"), Some("sound"));
    assert_eq!(name("audio/basic"), Some("voice"));
    assert_eq!(name("multipart/voice-message"), Some("voice"));
    assert_eq!(name("multipart/mixed"), None);
}

#[test]
fn tables_that_are_refused() {
    for pattern in ["audio", "*/*", "audio/", "/wav", "audio/w*", "audio/wav; x=y", "a b/c"] {
        let error = TypeTable::new([("voice", [pattern])]).unwrap_err();
        assert_eq!(error, TypeTableError::Pattern { name: "voice".into(), pattern: pattern.into() });
    }
    assert_eq!(TypeTable::new([("", ["a/b"])]), Err(TypeTableError::Name(String::new())));
    assert_eq!(TypeTable::new([("a", ["a/b"]), ("a", ["a/c"])]), Err(TypeTableError::Repeated("a".into())));
    let many = (0..=TypeTable::MAX).map(|number| (format!("t{number}"), ["a/b"]));
    assert_eq!(TypeTable::new(many), Err(TypeTableError::TooMany(TypeTable::MAX + 1)));
}

proptest! {
    #[test]
    fn any_bytes_have_a_type(head in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(content_type(&head, true).is_some());
    }

    #[test]
    fn a_first_answer_stands(head in r"(Content-Type|X): ?[a/;( \n]{0,9}\n[ \nX]{0,3}(Content-Type: a/b)?\n\n", cut in 0usize..60) {
        let cut = cut.min(head.len());
        if let Some(early) = content_type(&head.as_bytes()[..cut], false) {
            prop_assert_eq!(content_type(head.as_bytes(), true), Some(early));
        }
    }
}
