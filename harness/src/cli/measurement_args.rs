//! Measurement flags of `harness load` and `harness bench`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::load::placement::Pin;
use crate::load::{MAX_TIMEOUT, MIN_TIMEOUT};
use crate::thresholds::Threshold;
use crate::units::{duration, format_duration, percent};

/// Measurement settings of `harness load` and `harness bench`.
#[derive(Clone, Debug, Args)]
pub struct MeasurementArgs {
    /// Number of load generator threads, which share the connections; from 1 to 64.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// CPU affinity of the load generator; in `harness bench`, also of the server.
    #[arg(long, value_enum, default_value_t)]
    pub pin: Pin,
    /// Extend the run until the half-width of the 95 % confidence interval of the p99 latency is at
    /// most PERCENT of the p99.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub precision: Option<f64>,
    /// Maximum duration of a run extended by --precision, as a multiple of the planned duration;
    /// from 1 to 1000.
    #[arg(long, value_name = "FACTOR", default_value_t = 8, requires = "precision", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub extend: u32,
    /// Timeout for connecting, and for each reply; from 1ms to 1h. A later reply counts as timed
    /// out, and has no latency. The timeout may expire late: by a tenth of TIME (at most 100ms),
    /// and by up to 20ms more.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = timeout)]
    pub timeout: Duration,
    /// Random seed; use the seed of an earlier run to repeat it (default: random).
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Additional condition for the exit code 0 (default: none).
    #[arg(long, value_enum, value_name = "CONDITION")]
    pub require: Option<Require>,
    /// Condition on each measurement for the exit code 0, such as 'p99<10ms' or
    /// 'outcomes.reset==0': a metric, one of < <= > >= ==, and a value with its unit. Metrics: p50,
    /// p90, p99, p99.9, max, throughput, outcomes.NAME, memory-per-connection, cpu-per-request. Not
    /// met if the measurement is not valid, or has too few samples for the metric. May be repeated.
    #[arg(long, value_name = "CONDITION", value_parser = str::parse::<Threshold>)]
    pub threshold: Vec<Threshold>,
}

/// Parses a timeout.
fn timeout(text: &str) -> Result<Duration, String> {
    let bounds = MIN_TIMEOUT..=MAX_TIMEOUT;
    let timeout = duration(text)?;
    if bounds.contains(&timeout) {
        return Ok(timeout);
    }
    let [min, max] = [MIN_TIMEOUT, MAX_TIMEOUT].map(format_duration);
    Err(format!("the timeout must be from {min} to {max}"))
}

/// A condition that results must meet for the exit code 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Require {
    /// Every measurement has the validity `valid`.
    Valid,
    /// Every comparison (`harness bench --against`) is conclusive: faster, slower or equal.
    Conclusive,
    /// In every comparison (`harness bench --against`), the server is not slower than the baseline
    /// by more than the equivalence margin.
    NotSlower,
}
