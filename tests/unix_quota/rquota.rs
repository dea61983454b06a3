//! rquota servers on loopback that lose questions, answer late, answer others, talk nonsense or nothing at all.
//! They speak the protocol by hand, byte for byte; the real rpc.rquotad is in the virtual machine.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};

use serde_json::Value;

use super::step;
use super::support::daemon::Daemon;
use super::support::wait::until;

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// 600 of 1000 blocks of 4 KiB, soft limit 500, 100 s left; 3 files.
fn quota(xid: u32) -> Vec<u8> {
    words(&[xid, 1, 0, 0, 0, 0, 1, 4096, 1, 1000, 500, 600, 0, 0, 3, 100, 0])
}

fn xid(call: &[u8]) -> u32 {
    u32::from_be_bytes(call[..4].try_into().unwrap())
}

/// Answers each datagram by what `answers` makes of its number and of how many came before.
fn serve(answers: impl Fn(u32, usize) -> Vec<Vec<u8>> + Send + 'static) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut call = [0; 2048];
        for count in 0.. {
            let (length, from) = socket.recv_from(&mut call).unwrap();
            assert!(call[..length].windows(9).any(|part| part == b"/export/a"), "the path goes along");
            for answer in answers(xid(&call), count) {
                socket.send_to(&answer, from).unwrap();
            }
        }
    });
    port
}

fn daemon(port: u16, more: &str) -> Daemon {
    let ldif = "dn: uid=root\nobjectClass: inetMailUser\nmail: root@example.org\n\n\
                dn: uid=nobody\nobjectClass: inetMailUser\nmail: no-such-user@example.org\n";
    let mut daemon = Daemon::prepare(
        ldif,
        &format!(
            "[unix_quota]\ndomains = [\"Example.ORG\"]\nfile_systems = [\"nfs://127.0.0.1:{port}/export/a\"]\n{more}\n"
        ),
    );
    daemon.maildir("example.org", "root");
    daemon.maildir("example.org", "no-such-user");
    daemon.run();
    daemon
}

fn explain(daemon: &Daemon, size: &str) -> Value {
    daemon.json(&["explain", "root@example.org", "--size", size])
}

const FIGURES: &str = "2457600 bytes, soft limit 2048000, hard limit 4096000; 3 files, unlimited";

#[test]
fn a_question_that_was_lost_is_repeated_and_answers_to_others_are_passed_over() {
    let port = serve(|xid, count| match count {
        // Lost; then garbage, then an answer to somebody else's question, then ours.
        0 => vec![],
        _ => vec![b"no".to_vec(), quota(xid ^ 1), quota(xid)],
    });
    let daemon = daemon(port, "limit = \"soft\"");
    until("the quota is read", || step(&explain(&daemon, "1")).contains(FIGURES));
    let told = explain(&daemon, "1");
    assert_eq!(told["verdict"], "defer");
    assert_eq!(told["reply"], "452 4.2.2 Mailbox is full, try again later");
    assert!(!daemon.log().contains("unix-quota-failed"), "{}", daemon.log());
}

#[test]
fn no_quota_is_no_opinion() {
    let port = serve(|xid, _| vec![words(&[xid, 1, 0, 0, 0, 0, 2])]);
    let daemon = daemon(port, "");
    daemon.ok(&["resync", "root@example.org"]);
    let told = explain(&daemon, "1");
    assert_eq!((told["verdict"].as_str(), step(&told)), (Some("pass"), String::new()));
    assert!(!daemon.log().contains("unix-quota-failed"), "{}", daemon.log());
}

#[test]
fn a_server_that_is_silent_or_talks_nonsense_costs_no_verdict_and_is_told_of_once() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let denied = serve(|xid, _| vec![words(&[xid, 1, 1, 1, 1])]);
    let cut_off = serve(|xid, _| vec![quota(xid)[..40].to_vec()]);
    let not_permitted = serve(|xid, _| vec![words(&[xid, 1, 0, 0, 0, 0, 3])]);
    for (port, why) in [
        (silent.local_addr().unwrap().port(), "does not answer in time"),
        (denied, "refuses the call"),
        (cut_off, "cut off"),
        (not_permitted, "does not let us ask"),
    ] {
        let daemon = daemon(port, "timeout = \"300ms\"");
        for _ in 0..3 {
            daemon.ok(&["resync", "root@example.org"]);
            // No file system is asked about whom the host does not know, so none can be back.
            daemon.ok(&["resync", "no-such-user@example.org"]);
        }
        assert_eq!(explain(&daemon, "1")["verdict"], "pass");
        let log = daemon.log();
        let warnings: Vec<_> = log.lines().filter(|line| line.contains("unix-quota-failed")).collect();
        assert!(warnings.len() == 1 && warnings[0].contains(why), "{why}: {warnings:?}");
        assert!(!log.contains("unix-quota-back"), "{log}");
    }
}

#[test]
fn over_tcp_an_answer_may_come_in_pieces() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut mark = [0; 4];
            stream.read_exact(&mut mark).unwrap();
            assert_eq!(mark[0] & 0x80, 0x80, "the last fragment");
            let mut call = vec![0; (u32::from_be_bytes(mark) & 0x7fff_ffff) as usize];
            stream.read_exact(&mut call).unwrap();
            let answer = quota(xid(&call));
            let (head, tail) = answer.split_at(10);
            for piece in [words(&[10]), head.to_vec(), words(&[tail.len() as u32 | 1 << 31]), tail.to_vec()] {
                stream.write_all(&piece).unwrap();
                stream.flush().unwrap();
            }
        }
    });
    let daemon = daemon(port, "rquota_transport = \"tcp\"");
    until("the quota is read", || step(&explain(&daemon, "1")).contains(FIGURES));
    assert_eq!(explain(&daemon, "1")["verdict"], "pass");
    assert_eq!(explain(&daemon, "2000000")["verdict"], "defer", "past the hard limit");
}

/// An account that is no user of the host must not hide that a file system cannot be asked.
#[test]
fn doctor_asks_about_root_where_an_account_is_no_unix_user() {
    let ldif =
        "version: 1\n\ndn: mail=no-such-user@example.org\nobjectClass: inetMailUser\nmail: no-such-user@example.org\n";
    let daemon = Daemon::prepare(
        ldif,
        "[unix_quota]\ndomains = [\"example.org\"]\nfile_systems = [\"/no/such/folder\"]\ntimeout = \"10s\"\n",
    );
    let output = daemon.output(&["doctor"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("BAD  unix quotas: /no/such/folder: "), "{said}");
    assert!(!said.contains("no opinion"), "{said}");
}
