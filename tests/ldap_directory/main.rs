//! The LDAP adapter and what takes its changes, against a real slapd.

mod bad_values;
#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../support/client.rs"]
mod client;
mod follow;
#[path = "../support/followed.rs"]
mod followed;
mod outages;
#[path = "../support/port.rs"]
mod port;
mod servers;
#[path = "../support/slapd.rs"]
mod slapd;
#[path = "../support/wait.rs"]
mod wait;
mod writes;
