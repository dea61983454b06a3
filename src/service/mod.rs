//! The work: ports and model joined. Nothing in here names an adapter or knows the configuration.
//!
//! - [`book`], [`account`], [`domain`]: the state in memory.
//! - [`accounting`]: the one place where usage, limits and standings change.
//! - [`sync`]: directory changes into the state; [`outbox`]: statuses into the directory.
//! - [`admission`]: the one place that asks the model for a verdict, behind [`policy`], [`lookup`] and [`http`].
//! - [`exempt`]: whom no quota stops; [`notify`]: what users and admins are told by mail.
//! - [`queue`]: how much may wait in the MTA's queue.
//! - [`measuring`], [`hints`], [`resync`]: what mailboxes hold. [`enforce`], [`jobs`]: what time does.
//! - [`dict`]: what Dovecot tells of usage.
//! - [`watch`]: changes in the mail store, as they happen.
//! - [`unixquota`]: what file systems say.
//! - [`listener`]: the one accept loop; [`conversation`]: sessions of requests and replies.

pub mod account;
pub mod accounting;
pub mod admission;
pub mod book;
pub mod catch_up;
pub mod clock;
pub mod conversation;
pub mod dict;
pub mod domain;
pub mod enforce;
pub mod exempt;
pub mod expansion;
pub mod hints;
pub mod http;
pub mod jobs;
mod keys;
pub mod listener;
pub mod lookup;
pub mod measuring;
pub mod notify;
pub mod outbox;
pub mod over_flag;
pub mod paced;
pub mod policy;
mod pool;
pub mod queue;
pub mod quota_status;
pub mod report;
pub mod resync;
pub mod roots;
pub mod settings;
pub mod snapshot;
pub mod socket;
pub mod status;
mod stored;
pub mod sync;
pub mod tally;
pub mod timers;
pub mod transactions;
pub mod unixquota;
pub mod warned;
pub mod warnings;
pub mod watch;
