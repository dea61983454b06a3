//! One evaluation of a condition, which every RCPT pays for.

use std::hint::black_box;
use std::time::Instant;

use mailquotad::quota::queue::message::{Addressed, Message, Session, VARIABLES};
use mailquotad::wire::cel::Expression;
use serde::Serialize;

use super::Plan;
use super::figures::median;

const CONDITIONS: [&str; 7] = [
    "sender_domain == 'example.org'",
    "size > 1048576",
    "sender_domain in ['example.com', 'example.net', 'example.edu', 'example.org']",
    "login != '' && !cidr('192.0.2.0/24').containsIP(client)",
    "rcpt.endsWith('@example.org') || rcpt.startsWith('list-') || rcpt.contains('+')",
    "client_name.matches('^mail-[a-z]+-[0-9]+\\\\.example\\\\.(net|org)$')",
    "port == 587 ? sender.lowerAscii() == login.lowerAscii() : size < 10 * 1024 * 1024",
];

#[derive(Serialize)]
pub struct Line {
    condition: &'static str,
    ns: f64,
}

pub fn measure(plan: &Plan) -> Vec<Line> {
    let session = Session {
        client: "198.51.100.7",
        client_name: "mail-out-42.example.net",
        helo: "mail-out-42.example.net",
        login: "anna",
        context: "submission",
        port: 587,
    };
    let message = Message { sender: "anna.meier@example.org", size: 123_456, session };
    let addressed = Addressed { message: &message, rcpt: "ben.schulze@example.net" };
    println!("one evaluation (goal: < 1000 ns)");
    let line = |condition: &'static str| {
        let expression = Expression::condition(condition, &VARIABLES).unwrap_or_else(|error| panic!("{error}"));
        let round = |_| {
            let begun = Instant::now();
            for _ in 0..plan.evaluations {
                black_box(expression.holds(black_box(&addressed)).is_ok());
            }
            begun.elapsed().as_nanos() as f64 / f64::from(plan.evaluations)
        };
        let line = Line { condition, ns: median((0..5).map(round).collect()) };
        println!("{:8.1} ns  {condition}", line.ns);
        line
    };
    let lines = CONDITIONS.into_iter().map(line).collect();
    println!();
    lines
}
