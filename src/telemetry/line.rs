//! How one event becomes one line, whatever its values hold.
//!
//! ```text
//! time=2026-11-21T20:50:59.123Z level=warn session=7 event=refused recipient=bob@example.org reply="452 4.2.2 …"
//! ```
//!
//! A value stands in quotes, with JSON's escapes, unless it is made of letters, digits and harmless marks,
//! so that no sender can write lines or keys of his own into the log.

use std::fmt;

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
        let mut pairs = Pairs(Vec::new());
        if !self.journal {
            pairs.push("time", now());
        }
        pairs.push("level", level.as_str().to_ascii_lowercase());
        for span in ctx.event_scope().into_iter().flatten().collect::<Vec<_>>().into_iter().rev() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                pairs.0.extend(unfold(&fields.fields));
            }
        }
        if level >= Level::DEBUG {
            pairs.push("target", event.metadata().target().to_owned());
        }
        event.record(&mut pairs);
        if self.journal {
            write!(out, "<{}>", priority(level))?;
        }
        match self.format {
            Format::Text => {
                let words: Vec<String> =
                    pairs.0.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
                writeln!(out, "{}", words.join(" "))
            }
            Format::Json => {
                let object: serde_json::Map<String, serde_json::Value> = pairs.0.into_iter().collect();
                writeln!(out, "{}", serde_json::Value::Object(object))
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a log line tells the time of the wall clock")]
fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
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

/// Keeps the fields of a span as a JSON list of pairs, from which each line takes them.
pub(super) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'w>, fields: R) -> fmt::Result {
        let mut pairs = Pairs(Vec::new());
        fields.record(&mut pairs);
        out.write_str(&serde_json::to_string(&pairs.0).map_err(|_| fmt::Error)?)
    }
}

fn unfold(fields: &str) -> Vec<(String, serde_json::Value)> {
    serde_json::from_str(fields).unwrap_or_default()
}

struct Pairs(Vec<(String, serde_json::Value)>);

impl Pairs {
    fn push(&mut self, key: &str, value: impl Into<serde_json::Value>) {
        let key = if key == "message" { "msg" } else { key };
        self.0.push((key.to_owned(), value.into()));
    }
}

impl Visit for Pairs {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field.name(), value);
    }
}

fn quoted(value: &serde_json::Value) -> String {
    let plain = |text: &str| {
        let harmless = |c: char| c.is_alphanumeric() || "@._-+:/,#%*[]".contains(c);
        !text.is_empty() && text.chars().all(harmless)
    };
    match value {
        serde_json::Value::String(text) if plain(text) => text.clone(),
        other => one_line(&other.to_string()),
    }
}

/// JSON leaves these as they are, but some readers end a line there.
fn one_line(text: &str) -> String {
    text.replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
        .replace('\u{85}', "\\u0085")
        .replace('\u{7f}', "\\u007f")
}
