//! What parses prints to a text that parses to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::endpoint::Endpoint;

fuzz_target!(|text: &str| {
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }
});
