//! The daemon is killed while mail comes and goes, again and again.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::mx::{By, Mx};
use crate::support::smtp::Smtp;
use crate::support::wait::until;

const ROUNDS: usize = 20;

const QUOTAS: &str = "[queue]\ninterval = \"300ms\"\nsettle = \"300ms\"\n\
    [[queue.quota]]\nname = \"rcpt\"\nkey = [\"rcpt\"]\nmessages = 100000\n\
    [[queue.quota]]\nname = \"all\"\nmessages = 100000\nsize = \"10G\"\n";

/// Ends the load when it goes, so that it ends also where a round has failed.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

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
            let ends = Ends(&stop);
            let begun = mx_now.postqueue().len();
            until("there is load", || mx_now.postqueue().len() != begun);
            mx_now.daemon.signal("KILL");
            let after = mx_now.postqueue().len();
            until("mail comes in without the daemon", || mx_now.postqueue().len() != after);
            drop(ends);
            total += loads.into_iter().map(|load| load.join().unwrap()).sum::<u64>();
        });
        mx.daemon.stop("KILL");
        mx.daemon.run();
        // Load again, at a daemon that has just begun to read.
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mx_now = &mx;
            let load = scope.spawn(|| load(mx_now, &stop));
            let ends = Ends(&stop);
            mx_now.until_read(2);
            drop(ends);
            total += load.join().unwrap();
        });
        // While Postfix moves a message, its list may not show it, or show it twice.
        until("the queue is at rest", || mx.postqueue().iter().all(|message| message["queue_name"] == "deferred"));
        let (before, expected) = (mx.readings(), mx.by_recipient());
        until("the sums are those of the queue", || {
            let readings = mx.readings() - before;
            let sums = (mx.groups("rcpt"), mx.groups("all").get("").copied().unwrap_or_default());
            // After two of them, and one that was under way.
            assert!(sums == expected || readings <= 3, "round {round}, {readings} readings: {sums:?}, {expected:?}");
            worst = worst.max(readings);
            sums == expected
        });
    }
    println!("{ROUNDS} kills, {total} messages, right again after at most {worst} readings");
    assert!(total > ROUNDS as u64);
}
