//! A ratio as something that Criterion measures, and what a threshold makes of it.

use std::fmt;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};
use harness::stats::Median;

/// How many times as fast. An iteration measures it itself: there is no clock to read before and
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

/// What a threshold makes of a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is at the threshold or above.
    Met,
    /// It may be either.
    NotShown,
    /// It is below.
    Below,
}

impl Verdict {
    /// That of a median, with the whole interval on one side of the threshold. A yardstick that
    /// the load did not keep busy could have been faster, and the ratio lower: then there is no
    /// saying that it is met.
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
