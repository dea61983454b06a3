//! One connection: bounded in what it reads ahead and in how long it waits.
//!
//! `ldap3` puts every result that arrives into a queue without an end. A [`Gate`] stands before the task that
//! reads the socket: while there are results that nobody has taken, it does not run, the socket's buffer
//! fills, and the server waits. What one turn of that task reads is the bound, about a megabyte.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use ldap3::controls::{Control, ControlType, PagedResults, RawControl};
use ldap3::{Ldap, LdapConnAsync, LdapError, LdapResult, ResultEntry, Scope, SearchStream};
use tokio::task::JoinHandle;

use super::decode::Raw;

/// Entries of a page. More brings nothing, less costs round trips.
const PAGE: i32 = 1000;

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

/// Lets the reader of the socket run, or not.
struct Gate {
    open: AtomicBool,
    reader: AtomicWaker,
}

impl Gate {
    fn open(&self) {
        if !self.open.swap(true, Ordering::AcqRel) {
            self.reader.wake();
        }
    }

    fn close(&self) {
        self.open.store(false, Ordering::Release);
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
        let gate = Arc::new(Gate { open: AtomicBool::new(true), reader: AtomicWaker::new() });
        let passed = gate.clone();
        // A panic of its decoder ends this task alone; whoever waits for results then sees the end.
        let driver = tokio::spawn(async move {
            let mut drive = Box::pin(driver.drive());
            let ended = poll_fn(|context| {
                passed.reader.register(context.waker());
                match passed.open.load(Ordering::Acquire) {
                    true => drive.as_mut().poll(context),
                    false => Poll::Pending,
                }
            });
            // Why it ended shows in what waits for results.
            let _ = ended.await;
        });
        Connection { ldap, gate, driver, timeout }
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
        Ok(Results { stream, gate: self.gate.clone() })
    }

    /// Everything below `base` that matches, a page at a time.
    pub fn pages<'a>(&'a self, base: &'a str, filter: &'a str, attributes: &'a [String]) -> Pages<'a> {
        Pages { connection: self, base, filter, attributes, results: None, cookie: Vec::new(), more: true }
    }
}

pub struct Pages<'a> {
    connection: &'a Connection,
    base: &'a str,
    filter: &'a str,
    attributes: &'a [String],
    results: Option<Results>,
    cookie: Vec<u8>,
    more: bool,
}

impl Pages<'_> {
    pub async fn next(&mut self) -> Result<Option<Raw>, Fault> {
        loop {
            let results = match &mut self.results {
                Some(results) => results,
                None if !self.more => return Ok(None),
                None => {
                    let mut page =
                        RawControl::from(PagedResults { size: PAGE, cookie: std::mem::take(&mut self.cookie) });
                    page.crit = true;
                    let search = self.connection.search(self.base, self.filter, self.attributes.to_vec(), page);
                    self.results.insert(search.await?)
                }
            };
            let next = tokio::time::timeout(self.connection.timeout, results.next()).await;
            match next.map_err(|_| Fault::Lost("no answer in time".into()))?? {
                Some(entry) if entry.is_ref() || entry.is_intermediate() => {}
                Some(entry) => return Raw::decode(entry).ok_or_else(nonsense).map(Some),
                None => {
                    self.cookie = next_page(results.end().await?)?;
                    self.more = !self.cookie.is_empty();
                    self.results = None;
                }
            }
        }
    }
}

pub fn nonsense() -> Fault {
    Fault::Lost("the server sent what is no LDAP".into())
}

fn next_page(result: LdapResult) -> Result<Vec<u8>, Fault> {
    let page = result.ctrls.iter().find_map(|control| match control {
        Control(Some(ControlType::PagedResults), raw) if raw.val.is_some() => Some(raw.parse::<PagedResults>()),
        _ => None,
    });
    page.map(|page| page.cookie).ok_or_else(|| Fault::Lost("the server does not page its results".into()))
}

/// What a search brings, as fast as it is taken.
pub struct Results {
    stream: SearchStream<'static, String, Vec<String>>,
    gate: Arc<Gate>,
}

impl Results {
    /// The next entry, reference or message; `None` at the end. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<ResultEntry>, Fault> {
        let gate = &self.gate;
        let mut next = pin!(self.stream.next());
        let next = poll_fn(|context| match next.as_mut().poll(context) {
            Poll::Ready(next) => {
                gate.close();
                Poll::Ready(next)
            }
            Poll::Pending => {
                gate.open();
                Poll::Pending
            }
        });
        Ok(next.await?)
    }

    /// The server's last word, after the end; an error where that is one.
    pub async fn end(&mut self) -> Result<LdapResult, Fault> {
        self.gate.open();
        Ok(self.stream.finish().await.success()?)
    }
}
