//! Words of an expression. CEL's language definition, "Syntax" and "String and Bytes Values".

use std::iter::Peekable;
use std::str::CharIndices;

use super::Wrong;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Without its sign; the parser knows whether a minus stands before it.
    Int(u64),
    Text(String),
    Name(String),
    /// An operator or a bracket.
    Mark(&'static str),
    End,
}

impl Word {
    pub fn shown(&self) -> String {
        match self {
            Word::Int(number) => format!("`{number}`"),
            Word::Text(text) => format!("the string {text:?}"),
            Word::Name(name) => format!("`{name}`"),
            Word::Mark(mark) => format!("`{mark}`"),
            Word::End => "the end".into(),
        }
    }
}

/// The longer ones first.
const MARKS: [&str; 24] = [
    "||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")", "[", "]", "{", "}",
    ",", ".",
];

/// The words of `text`, each with the byte where it begins; the last one is [`Word::End`].
pub(super) fn words(text: &str) -> Result<Vec<(usize, Word)>, Wrong> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if matches!(first, ' ' | '\t' | '\n' | '\r' | '\x0c') {
            at += first.len_utf8();
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else {
            let (word, length) = word(rest, first).map_err(|wrong| Wrong { at: at + wrong.at, ..wrong })?;
            words.push((at, word));
            at += length;
        }
    }
    words.push((text.len(), Word::End));
    Ok(words)
}

fn word(rest: &str, first: char) -> Result<(Word, usize), Wrong> {
    if first.is_ascii_digit() || first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return number(rest);
    }
    let prefix = rest.find(['"', '\'']).unwrap_or(rest.len());
    if let Some(kind) = rest.get(..prefix).filter(|kind| kind.len() <= 2 && prefix < rest.len()) {
        match kind {
            "" | "r" | "R" => return string(rest, prefix, !kind.is_empty()),
            kind if kind.chars().all(|c| "rRbB".contains(c)) => {
                return Err(Wrong::new(0, "bytes are not supported; accepted: a string, without the b"));
            }
            _ => {}
        }
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        return Ok((Word::Name(rest[..end].to_owned()), end));
    }
    match MARKS.iter().find(|mark| rest.starts_with(**mark)) {
        Some(mark) => Ok((Word::Mark(mark), mark.len())),
        None => Err(Wrong::new(0, format!("`{}` is no part of an expression{}", first.escape_debug(), meant(first)))),
    }
}

fn meant(mark: char) -> &'static str {
    match mark {
        '=' => "; equality is ==",
        '&' => "; \"and\" is &&",
        '|' => "; \"or\" is ||",
        _ => "",
    }
}

fn number(rest: &str) -> Result<(Word, usize), Wrong> {
    let hex = rest.starts_with("0x") || rest.starts_with("0X");
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
    let spelled = &rest[..end];
    let read = if hex { u64::from_str_radix(&spelled[2..], 16) } else { spelled.parse() };
    let digits = if hex { &spelled[2..] } else { spelled };
    let all = |radix| !digits.is_empty() && digits.chars().all(|c: char| c.is_digit(radix));
    match read {
        // from_str_radix takes a sign.
        Ok(number) if all(if hex { 16 } else { 10 }) => Ok((Word::Int(number), end)),
        _ if all(if hex { 16 } else { 10 }) => Err(Wrong::new(0, format!("{spelled} is past 64 bits"))),
        _ if spelled.ends_with(['u', 'U']) => Err(Wrong::new(0, "uint is not supported; accepted: an int, without u")),
        _ if !hex && spelled.contains(['.', 'e', 'E']) => {
            Err(Wrong::new(0, "floating point is not supported; accepted: whole numbers"))
        }
        _ => Err(Wrong::new(0, format!("`{spelled}` is no number"))),
    }
}

fn string(rest: &str, prefix: usize, raw: bool) -> Result<(Word, usize), Wrong> {
    let quoted = &rest[prefix..];
    let triple = ["\"\"\"", "'''"].into_iter().find(|quotes| quoted.starts_with(quotes));
    let quotes = triple.unwrap_or(&quoted[..1]);
    let mut text = String::new();
    let mut chars = quoted.char_indices().peekable();
    // Quotes are one byte each.
    chars.by_ref().take(quotes.len()).for_each(drop);
    while let Some(&(at, c)) = chars.peek() {
        if quoted[at..].starts_with(quotes) {
            return Ok((Word::Text(text), prefix + at + quotes.len()));
        }
        chars.next();
        match c {
            '\n' | '\r' if triple.is_none() => break,
            '\\' if !raw => text.push(escape(&mut chars).map_err(|what| Wrong::new(prefix + at, what))?),
            // In a raw string a backslash stays, and so does the quote behind it.
            '\\' => {
                text.push(c);
                text.extend(
                    chars.next_if(|(_, next)| "\"'\\".contains(*next) && triple.is_none()).map(|(_, next)| next),
                );
            }
            c => text.push(c),
        }
    }
    Err(Wrong::new(0, format!("a string without its end; accepted: {quotes} behind it")))
}

fn escape(chars: &mut Peekable<CharIndices<'_>>) -> Result<char, String> {
    let Some((_, mark)) = chars.next() else { return Err("a string ends in a backslash".into()) };
    let mut digits = |count: usize, radix: u32, first: u32| {
        let mut code = first;
        for _ in 0..count {
            let digit = chars.next().and_then(|(_, digit)| digit.to_digit(radix));
            code = code * radix + digit.ok_or_else(|| format!("\\{mark} takes {count} digits"))?;
        }
        char::from_u32(code).ok_or_else(|| format!("\\{mark}... is no character"))
    };
    match mark {
        'a' => Ok('\x07'),
        'b' => Ok('\x08'),
        'f' => Ok('\x0c'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\x0b'),
        '\\' | '?' | '"' | '\'' | '`' => Ok(mark),
        'x' | 'X' => digits(2, 16, 0),
        'u' => digits(4, 16, 0),
        // Eight digits, of which the first two are 0 for every character there is.
        'U' => match (digits(2, 16, 0)?, digits(6, 16, 0)) {
            ('\0', code) => code,
            _ => Err("\\U... is no character".into()),
        },
        '0'..='3' => digits(2, 8, u32::from(mark) - u32::from('0')),
        other => Err(format!("`\\{}` is no escape; accepted: \\\\ for a backslash", other.escape_debug())),
    }
}
