//! The model: what a quota means, with no I/O, no clock and no logging. Time is an argument.
//!
//! A message lies in exactly one *cell* (folder, type). A *bucket* is what a limit is set on; every
//! cell falls in exactly one bucket, so the buckets of an account always add up to all its mail.
//! Cells are what is stored, buckets are computed: a changed `mailQuota` needs no rescan.

pub mod bucket;
pub mod mask;
pub mod moment;
pub mod overflag;
pub mod plugin;
pub mod quantity;
pub mod queue;
pub mod replies;
pub mod roots;
pub mod rule;
pub mod rules;
pub mod size;
pub mod spec;
pub mod standing;
pub mod unix;
pub mod usage;
pub mod verdict;
pub mod warning;

pub use bucket::{Bucket, BucketName, Limit, Limits};
pub use moment::Moment;
pub use plugin::Plugin;
pub use roots::{Occasion, Root};
pub use rules::Rules;
pub use size::Units;
pub use spec::{Amount, Spec, SpecError};
pub use standing::{Grace, Level, Standing};
pub use usage::{CellKey, Cells, Delta, Usage};
pub use verdict::{Action, Reason, Verdict};
pub use warning::Warning;
