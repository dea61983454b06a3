//! Unix sockets: their files, their rights, and what is left of them after a crash.

use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mailquotad::service::listener::Ended;
use mailquotad::service::socket::{Access, BindError, Bound, Stream};
use mailquotad::wire::endpoint::Endpoint;

use super::server::*;

fn socket() -> (tempfile::TempDir, PathBuf, Endpoint) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.sock");
    let at = Endpoint::Unix(path.clone());
    (folder, path, at)
}

fn is_socket(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
}

#[test]
fn what_a_crash_left_is_replaced() {
    let (folder, path, at) = socket();
    // A listener of the standard library leaves its file behind, as a crash does.
    drop(UnixListener::bind(&path).unwrap());
    std::fs::write(path.with_extension("sock.new"), "left by a crash between two steps").unwrap();
    assert!(is_socket(&path));
    let server = Server::at(&at, Accounts, UNHURRIED, ROOMY);
    assert_eq!(ask(&server.connect(), "full@example.org"), "action=452 4.2.2 Mailbox full");
    assert_eq!(server.stop(), Ended::Drained);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "a stop leaves no file behind");
}

#[test]
fn a_socket_that_somebody_serves_is_left_alone() {
    let (_folder, path, at) = socket();
    let server = Server::at(&at, Accounts, UNHURRIED, ROOMY);
    let error = Bound::bind(&at, Access::default()).unwrap_err();
    assert!(matches!(error, BindError::Alive { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("unix:{}: a running server answers there", path.display())));
    assert_eq!(ask(&server.connect(), "room@example.org"), "action=DUNNO");
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let (_folder, path, at) = socket();
    std::fs::write(&path, "precious").unwrap();
    let error = Bound::bind(&at, Access::default()).unwrap_err();
    assert!(matches!(error, BindError::NotASocket { .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn mode_and_group_are_as_asked() {
    let (folder, path, at) = socket();
    // One's own group is the one that nobody is refused.
    let group = folder.path().metadata().unwrap().gid();
    let bound = Bound::bind(&at, Access { mode: 0o620, group: Some(group) }).unwrap();
    let found = path.symlink_metadata().unwrap();
    assert_eq!((found.mode() & 0o7777, found.gid()), (0o620, group));
    drop(bound);
    assert!(!path.exists());
}

#[test]
fn the_socket_of_a_successor_is_not_unlinked() {
    let (_folder, path, at) = socket();
    let old = Bound::bind(&at, Access::default()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _new = Bound::bind(&at, Access::default()).unwrap();
    drop(old);
    assert!(is_socket(&path));
}

#[test]
fn errors_name_the_place() {
    let at: Endpoint = "unix:/nowhere/at/all/policy.sock".parse().unwrap();
    let error = Bound::bind(&at, Access::default()).unwrap_err().to_string();
    assert!(error.starts_with("cannot listen at unix:/nowhere/at/all/policy.sock: "), "{error}");
    let taken = Bound::bind(&"127.0.0.1:0".parse().unwrap(), Access::default()).unwrap();
    let error = Bound::bind(taken.endpoint(), Access::default()).unwrap_err().to_string();
    assert!(error.contains(&taken.endpoint().to_string()), "{error}");
}

/// After a restart every smtpd process connects anew, all in the same moment.
#[test]
fn a_thousand_clients_find_a_place_before_the_first_is_accepted() {
    let (_folder, _, unix) = socket();
    for at in ["127.0.0.1:0".parse().unwrap(), unix] {
        // Nobody accepts: whoever is not in the system's queue would have to try again.
        let bound = Bound::bind(&at, Access::default()).unwrap();
        let connect = |_| match bound.endpoint() {
            Endpoint::Tcp { port, .. } => {
                let address = std::net::SocketAddr::from(([127, 0, 0, 1], *port));
                TcpStream::connect_timeout(&address, Duration::from_secs(10)).map(Stream::Tcp)
            }
            Endpoint::Unix(path) => {
                let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
                // A full queue is an error then, and no reason to wait for ever.
                socket.set_nonblocking(true)?;
                socket.connect(&socket2::SockAddr::unix(path)?)?;
                Ok(Stream::Unix(socket.into()))
            }
        };
        let clients: Vec<_> = (0..1000).map(connect).collect::<std::io::Result<_>>().unwrap();
        assert_eq!(clients.len(), 1000);
    }
}
