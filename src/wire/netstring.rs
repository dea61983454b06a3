//! Netstrings: `5:hello,`. The length is in decimal without leading zeros, as their definition demands.

/// A length of more digits than this is refused before it is complete; no limit is that large.
const LENGTH_DIGITS: usize = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("a netstring does not begin with its length")]
    Length,
    #[error("a netstring of {length} bytes; accepted: up to {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("no comma at the end of a netstring")]
    NoComma,
}

/// Reads the netstring at the beginning of `bytes`: what it holds, and its whole length. `None`: more bytes
/// are needed. It looks at the length and the comma only, so a netstring that comes in pieces costs little.
pub fn parse(bytes: &[u8], limit: usize) -> Result<Option<(&[u8], usize)>, Invalid> {
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let leading_zero = digits > 1 && bytes.first() == Some(&b'0');
    if digits > LENGTH_DIGITS || leading_zero {
        return Err(Invalid::Length);
    }
    match bytes.get(digits) {
        None => return Ok(None),
        Some(b':') if digits > 0 => {}
        Some(_) => return Err(Invalid::Length),
    }
    let length = bytes[..digits].iter().fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    if length > limit {
        return Err(Invalid::TooLong { length, limit });
    }
    let begin = digits + 1;
    let end = begin + length;
    match bytes.get(end) {
        None => Ok(None),
        Some(b',') => Ok(Some((&bytes[begin..end], end + 1))),
        Some(_) => Err(Invalid::NoComma),
    }
}

/// Appends `parts`, one behind the other, as one netstring.
pub fn write(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Digits by hand: `write!` into a Vec goes through the formatting machinery for nothing.
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = length;
    while at == digits.len() || left > 0 {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    out.extend_from_slice(&digits[at..]);
    out.push(b':');
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.push(b',');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    macro_rules! cases { ($($name:ident: $bytes:literal => $expected:expr,)*) => { $(
        #[test] fn $name() { assert_eq!(parse($bytes, 10), $expected); }
    )* } }
    cases! {
        plain: b"5:hello," => Ok(Some((b"hello".as_slice(), 8))),
        empty: b"0:,5:" => Ok(Some((b"".as_slice(), 3))),
        nothing_yet: b"" => Ok(None),
        length_only: b"5" => Ok(None),
        without_comma_yet: b"5:hello" => Ok(None),
        no_comma: b"5:hello!" => Err(Invalid::NoComma),
        no_length: b":hello," => Err(Invalid::Length),
        sign: b"+5:hello," => Err(Invalid::Length),
        leading_zero: b"05:hello," => Err(Invalid::Length),
        endless_length: b"1111111111" => Err(Invalid::Length),
        too_long: b"11:" => Err(Invalid::TooLong { length: 11, limit: 10 }),
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(content: Vec<u8>, cut: prop::sample::Index, rest: Vec<u8>) {
            let mut out = Vec::new();
            let (head, tail) = content.split_at(cut.index(content.len() + 1));
            write(&mut out, &[head, tail]);
            let length = out.len();
            for end in 0..length {
                prop_assert_eq!(parse(&out[..end], content.len()), Ok(None));
            }
            out.extend(rest);
            prop_assert_eq!(parse(&out, content.len()), Ok(Some((&content[..], length))));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>, limit: usize) {
            let _ = parse(&bytes, limit);
        }
    }
}
