//! Comparison of the ratio of two throughputs with a threshold.

use std::fmt;

use harness::stats::Median;

/// Comparison of a ratio with a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RatioVerdict {
    /// The ratio is at the threshold or above.
    Met,
    /// The data does not decide whether the ratio is at or below the threshold.
    NotShown,
    /// The ratio is below the threshold.
    Below,
}

impl RatioVerdict {
    /// Compares the confidence interval of a median with the threshold. If the load did not keep
    /// the reference server busy, the reference server could be faster, and the true ratio lower.
    /// So the threshold is then not met.
    pub fn of(median: Median, threshold: f64, reference_is_busy: bool) -> RatioVerdict {
        if median.low >= threshold && reference_is_busy {
            RatioVerdict::Met
        } else if median.high < threshold {
            RatioVerdict::Below
        } else {
            RatioVerdict::NotShown
        }
    }
}

impl fmt::Display for RatioVerdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            RatioVerdict::Met => "met",
            RatioVerdict::NotShown => "not shown",
            RatioVerdict::Below => "below",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_inside_the_interval_is_neither_met_nor_missed() {
        let median = Median { value: 0.95, low: 0.9, high: 1.0 };
        let verdicts = [0.89, 0.9, 0.91, 1.0, 1.01].map(|at| RatioVerdict::of(median, at, true));
        use RatioVerdict::{Below, Met, NotShown};
        assert_eq!(verdicts, [Met, Met, NotShown, NotShown, Below]);
    }

    #[test]
    fn an_idle_reference_server_allows_the_verdict_below_but_never_met() {
        let median = Median { value: 0.95, low: 0.9, high: 1.0 };
        let verdicts = [0.5, 1.5].map(|at| RatioVerdict::of(median, at, false));
        assert_eq!(verdicts, [RatioVerdict::NotShown, RatioVerdict::Below]);
    }
}
