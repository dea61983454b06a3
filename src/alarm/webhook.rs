//! A POST over HTTP/1.1, plain or with TLS.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::AlarmError;

/// Servers, and who vouches for them.
pub(super) struct Webhooks {
    ca_file: Option<PathBuf>,
    /// Made when it is first needed: reading the system's certificates takes its time.
    tls: OnceCell<TlsConnector>,
}

impl Webhooks {
    pub fn new(ca_file: Option<PathBuf>) -> Webhooks {
        Webhooks { ca_file, tls: OnceCell::new() }
    }

    pub async fn post(&self, url: &str, body: &str) -> Result<(), AlarmError> {
        self.try_to_post(url, body).await.map_err(|why| AlarmError(format!("{url}: {why}")))
    }

    async fn try_to_post(&self, url: &str, body: &str) -> Result<(), String> {
        let uri: Uri = url.parse().map_err(text)?;
        let host = uri.host().ok_or("names no host")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let encrypted = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let stream = TcpStream::connect((bare, port)).await.map_err(text)?;
        if !encrypted {
            return exchange(stream, &uri, host, body).await;
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(text)?;
        let tls = self.tls.get_or_try_init(|| connector(self.ca_file.clone())).await?;
        exchange(tls.connect(name, stream).await.map_err(text)?, &uri, host, body).await
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
    host: &str,
    body: &str,
) -> Result<(), String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let talking = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::post(path)
        .header("host", uri.authority().map_or(host, |authority| authority.as_str()))
        .header("content-type", "application/json")
        .header("connection", "close")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .map_err(text)?;
    let answered = sender.send_request(request).await;
    talking.abort();
    let status = answered.map_err(text)?.status();
    if status.is_success() { Ok(()) } else { Err(status.to_string()) }
}

async fn connector(ca_file: Option<PathBuf>) -> Result<TlsConnector, String> {
    let reading = tokio::task::spawn_blocking(move || roots(ca_file.as_deref()));
    let roots = reading.await.map_err(text)??;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(text)?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()).into())
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let named = |error: &dyn Display| format!("warnings.ca_file {}: {error}", path.display());
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| named(&error))? {
        roots.add(certificate.map_err(|error| named(&error))?).map_err(|error| named(&error))?;
    }
    Ok(roots)
}

fn text(error: impl Display) -> String {
    error.to_string()
}
