//! What parses prints to a filter that parses to the same and finds the same; a value is never more than a value.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::filter::{Filter, escaped};

fuzz_target!(|input: (&str, &str, &[u8])| {
    let (text, name, value) = input;
    let entry = [(name, value), ("objectClass", b"inetMailUser"), ("uid", value)];
    match Filter::parse(text) {
        Ok(filter) => {
            let again = Filter::parse(&filter.to_string());
            assert_eq!(again.as_ref(), Ok(&filter));
            assert_eq!(again.is_ok_and(|again| again.matches(&entry)), filter.matches(&entry));
        }
        Err(error) => assert!(error.character() <= text.chars().count() + 1, "{error}"),
    }
    let asked = Filter::parse(&format!("(uid={})", escaped(value))).expect("a test of one value");
    assert_eq!(asked.attributes(), ["uid"]);
    assert!(asked.matches(&entry));
});
