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

/// The median of a sample, and where that of all values is with 95 % confidence at least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    /// The sample's.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

impl Median {
    /// That of a sample; none if it has too few values for an interval. The ends are values of
    /// the sample (order statistics): nothing is supposed about how the values are distributed,
    /// but that they are independent.
    pub fn of(sample: &[f64]) -> Option<Median> {
        let mut sorted = sample.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        // How many values are below the median is binomial, near enough to normal; rounded so that
        // the interval is rather too wide. 0.98 is half of 1.96.
        let below = (count as f64 / 2.0 - 0.98 * (count as f64).sqrt()).floor();
        if below < 1.0 {
            return None;
        }
        let low = below as usize - 1;
        let value = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
        Some(Median { value, low: sorted[low], high: sorted[count - 1 - low] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_median_holds_it_in_95_of_100_samples_at_least() {
        for count in 1..=60usize {
            let sample: Vec<f64> = (1..=count).map(|value| value as f64).collect();
            let Some(median) = Median::of(&sample) else {
                assert!(count < 8, "{count} values are enough");
                continue;
            };
            assert_eq!(median.value, (count + 1) as f64 / 2.0);
            assert_eq!(median.low + median.high, (count + 1) as f64);
            // It fails to hold the median if fewer than `low` values are below it, or above it:
            // sums of binomial coefficients, each the one before times (count - k) / (k + 1).
            let mut coefficient = 1.0;
            let mut fewer = 0.0;
            for k in 0..median.low as usize {
                fewer += coefficient;
                coefficient *= (count - k) as f64 / (k + 1) as f64;
            }
            let missed = 2.0 * fewer / 2f64.powi(count as i32);
            assert!((0.001..0.05).contains(&missed), "{count} values: {missed}");
        }
    }

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
