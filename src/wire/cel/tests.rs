use proptest::prelude::*;

use super::*;

struct Message;

fn variables() -> Vec<Variable> {
    vec![("sender", Type::Text), ("size", Type::Int), ("tls", Type::Bool), ("tags", Type::List(Box::new(Type::Text)))]
}

impl Scope for Message {
    fn value(&self, variable: usize) -> Value<'_> {
        match variable {
            0 => Value::Text("Anna@example.org".into()),
            1 => Value::Int(2500),
            2 => Value::Bool(true),
            _ => Value::List(vec![Value::Text("a".into()), Value::Text("b".into())]),
        }
    }
}

fn holds(text: &str) -> Result<bool, Fault> {
    Expression::condition(text, &variables()).unwrap_or_else(|error| panic!("{text}: {error}")).holds(&Message)
}

fn refused(text: &str) -> String {
    Expression::condition(text, &variables()).expect_err(text).to_string()
}

#[test]
fn conditions_hold_or_not() {
    for (text, expected) in [
        ("true", true),
        ("!tls", false),
        ("!!tls && !!!false", true),
        ("sender == 'Anna@example.org'", true),
        ("sender != \"x\"", true),
        ("size > 2499 && size <= 2500", true),
        ("size >= 2501 || size < 2500", false),
        ("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9", true),
        ("7 / 2 == 3 && -7 / 2 == -3 && 7 % 3 == 1 && -7 % 3 == -1", true),
        ("10 - 3 - 2 == 5", true),
        ("--5 == 5 && -(-5) == 5 && - 5 == 0 - 5", true),
        ("0x10 == 16 && -0x10 == -16", true),
        ("-9223372036854775808 < 9223372036854775807", true),
        ("sender.startsWith('Anna') && sender.endsWith('.org') && sender.contains('@')", true),
        ("sender.matches('^[A-Z]nna@')", true),
        ("matches(sender, 'example')", true),
        ("sender.matches('^nna')", false),
        ("sender.lowerAscii() == 'anna@example.org'", true),
        ("sender in ['a', 'Anna@example.org']", true),
        ("size in [1, 2, 3]", false),
        ("size in []", false),
        ("'b' in tags && !('c' in tags)", true),
        ("size(tags) == 2 && tags.size() == 2 && size('grün') == 4 && sender.size() == 16", true),
        ("tags[1] == 'b' && ['x', 'y'][0] == 'x'", true),
        ("tags + ['c'] == ['a', 'b', 'c'] && [] + tags == tags && [] == []", true),
        ("'a' + 'b' == 'ab' && 'a' < 'b' && false < true", true),
        ("tls ? size > 1 : size > 10000", true),
        ("false ? true : tls ? false : true", false),
        ("cidr('192.0.2.0/24').containsIP('192.0.2.9') && !cidr('192.0.2.0/24').containsIP('unknown')", true),
        ("r'\\d' == '\\\\d' && '''a'b''' == \"a'b\" && 'a\\'b' == \"a'b\"", true),
        ("'\\x41\\u00e9\\101\\U0001F600\\n' == 'AéA😀\\n'", true),
        ("true // and so on\n && true", true),
    ] {
        assert_eq!(holds(text), Ok(expected), "{text}");
    }
}

/// CEL's language definition, "Logical Operators": a side that decides hides the fault of the other one.
#[test]
fn and_and_or_absorb_faults() {
    for (text, expected) in [
        ("1 / 0 == 1", Err(Fault::DivisionByZero)),
        ("1 % 0 == 1", Err(Fault::DivisionByZero)),
        ("1 / 0 == 1 || true", Ok(true)),
        ("true || 1 / 0 == 1", Ok(true)),
        ("false && 1 / 0 == 1", Ok(false)),
        ("1 / 0 == 1 && false", Ok(false)),
        ("1 / 0 == 1 || false", Err(Fault::DivisionByZero)),
        ("1 / 0 == 1 && true", Err(Fault::DivisionByZero)),
        ("tls ? true : 1 / 0 == 1", Ok(true)),
        ("9223372036854775807 + 1 > 0", Err(Fault::Overflow)),
        ("-9223372036854775808 - 1 > 0", Err(Fault::Overflow)),
        ("-9223372036854775808 / -1 > 0", Err(Fault::Overflow)),
        ("-(0 - 9223372036854775807 - 1) > 0", Err(Fault::Overflow)),
        ("9223372036854775807 * 2 > 0", Err(Fault::Overflow)),
        ("tags[2] == 'c'", Err(Fault::Index)),
        ("tags[-1] == 'c'", Err(Fault::Index)),
    ] {
        assert_eq!(holds(text), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, expected) in [
        ("", "line 1, column 1: the end where a value is expected"),
        ("sendr == 'x'", "line 1, column 1: unknown name `sendr`; accepted: sender, size, tls, tags"),
        ("tls &&\n  sendr == 'x'", "line 2, column 3: unknown name `sendr`"),
        ("'ü' == sendr", "line 1, column 8: unknown name"),
        ("sender == 5", "line 1, column 8: `==` does not go between string and int"),
        ("size", "line 1, column 1: the whole yields int; accepted: a condition, which is bool"),
        ("tls && size", "line 1, column 8: int where `&&` takes bool"),
        ("!size", "line 1, column 2: int where `!` takes bool"),
        ("-sender == 'x'", "line 1, column 2: string where `-` takes int"),
        ("!-5", "line 1, column 1: `!` and `-` do not go together"),
        ("sender in 'abc'", "line 1, column 8: `in` does not go between string and string"),
        ("size in ['a']", "`in` does not go between int and list(string)"),
        ("tags < tags", "`<` does not go between list(string) and list(string)"),
        ("true + true", "`+` does not go between bool and bool"),
        ("1 < 2 < 3", "line 1, column 7: `<` does not go between bool and int"),
        ("[1, 'a'] == []", "line 1, column 5: string in a list that began otherwise"),
        ("tls ? 1 : 'a' ", "line 1, column 11: string where `: after a value of that type` takes int"),
        ("sender = 'x'", "line 1, column 8: `=` is no part of an expression; equality is =="),
        ("tls & tls", "`&` is no part of an expression; \"and\" is &&"),
        ("sender == 'x", "line 1, column 11: a string without its end; accepted: ' behind it"),
        ("sender == 'x\n'", "line 1, column 11: a string without its end"),
        ("'\\q' == sender", "line 1, column 2: `\\q` is no escape"),
        ("'\\ud800' == sender", "is no character"),
        ("sender.matches('(')", "line 1, column 16: the pattern \"(\": unclosed group"),
        ("sender.matches(sender)", "line 1, column 16: a pattern must be a literal"),
        ("sender.matches('(?:a{1000}){1000}')", "the pattern"),
        ("sender.upper() == 'X'", "line 1, column 8: unknown function `upper`; accepted: size, startsWith"),
        ("size(5) == 1", "line 1, column 6: int has no size"),
        ("sender.startsWith() ", "`startsWith` is not called so"),
        ("tags.exists(x, x == 'a')", "the macro `exists` is not supported"),
        ("sender.domain == 'x'", "line 1, column 8: nothing has a field `domain`"),
        ("cidr('192.0.2.0/33').containsIP(sender)", "`192.0.2.0/33` is longer than an address"),
        ("sender.containsIP('x')", "containsIP asks a network"),
        ("size > 1.5", "line 1, column 8: floating point is not supported"),
        ("size > 5u", "uint is not supported"),
        ("size > 9223372036854775808", "line 1, column 8: the number is past 64 bits"),
        ("size > -9223372036854775809", "is past 64 bits"),
        ("size > 99999999999999999999", "is past 64 bits"),
        ("sender == null", "null is not supported"),
        ("sender == b'x'", "bytes are not supported"),
        ("{} == {}", "maps are not supported"),
        ("if", "`if` is a word of CEL and no name"),
        ("(tls", "the end where `)` is expected"),
        ("tls tls", "line 1, column 5: `tls` is not expected here"),
        ("size[0] == 1", "int has no elements"),
    ] {
        let said = refused(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn limits_hold_and_long_chains_are_no_depth() {
    assert!(refused(&"(".repeat(30)).contains("nested deeper than 24 levels"));
    assert!(refused(&format!("{}1 == 1", "1 + ".repeat(30))).contains("nested deeper"));
    assert!(refused(&" ".repeat(LENGTH_LIMIT + 1)).contains("longer than 4096 bytes"));
    assert_eq!(holds(&["tls"; 500].join(" && ")), Ok(true));
    assert_eq!(holds(&["!tls"; 500].join("||")), Ok(false));
    assert_eq!(holds(&format!("{}tls", "!".repeat(1000))), Ok(true));
    assert_eq!(holds(&format!("{}5 == 5", "-".repeat(1000))), Ok(true));
}

#[test]
fn it_knows_which_variables_it_names() {
    let expression = Expression::condition("size > 5 || 'a' in tags", &variables()).unwrap();
    assert_eq!([0, 1, 2, 3, 64, 1000].map(|number| expression.names(number)), [false, true, false, true, false, false]);
    assert_eq!(expression.text(), "size > 5 || 'a' in tags");
}

proptest! {
    #[test]
    fn nothing_panics(text in "[a-z'\"\\\\() \\[\\].,=<>!&|?:+*/%0-9-]{0,60}") {
        if let Ok(expression) = Expression::condition(&text, &variables()) {
            let _ = expression.holds(&Message);
        }
    }

    #[test]
    fn words_in_any_order_do_not_panic(words in proptest::collection::vec(proptest::sample::select(vec![
        "sender", "size", "tls", "tags", "'a'", "1", "0", "==", "<", "in", "&&", "||", "!", "-", "+", "/", "?", ":",
        "(", ")", "[", "]", ".size()", ".contains('a')", ",", "true", "%",
    ]), 0..20)) {
        if let Ok(expression) = Expression::condition(&words.join(" "), &variables()) {
            let _ = expression.holds(&Message);
        }
    }

    /// Whole numbers are reckoned as Rust does, or not at all.
    #[test]
    fn sums_are_right(a: i64, b: i64, c in -100i64..100) {
        let text = format!("{a} + {b} * {c} == 0");
        let expected = b.checked_mul(c).and_then(|product| a.checked_add(product));
        prop_assert_eq!(holds(&text), expected.map(|sum| sum == 0).ok_or(Fault::Overflow));
    }
}
