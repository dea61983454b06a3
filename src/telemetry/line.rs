//! How one event becomes one line, whatever its values hold.
//!
//! ```text
//! time=2026-11-21T20:50:59.123Z level=warn session=7 event=refused recipient=bob@example.org reply="452 4.2.2 …"
//! ```
//!
//! A value stands in quotes, with JSON's escapes, unless it is made of letters, digits and harmless marks,
//! so that no sender can write lines or keys of his own into the log.

use std::fmt::{self, Write};

use chrono::{SecondsFormat, Utc};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::log::Format;

/// The formatter of events.
pub(super) struct Line {
    pub format: Format,
    pub journal: bool,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        if self.journal {
            write!(out, "<{}>", priority(level))?;
        }
        let mut pairs = Pairs::new(self.format, out.by_ref());
        pairs.open()?;
        if !self.journal {
            pairs.text("time", &now());
        }
        pairs.text("level", word(level));
        for span in ctx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                pairs.written(&fields.fields);
            }
        }
        if level >= Level::DEBUG {
            pairs.text("target", event.metadata().target());
        }
        event.record(&mut pairs);
        pairs.close()?;
        out.write_char('\n')
    }
}

#[expect(clippy::disallowed_methods, reason = "a log line tells the time of the wall clock")]
fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// syslog's numbers.
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// Keeps the fields of a span as they stand in each of its lines.
pub(super) struct Fields(pub Format);

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, out: Writer<'w>, fields: R) -> fmt::Result {
        let mut pairs = Pairs::new(self.0, out);
        fields.record(&mut pairs);
        pairs.result
    }
}

/// Writes keys and values one behind the other.
struct Pairs<'w> {
    format: Format,
    out: Writer<'w>,
    first: bool,
    result: fmt::Result,
    /// What a value looks like, until it is known whether it needs quotes.
    shown: String,
}

impl<'w> Pairs<'w> {
    fn new(format: Format, out: Writer<'w>) -> Pairs<'w> {
        Pairs { format, out, first: true, result: Ok(()), shown: String::new() }
    }

    fn open(&mut self) -> fmt::Result {
        if self.format == Format::Json { self.out.write_char('{') } else { Ok(()) }
    }

    fn close(mut self) -> fmt::Result {
        self.result?;
        if self.format == Format::Json { self.out.write_char('}') } else { Ok(()) }
    }

    fn push(&mut self, write: impl FnOnce(&mut Pairs<'w>) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self.separate().and_then(|()| write(self));
        }
    }

    fn separate(&mut self) -> fmt::Result {
        match (std::mem::take(&mut self.first), self.format) {
            (true, _) => Ok(()),
            (false, Format::Text) => self.out.write_char(' '),
            (false, Format::Json) => self.out.write_char(','),
        }
    }

    fn key(&mut self, key: &str) -> fmt::Result {
        let key = if key == "message" { "msg" } else { key };
        match self.format {
            Format::Text => write!(self.out, "{key}="),
            Format::Json => write!(self.out, "\"{key}\":"),
        }
    }

    /// Pairs that another one has written.
    fn written(&mut self, pairs: &str) {
        if !pairs.is_empty() {
            self.push(|this| this.out.write_str(pairs));
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.push(|this| {
            this.key(key)?;
            match this.format {
                Format::Text if is_plain(value) => this.out.write_str(value),
                _ => quote(value, &mut this.out),
            }
        });
    }

    /// What looks the same in both formats.
    fn number(&mut self, key: &str, value: impl fmt::Display) {
        self.push(|this| {
            this.key(key)?;
            write!(this.out, "{value}")
        });
    }
}

impl Visit for Pairs<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut shown = std::mem::take(&mut self.shown);
        shown.clear();
        // Writing into memory has no way to fail, and a value that fails by itself is shown as far as it goes.
        let _ = write!(shown, "{value:?}");
        self.text(field.name(), &shown);
        self.shown = shown;
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.number(field.name(), value),
            // JSON has no number for it.
            false => self.text(field.name(), &value.to_string()),
        }
    }
}

fn is_plain(text: &str) -> bool {
    let harmless = |c: char| c.is_alphanumeric() || "@._-+:/,#%*[]".contains(c);
    let harmless_ascii = |byte: u8| byte.is_ascii_alphanumeric() || b"@._-+:/,#%*[]".contains(&byte);
    !text.is_empty() && (text.bytes().all(harmless_ascii) || text.chars().all(harmless))
}

/// With JSON's escapes (RFC 8259 section 7), and with those of the characters that some readers end a line at.
fn quote(text: &str, out: &mut impl Write) -> fmt::Result {
    let needs_escape = |c: char| c.is_control() || matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}');
    out.write_char('"')?;
    let mut rest = text;
    while let Some(at) = rest.find(needs_escape) {
        out.write_str(&rest[..at])?;
        let mut chars = rest[at..].chars();
        match chars.next() {
            Some(c @ ('"' | '\\')) => write!(out, "\\{c}")?,
            Some('\n') => out.write_str("\\n")?,
            Some('\r') => out.write_str("\\r")?,
            Some('\t') => out.write_str("\\t")?,
            Some(c) => write!(out, "\\u{:04x}", u32::from(c))?,
            None => {}
        }
        rest = chars.as_str();
    }
    out.write_str(rest)?;
    out.write_char('"')
}
