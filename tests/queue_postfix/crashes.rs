//! The daemon is killed while mail comes and goes, again and again.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::mx::{By, Mx};
use crate::support::smtp::Smtp;
use crate::support::wait::until;

const ROUNDS: usize = 20;

const QUOTAS: &str = "[queue]\ninterval = \"300ms\"\nsettle = \"300ms\"\n\
    [[queue.quota]]\nname = \"rcpt\"\nkey = [\"rcpt\"]\nmessages = 100000\n\
    [[queue.quota]]\nname = \"all\"\nmessages = 100000\nsize = \"10G\"\n";

/// Sends and deletes until `stop`; how many messages were accepted.
fn load(mx: &Mx, stop: &AtomicBool) -> u64 {
    let mut accepted = 0;
    let mut smtp = Smtp::connect(mx.postfix.port);
    while !stop.load(Ordering::Relaxed) {
        let to: &[&str] = match accepted % 3 {
            0 => &["anna@a.example"],
            1 => &["ben@a.example", "carla@b.example"],
            _ => &["all@list.example", "dora@b.example"],
        };
        accepted += u64::from(smtp.send(to, 300 + (accepted as usize % 7) * 100).starts_with("250"));
        if accepted % 5 == 0
            && let Some(message) = mx.postqueue().first()
        {
            mx.delete(message["queue_id"].as_str().unwrap());
        }
    }
    accepted
}

#[test]
fn after_a_kill_under_load_the_sums_are_those_of_the_queue() {
    // While nobody answers, mail goes on coming in unasked.
    let more = "smtpd_policy_service_default_action = DUNNO\nsmtpd_policy_service_retry_delay = 1s\n\
                smtpd_policy_service_try_limit = 1";
    let mut mx = Mx::start(QUOTAS, By::Socket, more);
    let mut total = 0;
    let mut worst = 0;
    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mx_now = &mx;
            let loads: Vec<_> = (0..2).map(|_| scope.spawn(|| load(mx_now, &stop))).collect();
            let begun = mx_now.postqueue().len();
            until("there is load", || mx_now.postqueue().len() != begun);
            mx_now.daemon.signal("KILL");
            let after = mx_now.postqueue().len();
            until("mail comes in without the daemon", || mx_now.postqueue().len() != after);
            stop.store(true, Ordering::Relaxed);
            total += loads.into_iter().map(|load| load.join().unwrap()).sum::<u64>();
        });
        mx.daemon.stop("KILL");
        mx.daemon.run();
        // Load again, at a daemon that has just begun to read.
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mx_now = &mx;
            let load = scope.spawn(|| load(mx_now, &stop));
            mx_now.until_read(2);
            stop.store(true, Ordering::Relaxed);
            total += load.join().unwrap();
        });
        let before = mx.readings();
        let expected = mx.by_recipient();
        until("the sums are those of the queue", || {
            (mx.groups("rcpt"), mx.groups("all").get("").copied().unwrap_or_default()) == expected
        });
        let needed = mx.readings() - before;
        worst = worst.max(needed);
        // Two, and one that may have been under way, and one while we asked.
        assert!(needed <= 4, "round {round}: {needed} readings");
    }
    println!("{ROUNDS} kills, {total} messages, right again after at most {worst} readings");
    assert!(total > ROUNDS as u64);
}
