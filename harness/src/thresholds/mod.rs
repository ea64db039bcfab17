//! Thresholds for measurements: conditions such as `p99<10ms` that decide the exit code of a load
//! test.

mod check;
mod parse;

pub use check::{NotMet, ThresholdResult, check_all};
pub use parse::{Metric, Operator, Threshold};
