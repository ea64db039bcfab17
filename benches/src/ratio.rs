//! Ratios as a Criterion measurement, and their comparison with a threshold.

use std::fmt;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};
use harness::stats::Median;

/// Ratio of two throughputs. Each iteration measures it: there is no clock to read before and
/// after.
#[derive(Clone, Copy, Debug)]
pub struct Ratio;

impl Measurement for Ratio {
    type Intermediate = ();
    type Value = f64;

    fn start(&self) {}

    fn end(&self, (): ()) -> f64 {
        unreachable!("an iteration says what its ratio was (iter_custom)")
    }

    fn add(&self, one: &f64, other: &f64) -> f64 {
        one + other
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for Ratio {
    fn format_value(&self, value: f64) -> String {
        format!("{value:.3}×")
    }

    fn scale_values(&self, _: f64, _: &mut [f64]) -> &'static str {
        "×"
    }

    fn scale_throughputs(&self, _: f64, _: &Throughput, _: &mut [f64]) -> &'static str {
        "×"
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "×"
    }
}

/// Comparison of a ratio with a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The ratio is at the threshold or above.
    Met,
    /// The data does not decide.
    NotShown,
    /// The ratio is below the threshold.
    Below,
}

impl Verdict {
    /// Compares the confidence interval of a median with the threshold. If the load did not keep
    /// the reference server busy, that server could be faster and the ratio lower. Then the
    /// threshold is never met.
    pub fn of(median: Median, threshold: f64, yardstick_is_busy: bool) -> Verdict {
        if median.low >= threshold && yardstick_is_busy {
            Verdict::Met
        } else if median.high < threshold {
            Verdict::Below
        } else {
            Verdict::NotShown
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Verdict::Met => "met",
            Verdict::NotShown => "not shown",
            Verdict::Below => "below",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_inside_the_interval_is_neither_met_nor_missed() {
        let median = Median { value: 0.95, low: 0.9, high: 1.0 };
        let verdicts = [0.89, 0.9, 0.91, 1.0, 1.01].map(|at| Verdict::of(median, at, true));
        use Verdict::{Below, Met, NotShown};
        assert_eq!(verdicts, [Met, Met, NotShown, NotShown, Below]);
    }

    #[test]
    fn nothing_is_met_beside_an_idle_yardstick_but_below_is_below() {
        let median = Median { value: 0.95, low: 0.9, high: 1.0 };
        let verdicts = [0.5, 1.5].map(|at| Verdict::of(median, at, false));
        assert_eq!(verdicts, [Verdict::NotShown, Verdict::Below]);
    }
}
