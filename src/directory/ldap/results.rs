//! What searches bring, at the pace at which it is taken.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ldap3::controls::{Control, ControlType, PagedResults, RawControl};
use ldap3::{LdapError, LdapResult, ResultEntry, SearchStream};
use tokio::task::unconstrained;

use super::connection::{Connection, Fault, nonsense};
use super::decode::Raw;
use super::gate::Gate;

/// Entries of a page. More brings nothing, less costs round trips.
const PAGE: i32 = 1000;

/// What a search brings, as fast as it is taken.
pub struct Results {
    stream: SearchStream<'static, String, Vec<String>>,
    gate: Arc<Gate>,
    /// One turn of the reader, in hand.
    taken: VecDeque<ResultEntry>,
    /// What came behind the last of them.
    ended: Option<Result<(), LdapError>>,
}

impl Results {
    pub fn new(stream: SearchStream<'static, String, Vec<String>>, gate: Arc<Gate>) -> Results {
        Results { stream, gate, taken: VecDeque::new(), ended: None }
    }

    /// The next entry, reference or message; `None` at the end. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<ResultEntry>, Fault> {
        poll_fn(|context| self.poll_turn(context)).await;
        match self.taken.pop_front() {
            Some(result) => Ok(Some(result)),
            None => self.ended.take().unwrap_or(Ok(())).map(|()| None).map_err(Fault::from),
        }
    }

    /// All that there is by now; nothing only at the end.
    async fn turn(&mut self) -> VecDeque<ResultEntry> {
        poll_fn(|context| self.poll_turn(context)).await;
        std::mem::take(&mut self.taken)
    }

    fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Ready with results in hand, or at the end of them.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.taken.is_empty() && self.ended.is_none() {
            self.take();
            if self.taken.is_empty() && self.ended.is_none() {
                self.gate.wait(context);
                // What came before the registration woke nobody.
                self.take();
            }
            if !self.taken.is_empty() {
                self.gate.open_once();
            }
        }
        match self.taken.is_empty() && self.ended.is_none() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    /// Takes all that the reader has left.
    fn take(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while self.ended.is_none() {
            // Not by the budget of the task, which would seem to be the end of what there is.
            match pin!(unconstrained(self.stream.next())).poll(&mut context) {
                Poll::Ready(Ok(Some(result))) => self.taken.push_back(result),
                Poll::Ready(Ok(None)) => self.ended = Some(Ok(())),
                Poll::Ready(Err(error)) => self.ended = Some(Err(error)),
                Poll::Pending => return,
            }
        }
    }

    /// The server's last word, after the end; an error where that is one.
    pub async fn end(&mut self) -> Result<LdapResult, Fault> {
        self.gate.open();
        if let Some(Err(error)) = self.ended.take() {
            return Err(error.into());
        }
        Ok(self.stream.finish().await.success()?)
    }
}

/// Everything below a base that matches, a page at a time.
pub struct Pages<'a> {
    connection: &'a Connection,
    base: &'a str,
    filter: &'a str,
    attributes: &'a [String],
    page: Page,
    taken: VecDeque<ResultEntry>,
}

enum Page {
    /// To be asked for with this cookie.
    Next(Vec<u8>),
    Coming(Box<Results>),
    NoMore,
}

impl<'a> Pages<'a> {
    pub fn new(connection: &'a Connection, base: &'a str, filter: &'a str, attributes: &'a [String]) -> Pages<'a> {
        Pages { connection, base, filter, attributes, page: Page::Next(Vec::new()), taken: VecDeque::new() }
    }

    pub async fn next(&mut self) -> Result<Option<Raw>, Fault> {
        loop {
            if let Some(entry) = self.taken.pop_front() {
                if entry.is_ref() || entry.is_intermediate() {
                    continue;
                }
                return Raw::decode(entry).ok_or_else(nonsense).map(Some);
            }
            match &mut self.page {
                Page::NoMore => return Ok(None),
                Page::Next(cookie) => {
                    let cookie = std::mem::take(cookie);
                    self.ask(cookie).await?;
                }
                Page::Coming(results) => {
                    let turn = tokio::time::timeout(self.connection.timeout(), results.turn()).await;
                    self.taken = turn.map_err(|_| Fault::Lost("no answer in time".into()))?;
                    if results.has_ended() {
                        let cookie = next_page(results.end().await?)?;
                        // Asked for before this one is worked on, so that the server need not wait for us.
                        match cookie.is_empty() {
                            true => self.page = Page::NoMore,
                            false => self.ask(cookie).await?,
                        }
                    }
                }
            }
        }
    }

    async fn ask(&mut self, cookie: Vec<u8>) -> Result<(), Fault> {
        let mut page = RawControl::from(PagedResults { size: PAGE, cookie });
        page.crit = true;
        let results = self.connection.search(self.base, self.filter, self.attributes.to_vec(), page).await?;
        self.page = Page::Coming(Box::new(results));
        Ok(())
    }
}

fn next_page(result: LdapResult) -> Result<Vec<u8>, Fault> {
    let page = result.ctrls.iter().find_map(|control| match control {
        Control(Some(ControlType::PagedResults), raw) if raw.val.is_some() => Some(raw.parse::<PagedResults>()),
        _ => None,
    });
    page.map(|page| page.cookie).ok_or_else(|| Fault::Lost("the server does not page its results".into()))
}
