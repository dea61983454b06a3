//! The one accept loop, for every socket of the daemon.
//!
//! [`run`] accepts from all sockets of a service in one loop, under one cap, and hands each connection to a [`Host`]:
//! [`Threads`] for line protocols, a thread a connection with blocking reads, which is the fastest there is
//! for a few hundred connections that wait for each reply; [`Tasks`] for HTTP.
//!
//! Three things that accept loops get wrong: an error of accept(2) (no file descriptors left) must neither end
//! the loop nor make it spin; a full house must not accept and then let wait, for a client that waits in the
//! queue may try another server; and a stop must let the requests in hand finish, but not wait for the idle.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::socket::{Bound, Listener, Peer, Process, Stream};
use crate::telemetry::events;

/// How long the loop rests after an error: what it ran out of needs time to come back.
const REST: Duration = Duration::from_millis(100);

/// Enough for a session that logs and formats; the pages that are never touched cost nothing.
const STACK: usize = 128 * 1024;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once, over all sockets of the service. Those beyond wait in the system's queue.
    pub connections: u32,
    /// How long a stop waits for the requests in hand.
    pub drain: Duration,
}

/// How a service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every session came to its end.
    Drained,
    /// Some did not in time and were cut off.
    Cut,
}

/// An accepted connection.
pub type Accepted = Either<TcpStream, UnixStream>;

/// A connection's place under the cap, given back when it is dropped.
pub type Seat = OwnedSemaphorePermit;

/// Where sessions live.
pub trait Host: Send + Sync + 'static {
    /// What is served, as the log calls it.
    fn service(&self) -> &str;
    /// Begins a session, which holds `seat` until it has ended.
    fn begin(&self, stream: Accepted, peer: Peer, seat: Seat) -> io::Result<()>;
    /// Asks every session to end after the request in hand.
    fn wake(&self);
    /// Ends every session that is left.
    fn cut(&self);
}

/// Accepts from `sockets` until `stop`. Then closes them (and unlinks their files), so that clients turn
/// elsewhere at once, and waits for the sessions. Fails only where the runtime cannot take the sockets.
pub async fn run(sockets: Vec<Bound>, limits: Limits, host: impl Host, stop: CancellationToken) -> io::Result<Ended> {
    let host = Arc::new(host);
    let seats = Arc::new(Semaphore::new(limits.connections as usize));
    let acceptors = Acceptors::new(sockets)?;
    let free = Seats { free: Arc::clone(&seats), connections: limits.connections };
    // A task of its own, so that a panic in it is known.
    if let Err(error) = tokio::spawn(accept(acceptors, free, Arc::clone(&host), stop.clone())).await {
        events::accept_loop_died(host.service(), &error);
    }
    stop.cancelled().await;
    host.wake();
    let everyone = seats.acquire_many(limits.connections);
    if tokio::time::timeout(limits.drain, everyone).await.is_ok() {
        return Ok(Ended::Drained);
    }
    host.cut();
    Ok(Ended::Cut)
}

/// Takes a seat and waits with it at all sockets at once. With a loop for each socket, one that nobody comes to would
/// hold a seat that clients of another one need.
async fn accept(mut acceptors: Acceptors, seats: Seats, host: Arc<impl Host>, stop: CancellationToken) {
    let accept = async {
        loop {
            let seat = seats.take(host.service()).await;
            let begun = match acceptors.accept().await {
                Ok((stream, peer)) => host.begin(stream, peer, seat),
                Err(error) => Err(error),
            };
            if let Err(error) = begun {
                events::accept_failed(host.service(), &error);
                tokio::time::sleep(REST).await;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept => {}
    }
}

struct Seats {
    free: Arc<Semaphore>,
    connections: u32,
}

impl Seats {
    async fn take(&self, service: &str) -> Seat {
        if let Ok(seat) = Arc::clone(&self.free).try_acquire_owned() {
            return seat;
        }
        events::crowded(service, self.connections as usize);
        match Arc::clone(&self.free).acquire_owned().await {
            Ok(seat) => seat,
            // Nobody closes the semaphore; if somebody did, there would be no more seats.
            Err(_) => std::future::pending().await,
        }
    }
}

/// The sockets of a service.
struct Acceptors {
    all: Vec<Acceptor>,
    /// Whose turn it is: a socket that is never without clients must not keep the others waiting.
    turn: usize,
}

impl Acceptors {
    fn new(sockets: Vec<Bound>) -> io::Result<Acceptors> {
        let all = sockets.into_iter().map(Acceptor::new).collect::<io::Result<_>>()?;
        Ok(Acceptors { all, turn: 0 })
    }

    /// The next client of any of them.
    async fn accept(&mut self) -> io::Result<(Accepted, Peer)> {
        poll_fn(|context| {
            for _ in 0..self.all.len() {
                self.turn = (self.turn + 1) % self.all.len();
                if let Poll::Ready(accepted) = self.all[self.turn].poll_accept(context) {
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

struct Acceptor {
    listener: Either<TcpListener, UnixListener>,
    _bound: Bound,
}

impl Acceptor {
    fn new(bound: Bound) -> io::Result<Acceptor> {
        let listener = match &bound.listener {
            Listener::Tcp(listener) => Either::Left(TcpListener::from_std(listener.try_clone()?)?),
            Listener::Unix(listener) => Either::Right(UnixListener::from_std(listener.try_clone()?)?),
        };
        Ok(Acceptor { listener, _bound: bound })
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(Accepted, Peer)>> {
        Poll::Ready(match &self.listener {
            Either::Left(listener) => ready!(listener.poll_accept(context)).and_then(|(stream, address)| {
                // Replies are short and somebody waits for each.
                stream.set_nodelay(true)?;
                Ok((Either::Left(stream), Peer::Tcp(address)))
            }),
            Either::Right(listener) => ready!(listener.poll_accept(context)).map(|(stream, _)| {
                let process = stream.peer_cred().ok();
                let process = process.map(|cred| Process { pid: cred.pid().unwrap_or(0), uid: cred.uid() });
                (Either::Right(stream), Peer::Unix(process))
            }),
        })
    }
}

/// A session of a line protocol, on a thread of its own.
pub trait Session: Send + Sync + 'static {
    /// Talks until the end. Reads see the end of the stream when the daemon stops.
    fn talk(&self, connection: &Connection);
}

/// What a session on a thread has in its hands.
#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    pub peer: Peer,
    stopping: Arc<AtomicBool>,
}

impl Connection {
    /// Whether the daemon is about to stop: a session answers what it has read and ends. A client that never
    /// pauses would not notice the end of the stream.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// A thread a connection.
pub struct Threads<S> {
    name: &'static str,
    session: Arc<S>,
    open: Arc<Mutex<Open>>,
    stopping: Arc<AtomicBool>,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
}

impl<S: Session> Threads<S> {
    /// `name`: of the service and its threads, as `ps -L` and a debugger show it; the system keeps 15 bytes.
    pub fn new(name: &'static str, session: S) -> Threads<S> {
        Threads { name, session: Arc::new(session), open: Arc::default(), stopping: Arc::default() }
    }

    fn shut(&self, how: Shutdown) {
        for connection in self.open.lock().connections.values() {
            // It may have gone by itself.
            let _ = connection.stream.shutdown(how);
        }
    }
}

impl<S: Session> Host for Threads<S> {
    fn service(&self) -> &str {
        self.name
    }

    fn begin(&self, stream: Accepted, peer: Peer, seat: Seat) -> io::Result<()> {
        let stream = blocking(stream)?;
        let connection = Arc::new(Connection { stream, peer, stopping: Arc::clone(&self.stopping) });
        let present = {
            let mut open = self.open.lock();
            let number = open.next;
            open.next = number.wrapping_add(1);
            open.connections.insert(number, Arc::clone(&connection));
            Present { number, connection, open: Arc::clone(&self.open), _seat: seat }
        };
        let (name, session) = (self.name, Arc::clone(&self.session));
        let thread = std::thread::Builder::new().name(self.name.into()).stack_size(STACK);
        let talk = move || {
            // The session's state dies with it, so nothing broken is seen again; the seat must come back.
            let talked = std::panic::catch_unwind(AssertUnwindSafe(|| session.talk(&present.connection)));
            if talked.is_err() {
                events::session_panicked(name, &present.connection.peer);
            }
        };
        thread.spawn(talk).map(drop)
    }

    fn wake(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.shut(Shutdown::Read);
    }

    fn cut(&self) {
        self.shut(Shutdown::Both);
    }
}

fn blocking(stream: Accepted) -> io::Result<Stream> {
    let stream = match stream {
        Either::Left(stream) => Stream::Tcp(stream.into_std()?),
        Either::Right(stream) => Stream::Unix(stream.into_std()?),
    };
    match &stream {
        Stream::Tcp(stream) => stream.set_nonblocking(false)?,
        Stream::Unix(stream) => stream.set_nonblocking(false)?,
    }
    Ok(stream)
}

/// A session in the register; leaves it, and its seat, however the session ends.
struct Present {
    number: u64,
    connection: Arc<Connection>,
    open: Arc<Mutex<Open>>,
    _seat: Seat,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.open.lock().connections.remove(&self.number);
    }
}

/// A task a connection, for HTTP, which is served asynchronously. `serve` gets a token that is cancelled
/// when the request in hand is to be the last.
pub struct Tasks<F> {
    serve: F,
    wake: CancellationToken,
    cut: CancellationToken,
}

impl<F, Served> Tasks<F>
where
    F: Fn(Accepted, Peer, CancellationToken) -> Served + Send + Sync + 'static,
    Served: Future<Output = ()> + Send + 'static,
{
    pub fn new(serve: F) -> Tasks<F> {
        Tasks { serve, wake: CancellationToken::new(), cut: CancellationToken::new() }
    }
}

impl<F, Served> Host for Tasks<F>
where
    F: Fn(Accepted, Peer, CancellationToken) -> Served + Send + Sync + 'static,
    Served: Future<Output = ()> + Send + 'static,
{
    fn service(&self) -> &str {
        "http"
    }

    fn begin(&self, stream: Accepted, peer: Peer, seat: Seat) -> io::Result<()> {
        let served = (self.serve)(stream, peer, self.wake.clone());
        let cut = self.cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = served => {}
                () = cut.cancelled() => {}
            }
            drop(seat);
        });
        Ok(())
    }

    fn wake(&self) {
        self.wake.cancel();
    }

    fn cut(&self) {
        self.cut.cancel();
    }
}
