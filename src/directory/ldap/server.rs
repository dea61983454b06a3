//! Reaching a server: the socket, TLS, and who we are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ldap3::{LdapConnAsync, LdapConnSettings, StdStream};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::LdapOptions;
use super::connection::{Connection, Fault};
use crate::secret::Secret;

/// Who we are to the server.
#[derive(Clone, Debug)]
pub enum Bind {
    Anonymous,
    Simple {
        dn: String,
        password: Secret,
    },
    /// Whoever the server takes us for: by our user id on ldapi://, by our certificate over TLS.
    External,
}

#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Trusted in the place of the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key to show, both PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// On ldap:// only.
    pub start: bool,
}

/// Where OpenLDAP listens for `ldapi:///`.
const LDAPI: &str = "/run/slapd/ldapi";

/// A connection that is bound and ready.
pub async fn connect(options: &LdapOptions, url: &str) -> Result<Connection, Fault> {
    let open = tokio::time::timeout(options.timeout, open(options, url)).await;
    let connection = open.map_err(|_| Fault::Lost("no connection in time".into()))??;
    bind(&connection, &options.bind).await?;
    Ok(connection)
}

async fn open(options: &LdapOptions, url: &str) -> Result<Connection, Fault> {
    let lost = |why: std::io::Error| Fault::Lost(why.to_string());
    let (scheme, rest) = url.split_once("://").ok_or_else(|| Fault::Lost("is no address of a server".into()))?;
    let authority = rest.split('/').next().unwrap_or_default();
    let mut settings = LdapConnSettings::new();
    let stream = match scheme {
        "ldapi" => {
            let path = match authority {
                "" => LDAPI.to_owned(),
                encoded => percent_decoded(encoded),
            };
            let stream = UnixStream::connect(&path).await.map_err(|why| Fault::Lost(format!("{path}: {why}")))?;
            StdStream::Unix(stream.into_std().map_err(lost)?)
        }
        _ => {
            settings = settings.set_starttls(options.tls.start && scheme == "ldap");
            if options.tls.ca_file.is_some() || options.tls.identity.is_some() {
                settings = settings.set_config(Arc::new(tls(&options.tls)?));
            }
            let port = if scheme == "ldaps" { 636 } else { 389 };
            let stream = reach(authority, port).await.map_err(lost)?;
            watch(&stream, options.timeout).map_err(lost)?;
            StdStream::Tcp(stream.into_std().map_err(lost)?)
        }
    };
    // `ldap3` would take the path for a host; the stream is open already.
    let url = if scheme == "ldapi" { "ldapi:///" } else { url };
    let (driver, ldap) = LdapConnAsync::with_settings(settings.set_std_stream(stream), url).await?;
    Ok(Connection::start(driver, ldap, options.timeout))
}

/// Tries every address of a host.
async fn reach(authority: &str, port: u16) -> std::io::Result<TcpStream> {
    let bare = authority.trim_start_matches('[').trim_end_matches(']');
    let with_port = match authority.rsplit_once(':') {
        Some((_, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !authority.ends_with(']') => {
            authority.to_owned()
        }
        _ if bare.contains(':') => format!("[{bare}]:{port}"),
        _ => format!("{bare}:{port}"),
    };
    let mut error = std::io::Error::other("the name has no address");
    for address in lookup_host(&with_port).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

/// A peer whose machine is gone is noticed by the kernel; one that merely hangs, by our own time limits.
fn watch(stream: &TcpStream, timeout: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let step = timeout.max(Duration::from_secs(1));
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(step).with_interval(step).with_retries(3))?;
    socket.set_tcp_user_timeout(Some(step * 3))
}

fn tls(options: &Tls) -> Result<ClientConfig, Fault> {
    let mut roots = RootCertStore::empty();
    let file = |path: &Path, why: &dyn fmt::Display| Fault::Lost(format!("{}: {why}", path.display()));
    match &options.ca_file {
        Some(path) => {
            for certificate in CertificateDer::pem_file_iter(path).map_err(|why| file(path, &why))? {
                let certificate = certificate.map_err(|why| file(path, &why))?;
                roots.add(certificate).map_err(|why| file(path, &why))?;
            }
            if roots.is_empty() {
                return Err(file(path, &"holds no certificate; accepted: PEM"));
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    match &options.identity {
        None => Ok(config.with_no_client_auth()),
        Some((path, key)) => {
            let chain =
                CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|why| file(path, &why))?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|why| file(key, &why))?;
            config.with_client_auth_cert(chain, secret).map_err(|why| file(path, &why))
        }
    }
}

async fn bind(connection: &Connection, bind: &Bind) -> Result<(), Fault> {
    let mut ldap = connection.operation();
    let answer = match bind {
        Bind::Anonymous => return connection.ping().await,
        Bind::Simple { dn, password } => {
            let password = password.read().map_err(|error| Fault::Lost(error.to_string()))?;
            ldap.simple_bind(dn, &password).await?
        }
        Bind::External => ldap.sasl_external_bind().await?,
    };
    answer.success()?;
    Ok(())
}

/// RFC 3986 section 2.1; what is no escape stays.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| rest.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (byte, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &rest[3..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_addresses_are_decoded() {
        assert_eq!(percent_decoded("%2Frun%2fslapd%2Fldapi"), "/run/slapd/ldapi");
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%4"), "%zz%4");
    }
}
