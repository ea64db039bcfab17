//! Figures from samples: pure functions, no clock and no socket.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Quantiles of a recorded time, in nanoseconds. Each is a value that was recorded, to three
/// significant digits, such that at least that part of all values is not above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// The median.
    pub p50: u64,
    /// 90 % are not above it.
    pub p90: u64,
    /// 99 % are not above it.
    pub p99: u64,
    /// 99.9 % are not above it.
    pub p999: u64,
    /// The largest.
    pub max: u64,
    /// How many values there were.
    pub count: u64,
}

impl Quantiles {
    /// Those of a histogram; all zero for an empty one.
    pub fn of(histogram: &Histogram<u64>) -> Quantiles {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
            count: histogram.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_thousand_are_what_counting_gives() {
        let mut histogram = Histogram::new(3).expect("three digits");
        (1..=1000u64).for_each(|value| histogram.record(value).expect("in range"));
        let quantiles = Quantiles::of(&histogram);
        let expected =
            Quantiles { p50: 500, p90: 900, p99: 990, p999: 999, max: 1000, count: 1000 };
        assert_eq!(quantiles, expected);
    }

    #[test]
    fn nothing_recorded_is_all_zero() {
        let histogram = Histogram::new(3).expect("three digits");
        assert_eq!(Quantiles::of(&histogram), Quantiles::default());
    }
}
