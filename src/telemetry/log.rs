//! Setting up the log.

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
}
