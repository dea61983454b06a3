//! Connections to servers that are asked what a mailbox holds: plain or TLS, blocking, and never for longer than a
//! deadline for the whole exchange.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::MailStoreError;

/// A server, and who vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: Box<str>,
    pub port: u16,
    pub tls: bool,
    /// `None`: the system's certificates.
    pub ca_file: Option<PathBuf>,
    /// For one exchange, from connecting to the last byte.
    pub timeout: Duration,
}

/// Connections to one server. The TLS settings are made once: reading the system's certificates takes longer than an
/// exchange.
pub struct Dialer {
    server: Server,
    tls: std::sync::OnceLock<Arc<ClientConfig>>,
}

impl Dialer {
    pub fn new(server: Server) -> Dialer {
        Dialer { server, tls: std::sync::OnceLock::new() }
    }

    pub fn connect(&self) -> io::Result<Connection> {
        let Server { host, port, timeout, .. } = &self.server;
        let deadline = Instant::now() + *timeout;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (&**host, *port).to_socket_addrs()? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let plain = Connection::Plain(Timed { stream, deadline });
                    return if self.server.tls { self.encrypt(plain) } else { Ok(plain) };
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// TLS from here on; one that has it already is left as it is.
    pub fn encrypt(&self, connection: Connection) -> io::Result<Connection> {
        let Connection::Plain(stream) = connection else { return Ok(connection) };
        let config = match self.tls.get() {
            Some(config) => config.clone(),
            None => {
                let made = tls(self.server.ca_file.as_deref())?;
                self.tls.get_or_init(|| made).clone()
            }
        };
        let name = ServerName::try_from(self.server.host.to_string()).map_err(io::Error::other)?;
        let client = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Connection::Tls(Box::new(rustls::StreamOwned::new(client, stream))))
    }

    /// An error with the server in it.
    pub fn failed(&self, error: &dyn std::fmt::Display) -> MailStoreError {
        MailStoreError::Unreadable(format!("{}:{}: {error}", self.server.host, self.server.port))
    }
}

fn tls(ca_file: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let named =
                |error: &dyn std::fmt::Display| io::Error::other(format!("ca_file {}: {error}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| named(&error))? {
                let certificate = certificate.map_err(|error| named(&error))?;
                roots.add(certificate).map_err(|error| named(&error))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(io::Error::other)?.with_root_certificates(roots);
    Ok(Arc::new(config.with_no_client_auth()))
}

/// A socket under a deadline: a server that sends a byte now and then does not hold a reader for ever.
pub struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")) } else { Ok(left) }
    }

    /// The system says "would block" when a socket's own time is up.
    fn told(error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
            _ => error,
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer).map_err(Timed::told)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes).map_err(Timed::told)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

pub enum Connection {
    Plain(Timed),
    Tls(Box<rustls::StreamOwned<ClientConnection, Timed>>),
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Plain(stream) => stream.read(buffer),
            Connection::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Plain(stream) => stream.write(bytes),
            Connection::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Connection::Plain(stream) => stream.flush(),
            Connection::Tls(stream) => stream.flush(),
        }
    }
}

/// How a server names folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderNames {
    /// What stands between levels.
    pub separator: char,
    /// What stands before every name but INBOX, with the separator; not before those of other namespaces.
    pub prefix: Box<str>,
    /// What names of shared and public folders begin with, whose mail is not the user's.
    pub foreign: Vec<Box<str>>,
}

impl FolderNames {
    /// Whether a folder is the user's own, by its name there.
    pub fn is_own(&self, name: &str) -> bool {
        let root = |prefix: &str| prefix.strip_suffix(self.separator).is_some_and(|root| root == name);
        !self.foreign.iter().any(|prefix| name.starts_with(&**prefix) || root(prefix))
    }

    /// With `/` between levels.
    pub fn ours(&self, name: &str) -> String {
        let own = name.strip_prefix(&*self.prefix).filter(|rest| !rest.is_empty()).unwrap_or(name);
        own.replace(self.separator, "/")
    }

    pub fn theirs(&self, folder: &str) -> String {
        match folder {
            "INBOX" => "INBOX".into(),
            folder => format!("{}{}", self.prefix, folder.replace('/', &self.separator.to_string())),
        }
    }
}
