use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn one(text: &str) -> Result<Record<'_>, LdifError> {
    let mut records = Records::new(text.as_bytes());
    let record = records.next().expect("a record");
    assert!(record.is_err() || records.next().is_none(), "more than one record in {text:?}");
    record
}

/// DN and attributes as text, `dn|name=value|…`.
fn shown(text: &str) -> String {
    let record = one(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let lines = record.lines.iter().map(|line| format!("|{}={}", line.name, String::from_utf8_lossy(&line.value)));
    format!("{}{}", record.dn, lines.collect::<String>())
}

macro_rules! good { ($($name:ident: $text:literal => $shown:literal,)*) => { $(
    #[test] fn $name() { assert_eq!(shown($text), $shown); }
)* } }
good! {
    plain: "dn: a=b\ncn: c\n" => "a=b|cn=c",
    no_line_end: "dn: a=b\ncn: c" => "a=b|cn=c",
    crlf: "dn: a=b\r\ncn: c\r\n\r\n" => "a=b|cn=c",
    version: "version: 1\ndn: a=b\ncn: c\n" => "a=b|cn=c",
    version_and_empty_line: "# x\nversion: 1\n\n\ndn: a=b\ncn: c\n" => "a=b|cn=c",
    byte_order_mark: "\u{feff}version: 1\ndn: a=b\ncn: c\n" => "a=b|cn=c",
    no_space: "dn:a=b\ncn:c\n" => "a=b|cn=c",
    many_spaces: "dn:   a=b\ncn:   c \n" => "a=b|cn=c ",
    folded: "dn: a=\n b\ncn: c\n  d\n e\n" => "a=b|cn=c de",
    folded_to_nothing: "dn: a=b\ncn: c\n \n d\n" => "a=b|cn=cd",
    folded_name: "dn: a=b\nmailU\n serStatus: x\n" => "a=b|mailUserStatus=x",
    folded_character: "dn: a=b\ncn:: w\n 7w\n =\n" => "a=b|cn=ü",
    base64_dn: "dn:: YT3DvA==\ncn: c\n" => "a=ü|cn=c",
    utf8: "dn: a=ü\ncn: Jürgen\n" => "a=ü|cn=Jürgen",
    comments: "# one\n#\n two\ndn: a=b\n# three\n  folded\ncn: c\n#last\n" => "a=b|cn=c",
    comment_alone: "# nothing but this\n\ndn: a=b\ncn: c\n" => "a=b|cn=c",
    empty_value: "dn: a=b\ncn:\nsn: \n" => "a=b|cn=|sn=",
    colons: "dn: a=b\ncn: c:d\nx: y::z\n" => "a=b|cn=c:d|x=y::z",
    options: "dn: a=b\ncn;lang-en: c\n2.5.4.4: d\n" => "a=b|cn;lang-en=c|2.5.4.4=d",
    change_type_add: "dn: a=b\nchangeType: Add\ncn: c\n" => "a=b|cn=c",
    root: "dn:\ncn: c\n" => "|cn=c",
}

macro_rules! bad { ($($name:ident: $text:literal => $message:literal,)*) => { $(
    #[test] fn $name() {
        let error = Records::new($text.as_bytes()).find_map(Result::err).expect("an error").to_string();
        assert!(error.starts_with($message), "{error}");
    }
)* } }
bad! {
    version_2: "version: 2\n" => "1: version `2` is unknown; accepted: version: 1",
    no_dn: "dn: a=b\ncn: c\n\ncn: d\n" => "4: a record begins with `cn`; accepted: dn:",
    second_dn: "dn: a=b\ncn: c\ndn: a=d\ncn: e\n" => "3: a second dn:",
    only_dn: "\ndn: a=b\n\ncn: c\n" => "2: a record has nothing but its dn",
    only_change_type: "dn: a=b\nchangetype: add\n" => "1: a record has nothing but its dn",
    no_colon: "dn: a=b\ncn: c\n d\nwhat\n" => "4: no `:` in the line",
    bad_name: "dn: a=b\nc n: c\n" => "2: `c n` is no attribute name",
    bad_option: "dn: a=b\ncn;: c\n" => "2: `cn;` is no attribute name",
    tab_is_no_fold: "dn: a=b\ncn: c\n\td: e\n" => "3: `\td` is no attribute name",
    url: "dn: a=b\njpegPhoto:< file:///etc/shadow\n" => "2: `jpegPhoto:<` takes a value from a URL",
    modify: "dn: a=b\nchangetype: modify\nadd: cn\ncn: c\n" => "2: `changetype: modify` is a change record",
    late_change_type: "dn: a=b\ncn: c\nchangetype: add\n" => "3: `changetype: add` is a change record",
    control: "dn: a=b\ncontrol: 1.2.3 true\nchangetype: add\ncn: c\n" => "2: a control belongs",
    fold_of_nothing: "\n dn: a=b\n" => "2: a line that begins with a space",
    base64: "dn: a=b\ncn:: c\n" => "2: the value of `cn` is no base64",
    dn_not_utf8: "dn:: /w==\ncn: c\n" => "1: the dn is not UTF-8",
    nul: "dn: a=b\ncn: c\0d\n" => "2: a NUL stands",
    carriage_return: "dn: a=b\ncn: c\rd\n" => "2: a carriage return stands",
}

#[test]
fn a_value_that_is_not_utf8_is_refused_and_base64_of_it_is_not() {
    let error = Records::new(b"dn: a=b\ncn: \xff\n").next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "2: the value of `cn` is not UTF-8; write the value in base64, with ::");
    assert_eq!(*one("dn: a=b\ncn:: /w==\n").unwrap().lines[0].value, [0xff]);
}

#[test]
fn one_pass_finds_every_error_and_every_sound_record() {
    let text = "dn: a=1\ncn c\nsn: x\n\ndn: a=2\ncn: c\n\ndn: a=3\n\ndn: a=4\ncn: c\n\nnonsense\n\ndn: a=5\ncn: c\n";
    let read: Vec<_> = Records::new(text.as_bytes())
        .map(|record| record.map_or_else(|error| error.line.to_string(), |record| record.dn.into_owned()))
        .collect();
    assert_eq!(read, ["2", "a=2", "8", "a=4", "13", "a=5"]);
}

fn edited(text: &str, attribute: &str, old: Option<&str>, new: Option<&str>) -> String {
    let record = Records::new(text.as_bytes()).next().unwrap().unwrap();
    let edit = set_value(text.as_bytes(), &record, attribute, old.map(str::as_bytes), new.map(str::as_bytes)).unwrap();
    String::from_utf8(splice(text.as_bytes(), edit.into_iter().collect())).unwrap()
}

macro_rules! edits { ($($name:ident: $text:literal, $old:expr, $new:expr => $edited:literal,)*) => { $(
    #[test] fn $name() { assert_eq!(edited($text, "st", $old, $new), $edited); }
)* } }
edits! {
    replaces: "dn: a\nST: x\ncn: c\n", Some("x"), Some("y") => "dn: a\nST: y\ncn: c\n",
    replaces_a_fold: "dn: a\nst: x\n y\n z\ncn: c\n", Some("xyz"), Some("q") => "dn: a\nst: q\ncn: c\n",
    replaces_base64: "dn: a\nst:: eA==\n", Some("x"), Some("y") => "dn: a\nst: y\n",
    replaces_at_the_end: "dn: a\nst: x", Some("x"), Some("y") => "dn: a\nst: y",
    keeps_crlf: "dn: a\r\nst: x\r\n", Some("x"), Some("y") => "dn: a\r\nst: y\r\n",
    encodes: "dn: a\nst: x\n", Some("x"), Some(" y") => "dn: a\nst:: IHk=\n",
    inserts: "dn: a\ncn: c\n\ndn: b\ncn: c\n", None, Some("y") => "dn: a\ncn: c\nst: y\n\ndn: b\ncn: c\n",
    inserts_before_a_comment: "dn: a\ncn: c\n# end\n", None, Some("y") => "dn: a\ncn: c\nst: y\n# end\n",
    inserts_crlf: "dn: a\r\ncn: c\r\n", None, Some("y") => "dn: a\r\ncn: c\r\nst: y\r\n",
    inserts_at_the_end: "dn: a\ncn: c", None, Some("y") => "dn: a\ncn: c\nst: y",
    removes: "dn: a\nst: x\n y\ncn: c\n", Some("xy"), None => "dn: a\ncn: c\n",
    leaves_alone: "dn: a\nst: x\n", Some("x"), Some("x") => "dn: a\nst: x\n",
}

#[test]
fn another_value_and_several_values_are_refused() {
    let text = b"dn: a\nst: x\ncn: c\ncn: d\n";
    let record = Records::new(text).next().unwrap().unwrap();
    let found = Some(b"x".to_vec());
    let refused = set_value(text, &record, "st", Some(b"y"), None);
    assert_eq!(refused, Err(Refusal::OtherValue { attribute: "st".into(), found }));
    let refused = set_value(text, &record, "cn", Some(b"c"), None);
    assert_eq!(refused, Err(Refusal::SeveralValues { attribute: "cn".into(), count: 2 }));
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ -~]{0,200}".prop_map(String::into_bytes),
        "[ :<ä\r\n\0]{0,5}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..120)
    ]
}

type Owned = (String, Vec<(String, Vec<u8>)>);

fn records() -> impl Strategy<Value = Vec<Owned>> {
    let name = "[a-z][a-zA-Z0-9-]{0,8}(;[a-z-]{1,4})?".prop_filter("has a meaning of its own", |name| {
        !["dn", "changetype", "control"].contains(&name.to_ascii_lowercase().as_str())
    });
    let values = vec((name, values()), 1..6);
    vec((".{0,90}", values), 1..5)
}

fn printed(records: &[Owned], end: LineEnd) -> Vec<u8> {
    let mut out = Vec::new();
    for (dn, values) in records {
        let values = values.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        write_record(&mut out, dn, values, end);
    }
    out
}

fn read(text: &[u8]) -> Result<Vec<Owned>, LdifError> {
    let line = |line: &Line<'_>| (line.name.clone().into_owned(), line.value.to_vec());
    Records::new(text).map(|r| r.map(|r| (r.dn.into_owned(), r.lines.iter().map(line).collect()))).collect()
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(records in records(), crlf: bool) {
        let end = if crlf { LineEnd::CrLf } else { LineEnd::Lf };
        let text = printed(&records, end);
        prop_assert!(text.split(|byte| *byte == b'\n').all(|line| line.len() <= 77));
        prop_assert_eq!(read(&text), Ok(records));
    }

    #[test]
    fn an_edit_changes_one_value_and_no_other_byte(
        records in records(),
        crlf: bool,
        closed: bool,
        which: prop::sample::Index,
        old in prop::option::of(values()),
        new in prop::option::of(values()),
    ) {
        let mut records = records;
        let at = which.index(records.len());
        // An attribute that the generator of names cannot make.
        if let Some(old) = &old {
            records[at].1.push(("mailUserStatus".into(), old.clone()));
        }
        let mut text = printed(&records, if crlf { LineEnd::CrLf } else { LineEnd::Lf });
        if !closed {
            // The line ends alone: a value may end in a TAB.
            let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
            text.truncate(end);
        }
        let record = Records::new(&text).nth(at).unwrap().unwrap();
        let edit = set_value(&text, &record, "MAILUSERSTATUS", old.as_deref(), new.as_deref()).unwrap();
        let after = splice(&text, edit.iter().cloned().collect());
        if let Some(edit) = &edit {
            prop_assert_eq!(&after[..edit.range.start], &text[..edit.range.start]);
            prop_assert!(after.ends_with(&text[edit.range.end..]));
            // Only its own lines are replaced.
            let own = record.of("mailUserStatus").map(|line| line.span.clone()).next();
            prop_assert_eq!(&edit.range, &own.unwrap_or(record.span.end..record.span.end));
        } else {
            prop_assert_eq!(&after, &text);
        }
        records[at].1.retain(|(name, _)| name != "mailUserStatus");
        let mut reread = read(&after).unwrap();
        let found = reread[at].1.iter().position(|(name, _)| name.eq_ignore_ascii_case("mailuserstatus"));
        let found = found.map(|found| reread[at].1.remove(found).1);
        prop_assert_eq!(found, new);
        prop_assert_eq!(reread, records);
    }

    #[test]
    fn never_panics_and_places_lie_in_the_text(text in vec(prop_oneof![Just(b'\n'), Just(b' '), Just(b':'), Just(b'd'), Just(b'n'), Just(b'#'), any::<u8>()], 0..80)) {
        let lines = text.split(|byte| *byte == b'\n').count();
        for record in Records::new(&text) {
            match record {
                Ok(record) => prop_assert!(record.lines.iter().all(|line| text.get(line.span.clone()).is_some())),
                Err(error) => prop_assert!((1..=lines).contains(&error.line)),
            }
        }
    }
}
