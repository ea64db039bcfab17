//! Statistics of samples: pure functions, without clocks or sockets.

mod comparison;
mod effective;
mod little;
mod median;
#[cfg(test)]
mod noise;
mod order;
mod quantiles;
mod stationarity;

pub use comparison::{Comparison, LEAST_LAUNCHES, LEAST_PAIRS, NoInterval, Verdict};
pub use effective::{Batch, LEAST_BATCHES, effective_sample_size};
pub use little::littles_residual;
pub use median::Median;
pub use quantiles::{Interval, Quantiles, quantile_interval};
pub use stationarity::{LEAST_INTERVALS, Stationarity};
