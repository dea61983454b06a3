//! The place of Dovecot's quota-warning script: Dovecot calls, and we look at the mailbox at once.
//!
//! What Dovecot has seen crossed are its thresholds, by its count. Ours go off by our own, when the measurement
//! that this brings about has come in: so nobody is told of one thing by two.

use std::sync::Arc;

use super::admission::Admission;
use super::conversation::{Protocol, Tally, converse};
use super::listener::{Connection, Session};
use super::paced::Pace;
use crate::telemetry::events;
use crate::telemetry::metrics::Metrics;
use crate::wire::script::{CALL_LIMIT, Invalid, parse};

/// Connections of Dovecot's warnings.
pub struct WarnedSession {
    pub admission: Arc<Admission>,
    pub metrics: Arc<Metrics>,
    pub pace: Pace,
}

impl Session for WarnedSession {
    fn talk(&self, connection: &Connection) {
        let tally = Tally { open: &self.metrics.warned_connections, garbage: &self.metrics.warned_garbage };
        converse("warned", connection, self.pace, Warned { admission: &self.admission, metrics: &self.metrics }, tally);
    }
}

struct Warned<'a> {
    admission: &'a Admission,
    metrics: &'a Metrics,
}

impl Protocol for Warned<'_> {
    type Invalid = Invalid;
    const REQUEST_LIMIT: usize = CALL_LIMIT;

    fn answer(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Option<usize>, Invalid> {
        let Some((call, length)) = parse(input)? else { return Ok(None) };
        let settings = self.admission.settings();
        // `95 %u`, as every example has it, or the other way round.
        let found = call.arguments.iter().rev().map(|word| self.admission.expand(&settings, word));
        let accounts = found.map(|found| found.accounts).find(|accounts| !accounts.is_empty()).unwrap_or_default();
        let known = !accounts.is_empty();
        self.admission.announce(&accounts);
        self.metrics.warning("heard", if known { "done" } else { "failed" });
        events::warning_heard(&call.arguments.join(" "), known);
        if call.replies {
            output.extend_from_slice(if known { b"+\n" } else { b"-\n" });
        }
        Ok(Some(length))
    }
}
