//! Sockets of both kinds, TCP and unix, under one roof: binding, the stream, and who is at the other end.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::wire::endpoint::Endpoint;

/// Who may connect to a unix socket: its mode (`0o660`) and, if it is not to be the daemon's own, its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub mode: u32,
    pub group: Option<u32>,
}

impl Default for Access {
    fn default() -> Access {
        Access { mode: 0o660, group: None }
    }
}

/// Connections that may wait to be accepted; the system has a limit of its own (`net.core.somaxconn`). The 128 of
/// the standard library are too few: after a restart every smtpd of a busy host connects at once, and one that
/// finds no place here tries again a second later, while its client waits.
const BACKLOG: i32 = 4096;

/// What a unix socket is called until its rights are set, behind its path.
const ASIDE: &str = ".new";

/// The longest path of a unix socket, in bytes: unix(7) has room for 107 and the end.
pub const LONGEST_PATH: usize = 107 - ASIDE.len();

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen at {at}: {why}")]
    Io { at: Endpoint, why: io::Error },
    #[error("cannot listen at {at}: a running server answers there; stop it, or choose another path")]
    Alive { at: Endpoint },
    #[error("cannot listen at {at}: there is a file that is not a socket; move it away, or choose another path")]
    NotASocket { at: Endpoint },
    #[error("cannot listen at {at}: cannot set mode {mode:03o}{} on the socket: {why}", show_group(*group))]
    Access { at: Endpoint, mode: u32, group: Option<u32>, why: io::Error },
}

fn show_group(group: Option<u32>) -> String {
    group.map_or(String::new(), |id| format!(" and group {id}"))
}

/// A socket that listens. A unix socket's file goes away with it.
#[derive(Debug)]
pub struct Bound {
    pub(super) listener: Listener,
    at: Endpoint,
    _file: Option<SocketFile>,
}

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Bound {
    /// Listens at `at`. A socket file that nobody answers at, left by a crash, is replaced. `access` is in
    /// force before the first client can connect.
    pub fn bind(at: &Endpoint, access: Access) -> Result<Bound, BindError> {
        match at {
            Endpoint::Tcp { host, port } => {
                let failed = |why| BindError::Io { at: at.clone(), why };
                let listener = bind_tcp(host, *port).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                let chosen = listener.local_addr().map_err(failed)?.port();
                let at = Endpoint::Tcp { host: host.clone(), port: chosen };
                Ok(Bound { listener: Listener::Tcp(listener), at, _file: None })
            }
            Endpoint::Unix(path) => bind_unix(at, path, access),
        }
    }

    /// Where it listens: as asked for, but with the port that the system chose instead of 0.
    pub fn endpoint(&self) -> &Endpoint {
        &self.at
    }
}

/// At the first address of the host that can be had. `[::]` is every address, IPv4 too, whatever the system's default
/// (`net.ipv6.bindv6only`), so that a configuration means the same everywhere.
fn bind_tcp(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // What is left of connections of a daemon that has just ended is in nobody's way.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_unix(at: &Endpoint, path: &Path, access: Access) -> Result<Bound, BindError> {
    let failed = |why| BindError::Io { at: at.clone(), why };
    match path.symlink_metadata() {
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket { at: at.clone() }),
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(BindError::Alive { at: at.clone() }),
        _ => {}
    }
    // Under another name until the rights are set; the renaming then also replaces a stale file in one step.
    let mut aside = path.as_os_str().to_owned();
    aside.push(ASIDE);
    let aside = PathBuf::from(aside);
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&aside).map_err(failed)?;
    let mut file = SocketFile::new(aside.clone()).map_err(failed)?;
    let refused = |why| BindError::Access { at: at.clone(), mode: access.mode, group: access.group, why };
    if access.group.is_some() {
        std::os::unix::fs::chown(&aside, None, access.group).map_err(refused)?;
    }
    std::fs::set_permissions(&aside, PermissionsExt::from_mode(access.mode)).map_err(refused)?;
    listener.set_nonblocking(true).map_err(failed)?;
    std::fs::rename(&aside, path).map_err(failed)?;
    file.path = path.to_owned();
    Ok(Bound { listener: Listener::Unix(listener), at: at.clone(), _file: Some(file) })
}

/// Unlinks a socket's file, unless another server has put its own there in the meantime.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: PathBuf) -> io::Result<SocketFile> {
        let identity = identity(&path)?;
        Ok(SocketFile { path, identity })
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    path.symlink_metadata().map(|found| (found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The other end of a connection, as far as the system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    /// The process that connected; `None` where the system does not say.
    Unix(Option<Process>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub uid: u32,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix(Some(process)) => write!(f, "unix:pid={}:uid={}", process.pid, process.uid),
            Peer::Unix(None) => f.write_str("unix"),
        }
    }
}

/// A blocking stream. Several may read, write and shut it down at once, as with the sockets themselves.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub fn connect(to: &Endpoint) -> io::Result<Stream> {
        match to {
            Endpoint::Tcp { host, port } => {
                let stream = TcpStream::connect((&**host, *port))?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Endpoint::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
        }
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            Stream::Unix(stream) => stream.shutdown(how),
        }
    }

    pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(limit),
            Stream::Unix(stream) => stream.set_read_timeout(limit),
        }
    }

    pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_write_timeout(limit),
            Stream::Unix(stream) => stream.set_write_timeout(limit),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&mut &*stream).read(buffer),
            Stream::Unix(stream) => (&mut &*stream).read(buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&mut &*stream).write(bytes),
            Stream::Unix(stream) => (&mut &*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(at: &str) -> Result<Bound, BindError> {
        Bound::bind(&at.parse().unwrap(), Access::default())
    }

    #[test]
    fn a_path_may_be_as_long_as_is_said_and_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let start = format!("unix:{}/", folder.path().display());
        let path = |bytes: usize| format!("{start}{}", "x".repeat(bytes + "unix:".len() - start.len()));
        assert!(bind(&path(LONGEST_PATH)).is_ok());
        assert!(bind(&path(LONGEST_PATH + 1)).is_err());
    }

    /// As the check of the configuration says.
    #[test]
    fn every_address_is_ipv4_too() {
        let every = match bind("[::]:0") {
            Ok(every) => every,
            // A kernel without IPv6 has nothing to share, and says so.
            Err(error) => return assert!(!Path::new("/proc/net/if_inet6").exists(), "{error}"),
        };
        let Endpoint::Tcp { port, .. } = *every.endpoint() else { panic!("{:?}", every.endpoint()) };
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
        for taken in ["0.0.0.0", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
            let error = bind(&format!("{taken}:{port}")).expect_err(taken).to_string();
            assert!(error.contains("Address already in use"), "{error}");
        }
    }
}
