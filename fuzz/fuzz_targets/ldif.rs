//! Changing one value changes that value alone, and what is written reads back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::ldif::{LineEnd, Records, set_value, splice, write_record};

const ATTRIBUTE: &str = "mailUserStatus";

/// DN and values of every record; `None` where one of them is none.
type Read = Option<Vec<(String, Vec<(String, Vec<u8>)>)>>;

fn read(text: &[u8]) -> Read {
    let values = |record: mailquotad::wire::ldif::Record<'_>| {
        let lines = record.lines.iter().map(|line| (line.name.to_string(), line.value.to_vec()));
        (record.dn.to_string(), lines.collect())
    };
    Records::new(text).map(|record| record.ok().map(values)).collect()
}

fuzz_target!(|input: (&[u8], Option<&[u8]>, u8)| {
    let (text, new, which) = input;
    let Some(before) = read(text) else { return };
    let records: Vec<_> = Records::new(text).flatten().collect();
    assert!(records.iter().all(|record| record.lines.iter().all(|line| record.span.contains(&line.span.start))));
    for crlf in [false, true] {
        let end = if crlf { LineEnd::CrLf } else { LineEnd::Lf };
        let mut written = Vec::new();
        for (dn, values) in &before {
            write_record(&mut written, dn, values.iter().map(|(name, value)| (name.as_str(), value.as_slice())), end);
        }
        assert_eq!(read(&written).as_ref(), Some(&before));
    }
    let Some(record) = records.get(usize::from(which)) else { return };
    let old = record.of(ATTRIBUTE).next().map(|line| line.value.to_vec());
    let Ok(Some(edit)) = set_value(text, record, ATTRIBUTE, old.as_deref(), new) else { return };
    let mut expected = before;
    let values = &mut expected[usize::from(which)].1;
    let at = values.iter().position(|(name, _)| name.eq_ignore_ascii_case(ATTRIBUTE));
    match (at, new) {
        (Some(at), Some(new)) => values[at].1 = new.to_vec(),
        (None, Some(new)) => values.push((ATTRIBUTE.to_owned(), new.to_vec())),
        (Some(at), None) => drop(values.remove(at)),
        (None, None) => panic!("nothing was to change"),
    }
    // A record with nothing but its DN is none.
    if !values.is_empty() {
        assert_eq!(read(&splice(text, vec![edit])), Some(expected));
    }
});
