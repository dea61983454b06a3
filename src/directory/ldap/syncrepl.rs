//! Content synchronisation (RFC 4533), refreshAndPersist, one search for each base.
//!
//! A refresh is one of three, and only its course tells which: with no cookie the server names everything
//! that there is; with one, it may name what is unchanged by its id alone (the present phase), or what is
//! gone (the delete phase). In the first two, what was not named is gone. Afterwards changes come as they
//! are made, each with a cookie that covers everything before it.

use futures_util::FutureExt;
use futures_util::future::select_all;
use ldap3::ResultEntry;
use ldap3::controls::{EntryState, MakeCritical, RefreshMode, SyncInfo, SyncRequest, parse_syncinfo};

use super::connection::{Connection, Fault, nonsense};
use super::decode::{Raw, id_of, sync_state};
use super::results::Results;
use super::server::connect;
use super::session::{Session, Stop};
use super::token::{Token, Witnesses};
use crate::account::EntryId;
use crate::directory::Change;
use crate::telemetry::events;

const UNAVAILABLE_CRITICAL_EXTENSION: u32 = 12;

/// So many changes in a row are told before the place is marked.
const MARK_AFTER: usize = 500;

/// Follows a server until it is lost.
pub async fn follow(session: &Session) -> Stop {
    let mut following = Following { session, contents: Vec::new(), witnesses: Witnesses::default() };
    loop {
        match following.run().await {
            Ok(never) => match never {},
            Err(Stop::Stale) if session.token().is_some() => {
                events::directory_reread(&session.url);
                session.forget_token();
            }
            Err(stop) => return stop,
        }
    }
}

enum Never {}

/// One base and the search that follows it.
struct Content {
    connection: Connection,
    results: Results,
    cookie: Option<Vec<u8>>,
}

struct Following<'a> {
    session: &'a Session,
    contents: Vec<Content>,
    witnesses: Witnesses,
}

async fn next_of(at: usize, content: &mut Content) -> (usize, Result<Option<ResultEntry>, Fault>) {
    (at, content.results.next().await)
}

/// What a message came to.
#[derive(Default)]
struct Heard {
    /// Ids alone have been named: the present phase.
    present: bool,
    /// The refresh is over.
    refreshed: bool,
    /// There is a new cookie.
    mark: bool,
}

impl Following<'_> {
    async fn run(&mut self) -> Result<Never, Stop> {
        self.contents.clear();
        let token = self.session.token();
        match &token {
            Some(token) => self.resume(token).await?,
            None => self.load().await?,
        }
        self.mark().await?;
        self.persist().await
    }

    async fn load(&mut self) -> Result<(), Stop> {
        self.witnesses = Witnesses::default();
        self.session.tell(Change::Begin).await?;
        for at in 0..self.session.options.bases.len() {
            self.begin(at, None).await?;
            self.refresh(at).await?;
        }
        self.session.tell(Change::Complete).await
    }

    async fn resume(&mut self, token: &Token) -> Result<(), Stop> {
        self.witnesses = token.witnesses.clone();
        for at in 0..self.session.options.bases.len() {
            let cookie = token.cookies.get(at).cloned().ok_or(Stop::Stale)?;
            self.begin(at, Some(cookie)).await?;
            self.session.tell(Change::Begin).await?;
            if self.refresh(at).await? {
                let base = self.session.options.bases[at].as_str().into();
                self.session.tell(Change::CompleteBelow(base)).await?;
            }
        }
        Ok(())
    }

    /// Starts the search below a base.
    async fn begin(&mut self, at: usize, cookie: Option<Vec<u8>>) -> Result<(), Stop> {
        let options = &self.session.options;
        let connection = connect(options, &self.session.url).await?;
        let filter = options.reader.search_filter().to_string();
        if at == 0 && cookie.is_some() && !self.witnesses.agree(&connection, &filter).await? {
            return Err(Stop::Stale);
        }
        let mode = RefreshMode::RefreshAndPersist;
        let control = SyncRequest { mode, cookie: cookie.clone(), reload_hint: false }.critical();
        let requested = super::requested(options.reader.requested_beside_ids(), "entryCSN");
        let results = connection.search(&options.bases[at], &filter, requested, control).await?;
        self.contents.push(Content { connection, results, cookie });
        Ok(())
    }

    /// Returns whether what was not named is gone.
    async fn refresh(&mut self, at: usize) -> Result<bool, Stop> {
        let mut present = false;
        loop {
            let Some(message) = self.next_alive(at).await? else {
                return Err(self.ended(at).await);
            };
            let heard = self.hear(at, message).await?;
            present |= heard.present;
            if heard.refreshed {
                return Ok(present);
            }
        }
    }

    /// The next message of one search. A server may think for long; that it lives is asked for meanwhile.
    async fn next_alive(&mut self, at: usize) -> Result<Option<ResultEntry>, Fault> {
        let patience = self.session.options.timeout;
        loop {
            let content = &mut self.contents[at];
            match tokio::time::timeout(patience, content.results.next()).await {
                Ok(next) => return next,
                Err(_) => content.connection.ping().await?,
            }
        }
    }

    async fn persist(&mut self) -> Result<Never, Stop> {
        let patience = self.session.options.timeout;
        let mut owed = 0;
        loop {
            // The place is marked once nothing more is waiting: marks are for a later start, and one
            // covers all before it.
            let (at, next) = match owed {
                0 => match tokio::time::timeout(patience, self.next_of_all()).await {
                    Ok(next) => next,
                    Err(_) => {
                        for content in &self.contents {
                            content.connection.ping().await?;
                        }
                        self.mark().await?;
                        continue;
                    }
                },
                MARK_AFTER.. => {
                    self.mark().await?;
                    owed = 0;
                    continue;
                }
                _ => match self.next_of_all().now_or_never() {
                    Some(next) => next,
                    None => {
                        self.mark().await?;
                        owed = 0;
                        continue;
                    }
                },
            };
            let Some(message) = next? else { return Err(self.ended(at).await) };
            let heard = self.hear(at, message).await?;
            owed += usize::from(heard.mark || owed > 0);
        }
    }

    async fn next_of_all(&mut self) -> (usize, Result<Option<ResultEntry>, Fault>) {
        if let [content] = self.contents.as_mut_slice() {
            return (0, content.results.next().await);
        }
        let searches = self.contents.iter_mut().enumerate().map(|(at, content)| next_of(at, content).boxed());
        select_all(searches).await.0
    }

    /// Why a search that should go on for ever has ended.
    async fn ended(&mut self, at: usize) -> Stop {
        let resumed = self.session.token().is_some();
        match self.contents[at].results.end().await {
            // A server that passes over the control answers as to any search.
            Ok(_) => Stop::NotOffered,
            Err(Fault::Told(result)) => match result.rc {
                UNAVAILABLE_CRITICAL_EXTENSION => Stop::NotOffered,
                // e-syncRefreshRequired (4096) says so outright, and unwillingToPerform is what OpenLDAP
                // says to a cookie from its own future: it was restored. Whatever else it may be, asking
                // for everything shows it.
                _ if resumed => Stop::Stale,
                _ => Stop::Fault(Fault::Told(result)),
            },
            Err(fault) => Stop::Fault(fault),
        }
    }

    async fn mark(&self) -> Result<(), Stop> {
        let cookies: Option<Vec<_>> = self.contents.iter().map(|content| content.cookie.clone()).collect();
        // Without a cookie for every base there is nothing to go on from; but the content is complete.
        let token = cookies.map(|cookies| Token::new(&self.session.options, cookies, self.witnesses.clone()));
        self.session.reached(token).await
    }

    /// Tells the service what a message says.
    async fn hear(&mut self, at: usize, message: ResultEntry) -> Result<Heard, Stop> {
        if message.is_ref() {
            return Ok(Heard::default());
        }
        if message.is_intermediate() {
            return self.hear_info(at, parse_syncinfo(message)).await;
        }
        let Some(state) = sync_state(&message.1) else { return Err(Stop::NotOffered) };
        let id = id_of(&state.entry_uuid).ok_or_else(nonsense)?;
        let raw = Raw::decode(message).ok_or_else(nonsense)?;
        let mut heard = Heard::default();
        let change = match state.state {
            EntryState::Add | EntryState::Modify => {
                self.witnesses.changed(id, &raw);
                raw.change(&self.session.options.reader, Some(id))
            }
            EntryState::Present => {
                heard.present = true;
                Change::Present(id)
            }
            EntryState::Delete => {
                self.witnesses.deleted(id, &raw.dn);
                Change::Gone(id)
            }
        };
        self.session.tell(change).await?;
        heard.mark = self.take_cookie(at, state.cookie);
        Ok(heard)
    }

    async fn hear_info(&mut self, at: usize, info: SyncInfo) -> Result<Heard, Stop> {
        let mut heard = Heard::default();
        let cookie = match info {
            SyncInfo::NewCookie(cookie) => Some(cookie),
            SyncInfo::RefreshDelete { cookie, refresh_done } => {
                heard.refreshed = refresh_done;
                cookie
            }
            SyncInfo::RefreshPresent { cookie, refresh_done } => {
                (heard.present, heard.refreshed) = (true, refresh_done);
                cookie
            }
            SyncInfo::SyncIdSet { cookie, refresh_deletes, sync_uuids } => {
                heard.present = !refresh_deletes;
                let named: fn(EntryId) -> Change = if refresh_deletes { Change::Gone } else { Change::Present };
                for uuid in sync_uuids {
                    let id = id_of(&uuid).ok_or_else(nonsense)?;
                    self.session.tell(named(id)).await?;
                }
                cookie
            }
        };
        heard.mark = self.take_cookie(at, cookie);
        Ok(heard)
    }

    fn take_cookie(&mut self, at: usize, cookie: Option<Vec<u8>>) -> bool {
        let new = cookie.is_some();
        if new {
            self.contents[at].cookie = cookie;
        }
        new
    }
}
