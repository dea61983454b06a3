//! Changing one value in a text. An edit replaces the bytes of the value's own lines and nothing else:
//! comments, folding, order and line ends of the rest stay as the admin wrote them.

use std::ops::Range;

use super::{LineEnd, Record, write_line};

/// Bytes to put in the place of a range of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub range: Range<usize>,
    pub text: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("`{attribute}` has {count} values where one is accepted")]
    SeveralValues { attribute: String, count: usize },
    #[error("`{attribute}` has another value than the one to be replaced")]
    OtherValue { attribute: String, found: Option<Vec<u8>> },
}

/// The edit that takes `attribute` of `record` from `old` to `new`; `None` is an absent attribute.
/// A replaced value keeps the spelling of its attribute; a new one comes after the record's last line.
/// `None` for an edit means that nothing has to change.
pub fn set_value(
    text: &[u8],
    record: &Record<'_>,
    attribute: &str,
    old: Option<&[u8]>,
    new: Option<&[u8]>,
) -> Result<Option<Edit>, Refusal> {
    let mut lines = record.of(attribute);
    let line = lines.next();
    let count = 1 + lines.count();
    if count > 1 {
        return Err(Refusal::SeveralValues { attribute: attribute.to_owned(), count });
    }
    let found = line.map(|line| &*line.value);
    if found != old {
        return Err(Refusal::OtherValue { attribute: attribute.to_owned(), found: found.map(<[u8]>::to_vec) });
    }
    let edit = match (line, new) {
        (_, new) if found == new => return Ok(None),
        (Some(line), None) => Edit { range: line.span.clone(), text: Vec::new() },
        (Some(line), Some(new)) => {
            let mut out = Vec::new();
            let end = line_end(text, &line.span);
            write_line(&mut out, &line.name, new, end.unwrap_or(line_end_of(text, record)));
            if end.is_none() {
                drop_line_end(&mut out);
            }
            Edit { range: line.span.clone(), text: out }
        }
        (None, Some(new)) => {
            let end = line_end_of(text, record);
            let at = record.span.end;
            let mut out = Vec::new();
            let closed = text[..at].ends_with(b"\n");
            if !closed {
                out.extend_from_slice(end.as_bytes());
            }
            write_line(&mut out, attribute, new, end);
            if !closed {
                drop_line_end(&mut out);
            }
            Edit { range: at..at, text: out }
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(edit))
}

/// The text with `edits` carried out. Edits at one place stand in the order given; where two would
/// overlap the later one is left out, which [`set_value`] on distinct attributes never produces.
pub fn splice(text: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|edit| edit.range.start);
    let mut out = Vec::with_capacity(text.len() + edits.iter().map(|edit| edit.text.len()).sum::<usize>());
    let mut at = 0;
    for edit in edits {
        let Some(kept) = text.get(at..edit.range.start) else { continue };
        out.extend_from_slice(kept);
        out.extend_from_slice(&edit.text);
        at = edit.range.end;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    out
}

/// How the lines of `span` end; `None` for the last line of a text that has no line end.
fn line_end(text: &[u8], span: &Range<usize>) -> Option<LineEnd> {
    match &text[span.clone()] {
        line if line.ends_with(b"\r\n") => Some(LineEnd::CrLf),
        line if line.ends_with(b"\n") => Some(LineEnd::Lf),
        _ => None,
    }
}

/// How the record's first line ends.
fn line_end_of(text: &[u8], record: &Record<'_>) -> LineEnd {
    let record = &text[record.span.clone()];
    let first = record.iter().position(|byte| *byte == b'\n').map_or(record, |at| &record[..at]);
    if first.ends_with(b"\r") { LineEnd::CrLf } else { LineEnd::Lf }
}

fn drop_line_end(out: &mut Vec<u8>) {
    while out.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        out.pop();
    }
}
