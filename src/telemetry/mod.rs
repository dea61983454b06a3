//! What the daemon says of itself: the log ([`log`]) and, in it, the events that operators watch
//! ([`events`]); the counters and gauges ([`metrics`]). Usable from the adapters up.

pub mod log;
