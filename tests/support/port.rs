//! Ports for servers that are started later, or again.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what the system takes for clients' own ends (/proc/sys/net/ipv4/ip_local_port_range). From that range any
/// client could be given the port while its server is down, and one that tries to reach the server could be connected
/// with itself.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

static TAKEN: AtomicU16 = AtomicU16::new(0);

/// Nobody else in this process is given it. Whoever is told to listen there fails loudly if somebody else does.
pub fn free_port() -> u16 {
    let first = std::process::id() as u16;
    loop {
        let nth = first.wrapping_mul(97).wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + nth % (PORTS.end - PORTS.start);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
