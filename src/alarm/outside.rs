//! Programs, Dovecot's scripts and webhooks.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::webhook::Webhooks;
use super::{Alarm, AlarmError, Alarms, program};
use crate::wire::script;

pub struct Outside {
    /// For one alarm.
    timeout: Duration,
    webhooks: Webhooks,
}

impl Outside {
    /// `ca_file` vouches for the servers of webhooks; `None`: the system's certificates.
    pub fn new(timeout: Duration, ca_file: Option<PathBuf>) -> Outside {
        Outside { timeout, webhooks: Webhooks::new(ca_file) }
    }
}

#[async_trait]
impl Alarms for Outside {
    async fn raise(&self, alarm: &Alarm) -> Result<(), AlarmError> {
        let raised = async {
            match alarm {
                Alarm::Program(words) => program::run(words).await,
                Alarm::Script { socket, arguments } => {
                    let failed = |error: std::io::Error| AlarmError(format!("{}: {error}", socket.display()));
                    let mut stream = UnixStream::connect(socket).await.map_err(failed)?;
                    let call = script::print(arguments.iter().map(String::as_str));
                    stream.write_all(call.as_bytes()).await.map_err(failed)?;
                    stream.shutdown().await.map_err(failed)
                }
                Alarm::Webhook { url, body } => self.webhooks.post(url, body).await,
            }
        };
        let late = |_| Err(AlarmError(format!("was not done within {:?}", self.timeout)));
        tokio::time::timeout(self.timeout, raised).await.unwrap_or_else(late)
    }
}
