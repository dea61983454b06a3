//! An instant as the ledger stores it. The model never reads a clock: callers pass the moment in.

use std::fmt;
use std::time::Duration;

use chrono::{Datelike, Timelike};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment(pub u64);

impl Moment {
    /// How long ago `earlier` was. Zero when the clock has jumped back behind it, so a grace period
    /// can never come out negative.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment `delay` later; the end of time if that cannot be expressed.
    pub fn after(self, delay: Duration) -> Moment {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(millis))
    }

    /// The moment `span` earlier; the beginning of time if there is none.
    pub fn before(self, span: Duration) -> Moment {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_sub(millis))
    }
}

/// RFC 3339 with seconds, UTC: `2026-11-21T20:50:59Z`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = i64::try_from(self.0).ok().and_then(chrono::DateTime::from_timestamp_millis);
        match at {
            // chrono reads its pattern anew each time, which a report of a large site feels.
            Some(at) => {
                let (date, time) = (at.date_naive(), at.time());
                write!(f, "{:04}-{:02}-{:02}T", date.year(), date.month(), date.day())?;
                write!(f, "{:02}:{:02}:{:02}Z", time.hour(), time.minute(), time.second())
            }
            None => write!(f, "+{}ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_back_counts_as_no_time() {
        assert_eq!(Moment(5).since(Moment(9)), Duration::ZERO);
        assert_eq!(Moment(9).since(Moment(5)), Duration::from_millis(4));
    }

    #[test]
    fn prints_as_rfc_3339() {
        assert_eq!(Moment(1_700_000_000_000).to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(Moment(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Moment(u64::MAX).to_string(), "+18446744073709551615ms");
    }
}
