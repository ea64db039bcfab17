//! Quantiles of a histogram, with their confidence intervals.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::rank_bounds::tail_count;

/// Minimum number of values expected above a quantile. With fewer, the quantile is hardly more
/// reliable than the largest value.
const MIN_BEYOND: f64 = 10.0;

/// Quantiles of a recorded time, in nanoseconds.
///
/// A quantile is the smallest recorded value, to three significant digits, such that at least this
/// share of all values is not larger. `None` if there are too few values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Quantiles {
    /// Median; needs 20 values or more.
    pub p50: Option<u64>,
    /// 90th percentile; needs 100 values or more.
    pub p90: Option<u64>,
    /// 99th percentile; needs 1,000 values or more.
    pub p99: Option<u64>,
    /// 99.9th percentile; needs 10,000 values or more.
    pub p999: Option<u64>,
    /// Maximum; needs one value or more.
    pub max: Option<u64>,
    /// Number of values.
    pub count: u64,
}

impl Quantiles {
    /// Returns the larger of each quantile, with the sum of the numbers of values.
    pub fn largest(&self, other: &Quantiles) -> Quantiles {
        Quantiles {
            p50: self.p50.max(other.p50),
            p90: self.p90.max(other.p90),
            p99: self.p99.max(other.p99),
            p999: self.p999.max(other.p999),
            max: self.max.max(other.max),
            count: self.count + other.count,
        }
    }

    /// Returns the quantiles of a histogram.
    pub fn of(histogram: &Histogram<u64>) -> Quantiles {
        let at = |quantile| {
            has_enough(histogram.len(), quantile).then(|| histogram.value_at_quantile(quantile))
        };
        Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: (!histogram.is_empty()).then(|| histogram.max()),
            count: histogram.len(),
        }
    }
}

/// Returns whether `count` values suffice for a quantile (0 to 1).
fn has_enough(count: u64, quantile: f64) -> bool {
    // Rounded, because 1 - 0.9 is not exactly 0.1.
    (count as f64 * (1.0 - quantile) * 1e6).round() >= MIN_BEYOND * 1e6
}

/// 95 % confidence interval of a figure, including both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Interval<T> {
    /// Lower end.
    pub low: T,
    /// Upper end.
    pub high: T,
}

/// Returns the confidence interval of a quantile (0 to 1), given a histogram and its effective
/// sample size ([`super::effective_sample_size`]).
///
/// The effective size is limited to the number of values. `None` if there are too few values above
/// or below the quantile. For the 99th percentile, about 390 independent values are enough.
///
/// The ends are recorded values (order statistics), so no distribution is assumed: David and
/// Nagaraja, "Order Statistics", 3rd edition, section 7.1. Each independent value represents a
/// group of (recorded values / independent values) neighbouring values. The interval ends at the
/// outermost value of such a group.
pub fn quantile_interval(
    histogram: &Histogram<u64>,
    quantile: f64,
    effective: f64,
) -> Option<Interval<u64>> {
    let count = histogram.len() as f64;
    let effective = effective.min(count).floor();
    let below = tail_count(effective, quantile)?;
    let above = tail_count(effective, 1.0 - quantile)?;
    let recorded = |values: f64| values * count / effective;
    // Half a rank lower, because the histogram rounds up.
    let at_rank = |rank: f64| histogram.value_at_quantile((rank - 0.5) / count);
    let low = at_rank(recorded(below).floor() + 1.0);
    let high = at_rank(recorded(effective - above).ceil());
    Some(Interval { low, high })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::noise::Noise;
    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).expect("three digits");
        values.into_iter().for_each(|value| histogram.record(value).expect("in range"));
        histogram
    }

    #[test]
    fn quantiles_of_a_thousand_values_match_their_ranks() {
        let quantiles = Quantiles::of(&histogram(1..=1000));
        let expected = Quantiles {
            p50: Some(500),
            p90: Some(900),
            p99: Some(990),
            p999: None,
            max: Some(1000),
            count: 1000,
        };
        assert_eq!(quantiles, expected);
    }

    #[test]
    fn a_quantile_needs_ten_values_beyond_it() {
        let known = |count: u64| {
            let Quantiles { p50, p90, p99, p999, max, .. } =
                Quantiles::of(&histogram((0..count).map(|_| 7)));
            [p50, p90, p99, p999, max].map(|it| it.is_some())
        };
        for (count, expected) in [
            (0, [false, false, false, false, false]),
            (1, [false, false, false, false, true]),
            (19, [false, false, false, false, true]),
            (20, [true, false, false, false, true]),
            (99, [true, false, false, false, true]),
            (100, [true, true, false, false, true]),
            (999, [true, true, false, false, true]),
            (1_000, [true, true, true, false, true]),
            (9_999, [true, true, true, false, true]),
            (10_000, [true, true, true, true, true]),
        ] {
            assert_eq!(known(count), expected, "of {count}");
        }
    }

    #[test]
    fn an_empty_histogram_has_no_quantiles_and_no_interval() {
        let empty = histogram([]);
        assert_eq!(Quantiles::of(&empty), Quantiles::default());
        assert_eq!(quantile_interval(&empty, 0.5, 1000.0), None);
    }

    #[test]
    fn the_bounds_of_a_quantile_interval_are_order_statistics() {
        let thousand = histogram(1..=1000);
        // By the binomial distribution, each of these has a probability of at most 2.5 %: at most
        // 468 of 1000 values below the median, at most 3 above the 99th percentile, 18 or more
        // above the 99th percentile.
        let interval = |quantile| quantile_interval(&thousand, quantile, 1e9);
        assert_eq!(interval(0.5), Some(Interval { low: 469, high: 532 }));
        assert_eq!(interval(0.99), Some(Interval { low: 983, high: 997 }));
        assert_eq!(interval(0.999), None, "one value above the quantile is too few");
    }

    #[test]
    fn a_lower_effective_sample_size_widens_or_removes_the_interval() {
        let thousand = histogram(1..=1000);
        let interval = |effective| quantile_interval(&thousand, 0.9, effective);
        assert_eq!(interval(100.0), Some(Interval { low: 831, high: 970 }));
        assert_eq!(interval(20.0), None);
        assert_eq!(
            interval(f64::NAN),
            interval(1000.0),
            "an unknown effective size is the number of values"
        );
    }

    #[test]
    fn the_interval_of_the_99th_percentile_covers_it_in_95_of_100_samples() {
        let mut noise = Noise::seeded(1);
        let covered = (0..1000)
            .filter(|_| {
                let drawn = histogram((0..1000).map(|_| (noise.uniform() * 2000.0) as u64));
                let interval = quantile_interval(&drawn, 0.99, 1000.0).expect("enough values");
                (interval.low..=interval.high).contains(&1980)
            })
            .count();
        assert!((930..=985).contains(&covered), "{covered} of 1000");
    }

    proptest! {
        #[test]
        fn an_interval_contains_its_quantile_and_exists_for_larger_effective_sizes(
            values in prop::collection::vec(0..1_000_000_000u64, 1..500),
            quantile in 0.01..0.99,
            effective in 1.0..500.0,
        ) {
            let histogram = histogram(values);
            if let Some(few) = quantile_interval(&histogram, quantile, effective) {
                let value = histogram.value_at_quantile(quantile);
                prop_assert!(few.low <= value && value <= few.high);
                prop_assert!(quantile_interval(&histogram, quantile, f64::MAX).is_some());
            }
        }
    }
}
