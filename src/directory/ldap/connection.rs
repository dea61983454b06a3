//! One connection: operations that are answered in time, and searches whose results are taken as they come.

use std::sync::Arc;
use std::time::Duration;

use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapConnAsync, LdapError, LdapResult, Scope};
use tokio::task::JoinHandle;

use super::decode::Raw;
use super::gate::{self, Gate};
use super::results::{Pages, Results};

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The connection is of no more use.
    #[error("{0}")]
    Lost(String),
    /// The server said no.
    #[error("{}", told(.0))]
    Told(LdapResult),
}

/// A result as an admin reads it: the name of the code, and the server's own words.
pub fn told(result: &LdapResult) -> String {
    let whole = result.to_string();
    // `ldap3` prints `rc=50 (insufficientAccessRights), dn: …`; the name is all that is of use here.
    let name = whole.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(name, _)| name);
    let name = if name == "unknown" { format!("result {}", result.rc) } else { format!("{name} ({})", result.rc) };
    match result.text.is_empty() {
        true => name,
        false => format!("{name}: {}", result.text),
    }
}

impl From<LdapError> for Fault {
    fn from(error: LdapError) -> Fault {
        match error {
            LdapError::LdapResult { result } => Fault::Told(result),
            LdapError::Timeout { .. } => Fault::Lost("no answer in time".into()),
            LdapError::EndOfStream | LdapError::ResultRecv { .. } | LdapError::OpSend { .. } => {
                Fault::Lost("the connection was closed".into())
            }
            error => Fault::Lost(error.to_string()),
        }
    }
}

pub struct Connection {
    ldap: Ldap,
    gate: Arc<Gate>,
    driver: JoinHandle<()>,
    timeout: Duration,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub fn start(driver: LdapConnAsync, ldap: Ldap, timeout: Duration) -> Connection {
        let gate = Arc::new(Gate::default());
        // A panic of its decoder ends this task alone; whoever waits for results then sees the end.
        let driver = tokio::spawn(gate::drive(driver, gate.clone()));
        Connection { ldap, gate, driver, timeout }
    }

    /// For one operation, and for each turn of a search that is to end.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// For one operation: it must be answered in time.
    pub fn operation(&self) -> Ldap {
        self.gate.open();
        let mut ldap = self.ldap.clone();
        ldap.with_timeout(self.timeout);
        ldap
    }

    /// Whether the server still answers.
    pub async fn ping(&self) -> Result<(), Fault> {
        self.look("", "(objectClass=*)", &["1.1"]).await.map(drop)
    }

    /// One entry, if it is there and matches.
    pub async fn look(&self, dn: &str, filter: &str, attributes: &[&str]) -> Result<Option<Raw>, Fault> {
        let mut ldap = self.operation();
        match ldap.search(dn, Scope::Base, filter, attributes).await?.success() {
            Ok((entries, _)) => Ok(entries.into_iter().find(|entry| !entry.is_ref()).and_then(Raw::decode)),
            Err(LdapError::LdapResult { result }) if result.rc == 32 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A search that may go on for as long as it likes: [`Results::next`] never ends by itself.
    pub async fn search(
        &self,
        base: &str,
        filter: &str,
        attributes: Vec<String>,
        control: impl Into<RawControl>,
    ) -> Result<Results, Fault> {
        self.gate.open();
        let mut ldap = self.ldap.clone();
        ldap.with_controls(control.into());
        let search = ldap.streaming_search(base, Scope::Subtree, filter, attributes);
        let stream = tokio::time::timeout(self.timeout, search).await;
        let stream = stream.map_err(|_| Fault::Lost("no answer in time".into()))??;
        Ok(Results::new(stream, self.gate.clone()))
    }

    /// Everything below `base` that matches, a page at a time.
    pub fn pages<'a>(&'a self, base: &'a str, filter: &'a str, attributes: &'a [String]) -> Pages<'a> {
        Pages::new(self, base, filter, attributes)
    }
}

pub fn nonsense() -> Fault {
    Fault::Lost("the server sent what is no LDAP".into())
}
