//! Stores that are asked over the network, against a real Dovecot: what they say is what doveadm says.

mod contract;
mod doveadm;
mod imap;
mod imap_daemon;
mod imap_servers;
mod maildir;

#[path = "../support"]
mod support {
    pub mod certificates;
    pub mod daemon;
    pub mod dovecot;
    pub mod dovecot_2_4;
    pub mod imap;
    pub mod port;
    pub mod postfix;
    pub mod wait;
}
