//! Statistics of samples: pure functions, without clocks or sockets.

mod comparison;
mod effective;
mod little;
mod mean_interval;
mod median;
#[cfg(test)]
mod noise;
mod quantiles;
mod rank_bounds;
mod ratio;
mod stationarity;

pub use comparison::{Comparison, ComparisonVerdict, MIN_LAUNCHES, MIN_PAIRS, NoInterval};
pub use effective::{Batch, MIN_BATCHES, effective_sample_size};
pub use little::littles_residual;
pub use mean_interval::{MIN_VALUES, geometric_mean, mean_interval};
pub use median::Median;
pub use quantiles::{Interval, Quantiles, quantile_interval};
pub use ratio::{MIN_SAMPLES, MeanRatio, NoRatio, SIGNIFICANCE, holm};
pub use stationarity::{MIN_INTERVALS, Stationarity};
