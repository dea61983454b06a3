//! What can be carried over is a condition here, but for its size, its patterns and numbers past 64 bits, of which whoever
//! carries it is told.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::quota::queue::message::VARIABLES;
use mailquotad::wire::cel::Expression;
use mailquotad::wire::stalwart::condition;

/// Far from what nests too deep, or is too long when it is written out.
const SMALL: usize = 60;

fuzz_target!(|text: &str| {
    let Ok(cel) = condition(text) else { return };
    if text.len() <= SMALL && !cel.contains("matches") {
        if let Err(error) = Expression::condition(&cel, &VARIABLES) {
            assert!(error.to_string().contains("past 64 bits"), "{text} became {cel}: {error}");
        }
    }
});
