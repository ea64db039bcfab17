//! Estimate of the p99, with its confidence interval.

use hdrhistogram::Histogram;

use crate::load::interval::Interval;
use crate::stats;

/// Estimate of a latency's 99th percentile.
pub(in crate::load) struct P99 {
    value: u64,
    /// Effective sample size.
    pub(super) samples: Option<f64>,
    /// Confidence interval.
    pub(super) interval: Option<stats::Interval<u64>>,
}

impl P99 {
    /// Estimates the p99. `latency` has the latencies of all intervals.
    pub(in crate::load) fn of(intervals: &[Interval], latency: &Histogram<u64>) -> P99 {
        let samples = effective_samples(intervals, 0.99, latency);
        let interval = samples.and_then(|it| stats::quantile_interval(latency, 0.99, it));
        P99 { value: latency.value_at_quantile(0.99), samples, interval }
    }

    /// Returns half the width of the confidence interval, relative to the p99.
    pub(in crate::load) fn precision(&self) -> Option<f64> {
        let interval = self.interval.as_ref()?;
        Some((interval.high - interval.low) as f64 / 2.0 / self.value.max(1) as f64)
    }
}

/// Returns the effective sample size of the intervals for this quantile.
fn effective_samples(
    intervals: &[Interval],
    quantile: f64,
    latency: &Histogram<u64>,
) -> Option<f64> {
    let bound = latency.value_at_quantile(quantile);
    let batches: Vec<stats::Batch> = intervals
        .iter()
        .map(|interval| {
            let is_closed = interval.scheduled.is_empty();
            let latency = if is_closed { &interval.sent } else { &interval.scheduled };
            let count = latency.len();
            let above = count - latency.count_between(0, bound).min(count);
            let share = above as f64 / count.max(1) as f64;
            stats::Batch { count, mean: share, variance: share * (1.0 - share) }
        })
        .collect();
    stats::effective_sample_size(&batches)
}
