//! The stop: no new connections, the idle are woken, the request in hand gets its reply.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mailquotad::service::listener::{self, Ended, Limits, Tasks};
use mailquotad::service::policy::Answer;
use mailquotad::service::socket::{Access, Bound, Peer, Stream};
use mailquotad::wire::endpoint::Endpoint;
use mailquotad::wire::policy::{Code, Reply, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::server::*;

/// Takes as long for `slow` as the test wants.
struct Slow {
    begun: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Slow {
    fn new() -> (Slow, Receiver<()>, Sender<()>) {
        let (begun, has_begun) = channel();
        let (let_go_on, go_on) = channel();
        (Slow { begun, go_on: Mutex::new(go_on) }, has_begun, let_go_on)
    }
}

impl Answer for Slow {
    fn answer(&self, request: &Request<'_>, _: &Peer, reply: &mut Reply<'_>) {
        if request.recipient == "slow" {
            self.begun.send(()).unwrap();
            let _ = self.go_on.lock().unwrap().recv();
        }
        reply.refuse(Code::new(452, 2, 2).unwrap(), "Mailbox full");
    }
}

/// Connections are refused once the socket is closed.
fn refused(at: &Endpoint) {
    let end = std::time::Instant::now() + Duration::from_secs(120);
    while Stream::connect(at).is_ok() {
        assert!(std::time::Instant::now() < end, "still listening");
        std::thread::yield_now();
    }
}

#[test]
fn a_stop_wakes_the_idle_and_waits_for_the_request_in_hand() {
    let (answer, has_begun, go_on) = Slow::new();
    let server = Server::start(answer, UNHURRIED, ROOMY);
    let (idle, busy, half) = (server.connect(), server.connect(), server.connect());
    ask(&idle, "quick");
    ask(&half, "quick");
    send(&half, "request=smtpd_access_policy\n");
    send(&busy, &request("slow"));
    has_begun.recv().unwrap();
    server.ask_to_stop();
    assert_eq!(rest(&idle), "");
    assert_eq!(rest(&half), "");
    refused(&server.at);
    go_on.send(()).unwrap();
    assert_eq!(receive(&busy), "action=452 4.2.2 Mailbox full");
    assert_eq!(rest(&busy), "");
    assert_eq!(server.stop(), Ended::Drained);
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let (answer, has_begun, go_on) = Slow::new();
    let limits = Limits { connections: 5, drain: Duration::from_millis(50) };
    let server = Server::start(answer, UNHURRIED, limits);
    let busy = server.connect();
    send(&busy, &request("slow"));
    has_begun.recv().unwrap();
    assert_eq!(server.stop(), Ended::Cut);
    assert_eq!(rest(&busy), "");
    drop(go_on);
}

#[test]
fn a_client_that_never_pauses_does_not_hold_up_a_stop() {
    let server = Server::start(Accounts, UNHURRIED, ROOMY);
    let client = Arc::new(server.connect());
    let writer = Arc::clone(&client);
    let many = request("room@example.org").repeat(50);
    let flood = std::thread::spawn(move || while (&*writer).write_all(many.as_bytes()).is_ok() {});
    receive(&client);
    let reader = std::thread::spawn(move || rest(&client));
    assert_eq!(server.stop(), Ended::Drained);
    // Nothing but replies; the last may be cut, as the server hangs up on a client that is still sending.
    let replies = reader.join().unwrap();
    let last = replies.replace("action=DUNNO\n\n", "");
    assert!("action=DUNNO\n\n".starts_with(&last), "{last}");
    flood.join().unwrap();
}

#[test]
fn asynchronous_sessions_live_under_the_same_rules() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bound = Bound::bind(&"127.0.0.1:0".parse().unwrap(), Access::default()).unwrap();
        let Endpoint::Tcp { port, .. } = *bound.endpoint() else { panic!("bound to {:?}", bound.endpoint()) };
        let echo = Tasks::new(|mut stream: listener::Accepted, _, stop: CancellationToken| async move {
            let mut byte = [0];
            while let Some(Ok(1)) = stop.run_until_cancelled(stream.read(&mut byte)).await {
                stream.write_all(&byte).await.unwrap();
            }
        });
        let stop = CancellationToken::new();
        let running = tokio::spawn(listener::run(vec![bound], ROOMY, echo, stop.clone()));
        let mut client = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        client.write_all(b"x").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'x');
        stop.cancel();
        assert_eq!(running.await.unwrap().unwrap(), Ended::Drained);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    });
}
