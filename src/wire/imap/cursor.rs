//! The words, strings and lists of a response.

use std::borrow::Cow;

/// What is left of a response. Where something else stands than is asked for, the answer is `None`.
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(whole: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: whole }
    }

    pub fn eat(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        (*first == byte).then(|| self.rest = rest)
    }

    /// One space or, from servers that are generous, more.
    pub fn space(&mut self) -> Option<()> {
        self.eat(b' ')?;
        while self.eat(b' ').is_some() {}
        Some(())
    }

    /// An atom or a flag; empty where none stands here.
    pub fn word(&mut self) -> &'a [u8] {
        let ends = |byte: &u8| matches!(byte, b' ' | b'(' | b')' | b'"' | b'\r' | b'\n');
        self.take(self.rest.iter().position(ends).unwrap_or(self.rest.len()))
    }

    /// The name of an item of FETCH, with its section and its part: `BODY[HEADER.FIELDS ("X")]<0>`.
    pub fn item(&mut self) -> Option<&'a [u8]> {
        let (mut quoted, mut inside) = (false, false);
        let mut end = self.rest.len();
        for (at, byte) in self.rest.iter().enumerate() {
            match byte {
                b'\r' | b'\n' => return None,
                b'"' if inside => quoted = !quoted,
                b'[' if !quoted => inside = true,
                b']' if !quoted => inside = false,
                b' ' | b'(' | b')' | b'"' if !inside => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        Some(self.take(end))
    }

    pub fn number(&mut self) -> Option<u64> {
        decimal(self.word())
    }

    /// A number of 32 bits.
    pub fn small(&mut self) -> Option<u32> {
        self.number().and_then(|number| u32::try_from(number).ok())
    }

    /// NIL, which is taken; anything else stays.
    pub fn nil(&mut self) -> bool {
        let before = self.rest;
        let nil = self.word().eq_ignore_ascii_case(b"NIL");
        if !nil {
            self.rest = before;
        }
        nil
    }

    /// A string, or `Some(None)` for NIL.
    pub fn optional_string(&mut self) -> Option<Option<Cow<'a, [u8]>>> {
        if self.nil() { Some(None) } else { self.string().map(Some) }
    }

    /// A literal, a quoted string, or an atom.
    pub fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        match self.rest {
            [b'"', rest @ ..] => self.quoted(rest),
            [b'{', ..] | [b'~', b'{', ..] => self.literal().map(Cow::Borrowed),
            _ => Some(self.word()).filter(|word| !word.is_empty()).map(Cow::Borrowed),
        }
    }

    fn quoted(&mut self, inside: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let mut text = Cow::Borrowed(&inside[..0]);
        let mut at = 0;
        loop {
            match *inside.get(at)? {
                b'"' => break,
                b'\r' | b'\n' => return None,
                b'\\' => {
                    let escaped = *inside.get(at + 1).filter(|byte| matches!(byte, b'"' | b'\\'))?;
                    text.to_mut().push(escaped);
                    at += 2;
                }
                byte => {
                    match &mut text {
                        Cow::Borrowed(_) => text = Cow::Borrowed(&inside[..=at]),
                        Cow::Owned(text) => text.push(byte),
                    }
                    at += 1;
                }
            }
        }
        self.rest = &inside[at + 1..];
        Some(text)
    }

    fn literal(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.strip_prefix(b"~").unwrap_or(self.rest).strip_prefix(b"{")?;
        let end = rest.iter().position(|byte| *byte == b'}')?;
        let digits = rest[..end].strip_suffix(b"+").unwrap_or(&rest[..end]);
        let length = usize::try_from(decimal(digits)?).ok()?;
        let rest = &rest[end + 1..];
        let rest = rest.strip_prefix(b"\r").unwrap_or(rest).strip_prefix(b"\n")?;
        let (literal, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(literal)
    }

    /// Goes past a value, whatever it is. Lists may be as deep as they like: nothing is kept of them.
    pub fn skip(&mut self) -> Option<()> {
        let mut depth = 0u64;
        loop {
            match self.rest.first()? {
                b'(' => {
                    self.take(1);
                    depth = depth.checked_add(1)?;
                }
                b')' => {
                    depth = depth.checked_sub(1)?;
                    self.take(1);
                }
                b' ' if depth > 0 => drop(self.take(1)),
                _ => drop(self.string()?),
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// What is left of the line, without its end.
    pub fn rest_of_line(&self) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        &self.rest[..end.unwrap_or(self.rest.len())]
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }
}

/// Digits and nothing else, up to 64 bits.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    let add = |number: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}
