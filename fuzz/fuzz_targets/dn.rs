//! Every spelling of a name comes to the same one, and an entry lies below the one above it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::dn::{Dn, lies_below, normal};

fuzz_target!(|text: &str| {
    let Ok(dn) = Dn::parse(text) else { return };
    let once = normal(text);
    assert_eq!(normal(&once), once);
    assert_eq!(Dn::parse(&once), Ok(dn.clone()));
    assert!(!once.chars().any(char::is_control));
    if let Some(parent) = dn.parent() {
        assert!(lies_below(&once, &parent.to_string()));
        assert!(!lies_below(&parent.to_string(), &once));
    }
});
