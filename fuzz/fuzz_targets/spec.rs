//! What parses as a quota prints to what parses to the same, and a fault has its place in the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::quota::Units;
use mailquotad::quota::rule::Rule;
use mailquotad::quota::spec::{Measure, Spec};
use mailquotad::quota::warning::Warning;

fuzz_target!(|text: &str| {
    for measure in [Measure::Bytes(Units::Binary), Measure::Bytes(Units::Decimal), Measure::Messages] {
        match Spec::parse(text, measure) {
            Ok(spec) => assert_eq!(Spec::parse(&spec.display(measure).to_string(), measure).as_ref(), Ok(&spec)),
            Err(error) => assert!(error.character() <= text.chars().count() + 1, "{error}"),
        }
    }
    let _ =
        (Rule::parse(text).map_err(|error| error.to_string()), Warning::parse(text).map_err(|error| error.to_string()));
});
