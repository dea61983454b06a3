//! A call ends where it says, means nothing before, and what is read prints to a call that reads the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::script;

fuzz_target!(|input: (&[u8], Vec<&str>)| {
    let (bytes, arguments) = input;
    if let Ok(Some((call, length))) = script::parse(bytes) {
        assert_eq!(script::parse(&bytes[..length]), Ok(Some((call.clone(), length))));
        assert_eq!(script::parse(&bytes[..length - 1]), Ok(None));
        let printed = script::print(call.arguments.iter().map(String::as_str));
        let (again, _) = script::parse(printed.as_bytes()).expect("a call").expect("the whole of it");
        assert_eq!(again.arguments, call.arguments);
    }
    if arguments.len() <= script::ARGUMENTS {
        let printed = script::print(arguments.iter().copied());
        let (call, length) = script::parse(printed.as_bytes()).expect("a call").expect("the whole of it");
        assert_eq!((call.arguments, length), (arguments.iter().map(|a| a.to_string()).collect(), printed.len()));
    }
});
