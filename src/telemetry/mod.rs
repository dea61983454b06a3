//! What the daemon says of itself: the log ([`log`]) with the events that operators watch ([`events`]),
//! and the counters and gauges ([`metrics`]). Usable from the adapters up.

pub mod events;
mod line;
pub mod log;
pub mod metrics;

use crate::account::Status;
use crate::quota::Reason;

/// The word for a reason in metrics and log lines. Part of the interface: alarms are set on it.
pub const fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Unknown => "unknown",
        Reason::Exempt => "exempt",
        Reason::LargerThanSite => "larger-than-site",
        Reason::LargerThanLimit => "larger-than-limit",
        Reason::Status(Status::Active) => "status-active",
        Reason::Status(Status::Inactive) => "status-inactive",
        Reason::Status(Status::Disabled) => "status-disabled",
        Reason::Status(Status::Deleted) => "status-deleted",
        Reason::Status(Status::Hold) => "status-hold",
        Reason::Status(Status::OverQuota) => "status-overquota",
        Reason::Status(Status::Removed) => "status-removed",
        Reason::DomainOver => "domain-over",
        Reason::Over => "over",
        Reason::NoRoom => "no-room",
        Reason::Room => "room",
        Reason::LargerThanQueue => "larger-than-queue",
        Reason::QueueFull => "queue-full",
    }
}
