//! How a command reaches the service: the daemon's unix socket, or with `--offline` the same API in
//! this very process. The answers are the same, so the commands do not care.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tower::ServiceExt;

pub enum Client {
    Daemon(PathBuf),
    Here(Router),
}

impl Client {
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(Method::GET, path, None).await?.whole().await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.send(Method::POST, path, Some(serde_json::to_vec(body)?)).await?.whole().await
    }

    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.send(Method::PUT, path, Some(serde_json::to_vec(body)?)).await?.whole().await
    }

    /// A GET that is answered line by line.
    pub async fn get_lines(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    pub async fn post_lines(&self, path: &str, body: &impl Serialize) -> Result<Answer> {
        self.send(Method::POST, path, Some(serde_json::to_vec(body)?)).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header("host", "mailquotad");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = Bytes::from(body.unwrap_or_default());
        let response = match self {
            Client::Daemon(socket) => call(socket, request.body(Full::new(body))?).await?,
            Client::Here(router) => router.clone().oneshot(request.body(Body::from(body))?).await?,
        };
        Answer { body: response, rest: Vec::new(), begin: 0 }.checked().await
    }
}

async fn call(socket: &Path, request: Request<Full<Bytes>>) -> Result<Response<Body>> {
    let reach = || {
        format!(
            "cannot reach mailquotad at {}; is it running? (start it with `mailquotad serve`, or use --offline)",
            socket.display()
        )
    };
    let stream = UnixStream::connect(socket).await.with_context(reach)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.context("mailquotad broke the connection off")?;
    Ok(response.map(Body::new))
}

/// An answer that is being read.
pub struct Answer {
    body: Response<Body>,
    rest: Vec<u8>,
    /// Where in `rest` the next line begins.
    begin: usize,
}

impl Answer {
    async fn checked(mut self) -> Result<Answer> {
        let status = self.body.status();
        if status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE && self.is_json_report() {
            return Ok(self);
        }
        while self.fill().await? {}
        let told: Option<serde_json::Value> = serde_json::from_slice(&self.rest).ok();
        match told.as_ref().and_then(|told| told["error"].as_str()) {
            Some(why) => bail!("{why}"),
            None => bail!("{status}: {}", String::from_utf8_lossy(&self.rest).trim()),
        }
    }

    /// Health answers 503 with a report that is worth reading.
    fn is_json_report(&self) -> bool {
        self.body.headers().contains_key("x-health")
    }

    async fn fill(&mut self) -> Result<bool> {
        while let Some(frame) = self.body.body_mut().frame().await {
            if let Ok(data) = frame.context("mailquotad broke the answer off")?.into_data() {
                self.rest.extend_from_slice(&data);
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn whole<T: DeserializeOwned>(mut self) -> Result<T> {
        while self.fill().await? {}
        serde_json::from_slice(&self.rest).context("mailquotad's answer makes no sense; are both of one release?")
    }

    /// The next line of a long answer; `None` at its end.
    pub async fn line<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        self.line_as(|line| serde_json::from_slice(line)).await
    }

    /// The same, read by `read`.
    pub async fn line_as<T>(&mut self, read: impl FnOnce(&[u8]) -> serde_json::Result<T>) -> Result<Option<T>> {
        let end = loop {
            // Looks at many bytes at a time, and never fails on a slice.
            let length = (&self.rest[self.begin..]).skip_until(b'\n').unwrap_or_default();
            if length > 0 && self.rest[self.begin + length - 1] == b'\n' {
                break self.begin + length - 1;
            }
            // Lines come many at a time: what has been read is dropped once for all of them.
            self.rest.drain(..self.begin);
            self.begin = 0;
            if !self.fill().await? {
                return Ok(None);
            }
        };
        let line = &self.rest[self.begin..end];
        self.begin = end + 1;
        read(line).map(Some).context("mailquotad's answer makes no sense; are both of one release?")
    }
}

/// A part of a path, such as an address, in a form that cannot break out of it (RFC 3986 section 2.1).
pub fn part(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
