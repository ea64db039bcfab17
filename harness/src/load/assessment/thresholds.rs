//! Thresholds of the assessment and of other parts of the load generator.

/// Busy share above which the generator may limit the throughput.
pub(in crate::load) const BUSY: f64 = 0.95;

/// Busy share above which the server limits the throughput.
pub(in crate::load) const SERVER_BUSY: f64 = 0.9;

/// Minimum share of the offered requests that a server must answer in time. Below it, a run is
/// overloaded, and the search for the highest rate counts the rate as not sustained.
pub(in crate::load) const ACHIEVED: f64 = 0.98;
