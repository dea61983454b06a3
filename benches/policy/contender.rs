//! What is measured: servers of the protocol in this process, each on both kinds of socket.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mailquotad::service::listener::{self, Limits, Threads};
use mailquotad::service::paced::Pace;
use mailquotad::service::policy::{Answer, PolicySession};
use mailquotad::service::socket::{Access, Bound};
use mailquotad::wire::endpoint::Endpoint;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::ACCOUNTS;

#[derive(Clone)]
pub struct Contender {
    pub name: &'static str,
    pub tcp: Endpoint,
    pub unix: Endpoint,
    /// How many it knows.
    pub accounts: u32,
}

impl Contender {
    /// The least that a server of the protocol can do, a thread a connection: the limit.
    pub fn echo(folder: &Path) -> anyhow::Result<Contender> {
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let path = folder.join("echo.sock");
        let unix = UnixListener::bind(&path)?;
        let port = tcp.local_addr()?.port();
        std::thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let _ = stream.set_nodelay(true);
                std::thread::spawn(move || echo(stream));
            }
        });
        std::thread::spawn(move || {
            for stream in unix.incoming().flatten() {
                std::thread::spawn(move || echo(stream));
            }
        });
        let tcp = Endpoint::Tcp { host: "127.0.0.1".into(), port };
        Ok(Contender { name: "echo", tcp, unix: Endpoint::Unix(path), accounts: ACCOUNTS })
    }

    /// Our listener and session, with the verdict of `answer`, as `serve` runs them.
    pub fn session(
        name: &'static str,
        answer: impl Answer,
        folder: &Path,
        runtime: &Runtime,
    ) -> anyhow::Result<Contender> {
        let tcp = Bound::bind(&"127.0.0.1:0".parse()?, Access::default())?;
        let unix = Bound::bind(&Endpoint::Unix(folder.join(format!("{name}.sock"))), Access::default())?;
        let (tcp_at, unix_at) = (tcp.endpoint().clone(), unix.endpoint().clone());
        let contender = Contender { name, tcp: tcp_at, unix: unix_at, accounts: ACCOUNTS };
        let pace = Pace { idle: Duration::from_secs(600), request: Duration::from_secs(30) };
        let host = Threads::new("policy", PolicySession { answer, pace, metrics: Arc::default() });
        let limits = Limits { connections: 500, drain: Duration::from_secs(5) };
        runtime.spawn(listener::run(vec![tcp, unix], limits, host, CancellationToken::new()));
        Ok(contender)
    }
}

fn echo(mut stream: impl Read + Write) {
    let mut buffer = [0; 16 * 1024];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) | Err(_) => return,
            Ok(count) => filled += count,
        }
        if buffer[..filled].ends_with(b"\n\n") {
            filled = 0;
            if stream.write_all(b"action=DUNNO\n\n").is_err() {
                return;
            }
        }
    }
}
