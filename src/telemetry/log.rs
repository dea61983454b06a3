//! Setting up the log: to standard error, to systemd's journal through it, or to rotated files.

mod gathered;

use std::io;
use std::path::PathBuf;

use tracing::Subscriber;
use tracing_appender::rolling;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::{fmt, reload};

use self::gathered::Guard;
use super::line::{Fields, Line};

/// The least important lines that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Level {
    pub const WORDS: [(&'static str, Level); 5] = [
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];

    /// Our own lines down to this level. Libraries tell their inner life at `info`, so theirs begin at `warn`.
    fn filter(self) -> EnvFilter {
        let word = Level::WORDS.iter().find(|(_, level)| *level == self).map_or("info", |(word, _)| word);
        let others = if self == Level::Error { "error" } else { "warn" };
        EnvFilter::new(format!("{others},mailquotad={word}"))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `key=value`, one event a line.
    #[default]
    Text,
    /// One object a line.
    Json,
}

impl Format {
    pub const WORDS: [(&'static str, Format); 2] = [("text", Format::Text), ("json", Format::Json)];
}

/// When a new file is begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    Hourly,
    #[default]
    Daily,
    Weekly,
    Never,
}

impl Rotation {
    pub const WORDS: [(&'static str, Rotation); 4] = [
        ("hourly", Rotation::Hourly),
        ("daily", Rotation::Daily),
        ("weekly", Rotation::Weekly),
        ("never", Rotation::Never),
    ];

    const fn of_appender(self) -> rolling::Rotation {
        match self {
            Rotation::Hourly => rolling::Rotation::HOURLY,
            Rotation::Daily => rolling::Rotation::DAILY,
            Rotation::Weekly => rolling::Rotation::WEEKLY,
            Rotation::Never => rolling::Rotation::NEVER,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Standard error; as `Journal` where systemd has connected it to its journal.
    #[default]
    Auto,
    Stderr,
    /// Standard error as systemd's journal reads it: a priority before each line, and no time (sd-daemon(3)).
    Journal,
    /// Files `mailquotad.DATE.log` in a folder; of the rotated ones, `keep` stay (0: all).
    Files {
        directory: PathBuf,
        rotation: Rotation,
        keep: usize,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub level: Level,
    pub format: Format,
    pub target: Target,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot write logs to {}: {why}; log.directory needs a folder that mailquotad may write to", directory.display())]
    Directory { directory: PathBuf, why: rolling::InitError },
    #[error("no thread to write the log with: {0}")]
    Thread(io::Error),
    #[error("logging has been set up already")]
    Twice,
}

/// Keeps the log going. Dropping it writes what is still waiting.
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    _writer: Option<Guard>,
}

impl Log {
    /// Sends the log of this process where `options` say, once for its life.
    pub fn start(options: &LogOptions) -> Result<Log, LogError> {
        match &options.target {
            Target::Auto => {
                let target = if stderr_is_the_journal() { Target::Journal } else { Target::Stderr };
                Log::install(&LogOptions { target, ..options.clone() }, io::stderr, None)
            }
            Target::Stderr | Target::Journal => Log::install(options, io::stderr, None),
            Target::Files { directory, rotation, keep } => {
                let files = rolling::Builder::new()
                    .rotation(rotation.of_appender())
                    .filename_prefix("mailquotad")
                    .filename_suffix("log");
                let files = if *keep > 0 { files.max_log_files(*keep) } else { files };
                let failed = |why| LogError::Directory { directory: directory.clone(), why };
                let files = files.build(directory).map_err(failed)?;
                let (writer, guard) = gathered::gathered(files).map_err(LogError::Thread)?;
                Log::install(options, writer, Some(guard))
            }
        }
    }

    fn install<W>(options: &LogOptions, writer: W, guard: Option<Guard>) -> Result<Log, LogError>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let (filter, subscriber) = subscriber(options, writer);
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
        Ok(Log { filter, _writer: guard })
    }

    /// Changes the level of a running log.
    pub fn set_level(&self, level: Level) {
        // It fails only when the subscriber is gone, and with it every reader of the level.
        let _ = self.filter.reload(level.filter());
    }
}

/// systemd.exec(5): JOURNAL_STREAM holds the device and inode of what it has connected to the journal. Somebody
/// may have sent standard error elsewhere since.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn subscriber<W>(options: &LogOptions, writer: W) -> (reload::Handle<EnvFilter, Registry>, impl Subscriber + use<W>)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(options.level.filter());
    let line = Line { format: options.format, journal: options.target == Target::Journal };
    let lines = fmt::layer().with_ansi(false).with_writer(writer).fmt_fields(Fields(options.format)).event_format(line);
    (handle, tracing_subscriber::registry().with(filter).with(lines))
}

#[cfg(test)]
mod tests;
