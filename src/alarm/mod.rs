//! The alarm port: how a warning is carried out beside a notice by mail.
//!
//! An adapter does one thing once, within a time-out, and says how it went. It keeps no queue, tries nothing
//! twice and starts no shell: what stands in an argument stays in it.

mod outside;
mod program;
mod webhook;

pub use outside::Outside;

use std::path::PathBuf;

use async_trait::async_trait;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A program and its arguments.
    Program(Vec<String>),
    /// A call of a script service of Dovecot's.
    Script { socket: PathBuf, arguments: Vec<String> },
    /// A POST of JSON.
    Webhook { url: String, body: String },
}

impl Alarm {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Alarm::Program(_) => "run",
            Alarm::Script { .. } => "script",
            Alarm::Webhook { .. } => "webhook",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AlarmError(pub String);

#[async_trait]
pub trait Alarms: Send + Sync + 'static {
    async fn raise(&self, alarm: &Alarm) -> Result<(), AlarmError>;
}
