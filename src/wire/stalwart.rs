//! Expressions of Stalwart's mail server, as its queue quotas have them, put into CEL.
//!
//! From loose to tight: `||` `|`, `&&` `&`, `^` (exclusive or), `=` `==` `!=`, `<` `<=` `>` `>=`, `+` `-`, `*` `/`, then `!`
//! and the sign. A number or a string may stand for a truth there: it is compared with nothing here. What has no
//! equal is refused, with why; so is a comparison of a string with a number, whose meaning there is a guess.
//!
//! Limits: [`LENGTH_LIMIT`] and [`DEPTH_LIMIT`] of CEL.

use super::cel::{DEPTH_LIMIT, LENGTH_LIMIT};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotCarried(String);

fn no<T>(why: impl Into<String>) -> Result<T, NotCarried> {
    Err(NotCarried(why.into()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Truth,
    Number,
    Text,
}

impl Kind {
    fn shown(self) -> &'static str {
        match self {
            Kind::Truth => "a truth",
            Kind::Number => "a number",
            Kind::Text => "a string",
        }
    }
}

/// A part in CEL. Parts that are more than a word stand in parentheses.
struct Part {
    cel: String,
    kind: Kind,
}

impl Part {
    fn new(cel: impl Into<String>, kind: Kind) -> Part {
        Part { cel: cel.into(), kind }
    }

    fn truth(self) -> String {
        match self.kind {
            Kind::Truth => self.cel,
            Kind::Number => format!("({} != 0)", self.cel),
            Kind::Text => format!("({} != '')", self.cel),
        }
    }
}

/// The condition in CEL.
pub fn condition(text: &str) -> Result<String, NotCarried> {
    if text.len() > LENGTH_LIMIT {
        return no(format!("longer than {LENGTH_LIMIT} bytes"));
    }
    let mut reader = Reader { words: words(text)?, next: 0, depth: 0 };
    let part = reader.binary(0)?;
    match reader.peek() {
        None => {
            let cel = part.truth();
            // The outermost parentheses say nothing.
            let bare = cel.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).filter(|rest| balanced(rest));
            Ok(bare.map_or(cel.clone(), str::to_owned))
        }
        Some(word) => no(format!("`{}` is not expected", word.shown())),
    }
}

fn balanced(text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0i32, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    true
}

#[derive(Clone, Debug, PartialEq)]
enum Word {
    Number(String),
    Text(String),
    Name(String),
    Mark(String),
}

impl Word {
    fn shown(&self) -> &str {
        match self {
            Word::Number(text) | Word::Text(text) | Word::Name(text) | Word::Mark(text) => text,
        }
    }
}

fn words(text: &str) -> Result<Vec<Word>, NotCarried> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        let mut rest = |fits: fn(char) -> bool| {
            let mut word = String::from(first);
            while let Some(next) = chars.next_if(|next| fits(*next)) {
                word.push(next);
            }
            word
        };
        words.push(match first {
            c if c.is_whitespace() => continue,
            '0'..='9' => Word::Number(rest(|c| c.is_ascii_alphanumeric() || c == '.')),
            'a'..='z' | 'A'..='Z' | '_' => Word::Name(rest(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')),
            '\'' | '"' => {
                let mut value = String::new();
                loop {
                    match chars.next() {
                        Some(c) if c == first => break Word::Text(value),
                        Some('\\') => value.extend(chars.next()),
                        Some(c) => value.push(c),
                        None => return no("a string without its end"),
                    }
                }
            }
            '(' | ')' | ',' | '[' | ']' | '+' | '-' | '*' | '/' | '^' => Word::Mark(first.into()),
            '=' | '!' | '<' | '>' | '&' | '|' => Word::Mark(rest(|c| "=<>&|".contains(c))),
            other => return no(format!("`{}` is no part of an expression", other.escape_debug())),
        });
    }
    Ok(words)
}

/// An operator's tightness, and how CEL writes it.
fn operator(mark: &str) -> Option<(u8, &'static str)> {
    Some(match mark {
        "||" | "|" => (1, "||"),
        "&&" | "&" => (2, "&&"),
        "^" => (3, "^"),
        "=" | "==" => (4, "=="),
        "!=" => (4, "!="),
        ">" => (5, ">"),
        "<" => (5, "<"),
        ">=" | "=>" => (5, ">="),
        "<=" | "=<" => (5, "<="),
        "+" => (6, "+"),
        "-" => (6, "-"),
        "*" => (7, "*"),
        "/" => (7, "/"),
        _ => return None,
    })
}

struct Reader {
    words: Vec<Word>,
    next: usize,
    depth: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Word> {
        self.words.get(self.next)
    }

    fn takes(&mut self, mark: &str) -> bool {
        let here = matches!(self.peek(), Some(Word::Mark(found)) if found == mark);
        self.next += usize::from(here);
        here
    }

    fn expect(&mut self, mark: &str) -> Result<(), NotCarried> {
        if self.takes(mark) { Ok(()) } else { no(format!("`{mark}` is missing")) }
    }

    fn binary(&mut self, least: u8) -> Result<Part, NotCarried> {
        if self.depth > DEPTH_LIMIT {
            return no("nested too deeply");
        }
        self.depth += 1;
        let mut left = self.unary()?;
        while let Some(Word::Mark(mark)) = self.peek()
            && let Some((tight, cel)) = operator(mark)
            && tight > least
        {
            self.next += 1;
            let right = self.binary(tight)?;
            left = join(left, cel, right)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Part, NotCarried> {
        if self.depth > DEPTH_LIMIT {
            return no("nested too deeply");
        }
        for mark in ["!", "-"] {
            if self.takes(mark) {
                self.depth += 1;
                let inner = self.unary()?;
                self.depth -= 1;
                return match (mark, inner.kind) {
                    ("!", _) => Ok(Part::new(format!("!{}", inner.truth()), Kind::Truth)),
                    (_, Kind::Number) => Ok(Part::new(format!("-{}", inner.cel), Kind::Number)),
                    _ => no("a sign before what is no number"),
                };
            }
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Part, NotCarried> {
        let Some(word) = self.peek().cloned() else { return no("it ends too early") };
        self.next += 1;
        match word {
            Word::Number(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Ok(Part::new(digits, Kind::Number)),
            Word::Number(other) => no(format!("`{other}` is no whole number")),
            Word::Text(text) => Ok(Part::new(quoted(&text), Kind::Text)),
            Word::Mark(mark) if mark == "(" => {
                let inner = self.binary(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            Word::Mark(mark) => no(format!("`{mark}` where a value is expected")),
            Word::Name(name) if self.takes("(") => {
                let mut arguments = Vec::new();
                while !self.takes(")") {
                    if !arguments.is_empty() {
                        self.expect(",")?;
                    }
                    arguments.push(self.binary(0)?);
                }
                call(&name, arguments)
            }
            Word::Name(name) => variable(&name),
        }
    }
}

fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        '\'' => "\\'".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("'{}'", text.chars().map(escape).collect::<String>())
}

fn join(left: Part, cel: &str, right: Part) -> Result<Part, NotCarried> {
    let kinds = (left.kind, right.kind);
    let both = |kind| kinds == (kind, kind);
    match cel {
        "||" | "&&" => Ok(Part::new(format!("({} {cel} {})", left.truth(), right.truth()), Kind::Truth)),
        "^" => Ok(Part::new(format!("({} != {})", left.truth(), right.truth()), Kind::Truth)),
        "/" => no("a division yields a fraction there, and a whole number in CEL"),
        "+" if both(Kind::Number) || both(Kind::Text) => {
            let kind = left.kind;
            Ok(Part::new(format!("({} + {})", left.cel, right.cel), kind))
        }
        "-" | "*" if both(Kind::Number) => Ok(Part::new(format!("({} {cel} {})", left.cel, right.cel), Kind::Number)),
        "==" | "!=" | "<" | "<=" | ">" | ">=" if kinds.0 == kinds.1 => {
            Ok(Part::new(format!("({} {cel} {})", left.cel, right.cel), Kind::Truth))
        }
        _ => no(format!("`{cel}` between {} and {}", kinds.0.shown(), kinds.1.shown())),
    }
}

fn variable(name: &str) -> Result<Part, NotCarried> {
    let same = |kind| Ok(Part::new(name, kind));
    match name {
        "true" | "false" => same(Kind::Truth),
        "sender" | "sender_domain" | "rcpt" | "rcpt_domain" => same(Kind::Text),
        "size" => same(Kind::Number),
        // Where the message came from; the queue's own remote_ip is where it goes.
        "received_from_ip" => Ok(Part::new("client", Kind::Text)),
        "received_via_port" => Ok(Part::new("port", Kind::Number)),
        "source" => no("`source` is not known here; who is logged in has a `login` that is not ''"),
        "recipients" => no("`recipients`: each recipient is asked for itself here, as `rcpt`"),
        other => no(format!("`{other}` is not known when a message comes in")),
    }
}

fn call(name: &str, arguments: Vec<Part>) -> Result<Part, NotCarried> {
    let kinds: Vec<Kind> = arguments.iter().map(|argument| argument.kind).collect();
    let cel: Vec<&str> = arguments.iter().map(|argument| argument.cel.as_str()).collect();
    let literal = |text: &str| text.starts_with('\'');
    match (name, cel.as_slice(), kinds.as_slice()) {
        ("starts_with", [a, b], [Kind::Text, Kind::Text]) => Ok(Part::new(format!("{a}.startsWith({b})"), Kind::Truth)),
        ("ends_with", [a, b], [Kind::Text, Kind::Text]) => Ok(Part::new(format!("{a}.endsWith({b})"), Kind::Truth)),
        ("contains", [a, b], [Kind::Text, Kind::Text]) => Ok(Part::new(format!("{a}.contains({b})"), Kind::Truth)),
        ("contains_ignore_case", [a, b], [Kind::Text, Kind::Text]) => {
            Ok(Part::new(format!("{a}.lowerAscii().contains({b}.lowerAscii())"), Kind::Truth))
        }
        ("eq_ignore_case", [a, b], [Kind::Text, Kind::Text]) => {
            Ok(Part::new(format!("({a}.lowerAscii() == {b}.lowerAscii())"), Kind::Truth))
        }
        ("to_lowercase", [a], [Kind::Text]) => Ok(Part::new(format!("{a}.lowerAscii()"), Kind::Text)),
        ("matches", [pattern, a], [Kind::Text, Kind::Text]) if literal(pattern) => {
            Ok(Part::new(format!("{a}.matches({pattern})"), Kind::Truth))
        }
        ("is_empty", [a], [Kind::Text]) => Ok(Part::new(format!("({a} == '')"), Kind::Truth)),
        ("len", [a], [Kind::Text]) => Ok(Part::new(format!("size({a})"), Kind::Number)),
        ("is_ip_in_cidr", [a, network], [Kind::Text, Kind::Text]) if literal(network) => {
            Ok(Part::new(format!("cidr({network}).containsIP({a})"), Kind::Truth))
        }
        ("email_part", ["sender" | "rcpt", "'domain'"], _) => Ok(Part::new(format!("{}_domain", cel[0]), Kind::Text)),
        _ => no(format!("the function `{name}` called so has no equal here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::queue::message::VARIABLES;
    use crate::wire::cel::Expression;
    use proptest::prelude::*;

    #[test]
    fn conditions_are_carried_over() {
        for (theirs, ours) in [
            ("true", "true"),
            ("sender_domain = 'example.org'", "sender_domain == 'example.org'"),
            ("sender = \"john@doe.org\" | rcpt_domain != 'x'", "(sender == 'john@doe.org') || (rcpt_domain != 'x')"),
            ("!is_empty(sender) && size => 1000 * 2", "!(sender == '') && (size >= (1000 * 2))"),
            ("size > 1 ^ size =< 5", "(size > 1) != (size <= 5)"),
            ("size && sender", "(size != 0) && (sender != '')"),
            ("starts_with(rcpt, 'a\\'b')", "rcpt.startsWith('a\\'b')"),
            ("matches('^a\\\\d', sender)", "sender.matches('^a\\\\d')"),
            (
                "eq_ignore_case(sender, 'A@b') || contains(sender, '(')",
                "(sender.lowerAscii() == 'A@b'.lowerAscii()) || sender.contains('(')",
            ),
            ("is_ip_in_cidr(received_from_ip, '192.0.2.0/24')", "cidr('192.0.2.0/24').containsIP(client)"),
            (
                "email_part(sender, 'domain') = 'x' && received_via_port = 587",
                "(sender_domain == 'x') && (port == 587)",
            ),
            ("-size < -5", "-size < -5"),
            ("size", "size != 0"),
            ("(size > 5) = true", "(size > 5) == true"),
        ] {
            let carried = condition(theirs).unwrap_or_else(|error| panic!("{theirs}: {error}"));
            assert_eq!(carried, ours, "{theirs}");
            Expression::condition(&carried, &VARIABLES).unwrap_or_else(|error| panic!("{carried}: {error}"));
        }
    }

    #[test]
    fn what_has_no_equal_is_said() {
        for (theirs, why) in [
            ("source = 'authenticated'", "`source` is not known here"),
            ("retry_num > 1", "`retry_num` is not known when a message comes in"),
            ("count(recipients) > 5", "each recipient is asked for itself"),
            ("is_local_domain('', rcpt_domain)", "the function `is_local_domain` called so has no equal"),
            ("size / 2 > 5", "a division yields a fraction"),
            ("sender > 5", "`>` between a string and a number"),
            ("size > 1.5", "`1.5` is no whole number"),
            ("size > 5m", "`5m` is no whole number"),
            ("sender = 'x", "a string without its end"),
            ("sender = ", "it ends too early"),
            ("(sender", "`)` is missing"),
            ("sender sender", "`sender` is not expected"),
            ("sender = 'a' ; x", "`;` is no part"),
            ("", "it ends too early"),
        ] {
            let said = condition(theirs).unwrap_err().to_string();
            assert!(said.contains(why), "{theirs}: {said}");
        }
        assert!(condition(&"(".repeat(100)).unwrap_err().to_string().contains("too deeply"));
        assert!(condition(&"!".repeat(100)).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[a-z_'() ,=<>!&|^+*/0-9-]{0,40}") {
            let _ = condition(&text);
        }
    }
}
