//! A request allocates nothing: neither its parsing, nor its reply, nor the way through the socket. Shown on the
//! session's own thread, with an allocator that counts.

mod support {
    pub mod counting;
}

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mailquotad::service::listener::{self, Limits, Threads};
use mailquotad::service::paced::Pace;
use mailquotad::service::policy::{Answer, PolicySession};
use mailquotad::service::socket::{Access, Bound, Peer, Stream};
use mailquotad::wire::policy::{Code, Reply, Request};
use support::counting::allocations;
use tokio_util::sync::CancellationToken;

/// Notes how many allocations its thread has seen: at the first request, and at the newest.
#[derive(Default)]
struct Witness {
    requests: AtomicU64,
    first: AtomicU64,
    newest: AtomicU64,
}

impl Answer for Witness {
    fn answer(&self, request: &Request<'_>, _: &Peer, reply: &mut Reply<'_>) {
        let count = allocations();
        if self.requests.fetch_add(1, Ordering::SeqCst) == 0 {
            self.first.store(count, Ordering::SeqCst);
        }
        self.newest.store(count, Ordering::SeqCst);
        if request.recipient == "allocate" {
            std::hint::black_box(Vec::<u8>::with_capacity(100));
        } else if !request.recipient.is_empty() {
            let code = Code::new(452, 2, 2).expect("a code of the refusing kind");
            reply.refuse(code, format_args!("{} is full", request.recipient));
        }
    }
}

fn request(recipient: &str) -> String {
    format!("request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient={recipient}\nsize=10\n\n")
}

#[test]
fn a_request_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let witness = Arc::new(Witness::default());
    let long = Duration::from_secs(600);
    let pace = Pace { idle: long, request: long };
    let session = PolicySession { answer: Arc::clone(&witness), pace, metrics: Arc::default() };
    let bound = Bound::bind(&"127.0.0.1:0".parse().unwrap(), Access::default()).unwrap();
    let client = Stream::connect(bound.endpoint()).unwrap();
    let stop = CancellationToken::new();
    let limits = Limits { connections: 1, drain: long };
    let running = runtime.spawn(listener::run(vec![bound], limits, Threads::new("policy", session), stop.clone()));

    // One at a time, in pieces, and pipelined beyond the size of every buffer.
    let rounds = 200;
    let pipelined = [request("full@example.org"), request("")].concat().repeat(400);
    for _ in 0..rounds {
        talk(&client, &request("full@example.org"), "action=452 4.2.2 full@example.org is full\n\n".len());
        let (head, tail) = pipelined.split_at(50);
        (&client).write_all(head.as_bytes()).unwrap();
        talk(&client, tail, 400 * "action=452 4.2.2 full@example.org is full\n\naction=DUNNO\n\n".len());
    }
    let allocations = |witness: &Witness| witness.newest.load(Ordering::SeqCst) - witness.first.load(Ordering::SeqCst);
    assert_eq!(witness.requests.load(Ordering::SeqCst), rounds * 801);
    assert_eq!(allocations(&witness), 0);

    // The witness would have noticed.
    talk(&client, &request("allocate"), "action=DUNNO\n\n".len());
    talk(&client, &request(""), "action=DUNNO\n\n".len());
    assert_eq!(allocations(&witness), 1);

    stop.cancel();
    runtime.block_on(running).unwrap().unwrap();
}

/// Sends while it reads, as far more is sent than the sockets hold, and waits for `length` bytes of replies.
fn talk(client: &Stream, requests: &str, length: usize) {
    std::thread::scope(|scope| {
        scope.spawn(|| { &*client }.write_all(requests.as_bytes()).unwrap());
        { &*client }.read_exact(&mut vec![0; length]).unwrap();
    });
}
