//! The HTTP API: what the command line talks to over its unix socket, and other programs over TCP with
//! a token. JSON in, JSON out; long answers are one object a line (`application/x-ndjson`).
//!
//! | method and path | body or query | answer |
//! |---|---|---|
//! | `GET /v1/health` | | `{"status": "ok" \| "degraded", ...}` |
//! | `GET /v1/accounts/{address}` | | as `show --format json` |
//! | `GET /v1/domains/{name}` | | a domain's report |
//! | `PUT /v1/accounts/{address}/quota` | `{"quota", "messages"}` | what was written |
//! | `POST /v1/explain` | `{"recipient", "size", "folder", "type", "sender", "client", "login", "context"}` | as `explain --format json` |
//! | `POST /v1/resync` | `{"all", "accounts", "domain", "limits_only"}` | lines of [`super::resync::News`] |
//! | `GET /v1/check` | `user`, `domain`, `over`, `enforce`, `notify`, `folders` | one report a line |
//! | `GET /v1/queue` | `quota`, `full`, `most` | a line for each queue and each group of a queue quota |
//! | `POST /v1/enforce` | `{"domain"}` | a line for each domain whose status changes |
//! | `POST /v1/notify` | `{"domain", "user", "rules", "extended"}` | a line for each bucket that a rule applies to |
//! | `POST /v1/usage` | `{"account", "key", "cells": [...]}` | `{"outcome"}` |
//! | `GET /metrics` | | Prometheus text |
//!
//! Errors are `{"error": "..."}` with 400 (the request), 401 (the token), 404 (no such account), 405 (the method),
//! 409 (overruled), 503 (cannot now).

pub mod check;
mod look;
pub mod notify;
pub mod queue;
pub mod resync;
pub mod server;
mod usage;
pub mod write;

use std::convert::Infallible;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::mpsc;

use super::account::Account;
use super::accounting::Accounting;
use super::admission::Admission;
use super::measuring::Measuring;
use super::status::DirectoryStatus;
use super::watch::WatchStatus;
use crate::directory::Directory;
use crate::telemetry::metrics::Metrics;

/// What the API works with.
#[derive(Clone)]
pub struct Api {
    pub accounting: Arc<Accounting>,
    pub admission: Arc<Admission>,
    pub measuring: Arc<Measuring>,
    pub directory: Arc<dyn Directory>,
    pub directory_status: Arc<DirectoryStatus>,
    pub metrics: Arc<Metrics>,
    pub watch: Arc<WatchStatus>,
}

/// What callers over TCP show. It may be replaced while requests come in.
pub type Token = ArcSwap<String>;

/// The routes. Over a unix socket the socket's mode says who may; over TCP `token` must be given as
/// `Authorization: Bearer ...`.
pub fn router(api: Api, token: Option<Arc<Token>>) -> Router {
    let routes = Router::new()
        .route("/v1/health", get(look::health))
        .route("/v1/accounts/{address}", get(look::account))
        .route("/v1/accounts/{address}/quota", put(write::quota))
        .route("/v1/domains/{name}", get(look::domain))
        .route("/v1/explain", post(look::explain))
        .route("/v1/resync", post(resync::resync))
        .route("/v1/check", get(check::check))
        .route("/v1/queue", get(queue::queue))
        .route("/v1/enforce", post(notify::enforce))
        .route("/v1/notify", post(notify::notify))
        .route("/v1/usage", post(usage::usage))
        .route("/metrics", get(look::metrics))
        .fallback(async || Failure::not_found("no such path; see the documentation of the HTTP API"))
        .method_not_allowed_fallback(async || {
            Failure(StatusCode::METHOD_NOT_ALLOWED, "the path is right, the method is not; see `allow`".into())
        })
        .with_state(api);
    match token {
        Some(token) => routes.layer(middleware::from_fn_with_state(token, authorize)),
        None => routes,
    }
}

async fn authorize(State(token): State<Arc<Token>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let same = same(given.as_bytes(), token.load().as_bytes());
    match same {
        true => next.run(request).await,
        false => {
            Failure(StatusCode::UNAUTHORIZED, "a bearer token is needed: see http.token_file".into()).into_response()
        }
    }
}

/// Compares in a time that does not tell how much of a guess was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// A body of JSON; what is wrong with it is said as every other error is.
pub struct Given<T>(T);

impl<T: DeserializeOwned> FromRequest<Api> for Given<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, api: &Api) -> Result<Given<T>, Failure> {
        match Json::<T>::from_request(request, api).await {
            Ok(Json(given)) => Ok(Given(given)),
            Err(rejected) => Err(Failure::bad(rejected.body_text())),
        }
    }
}

/// A name in the path, likewise.
pub struct Named(String);

impl FromRequestParts<Api> for Named {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Named, Failure> {
        match Path::<String>::from_request_parts(parts, api).await {
            Ok(Path(name)) => Ok(Named(name)),
            Err(rejected) => Err(Failure::bad(rejected.body_text())),
        }
    }
}

/// An answer that says what is wrong.
pub struct Failure(StatusCode, String);

impl Failure {
    fn bad(why: impl Into<String>) -> Failure {
        Failure(StatusCode::BAD_REQUEST, why.into())
    }

    fn not_found(why: impl Into<String>) -> Failure {
        Failure(StatusCode::NOT_FOUND, why.into())
    }

    fn unavailable(why: impl ToString) -> Failure {
        Failure(StatusCode::SERVICE_UNAVAILABLE, why.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl Api {
    /// The account behind an address: its own, an alternate one, or one with an extension.
    fn account(&self, address: &str) -> Result<Arc<Account>, Failure> {
        let found = self.admission.expand(&self.admission.settings(), address);
        match found.accounts.as_slice() {
            [] => Err(Failure::not_found(format!("{address}: no such account"))),
            [account] => Ok(account.clone()),
            several => {
                let names: Vec<_> = several.iter().map(|account| &*account.address).collect();
                Err(Failure::bad(format!("{address} leads to several accounts: {}", names.join(", "))))
            }
        }
    }

    fn accounts_of(&self, domain: Option<&str>) -> Result<Vec<Arc<Account>>, Failure> {
        let mut accounts = match domain {
            Some(name) => {
                let known = self.accounting.book.domain(&name.to_lowercase());
                known.ok_or_else(|| Failure::not_found(format!("{name}: no such domain")))?.accounts()
            }
            None => {
                let mut all = Vec::with_capacity(self.accounting.book.accounts());
                self.accounting.book.for_each_account(|account| all.push(account.clone()));
                all
            }
        };
        accounts.sort_by(|a, b| a.address.cmp(&b.address));
        Ok(accounts)
    }
}

/// A long answer that is written as fast as it is read: one JSON object a line, many lines a piece. Each line
/// is printed where it is made: to hand a hundred thousand values to another task costs more than to print them.
struct Pieces {
    piece: Vec<u8>,
    reader: mpsc::Sender<Vec<u8>>,
}

/// How large a piece gets, and how many of them wait for a slow reader.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 8;

impl Pieces {
    fn new() -> (Pieces, Response) {
        let (reader, pieces) = mpsc::channel(PIECES);
        let pieces = futures_util::stream::unfold(pieces, async |mut pieces: mpsc::Receiver<Vec<u8>>| {
            pieces.recv().await.map(|piece| (Ok::<_, Infallible>(piece), pieces))
        });
        (Pieces { piece: Vec::with_capacity(PIECE), reader }, answer(Body::from_stream(pieces)))
    }

    /// Whether anybody still reads.
    async fn line(&mut self, value: &impl Serialize) -> bool {
        if serde_json::to_writer(&mut self.piece, value).is_err() {
            return false;
        }
        self.piece.push(b'\n');
        self.piece.len() < PIECE - PIECE / 8 || self.flush().await
    }

    /// To be called at the end too.
    async fn flush(&mut self) -> bool {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.reader.send(piece).await.is_ok()
    }
}

fn answer(lines: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response()
}

/// Sends values as they come, one JSON object a line.
fn lines<T: Serialize + Send + 'static>(values: mpsc::Receiver<T>) -> Response {
    let lines = futures_util::stream::unfold(values, async |mut values| {
        // What is there already goes out in one piece: a hundred thousand lines are no hundred thousand writes.
        let mut some = Vec::new();
        if values.recv_many(&mut some, 256).await == 0 {
            return None;
        }
        let mut piece = Vec::new();
        let written = some.iter().try_for_each(|value| {
            serde_json::to_writer(&mut piece, value)?;
            piece.push(b'\n');
            Ok::<_, serde_json::Error>(())
        });
        Some((written.map(|()| piece), values))
    });
    answer(Body::from_stream(lines))
}
