use super::key::{Key, Resource};
use super::*;
use proptest::prelude::*;

fn read(line: &str, major: u32) -> Result<Command<'_>, Invalid> {
    match parse(line.as_bytes(), major) {
        Ok(Some((command, length))) => {
            assert_eq!(length, line.len());
            Ok(command)
        }
        Ok(None) => panic!("{line:?} is not complete"),
        Err(invalid) => Err(invalid),
    }
}

fn text(text: &str) -> Text<'_> {
    text.into()
}

fn some(name: &str) -> Option<Text<'_>> {
    Some(name.into())
}

#[test]
fn commands_as_dovecot_2_3_sends_them() {
    let commands = [
        ("H3\t2\t0\t\tclone\n", Command::Hello { major: 3, minor: 2, user: None, name: text("clone") }),
        ("Lpriv/quota/storage\tu1\n", Command::Lookup { key: text("priv/quota/storage"), user: some("u1") }),
        ("I1\t0\tpriv/\tu1\n", Command::Iterate { flags: 1, most: 0, paths: vec![text("priv/")], user: some("u1") }),
        ("B1\tu1\n", Command::Begin { id: 1, user: some("u1") }),
        ("S1\tpriv/quota/storage\t0\n", Command::Set { id: 1, key: text("priv/quota/storage"), value: text("0") }),
        ("U1\tpriv/status/Foo\n", Command::Unset { id: 1, key: text("priv/status/Foo") }),
        ("A1\tpriv/quota/storage\t-3244\n", Command::Increase { id: 1, key: text("priv/quota/storage"), by: -3244 }),
        ("P1\tk\tv\n", Command::Append { id: 1, key: text("k") }),
        ("T1\t1700000000\t5\n", Command::Aside { id: 1 }),
        ("C1\n", Command::Commit { id: 1, old: false }),
        ("D1\n", Command::Commit { id: 1, old: true }),
        ("R1\n", Command::Rollback { id: 1 }),
    ];
    for (line, command) in commands {
        assert_eq!(read(line, 3), Ok(command), "{line:?}");
    }
}

#[test]
fn users_stand_where_the_version_puts_them() {
    // Major 2: in HELLO only, and ITERATE goes on with paths.
    let hello = Command::Hello { major: 2, minor: 2, user: some("u1"), name: text("d") };
    assert_eq!(read("H2\t2\t0\tu1\td\n", 2), Ok(hello));
    assert_eq!(read("Lk\tu1\n", 2), Ok(Command::Lookup { key: text("k"), user: None }));
    let paths = vec![text("a"), text("b")];
    assert_eq!(read("I0\t5\ta\tb\n", 2), Ok(Command::Iterate { flags: 0, most: 5, paths, user: None }));
    // Major 4 adds when a value expires; an empty user is none.
    assert_eq!(read("B7\tu1\t0\n", 4), Ok(Command::Begin { id: 7, user: some("u1") }));
    assert_eq!(read("B7\t\t0\n", 4), Ok(Command::Begin { id: 7, user: None }));
    assert_eq!(read("V7\tyes\n", 4), Ok(Command::Aside { id: 7 }));
}

#[test]
fn escapes_are_undone() {
    let folder = "priv/status/a\tb\nc\rd\u{1}e\0f";
    let line = "U1\tpriv/status/a\u{1}tb\u{1}nc\u{1}rd\u{1}1e\u{1}0f\n";
    assert_eq!(read(line, 3), Ok(Command::Unset { id: 1, key: text(folder) }));
    // What is no escape stands for itself, and nothing follows the last one.
    assert_eq!(read("U1\ta\u{1}xb\u{1}\n", 3), Ok(Command::Unset { id: 1, key: text("axb\u{1}") }));
    let replaced = parse(b"U1\t\xff\n", 3).unwrap().unwrap().0;
    assert_eq!(replaced, Command::Unset { id: 1, key: text("\u{fffd}") });
}

#[test]
fn nonsense_is_named() {
    let number = |command, value: &str| Invalid::Number { command, value: value.into() };
    for (line, wrong) in [
        ("\n", Invalid::Empty),
        ("X1\n", Invalid::Command(b'X')),
        ("S1\tk\n", Invalid::Short("SET")),
        ("B\n", number("BEGIN", "")),
        ("C-1\n", number("COMMIT", "-1")),
        ("C4294967296\n", number("COMMIT", "4294967296")),
        ("A1\tk\t9223372036854775808\n", number("ATOMIC_INC", "9223372036854775808")),
        ("H3\n", Invalid::Short("HELLO")),
    ] {
        assert_eq!(read(line, 3), Err(wrong), "{line:?}");
    }
}

#[test]
fn a_line_has_a_limit() {
    let mut line = b"U1\t".to_vec();
    line.resize(LINE_LIMIT - 1, b'x');
    assert_eq!(parse(&line, 3), Ok(None));
    line.push(b'\n');
    assert!(parse(&line, 3).unwrap().is_some());
    line.insert(5, b'x');
    assert_eq!(parse(&line, 3), Err(Invalid::TooLong));
}

#[test]
fn replies_are_lines() {
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(written(&|out| looked_up(out, Ok(Some("12")))), "O12\n");
    assert_eq!(written(&|out| looked_up(out, Ok(None))), "N\n");
    assert_eq!(written(&|out| looked_up(out, Err("a\tb\n"))), "Fa\u{1}tb\u{1}n\n");
    assert_eq!(written(&|out| row(out, "k", Some("v"))), "Ok\tv\n");
    assert_eq!(written(&|out| row(out, "k", None)), "Ok\t\n");
    assert_eq!(written(&rows_end_only), "\n");
    assert_eq!(written(&|out| committed(out, 3, false, &Committed::Done)), "O3\n");
    assert_eq!(written(&|out| committed(out, 3, true, &Committed::NotFound)), "AN3\n");
    assert_eq!(written(&|out| committed(out, 3, false, &Committed::Failed("no".into()))), "F3\tno\n");
}

fn rows_end_only(out: &mut Vec<u8>) {
    rows_end(out);
}

#[test]
fn keys_say_what_they_are() {
    assert_eq!(Key::read("priv/quota/storage"), Key::Storage);
    assert_eq!(Key::read("priv/quota/messages"), Key::Messages);
    assert_eq!(Key::read("priv/quota/limit/storage"), Key::Limit(Resource::Storage));
    assert_eq!(Key::read("priv/status/Archive/2025"), Key::Status("Archive/2025"));
    for other in ["priv/status/", "priv/quota/", "shared/quota/storage", ""] {
        assert_eq!(Key::read(other), Key::Other, "{other:?}");
    }
}

proptest! {
    #[test]
    fn what_is_escaped_reads_back_and_is_one_line(key: String, value: String) {
        let mut line = b"S1\t".to_vec();
        escape(&mut line, &key);
        line.push(b'\t');
        escape(&mut line, &value);
        line.push(b'\n');
        prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let (command, length) = parse(&line, 3).unwrap().unwrap();
        prop_assert_eq!(length, line.len());
        prop_assert_eq!(command, Command::Set { id: 1, key: text(&key), value: text(&value) });
    }

    #[test]
    fn never_panics(bytes: Vec<u8>, major in 0u32..6) {
        let _ = parse(&bytes, major);
    }
}
