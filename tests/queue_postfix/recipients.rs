//! A recipient that has enough waiting is refused, and nobody else is; what has left makes room.

use crate::mx::{By, Mx};
use crate::support::smtp::Smtp;
use crate::support::wait::until;

const TEN: &str = "[queue]\ninterval = \"300ms\"\nsettle = \"1s\"\n\
    [[queue.quota]]\nname = \"ten\"\nkey = [\"rcpt\"]\nmessages = 10\n\
    [[queue.quota]]\nname = \"all\"\nmessages = 1000\nsize = \"1G\"\n";

/// Begins a message for these; the answer to each RCPT.
fn rcpts(smtp: &mut Smtp, to: &[&str]) -> Vec<String> {
    smtp.say("MAIL FROM:<sender@elsewhere.example>", "250");
    to.iter().map(|recipient| smtp.ask(&format!("RCPT TO:<{recipient}>"))).collect()
}

fn accepted(smtp: &mut Smtp, to: &str) -> bool {
    let answer = rcpts(smtp, &[to]).remove(0);
    smtp.say("RSET", "250");
    answer.starts_with("250")
}

fn ten_then_none(by: By) {
    let mx = Mx::start(TEN, by, "");
    let mut smtp = Smtp::connect(mx.postfix.port);
    for sent in 0..10 {
        let reply = smtp.send(&["anna@a.example"], 2000);
        assert!(reply.starts_with("250"), "{sent}: {reply}");
    }
    // Each recipient gets his own answer, in the same transaction, whatever the case.
    let answers = rcpts(&mut smtp, &["ben@a.example", "Anna@A.example", "carla@b.example"]);
    assert!(answers[0].starts_with("250") && answers[2].starts_with("250"), "{answers:?}");
    let refusal = "452 4.3.1 <Anna@A.example>: Recipient address rejected: Mail system is full, try again later";
    assert_eq!(answers[1].trim_end(), refusal);
    smtp.say("DATA", "354");
    smtp.say("Subject: one of them is missing\r\n\r\nhello\r\n.", "250");
    until("the others got it", || {
        mx.messages("ten", "ben@a.example") == 1 && mx.messages("ten", "carla@b.example") == 1
    });
    assert_eq!(mx.messages("ten", "anna@a.example"), 10);

    // Whoever asks is told the same, step by step.
    let told = mx.daemon.json(&["explain", "anna@a.example", "--sender", "x@elsewhere.example"]);
    assert_eq!(
        (&told["verdict"], &told["reply"]),
        (&"defer".into(), &"452 4.3.1 Mail system is full, try again later".into())
    );
    let steps: Vec<_> = told["steps"].as_array().unwrap().iter().filter(|step| step["rule"] == "queue quota").collect();
    assert_eq!(steps.len(), 2, "{told}");
    assert!(steps[0]["why"].as_str().unwrap().starts_with("ten for rcpt=anna@a.example: "), "{told}");
    let full = mx.daemon.output(&["queue", "--full", "--format", "csv"]);
    assert_eq!(full.status.code(), Some(3));
    let text = String::from_utf8(full.stdout).unwrap();
    assert!(text.lines().nth(1).unwrap().starts_with("ten,rcpt=anna@a.example,"), "{text}");
    assert!(text.lines().nth(1).unwrap().ends_with(",,10,10,100,true"), "{text}");

    // The queue is known by its own word, sizes included.
    until("the queue and the sums agree", || (mx.groups("ten"), mx.groups("all")[""]) == mx.by_recipient());

    // One goes by hand: there is room for one more.
    let one = mx.postqueue().into_iter().find(|message| message["recipients"][0]["address"] == "anna@a.example");
    let before = mx.readings();
    mx.delete(one.unwrap()["queue_id"].as_str().unwrap());
    until("there is room again", || accepted(&mut smtp, "anna@a.example"));
    // One reading may have been under way, and one may have begun while we asked.
    assert!(mx.readings() <= before + 4, "{} readings", mx.readings() - before);
    assert!(smtp.send(&["anna@a.example"], 2000).starts_with("250"));
    assert!(!accepted(&mut smtp, "anna@a.example"));

    // All of it is delivered: nothing waits, and nothing counts.
    mx.deliver();
    until("all is delivered", || {
        // The queue manager that is just being replaced hears nothing.
        mx.postfix.flush();
        mx.postqueue().is_empty()
    });
    let before = mx.readings();
    until("nothing counts any more", || mx.report().iter().all(|line| line["quota"].is_null()));
    assert!(mx.readings() <= before + 4, "{} readings", mx.readings() - before);
    assert!(accepted(&mut smtp, "anna@a.example"));
    assert!(mx.daemon.output(&["queue"]).status.success());
}

#[test]
fn ten_for_one_recipient_then_only_he_is_refused_known_by_the_socket() {
    ten_then_none(By::Socket);
}

#[test]
fn ten_for_one_recipient_then_only_he_is_refused_known_by_postqueue() {
    ten_then_none(By::Command);
}

/// An alias is known to Postfix alone: what it leads to counts as soon as it is in the queue.
#[test]
fn recipients_of_an_alias_count_for_themselves_and_one_who_was_served_no_longer() {
    let mx = Mx::start(TEN, By::Socket, "");
    let mut smtp = Smtp::connect(mx.postfix.port);
    for _ in 0..10 {
        assert!(smtp.send(&["all@list.example"], 500).starts_with("250"));
    }
    until("its members count", || {
        let groups = mx.groups("ten");
        groups.get("anna@a.example").map(|used| used.0) == Some(10)
            && groups.get("ben@a.example").map(|used| used.0) == Some(10)
            && !groups.contains_key("all@list.example")
    });
    assert!(!accepted(&mut smtp, "ben@a.example"));
    assert_eq!(mx.messages("all", ""), 10, "a message counts once where it is one group");
}

/// Mail that nobody asked about: from sendmail(1).
#[test]
fn mail_that_postfix_did_not_ask_about_counts() {
    let mx = Mx::start(TEN, By::Socket, "");
    for _ in 0..10 {
        mx.sendmail("root@a.example", "anna@a.example");
    }
    let mut smtp = Smtp::connect(mx.postfix.port);
    until("it has been seen", || mx.messages("ten", "anna@a.example") == 10);
    assert!(!accepted(&mut smtp, "anna@a.example"));
    assert!(accepted(&mut smtp, "ben@a.example"));
}

/// A message that was let pass and that Postfix refuses after all holds no room for long.
#[test]
fn what_postfix_refuses_after_all_makes_room_again() {
    let mx = Mx::start(TEN, By::Command, "header_checks = static:REJECT");
    let mut smtp = Smtp::connect(mx.postfix.port);
    for _ in 0..10 {
        let reply = smtp.send(&["anna@a.example"], 500);
        assert!(reply.starts_with("550 5.7.1"), "{reply}");
    }
    assert_eq!(mx.postqueue(), Vec::<serde_json::Value>::new());
    until("there is room again", || mx.messages("ten", "anna@a.example") == 0 && accepted(&mut smtp, "anna@a.example"));
}

/// A queue that goes away: what is known is believed for a while, then it counts no longer.
#[test]
fn a_queue_that_cannot_be_read_refuses_nobody_for_long() {
    let quotas = TEN.replace("settle = \"1s\"", "settle = \"0s\"\nstale = \"2s\"\ndecay = \"1s\"");
    let mx = Mx::start(&quotas, By::Command, "");
    let mut smtp = Smtp::connect(mx.postfix.port);
    for _ in 0..10 {
        assert!(smtp.send(&["anna@a.example"], 500).starts_with("250"));
    }
    assert!(!accepted(&mut smtp, "anna@a.example"));
    let etc = mx.daemon.path("postfix/etc/main.cf");
    let away = mx.daemon.path("postfix/etc/main.cf.away");
    std::fs::rename(&etc, &away).unwrap();
    until("it is noticed", || mx.daemon.log().contains("event=queue-lost source=mx"));
    assert!(mx.daemon.health().unwrap()["reasons"][0].as_str().unwrap().starts_with("the queue mx: postqueue -c "));
    assert_eq!(mx.daemon.output(&["queue"]).status.code(), Some(3));
    until("it is not believed any more", || accepted(&mut smtp, "anna@a.example"));
    std::fs::rename(&away, &etc).unwrap();
    until("it is back, and counts", || !accepted(&mut smtp, "anna@a.example"));
    // It counts a moment before that is said.
    until("it is said", || mx.daemon.log().contains("event=queue-back source=mx"));
}
