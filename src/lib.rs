//! mailquotad knows, for every mailbox and every domain of a mail directory, how much mail it may
//! hold and how much it holds; it answers the MTA before a message is accepted and writes the
//! standing back into the directory.
//!
//! The house has four floors, and a module only ever uses floors below its own
//! (`tests/layers.rs` reads the `use` lines and holds this):
//!
//! - **L0, pure.** [`quota`] is the model: sizes, the `mailQuota` grammar, cells and buckets,
//!   standing and grace, and the one verdict. [`wire`] holds one codec a file: bytes in, a value or
//!   "incomplete" or "invalid" out. [`account`] is what a directory says, [`schedule`] reads crontab
//!   lines. Nothing here touches a file, a socket, a clock or a log.
//! - **L1, the outside world.** [`directory`], [`ledger`], [`mailstore`], [`mailqueue`], [`mailer`], [`alarm`] and
//!   [`unixquota`] each own a port trait and, beside it, the adapters that implement it. They never use one another.
//!   [`telemetry`] (log events and counters) and [`secret`] may be used from here up.
//! - **L2, the work.** [`service`] joins ports and model: it keeps the state in memory, answers,
//!   measures, enforces. It names no adapter and does not know the configuration.
//! - **L3, the wiring.** [`config`] reads the settings and [`cli`] holds one file a command;
//!   `cli/serve.rs` reads top to bottom as the story of a start.

pub mod account;
pub mod alarm;
pub mod cli;
pub mod config;
pub mod directory;
pub mod ledger;
pub mod mailer;
pub mod mailqueue;
pub mod mailstore;
pub mod quota;
pub mod schedule;
pub mod secret;
pub mod service;
pub mod telemetry;
pub mod unixquota;
pub mod wire;
