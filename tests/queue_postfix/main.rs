//! Queue quotas with a real Postfix that asks, and whose queue is read.

mod crashes;
mod mx;
mod recipients;
mod senders;
mod stalwart;

#[path = "../support"]
mod support {
    pub mod daemon;
    pub mod port;
    pub mod postfix;
    pub mod smtp;
    pub mod wait;
}
