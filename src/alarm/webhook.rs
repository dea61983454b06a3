//! A POST over HTTP/1.1, without TLS: to this machine or a trusted network, or by way of a proxy that encrypts.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::AlarmError;

pub(super) async fn post(url: &str, body: &str) -> Result<(), AlarmError> {
    let failed = |error: &dyn std::fmt::Display| AlarmError(format!("{url}: {error}"));
    let uri: Uri = url.parse().map_err(|error| failed(&error))?;
    let host = uri.host().ok_or_else(|| failed(&"names no host"))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, uri.port_u16().unwrap_or(80))).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let talking = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::post(path)
        .header("host", uri.authority().map_or(host, |authority| authority.as_str()))
        .header("content-type", "application/json")
        .header("connection", "close")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .map_err(|error| failed(&error))?;
    let answered = sender.send_request(request).await;
    talking.abort();
    let status = answered.map_err(|error| failed(&error))?.status();
    if status.is_success() { Ok(()) } else { Err(failed(&status)) }
}
