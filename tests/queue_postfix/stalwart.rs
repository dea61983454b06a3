//! The examples of Stalwart's page on queue quotas, imported from its own objects and asked by a real Postfix. (Ten for
//! each recipient: `recipients.rs`.)

use std::fs;
use std::process::Command;

use crate::mx::{By, Mx};
use crate::support::daemon::PROGRAM;
use crate::support::smtp::Smtp;
use crate::support::wait::until;

/// A message of `size` bytes whose size is announced; the answer that decided.
fn announce(smtp: &mut Smtp, from: &str, to: &[&str], size: usize) -> Vec<String> {
    smtp.say(&format!("MAIL FROM:<{from}> SIZE={size}"), "250");
    let mut answers: Vec<String> = to.iter().map(|to| smtp.ask(&format!("RCPT TO:<{to}>"))).collect();
    if !answers.iter().any(|answer| answer.starts_with("250")) {
        smtp.say("RSET", "250");
        return answers;
    }
    smtp.say("DATA", "354");
    let line = "x".repeat(900) + "\r\n";
    let mut text = line.repeat(size / line.len());
    text.push('.');
    answers.push(smtp.ask(&text));
    answers
}

/// What `config import-stalwart` makes of these objects.
fn imported(objects: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quotas.json");
    fs::write(&file, objects).unwrap();
    let output = Command::new(PROGRAM).args(["config", "import-stalwart"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn five_megabytes_for_each_pair_of_domains() {
    let quotas = imported(r#"{"key": ["senderDomain", "rcptDomain"], "match": {"else": "true"}, "size": 5242880}"#);
    let mx = Mx::start(&quotas, By::Socket, "");
    let mut smtp = Smtp::connect(mx.postfix.port);
    let megabytes = |count: usize| count * 1024 * 1024;
    for _ in 0..2 {
        let answers = announce(&mut smtp, "s@x.example", &["anna@a.example", "ben@a.example"], megabytes(2));
        assert!(answers.iter().all(|answer| answer.starts_with("250")), "{answers:?}");
    }
    // Four are there: two more do not fit from x.example to a.example, one that is smaller does, and other pairs are free.
    let answers = announce(&mut smtp, "t@X.example", &["ben@a.example", "carla@b.example"], megabytes(2));
    assert!(answers[0].starts_with("452 4.3.1 <ben@a.example>: ") && answers[1].starts_with("250"), "{answers:?}");
    assert!(answers[2].starts_with("250"), "{answers:?}");
    assert!(announce(&mut smtp, "s@y.example", &["anna@a.example"], megabytes(2))[1].starts_with("250"));
    assert!(announce(&mut smtp, "s@x.example", &["anna@a.example"], megabytes(1) / 2)[1].starts_with("250"));
    // Whoever does not say how much it is hears it at the end.
    let reply = {
        smtp.say("MAIL FROM:<s@x.example>", "250");
        smtp.say("RCPT TO:<anna@a.example>", "250");
        smtp.say("DATA", "354");
        smtp.ask(&(("x".repeat(900) + "\r\n").repeat(1000) + "."))
    };
    smtp.say("RSET", "250");
    assert!(reply.starts_with("452 4.3.1 <END-OF-MESSAGE>: End-of-data rejected: Mail system is full"), "{reply}");
    // What would never fit is told so.
    let answers = announce(&mut smtp, "s@z.example", &["anna@a.example"], megabytes(6));
    assert!(answers[0].starts_with("552 5.3.4 "), "{answers:?}");
}

#[test]
fn nine_hundred_messages_or_seven_megabytes_by_recipient_for_one_senders_domain() {
    let quotas = imported(
        r#"[{"enable": true, "key": ["rcpt"], "match": {"else": "sender_domain = 'example.org'"},
             "messages": 900, "size": 7340032}]"#,
    );
    let mx = Mx::start(&quotas, By::Socket, "");
    let mut smtp = Smtp::connect(mx.postfix.port);
    let send = |smtp: &mut Smtp, from: &str, to: &str, size: usize| announce(smtp, from, &[to], size).pop().unwrap();
    for sent in 0..900 {
        let reply = send(&mut smtp, "s@example.org", "anna@a.example", 950);
        assert!(reply.starts_with("250"), "{sent}: {reply}");
    }
    let reply = send(&mut smtp, "other@Example.ORG", "anna@a.example", 950);
    assert!(reply.starts_with("452 4.3.1"), "{reply}");
    assert!(send(&mut smtp, "s@example.net", "anna@a.example", 950).starts_with("250"), "another sender's domain");
    for _ in 0..6 {
        assert!(send(&mut smtp, "s@example.org", "ben@a.example", 1024 * 1024).starts_with("250"));
    }
    let reply = send(&mut smtp, "s@example.org", "ben@a.example", 1_060_000);
    assert!(reply.starts_with("452 4.3.1"), "{reply}");
    assert!(send(&mut smtp, "s@example.org", "ben@a.example", 100_000).starts_with("250"));
}

const IN_ALL: &str = r#"{"key": [], "match": {"else": "true"}, "messages": 100000, "size": 10737418240}"#;

#[test]
fn a_hundred_thousand_messages_in_all() {
    let quotas = format!("[queue]\ninterval = \"1s\"\n{}", imported(IN_ALL));
    let mx = Mx::start(&quotas, By::Socket, "");
    let mut smtp = Smtp::connect(mx.postfix.port);
    assert!(announce(&mut smtp, "s@x.example", &["anna@a.example"], 950)[1].starts_with("250"));
    mx.postfix.hold_copies(99_998, |_, _| {});
    let counted = |messages| mx.report().iter().any(|line| line["used"]["messages"] == messages);
    until("all of them are known", || counted(99_999));
    assert_eq!(mx.postqueue().len(), 99_999);
    // While so long a queue is read, answers do not wait for it.
    let before = mx.readings();
    let mut answers = 0;
    until("it has been read twice", || {
        answers += 1;
        smtp.say("MAIL FROM:<s@x.example>", "250");
        smtp.say("RCPT TO:<anna@a.example>", "250");
        smtp.say("RSET", "250");
        mx.readings() >= before + 2
    });
    println!("{answers} answers while the queue was read twice");
    assert!(announce(&mut smtp, "s@x.example", &["anna@a.example"], 950)[1].starts_with("250"), "the last one");
    let to = ["ben@a.example", "carla@b.example"];
    let answers = announce(&mut smtp, "t@y.example", &to, 950);
    assert!(answers.iter().all(|answer| answer.starts_with("452 4.3.1 ")) && answers.len() == 2, "{answers:?}");
    mx.delete("0000000007");
    until("there is room for one", || announce(&mut smtp, "t@y.example", &to, 950)[0].starts_with("250"));
    assert!(announce(&mut smtp, "t@y.example", &to, 950)[0].starts_with("452 4.3.1 "));
}

#[test]
fn ten_gigabytes_in_all() {
    const GIGABYTE: u64 = 1 << 30;
    let quotas = format!("[queue]\ninterval = \"1s\"\n{}", imported(IN_ALL));
    let mx = Mx::start(&quotas, By::Socket, "");
    let mut smtp = Smtp::connect(mx.postfix.port);
    assert!(announce(&mut smtp, "s@x.example", &["anna@a.example"], 950)[1].starts_with("250"));
    // What is left is for the first message, and one of 40,000 bytes and no more.
    mx.postfix.hold_copies(10, |_, text| {
        // Postfix believes what stands at the head of a queue file: `C`, the record's length, and six numbers in 15
        // columns each, of which the size is the first.
        assert_eq!(text[0], b'C');
        text[2..17].copy_from_slice(format!("{:15}", GIGABYTE - 5_000).as_bytes());
    });
    let total = 10 * (GIGABYTE - 5_000)
        + mx.postqueue().iter().map(|message| message["message_size"].as_u64().unwrap()).min().unwrap();
    until("their sizes are known", || mx.report().iter().any(|line| line["used"]["bytes"] == total));
    assert!(
        announce(&mut smtp, "t@y.example", &["ben@a.example"], 60_000)[0].starts_with("452 4.3.1 <ben@a.example>: ")
    );
    let reply = smtp.send(&["ben@a.example"], 60_000);
    assert!(reply.starts_with("452 4.3.1 <END-OF-MESSAGE>: "), "{reply}");
    smtp.say("RSET", "250");
    assert!(announce(&mut smtp, "t@y.example", &["ben@a.example"], 40_000)[1].starts_with("250"));
    assert!(announce(&mut smtp, "t@y.example", &["ben@a.example"], 20_000)[0].starts_with("452 4.3.1 "));
}
