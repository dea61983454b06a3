//! A thousand senders at once, and room for five hundred messages: at no time are there more.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Condvar, Mutex};

use crate::mx::{By, Mx};
use crate::support::daemon::Daemon;
use crate::support::smtp::Smtp;
use crate::support::wait::until;

const SENDERS: usize = 1000;
const LIMIT: usize = 500;

/// Messages that make room in one go.
const LEAVE: usize = 100;

/// An smtpd for every sender, so that all of them speak at once: Postfix's default of 100 would let the others wait.
/// It is also how many may wait to be accepted.
const PROCESSES: &str = "default_process_limit = 1000\n";

/// The number of the wave that never comes.
const OVER: usize = usize::MAX;

/// Those who were refused wait for the next wave, in which all of them try again.
#[derive(Default)]
struct Waves {
    wave: Mutex<usize>,
    changed: Condvar,
    accepted: AtomicUsize,
    refused: AtomicUsize,
}

impl Waves {
    fn begin(&self) {
        *self.wave.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    /// One sender: tries once in every wave until its message is accepted.
    fn send(&self, port: u16, number: usize) {
        for own in 1.. {
            if *self.changed.wait_while(self.wave.lock().unwrap(), |wave| *wave < own).unwrap() == OVER {
                return;
            }
            let mut smtp = Smtp::connect(port);
            let to = ["anna@a.example", "ben@a.example", "carla@b.example", "all@list.example"][number % 4];
            let answer = smtp.send(&[to], 400 + number % 5000);
            smtp.say("QUIT", "221");
            if answer.starts_with("250") {
                self.accepted.fetch_add(1, Ordering::SeqCst);
                return;
            }
            assert!(answer.starts_with("452 4.3.1 "), "{answer}");
            self.refused.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn tries(&self) -> usize {
        self.accepted.load(Ordering::SeqCst) + self.refused.load(Ordering::SeqCst)
    }
}

/// Lets everybody go who still waits for a wave: with it the test ends, also where it has failed.
struct Ends<'a>(&'a Waves);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        *self.0.wave.lock().unwrap() = OVER;
        self.0.changed.notify_all();
    }
}

/// Queue ids by Postfix's own word. A message that moves while it looks may be shown twice, or not at all.
fn waiting(mx: &Mx) -> HashSet<String> {
    mx.postqueue().iter().map(|message| message["queue_id"].as_str().unwrap().to_owned()).collect()
}

/// Nobody but this test takes messages out of the queue, and not while it looks: so what is shown is there at once.
#[test]
fn a_thousand_senders_never_get_more_than_five_hundred_messages_into_the_queue() {
    let quotas = format!("[queue]\ninterval = \"1s\"\n[[queue.quota]]\nname = \"all\"\nmessages = {LIMIT}\n");
    let mx = Mx::start(&quotas, By::Socket, PROCESSES);
    let waves = Waves::default();
    std::thread::scope(|scope| {
        for number in 0..SENDERS {
            let (waves, port) = (&waves, mx.postfix.port);
            scope.spawn(move || waves.send(port, number));
        }
        let _ends = Ends(&waves);
        let (mut tries, mut looks, mut most) = (0, 0, 0);
        let mut left = 0;
        for wave in 0.. {
            tries += SENDERS - waves.accepted.load(Ordering::SeqCst);
            waves.begin();
            let mut ids = HashSet::new();
            until("everybody has tried once more and Postfix shows all that it has accepted", || {
                let tried = waves.tries() == tries;
                ids = waiting(&mx);
                assert!(ids.len() <= LIMIT, "{} messages wait in wave {wave}", ids.len());
                (looks, most) = (looks + 1, most.max(ids.len()));
                tried && ids.len() == LIMIT
            });
            assert_eq!(waves.accepted.load(Ordering::SeqCst), LIMIT + left, "wave {wave}");
            if left == SENDERS - LIMIT {
                break;
            }
            mx.delete_all(ids.iter().take(LEAVE));
            left += LEAVE;
            until("there is room again", || mx.messages("all", "") == (LIMIT - LEAVE) as u64);
        }
        println!("{} tries, {looks} looks, never more than {most} messages", waves.tries());
    });
    assert!(!mx.daemon.log().contains("event=crowded"), "{}", mx.daemon.log());
}

/// A connection to the policy server, as an smtpd has one.
struct Smtpd(BufReader<TcpStream>, usize);

impl Smtpd {
    fn ask(&mut self, state: &str, size: usize) -> String {
        let Smtpd(stream, number) = self;
        let id = if state == "RCPT" { String::new() } else { format!("4F{number:08X}") };
        let request = format!(
            "request=smtpd_access_policy\nprotocol_state={state}\nprotocol_name=ESMTP\nclient_address=192.0.2.7\n\
             sender=s{number}@elsewhere.example\nrecipient=r{number}@a.example\nrecipient_count=1\n\
             queue_id={id}\ninstance={number:x}.1.2.0\nsize={size}\n\n"
        );
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut reply, mut end) = (String::new(), String::new());
        stream.read_line(&mut reply).unwrap();
        stream.read_line(&mut end).unwrap();
        assert_eq!(end, "\n");
        reply.trim_end().to_owned()
    }
}

/// The same without an MTA that lets some of them wait: a thousand connections say in the same moment that their
/// message is complete. Returns the sizes of those that were let pass.
fn all_at_once(daemon: &Daemon, size: impl Fn(usize) -> usize + Sync) -> Vec<usize> {
    let smtpds = (0..SENDERS).map(|number| {
        let mut smtpd = Smtpd(BufReader::new(TcpStream::connect(("127.0.0.1", daemon.port)).unwrap()), number);
        // Nothing is held at RCPT, so there is room for everybody.
        assert_eq!(smtpd.ask("RCPT", size(number)), "action=DUNNO");
        smtpd
    });
    let smtpds: Vec<Smtpd> = smtpds.collect();
    let start = Barrier::new(SENDERS);
    let passed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for mut smtpd in smtpds {
            let (start, passed, size) = (&start, &passed, size(smtpd.1));
            scope.spawn(move || {
                start.wait();
                match smtpd.ask("END-OF-MESSAGE", size).as_str() {
                    "action=DUNNO" => passed.lock().unwrap().push(size),
                    refused => assert!(refused.starts_with("action=452 4.3.1 "), "{refused}"),
                }
            });
        }
    });
    passed.into_inner().unwrap()
}

/// Without a queue that can be read, what was let pass counts for an hour.
fn daemon(limit: &str) -> Daemon {
    let queue = format!("[queue]\nread = false\ndecay = \"1h\"\n[[queue.quota]]\nname = \"all\"\n{limit}\n");
    let ldif = "version: 1\n\ndn: mail=anna@a.example\nobjectClass: inetMailUser\nmail: anna@a.example\n";
    Daemon::start(ldif, &queue)
}

#[test]
fn of_a_thousand_messages_that_end_at_once_five_hundred_are_let_pass() {
    let daemon = daemon(&format!("messages = {LIMIT}"));
    assert_eq!(all_at_once(&daemon, |_| 1000).len(), LIMIT);
    let full = daemon.output(&["queue", "--full", "--format", "csv"]);
    let text = String::from_utf8(full.stdout).unwrap();
    assert!(text.contains(",500,500,100,true"), "{text}");
}

#[test]
fn of_a_thousand_messages_that_end_at_once_as_many_bytes_are_let_pass_as_there_is_room_for() {
    const ROOM: usize = 1_000_000;
    let daemon = daemon(&format!("size = \"{ROOM}\""));
    let size = |number| 1000 + 7 * (number % 300);
    let passed: usize = all_at_once(&daemon, size).iter().sum();
    // Whoever was refused was refused for want of room.
    assert!(passed <= ROOM && passed + size(299) > ROOM, "{passed} bytes");
}
