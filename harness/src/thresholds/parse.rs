//! Parses thresholds: a metric, an operator and a value.

use std::fmt;
use std::str::FromStr;

use crate::figures::{count, rate, time};
use crate::results::Outcome;
use crate::units::{bytes, nanoseconds, plain_number};

/// A figure that a threshold limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Median latency from the scheduled time, in nanoseconds.
    P50,
    /// 90th percentile of the latency.
    P90,
    /// 99th percentile of the latency.
    P99,
    /// 99.9th percentile of the latency.
    P999,
    /// Maximum latency.
    Max,
    /// Correct replies per second.
    Throughput,
    /// Number of requests with an outcome.
    Outcomes(Outcome),
    /// Memory per idle connection, in bytes.
    MemoryPerConnection,
    /// CPU time of the server per correct reply, in nanoseconds.
    CpuPerRequest,
}

/// Prefix of the metrics of outcomes.
const OUTCOMES: &str = "outcomes.";

impl Metric {
    /// All metrics except those of outcomes.
    const FIGURES: &[Metric] = &[
        Metric::P50,
        Metric::P90,
        Metric::P99,
        Metric::P999,
        Metric::Max,
        Metric::Throughput,
        Metric::MemoryPerConnection,
        Metric::CpuPerRequest,
    ];

    /// Iterates over all metrics.
    pub fn all() -> impl Iterator<Item = Metric> {
        let outcomes = Outcome::ALL.iter().map(|&outcome| Metric::Outcomes(outcome));
        Metric::FIGURES.iter().copied().chain(outcomes)
    }

    /// Returns the name on the command line.
    pub fn name(self) -> String {
        match self {
            Metric::P50 => "p50".to_owned(),
            Metric::P90 => "p90".to_owned(),
            Metric::P99 => "p99".to_owned(),
            Metric::P999 => "p99.9".to_owned(),
            Metric::Max => "max".to_owned(),
            Metric::Throughput => "throughput".to_owned(),
            Metric::Outcomes(outcome) => format!("{OUTCOMES}{}", outcome.name()),
            Metric::MemoryPerConnection => "memory-per-connection".to_owned(),
            Metric::CpuPerRequest => "cpu-per-request".to_owned(),
        }
    }

    fn parse_value(self, text: &str) -> Result<f64, String> {
        match self {
            Metric::Throughput | Metric::Outcomes(_) => plain_number(text),
            Metric::MemoryPerConnection => bytes(text),
            _ => nanoseconds(text),
        }
    }

    /// Formats a value of the metric with its unit.
    pub(super) fn format(self, value: f64) -> String {
        match self {
            Metric::Throughput => format!("{}/s", rate(value)),
            Metric::Outcomes(_) => count(value),
            Metric::MemoryPerConnection => format!("{} bytes", count(value)),
            _ => time(value.round() as u64),
        }
    }
}

/// Comparison of a metric with the value of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
}

impl Operator {
    /// All operators; those of two characters first, because they begin with one of one character.
    const ALL: &[Operator] =
        &[Operator::AtMost, Operator::AtLeast, Operator::Equal, Operator::Less, Operator::Greater];

    /// Returns the operator as on the command line.
    pub fn symbol(self) -> &'static str {
        match self {
            Operator::Less => "<",
            Operator::AtMost => "<=",
            Operator::Greater => ">",
            Operator::AtLeast => ">=",
            Operator::Equal => "==",
        }
    }

    /// Returns whether `value` and `limit` are in this relation.
    pub(super) fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Operator::Less => value < limit,
            Operator::AtMost => value <= limit,
            Operator::Greater => value > limit,
            Operator::AtLeast => value >= limit,
            Operator::Equal => value == limit,
        }
    }
}

/// A condition on a metric of a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// The metric.
    pub metric: Metric,
    /// The operator.
    pub operator: Operator,
    /// The limit, in the unit of the metric.
    pub limit: f64,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Threshold, String> {
        let at = text.find(['<', '>', '=']).ok_or_else(|| {
            "write a metric, an operator and a value, such as p99<10ms".to_owned()
        })?;
        let (name, rest) = text.split_at(at);
        let name = name.trim();
        let operator = Operator::ALL.iter().find(|it| rest.starts_with(it.symbol()));
        let operator = *operator.ok_or_else(|| "the operators are < <= > >= and ==".to_owned())?;
        let metric = Metric::all().find(|metric| metric.name() == name).ok_or_else(|| {
            let names: Vec<String> = Metric::FIGURES.iter().map(|metric| metric.name()).collect();
            let outcomes: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.name()).collect();
            format!(
                "there is no metric `{name}`; the metrics are {}, and {OUTCOMES}NAME with one of {}",
                names.join(", "),
                outcomes.join(", ")
            )
        })?;
        let value = rest[operator.symbol().len()..].trim();
        let limit = metric.parse_value(value).map_err(|expected| {
            format!("`{value}` is not a value of {}: {expected}", metric.name())
        })?;
        Ok(Threshold { metric, operator, limit })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Threshold { metric, operator, limit } = self;
        write!(to, "{} {} {}", metric.name(), operator.symbol(), metric.format(*limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_and_operator_is_parsed() {
        for metric in Metric::all() {
            let (value, limit) = match metric {
                Metric::Throughput | Metric::Outcomes(_) => ("2.5", 2.5),
                Metric::MemoryPerConnection => ("2KiB", 2048.0),
                _ => ("2.5ms", 2.5e6),
            };
            for &operator in Operator::ALL {
                let name = metric.name();
                for space in ["", " "] {
                    let text = format!("{name}{space}{}{space}{value}", operator.symbol());
                    assert_eq!(text.parse(), Ok(Threshold { metric, operator, limit }), "{text}");
                }
            }
        }
        assert_eq!(Metric::all().count(), Metric::FIGURES.len() + Outcome::ALL.len());
    }

    #[test]
    fn an_error_says_what_is_allowed() {
        for (text, words) in [
            ("", "such as p99<10ms"),
            ("p99", "such as p99<10ms"),
            ("p98<10ms", "the metrics are p50, p90, p99, p99.9, max, throughput"),
            ("outcomes.lost<1", "outcomes.NAME with one of answered, wrong_reply"),
            ("<10ms", "there is no metric ``"),
            ("p99=10ms", "the operators are < <= > >= and =="),
            ("p99<10", "write a time with a unit"),
            ("p99<", "write a time with a unit"),
            ("p99<-1ms", "write a time with a unit"),
            ("throughput>10ms", "write a plain number"),
            ("memory-per-connection<1GB", "KiB, MiB or GiB"),
            ("p99<<10ms", "`<10ms` is not a value of p99"),
        ] {
            let error = text.parse::<Threshold>().expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn an_operator_includes_the_limit_only_if_it_says_so() {
        let held = |value: f64| -> Vec<&str> {
            Operator::ALL.iter().filter(|it| it.holds(value, 2.0)).map(|it| it.symbol()).collect()
        };
        assert_eq!(held(1.0), ["<=", "<"]);
        assert_eq!(held(2.0), ["<=", ">=", "=="]);
        assert_eq!(held(3.0), [">=", ">"]);
    }
}
