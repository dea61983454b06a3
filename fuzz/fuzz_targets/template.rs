//! Whatever a directory says, a mailbox lies where the template puts it, and a path leads back to whose it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::template::Template;

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, address, value) = input;
    let template = match text.parse::<Template>() {
        Ok(template) => template,
        Err(error) => return assert!(error.character() <= text.chars().count() + 1, "{error}"),
    };
    assert_eq!(template.to_string().parse(), Ok(template.clone()));
    let Ok(path) = template.expand(address, |_| Some(value)) else { return };
    assert!(path.starts_with('/') && !path.chars().any(char::is_control), "{path:?}");
    assert!(path.split('/').all(|part| part != ".."), "{path:?}");
    if let Some(prefix) = template.fixed_prefix() {
        assert!(path.starts_with(prefix), "{path:?}");
    }
    if let Some(depth) = template.depth() {
        assert_eq!(path.matches('/').count(), depth);
    }
    if template.reversible() && address.contains('@') {
        assert_eq!(template.address_of(&path).as_deref(), Some(address));
    }
});
