//! Writing LDIF: what is written reads back as the same value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// RFC 2849 leaves the width open; 76 is what the OpenLDAP tools fold at.
const WIDTH: usize = 76;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnd {
    #[default]
    Lf,
    CrLf,
}

impl LineEnd {
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            LineEnd::Lf => b"\n",
            LineEnd::CrLf => b"\r\n",
        }
    }
}

/// Appends `name: value`, in base64 where the RFC's SAFE-STRING does not hold it, folded.
pub fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8], end: LineEnd) {
    let line = match is_safe(value) {
        true => [name.as_bytes(), b": ", value].concat(),
        false => format!("{name}:: {}", BASE64.encode(value)).into_bytes(),
    };
    let (first, mut rest) = line.split_at(line.len().min(WIDTH));
    out.extend_from_slice(first.strip_suffix(b" ").filter(|_| value.is_empty()).unwrap_or(first));
    while !rest.is_empty() {
        let (next, more) = rest.split_at(rest.len().min(WIDTH - 1));
        out.extend_from_slice(end.as_bytes());
        out.push(b' ');
        out.extend_from_slice(next);
        rest = more;
    }
    out.extend_from_slice(end.as_bytes());
}

/// Appends a whole record and the empty line behind it.
pub fn write_record<'v>(
    out: &mut Vec<u8>,
    dn: &str,
    values: impl IntoIterator<Item = (&'v str, &'v [u8])>,
    end: LineEnd,
) {
    write_line(out, "dn", dn.as_bytes(), end);
    for (name, value) in values {
        write_line(out, name, value, end);
    }
    out.extend_from_slice(end.as_bytes());
}

/// SAFE-STRING, and no space at the end, which the RFC wants in base64 because it is easily lost.
fn is_safe(value: &[u8]) -> bool {
    value.iter().all(|byte| (1..=127).contains(byte) && !matches!(byte, b'\r' | b'\n'))
        && !value.starts_with(b" ")
        && !value.starts_with(b":")
        && !value.starts_with(b"<")
        && !value.ends_with(b" ")
}
