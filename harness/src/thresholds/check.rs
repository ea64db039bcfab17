//! Checks thresholds against measurements.

use std::fmt;

use serde::{Serialize, Serializer};

use super::parse::{Metric, Threshold};
use crate::results::{Measurement, ValidityLabel};

/// Reason why a threshold is not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotMet {
    /// The value is beyond the limit.
    Beyond,
    /// The measurement has no value of the metric: it has too few samples, or does not measure it.
    NoValue,
    /// The measurement is not valid, so its figures prove nothing.
    NotValid(ValidityLabel),
}

/// The result of a threshold for one measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThresholdResult {
    /// The threshold, as text.
    #[serde(serialize_with = "as_text")]
    pub threshold: Threshold,
    /// Name of the workload.
    pub workload: String,
    /// Limit, in the unit of the metric: nanoseconds, bytes, replies per second or a count.
    pub limit: f64,
    /// Measured value, in the same unit.
    pub value: Option<f64>,
    /// Whether the threshold is met.
    pub is_met: bool,
    /// Reason why it is not met.
    pub not_met: Option<NotMet>,
}

fn as_text<S: Serializer>(threshold: &Threshold, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(threshold)
}

impl Metric {
    fn of(self, measurement: &Measurement) -> Option<f64> {
        let latency = &measurement.latency_intended_ns;
        let integer = match self {
            Metric::P50 => latency.p50,
            Metric::P90 => latency.p90,
            Metric::P99 => latency.p99,
            Metric::P999 => latency.p999,
            Metric::Max => latency.max,
            Metric::Throughput => return Some(measurement.throughput_per_s),
            Metric::Outcomes(outcome) => Some(measurement.outcomes.get(outcome)),
            Metric::MemoryPerConnection => {
                measurement.idle_connections.as_ref().map(|it| it.memory_per_connection_bytes)
            }
            Metric::CpuPerRequest => measurement.server_cpu_ns_per_request(),
        };
        integer.map(|value| value as f64)
    }
}

impl ThresholdResult {
    fn of(threshold: Threshold, measurement: &Measurement) -> ThresholdResult {
        let value = threshold.metric.of(measurement);
        let label = measurement.validity.label;
        let not_met = match value {
            _ if label != ValidityLabel::Valid => Some(NotMet::NotValid(label)),
            None => Some(NotMet::NoValue),
            Some(value) if threshold.operator.holds(value, threshold.limit) => None,
            Some(_) => Some(NotMet::Beyond),
        };
        ThresholdResult {
            threshold,
            workload: measurement.workload.clone(),
            limit: threshold.limit,
            value,
            is_met: not_met.is_none(),
            not_met,
        }
    }
}

impl fmt::Display for ThresholdResult {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ThresholdResult { threshold, workload, .. } = self;
        let value = self.value.map(|value| threshold.metric.format(value));
        write!(to, "threshold {threshold} under {workload}: ")?;
        match (self.not_met, value) {
            (None, value) => write!(to, "met ({})", value.unwrap_or_default()),
            (Some(NotMet::NotValid(label)), value) => {
                write!(to, "not met: the run is not valid ({}", label.name())?;
                value.map_or(Ok(()), |value| write!(to, "; measured {value}"))?;
                to.write_str(")")
            }
            (Some(NotMet::NoValue), _) | (_, None) => write!(
                to,
                "not met: the run has no value of {} (too few requests, or not measured here)",
                threshold.metric.name()
            ),
            (Some(NotMet::Beyond), Some(value)) => write!(to, "not met: {value}"),
        }
    }
}

/// Checks each threshold against each measurement. Memory per connection is checked only where it
/// is measured, unless no measurement has it.
pub fn check_all<'m>(
    thresholds: &[Threshold],
    measurements: impl IntoIterator<Item = &'m Measurement>,
) -> Vec<ThresholdResult> {
    let measurements: Vec<&Measurement> = measurements.into_iter().collect();
    let has_idle = measurements.iter().any(|it| it.idle_connections.is_some());
    let mut results = Vec::new();
    for measurement in measurements {
        for &threshold in thresholds {
            let is_elsewhere = threshold.metric == Metric::MemoryPerConnection
                && has_idle
                && measurement.idle_connections.is_none();
            if !is_elsewhere {
                results.push(ThresholdResult::of(threshold, measurement));
            }
        }
    }
    results
}
