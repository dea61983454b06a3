//! rquota: what an NFS server says of quotas, over UDP with repeats or over TCP.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Kind, Options};
use crate::quota::Moment;
use crate::quota::unix::{Reading, Resource};
use crate::wire::mountinfo::Mount;
use crate::wire::rquota::{self, Answer, Invalid, Quota, REPLY_LIMIT, Transport, Whose};

const PORTMAPPER_PORT: u16 = 111;

/// A question over UDP is repeated after this long, and then after twice as long each time.
const REPEAT: Duration = Duration::from_millis(500);

/// A file system on a server: `nfs://host/path`, with a port where no port mapper is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    host: Box<str>,
    port: Option<u16>,
    path: Box<str>,
}

impl Export {
    /// What is mounted, if it is mounted from an NFS server.
    pub fn of_mount(mount: &Mount) -> Option<Export> {
        let version_4 = match &*mount.kind {
            "nfs" => false,
            "nfs4" => true,
            _ => return None,
        };
        let (host, path) = mount.source.rsplit_once(":/")?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // To rquotad a path without its slash is one below the root that version 4 shows.
        let path = if version_4 { path.to_owned() } else { format!("/{path}") };
        Some(Export { host: host.into(), port: None, path: path.into() })
    }
}

impl FromStr for Export {
    type Err = String;

    fn from_str(text: &str) -> Result<Export, String> {
        let wrong = || format!("`{text}` is no export; accepted: nfs://host/path, or nfs://host:port/path");
        let (place, path) = text.strip_prefix("nfs://").and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !place.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| wrong())?))
            }
            _ => (place, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(char::is_whitespace) || port == Some(0) {
            return Err(wrong());
        }
        Ok(Export { host: host.into(), port, path: format!("/{path}").into() })
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "nfs://{}{}{}", bracketed.0, self.host, bracketed.1)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.path.trim_start_matches('/'))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("the server {0} cannot be found: {1}")]
    Unknown(Box<str>, io::Error),
    #[error("the server {at}: {why}")]
    Lost { at: SocketAddr, why: io::Error },
    #[error("the server {0} does not answer in time")]
    Silent(SocketAddr),
    #[error("the server {at}: {why}")]
    Invalid { at: SocketAddr, why: Invalid },
}

pub fn read(export: &Export, kind: Kind, id: u32, options: &Options) -> Result<Option<Reading>, Fault> {
    let until = Instant::now() + options.timeout;
    let whose = match kind {
        Kind::User => Whose::User,
        Kind::Group => Whose::Group,
    };
    let unknown = |error| Fault::Unknown(export.host.clone(), error);
    let nobody = || io::Error::new(io::ErrorKind::NotFound, "it has no address");
    let mut addresses = (&*export.host, PORTMAPPER_PORT).to_socket_addrs().map_err(unknown)?;
    let mut at = addresses.next().ok_or_else(nobody).map_err(unknown)?;
    let transport = options.transport;
    let port = match export.port {
        Some(port) => port,
        None => {
            let number = next_call();
            let reply = call(at, transport, number, &rquota::ask_port(number, transport, whose), until)?;
            rquota::read_port(&reply).map_err(|why| Fault::Invalid { at, why })?
        }
    };
    at.set_port(port);
    let number = next_call();
    let reply = call(at, transport, number, &rquota::ask_quota(number, whose, &export.path, id), until)?;
    match rquota::read_quota(&reply).map_err(|why| Fault::Invalid { at, why })? {
        // rpc.rquotad says of every XFS that its quotas are not active (`rq_active`), so that is left aside.
        Answer::Quota(quota) => Ok(Some(reading(quota, now()))),
        Answer::NoQuota => Ok(None),
    }
}

/// Tells our calls apart, also from those of a process before this one at the same port.
fn next_call() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = now().0 as u32;
    NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(start)
}

/// Grace periods come as seconds that are left, so the clock of this moment is part of the reading.
#[expect(clippy::disallowed_methods, reason = "a reading of the clock that the server's answer is relative to")]
fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn reading(quota: Quota, now: Moment) -> Reading {
    let bytes = |blocks: u32| u64::from(blocks) * u64::from(quota.block_size);
    let ends =
        |left: i32| (left != 0).then(|| Moment(now.0.saturating_add_signed(i64::from(left).saturating_mul(1000))));
    Reading {
        bytes: Resource {
            used: bytes(quota.blocks),
            soft: bytes(quota.soft_blocks),
            hard: bytes(quota.hard_blocks),
            grace_ends: ends(quota.blocks_left),
        },
        files: Resource {
            used: quota.files.into(),
            soft: quota.soft_files.into(),
            hard: quota.hard_files.into(),
            grace_ends: ends(quota.files_left),
        },
    }
}

fn call(at: SocketAddr, transport: Transport, number: u32, call: &[u8], until: Instant) -> Result<Vec<u8>, Fault> {
    let asked = match transport {
        Transport::Udp => by_udp(at, number, call, until),
        Transport::Tcp => by_tcp(at, number, call, until),
    };
    asked.map_err(|why| match why.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Fault::Silent(at),
        _ => Fault::Lost { at, why },
    })
}

fn by_udp(at: SocketAddr, number: u32, call: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if at.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    // Then only this server's datagrams come in, and that nobody listens is noticed.
    socket.connect(at)?;
    let mut pause = REPEAT;
    let mut reply = vec![0; REPLY_LIMIT];
    loop {
        socket.send(call)?;
        let repeat = Instant::now() + pause;
        pause *= 2;
        loop {
            socket.set_read_timeout(Some(left(until.min(repeat)).unwrap_or(SOONEST)))?;
            match socket.recv(&mut reply) {
                Ok(length) if rquota::xid(&reply[..length]) == Some(number) => {
                    reply.truncate(length);
                    return Ok(reply);
                }
                // An answer to an earlier call, or garbage.
                Ok(_) => {}
                Err(error) if timed_out(&error) || error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            left(until)?;
            if Instant::now() >= repeat {
                break;
            }
        }
    }
}

fn by_tcp(at: SocketAddr, number: u32, call: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&at, left(until)?)?;
    stream.set_write_timeout(Some(left(until)?))?;
    stream.write_all(&rquota::record(call))?;
    loop {
        let mut reply = Vec::new();
        let mut last = false;
        while !last {
            let mut mark = [0; 4];
            read_exact(&mut stream, &mut mark, until)?;
            let length;
            (length, last) = rquota::fragment(mark);
            let begin = reply.len();
            if length > REPLY_LIMIT - begin {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its reply is longer than any of rquota"));
            }
            reply.resize(begin + length, 0);
            read_exact(&mut stream, &mut reply[begin..], until)?;
            // Fragments without content could go on for ever.
            left(until)?;
        }
        if rquota::xid(&reply) == Some(number) {
            return Ok(reply);
        }
    }
}

fn read_exact(stream: &mut TcpStream, mut buffer: &mut [u8], until: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer = &mut buffer[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A socket takes 0 for no limit at all.
const SOONEST: Duration = Duration::from_millis(1);

/// The time that is left, or that there is none.
fn left(until: Instant) -> io::Result<Duration> {
    match until.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(left.max(SOONEST)),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
