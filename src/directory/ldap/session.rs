//! One stay with one server, from the connection to its loss.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection::Fault;
use super::token::Token;
use super::{Follow, LdapOptions, poll, syncrepl};
use crate::directory::Change;
use crate::telemetry::events;

/// Why a session ended.
pub struct Ended(pub String);

/// How far a session came.
#[derive(Default)]
pub struct Reached {
    pub token: Option<Token>,
    /// Whether the server was followed at all, and not just called.
    pub live: bool,
}

/// What ends the work with a server.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The server cannot go on from our cookie: everything must be asked for again.
    #[error("the server cannot go on from where it was left")]
    Stale,
    #[error("the server does not offer syncrepl")]
    NotOffered,
    #[error("the service has ended")]
    Closed,
}

pub struct Session {
    pub options: Arc<LdapOptions>,
    pub url: String,
    changes: mpsc::Sender<Change>,
    reached: Arc<Mutex<Reached>>,
}

impl Session {
    pub fn new(options: Arc<LdapOptions>, url: &str, token: Option<Token>, changes: mpsc::Sender<Change>) -> Session {
        let reached = Arc::new(Mutex::new(Reached { token, live: false }));
        Session { options, url: url.to_owned(), changes, reached }
    }

    /// In a task of its own, so that a panic is the end of the session and of nothing else.
    pub async fn run_apart(self) -> (Ended, Reached) {
        let reached = self.reached.clone();
        let mut task = JoinSet::new();
        task.spawn(self.run());
        let ended = match task.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Ended(format!("what the server sent cannot be read ({error})")),
            None => Ended(String::new()),
        };
        let reached = std::mem::take(&mut *reached.lock());
        (ended, reached)
    }

    async fn run(self) -> Ended {
        let mut stopped = match self.options.follow {
            Follow::Syncrepl => syncrepl::follow(&self).await,
            Follow::Poll => poll::follow(&self).await,
        };
        if let Stop::NotOffered = stopped {
            events::directory_polled(&self.url);
            stopped = poll::follow(&self).await;
        }
        Ended(stopped.to_string())
    }

    pub async fn tell(&self, change: Change) -> Result<(), Stop> {
        self.changes.send(change).await.map_err(|_| Stop::Closed)
    }

    pub fn token(&self) -> Option<Token> {
        self.reached.lock().token.clone()
    }

    pub fn forget_token(&self) {
        self.reached.lock().token = None;
    }

    /// Everything up to here has been told.
    pub async fn reached(&self, token: Option<Token>) -> Result<(), Stop> {
        let bytes = token.as_ref().map(Token::write).unwrap_or_default();
        *self.reached.lock() = Reached { token, live: true };
        self.tell(Change::Reached { token: bytes }).await
    }
}
