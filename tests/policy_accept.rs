//! accept(2) fails when the process runs out of file descriptors. The loop must live through that: neither end,
//! nor spin. Alone in its file, for the limit is the whole process's.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use mailquotad::service::listener::{self, Ended, Limits, Threads};
use mailquotad::service::paced::Pace;
use mailquotad::service::policy::{Answer, PolicySession};
use mailquotad::service::socket::{Access, Bound, Peer, Stream};
use mailquotad::wire::policy::{Reply, Request};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;

static LOG: Mutex<String> = Mutex::new(String::new());
static MORE: Condvar = Condvar::new();

struct Keep;

impl Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        MORE.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Dunno;

impl Answer for Dunno {
    fn answer(&self, _: &Request<'_>, _: &Peer, reply: &mut Reply<'_>) {
        reply.dunno();
    }
}

#[test]
fn running_out_of_file_descriptors_passes() {
    tracing_subscriber::fmt().with_ansi(false).with_writer(|| Keep).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let long = Duration::from_secs(600);
    let bound = Bound::bind(&"127.0.0.1:0".parse().unwrap(), Access::default()).unwrap();
    let at = bound.endpoint().clone();
    let stop = CancellationToken::new();
    let pace = Pace { idle: long, request: long };
    let session = PolicySession { answer: Dunno, pace, metrics: Arc::default() };
    let limits = Limits { connections: 10, drain: long };
    let running = runtime.spawn(listener::run(vec![bound], limits, Threads::new("policy", session), stop.clone()));
    ask(&Stream::connect(&at).unwrap());

    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), maximum }).unwrap();
    let mut held: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    // One descriptor is left over, and the client needs it.
    held.pop();
    let client = Stream::connect(&at).unwrap();
    let log = LOG.lock().unwrap();
    let unseen = |log: &mut String| !log.contains("accept-failed");
    let (log, waited) = MORE.wait_timeout_while(log, Duration::from_secs(180), unseen).unwrap();
    assert!(!waited.timed_out(), "{log}");
    assert!(log.contains("service=\"policy\" why=Too many open files"), "{log}");
    drop(log);

    drop(held);
    ask(&client);
    stop.cancel();
    assert_eq!(runtime.block_on(running).unwrap().unwrap(), Ended::Drained);
}

fn ask(mut client: &Stream) {
    client.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    client.write_all(b"request=smtpd_access_policy\n\n").unwrap();
    let mut reply = [0; 14];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"action=DUNNO\n\n");
}
