//! A line is a message or an error; one is filled anew whatever the last one held.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::listed::Listed;
use mailquotad::wire::postqueue;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (mut used, mut new) = (Listed::default(), Listed::default());
    let _ = postqueue::read(input.0, &mut used);
    let again = postqueue::read(input.1, &mut used).is_ok();
    assert_eq!(again, postqueue::read(input.1, &mut new).is_ok());
    if again {
        assert_eq!(used, new);
    }
});
