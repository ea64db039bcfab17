//! Median of a sample, with its confidence interval.

use super::rank_bounds::tail_count;

/// Median of a sample, with a confidence interval at a level of at least 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    /// Median of the sample.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Median {
    /// Computes the median; `None` if the sample has too few values for an interval.
    ///
    /// The ends of the interval are values of the sample (order statistics), so no distribution is
    /// assumed. The values must be independent.
    pub fn of(sample: &[f64]) -> Option<Median> {
        let mut sorted = sample.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let low = tail_count(count as f64, 0.5)? as usize;
        let value = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
        Some(Median { value, low: sorted[low], high: sorted[count - 1 - low] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_interval_covers_the_median_in_at_least_95_of_100_samples() {
        for count in 1..=60usize {
            let sample: Vec<f64> = (1..=count).map(|value| value as f64).collect();
            let Some(median) = Median::of(&sample) else {
                assert!(count < 8, "{count} values are enough");
                continue;
            };
            assert_eq!(median.value, (count + 1) as f64 / 2.0);
            assert_eq!(median.low + median.high, (count + 1) as f64);
            // The interval misses the true median if fewer than `median.low` sample values are on
            // one side of the true median. The probability is a sum of binomial coefficients.
            // C(count, k + 1) = C(count, k) * (count - k) / (k + 1).
            let mut coefficient = 1.0;
            let mut sum = 0.0;
            for k in 0..median.low as usize {
                sum += coefficient;
                coefficient *= (count - k) as f64 / (k + 1) as f64;
            }
            let missed = 2.0 * sum / 2f64.powi(count as i32);
            assert!((0.001..0.05).contains(&missed), "{count} values: {missed}");
        }
    }
}
