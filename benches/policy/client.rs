//! The clients: a process of their own, so that they weigh the same on every contender. Each connection sends a
//! request as Postfix 3.7 does, waits for the reply, and sends the next.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mailquotad::service::socket::Stream;
use mailquotad::wire::endpoint::Endpoint;

use super::report::Round;

pub const FLAG: &str = "--client";

/// Not measured: connections are new, threads are started, caches are cold.
const WARM_UP: Duration = Duration::from_millis(100);

const BEFORE: &str = "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n\
    client_address=192.0.2.7\nclient_name=mx.example.net\nclient_port=51234\nreverse_client_name=mx.example.net\n\
    server_address=192.0.2.1\nserver_port=25\nhelo_name=mx.example.net\nsender=carol@example.net\nrecipient=user";
const BETWEEN: &str = "@example.org\nrecipient_count=0\nqueue_id=\ninstance=14c7.";
const AFTER: &str = ".27765.0\nsize=12345\n\
    etrn_domain=\nstress=\nsasl_method=\nsasl_username=\nsasl_sender=\nccert_subject=\nccert_issuer=\n\
    ccert_fingerprint=\nccert_pubkey_fingerprint=\nencryption_protocol=TLSv1.3\n\
    encryption_cipher=TLS_AES_256_GCM_SHA384\nencryption_keysize=256\npolicy_context=\n\n";
/// Of the account, and of the instance, which is another for each message: a server may remember those.
const DIGITS: usize = 7;
const INSTANCE_DIGITS: usize = 9;

/// Runs the clients against `at` and waits for their figures.
pub fn run(at: &Endpoint, connections: usize, length: Duration, accounts: u32) -> anyhow::Result<Round> {
    let child = Command::new(std::env::current_exe()?)
        .args([FLAG, &at.to_string(), &connections.to_string(), &length.as_millis().to_string()])
        .arg(accounts.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the clients of {at} failed: {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("the figures of the clients of {at}"))
}

/// The process of the clients.
pub fn main(arguments: &[String]) -> anyhow::Result<()> {
    let [at, connections, length, accounts] = arguments else { bail!("{FLAG} is for the bench itself") };
    let (at, connections): (Endpoint, usize) = (at.parse()?, connections.parse()?);
    let length = Duration::from_millis(length.parse()?);
    let accounts: u32 = accounts.parse()?;
    let start = Barrier::new(connections);
    let mut latencies = Vec::new();
    std::thread::scope(|scope| {
        let ask = |number| {
            let (at, start) = (&at, &start);
            scope.spawn(move || ask(at, start, length, accounts, number))
        };
        let threads: Vec<_> = (0..connections as u64).map(ask).collect();
        for thread in threads {
            match thread.join() {
                Ok(measured) => latencies.extend(measured?),
                Err(_) => bail!("a client panicked"),
            }
        }
        anyhow::Ok(())
    })?;
    println!("{}", serde_json::to_string(&Round::of(latencies, length)?)?);
    Ok(())
}

/// The nanoseconds of every request of one connection.
fn ask(at: &Endpoint, start: &Barrier, length: Duration, accounts: u32, number: u64) -> anyhow::Result<Vec<u32>> {
    let connected = Stream::connect(at);
    // Also where it failed: the others wait for it.
    start.wait();
    let stream = connected?;
    let mut stream = &stream;
    let mut request =
        format!("{BEFORE}{}{BETWEEN}{}{AFTER}", "0".repeat(DIGITS), "0".repeat(INSTANCE_DIGITS)).into_bytes();
    let account_at = BEFORE.len();
    let instance_at = account_at + DIGITS + BETWEEN.len();
    // Far enough apart for any run.
    let mut instance = number * 10_000_000;
    let mut latencies = Vec::with_capacity(1 << 18);
    let mut reply = [0; 1024];
    // Xorshift: which recipient is next must cost nothing.
    let mut random = 0x9e37_79b9_7f4a_7c15 ^ (number + 1);
    let begin = Instant::now() + WARM_UP;
    let end = begin + length;
    let mut asked = Instant::now();
    while asked < end {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        instance += 1;
        write_digits(&mut request[account_at..account_at + DIGITS], random % u64::from(accounts));
        write_digits(&mut request[instance_at..instance_at + INSTANCE_DIGITS], instance);
        stream.write_all(&request)?;
        let mut filled = 0;
        while !reply[..filled].ends_with(b"\n\n") {
            let count = stream.read(&mut reply[filled..])?;
            ensure!(count > 0, "{at} hung up after {:?}", String::from_utf8_lossy(&reply[..filled]));
            filled += count;
        }
        ensure!(reply.starts_with(b"action="), "{at} said {:?}", String::from_utf8_lossy(&reply[..filled]));
        let answered = Instant::now();
        if asked >= begin {
            latencies.push(answered.duration_since(asked).as_nanos().try_into().unwrap_or(u32::MAX));
        }
        asked = answered;
    }
    Ok(latencies)
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
