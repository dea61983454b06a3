//! A live LDAP directory: loaded, followed as it changes (RFC 4533, or by polling), and written to by
//! compare and set.
//!
//! One task talks to one server at a time; when that server is lost, the next one in the list is asked, with
//! pauses that grow and are never quite the same. `ldap3` neither notices a server that hangs nor bounds what
//! it reads ahead, and panics on BER that makes no sense: [`connection`] and [`gate`] mend the first two, and the third
//! is contained by giving every session a task of its own, whose death is a lost connection.

mod backoff;
mod connection;
mod decode;
mod gate;
mod poll;
pub mod probe;
mod results;
mod server;
mod session;
mod syncrepl;
mod token;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::backoff::Backoff;
use self::session::{Ended, Session};
use self::token::Token;
use self::write::Writer;
use super::entry::EntryReader;
use super::{Change, Directory, DirectoryError, Wish, Written};
use crate::account::Writable;
use crate::wire::dn;

pub use self::server::{Bind, Tls};

#[derive(Clone, Debug)]
pub struct LdapOptions {
    /// In fail-over order.
    pub urls: Vec<String>,
    pub bind: Bind,
    pub tls: Tls,
    /// For one operation; also how long a server may be silent before it is asked whether it lives.
    pub timeout: Duration,
    pub bases: Vec<String>,
    pub follow: Follow,
    /// How often a server that cannot tell of changes is asked for them.
    pub poll_interval: Duration,
    /// How often such a server is read as a whole: nothing else shows that an entry was deleted.
    pub compare_interval: Duration,
    pub writes_per_second: u32,
    pub reader: EntryReader,
    /// How the caller reads what he is sent, in any words; empty for the usual way. When it changes, every entry is
    /// sent anew instead of those that have changed.
    pub meaning: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// RFC 4533, refreshAndPersist; polling where the server does not offer it.
    Syncrepl,
    Poll,
}

impl LdapOptions {
    /// With defaults for all that a site need not say.
    pub fn new(urls: &[&str], bases: &[&str], reader: EntryReader) -> LdapOptions {
        LdapOptions {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            bind: Bind::Anonymous,
            tls: Tls::default(),
            timeout: Duration::from_secs(10),
            bases: bases.iter().map(|base| (*base).to_owned()).collect(),
            follow: Follow::Syncrepl,
            poll_interval: Duration::from_secs(60),
            compare_interval: Duration::from_secs(3600),
            writes_per_second: 500,
            reader,
            meaning: "",
        }
    }
}

/// The attributes to ask for, with `more` behind them.
fn requested(names: Vec<Box<str>>, more: &str) -> Vec<String> {
    names.into_iter().map(String::from).chain([more.to_owned()]).collect()
}

pub struct LdapDirectory {
    options: Arc<LdapOptions>,
    writer: Writer,
}

impl LdapDirectory {
    pub fn new(mut options: LdapOptions) -> LdapDirectory {
        options.bases = outermost(&options.bases);
        let options = Arc::new(options);
        LdapDirectory { writer: Writer::new(options.clone()), options }
    }
}

/// The bases without those that lie below another one: what stands there would be named twice.
fn outermost(bases: &[String]) -> Vec<String> {
    let normal: Vec<String> = bases.iter().map(|base| dn::normal(base)).collect();
    let covered = |at: usize| {
        let mut others = normal.iter().enumerate().filter(|(other, _)| *other != at);
        others.any(|(other, base)| dn::lies_below(&normal[at], base) && (*base != normal[at] || other < at))
    };
    (0..bases.len()).filter(|at| !covered(*at)).map(|at| bases[at].clone()).collect()
}

#[async_trait]
impl Directory for LdapDirectory {
    async fn follow(
        &self,
        token: Option<Vec<u8>>,
        changes: mpsc::Sender<Change>,
        stop: CancellationToken,
    ) -> Result<(), DirectoryError> {
        let mut token = token.and_then(|bytes| Token::read(&bytes, &self.options));
        let mut backoff = Backoff::default();
        let mut told = None;
        loop {
            for url in &self.options.urls {
                let session = Session::new(self.options.clone(), url, token.take(), changes.clone());
                let (ended, reached) = tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = changes.closed() => return Ok(()),
                    ended = session.run_apart() => ended,
                };
                token = reached.token;
                let Ended(why) = ended;
                if reached.live {
                    backoff.reset();
                    told = None;
                }
                let why = format!("{url}: {why}");
                if told.as_ref() != Some(&why) {
                    told = Some(why.clone());
                    if changes.send(Change::Lost { why }).await.is_err() {
                        return Ok(());
                    }
                }
                if reached.live {
                    // A server that was there a moment ago may well be back already: begin with the first.
                    break;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = changes.closed() => return Ok(()),
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    async fn read(&self, dn: &str, attribute: Writable) -> Result<Option<Box<str>>, DirectoryError> {
        self.writer.read(dn, attribute).await
    }

    async fn write(&self, wish: &Wish) -> Result<Written, DirectoryError> {
        self.writer.write(wish).await
    }
}

#[cfg(test)]
mod tests {
    use super::outermost;

    #[test]
    fn a_base_below_another_is_left_out() {
        let bases = |bases: &[&str]| outermost(&bases.iter().map(|base| (*base).to_owned()).collect::<Vec<_>>());
        assert_eq!(bases(&["ou=a,dc=x", "DC=x", "dc=y"]), ["DC=x", "dc=y"]);
        assert_eq!(bases(&["dc=x", "dc = X"]), ["dc=x"]);
        assert_eq!(bases(&["dc=ax", "dc=x"]), ["dc=ax", "dc=x"]);
    }
}
