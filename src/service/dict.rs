//! The dict server for Dovecot: what its quota plugins tell of usage and of folders that changed.
//!
//! Dovecot asks and tells while it delivers, and the delivery waits for the answer. So nothing in here waits: a
//! commit moves memory, or notes that something is to be measured, and is answered. The one exception is a limit
//! that an admin sets, for he wants to know what became of it.
//!
//! [`Dialog`] is what is said on a connection; [`DictSession`] puts it on a thread. [`keeper`] is what
//! stands behind the keys, [`doubts`] compares what Dovecot says with what was measured, [`limits`] writes what
//! admins set.

mod dialog;
pub mod doubts;
pub mod keeper;
pub mod limits;
pub mod names;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::dialog::{Broken, Change, Dialog, Keeper, What};

use super::conversation::{Tally, converse};
use super::listener::{Connection, Session};
use super::paced::Pace;
use crate::telemetry::metrics::Metrics;

/// Whose word counts for usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Totals {
    /// What was measured. Other totals of Dovecot's are a reason to measure again.
    #[default]
    Checked,
    /// Dovecot's: the mailboxes cannot be measured from here.
    Believed,
}

/// Serves the protocol on a thread a connection.
pub struct DictSession<K> {
    pub keeper: Arc<K>,
    pub pace: Pace,
    pub metrics: Arc<Metrics>,
}

/// As the log calls it.
const SERVICE: &str = "dict";

impl<K: Keeper> Session for DictSession<K> {
    fn talk(&self, connection: &Connection) {
        let tally = Tally { open: &self.metrics.dict_connections, garbage: &self.metrics.dict_garbage };
        converse(SERVICE, connection, self.pace, Dialog::new(&*self.keeper, &connection.peer), tally);
    }
}
