//! Effective sample size of a run's requests.

/// Minimum number of batches for an estimate of the variance of their means.
pub const MIN_BATCHES: usize = 5;

/// Summary of the values of one interval of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batch {
    /// Number of values.
    pub count: u64,
    /// Mean of the values.
    pub mean: f64,
    /// Variance of the values.
    pub variance: f64,
}

/// Returns the effective sample size: the number of independent values that would give the mean
/// with the same precision as the values of these successive batches.
///
/// The values may be correlated. The result is at most the number of values; `None` if fewer than
/// [`MIN_BATCHES`] batches have values.
///
/// The method of batch means: n / max(1, VIF). The variance inflation factor VIF is the mean batch
/// size times the variance of the batch means, divided by the variance of all values. It is 1 for
/// independent values. Law, "Simulation Modeling and Analysis", 5th edition, section 9.5.3;
/// Alexopoulos and Seila, "Output data analysis" in Banks, "Handbook of Simulation", 1998.
///
/// Batches of different size are weighted by their size (the mean square between groups of an
/// analysis of variance). Each batch should be longer than the distance over which values are
/// correlated. With k batches the relative error of the VIF is about √(2 / (k - 1)).
///
/// The result is for the mean. For a quantile, let `p` be the share of a batch's values above the
/// quantile. Pass `p` as the mean of the batch, and `p (1 - p)` as its variance.
pub fn effective_sample_size(batches: &[Batch]) -> Option<f64> {
    let batches: Vec<&Batch> = batches.iter().filter(|batch| batch.count > 0).collect();
    if batches.len() < MIN_BATCHES {
        return None;
    }
    let sum = |of: &dyn Fn(&Batch) -> f64| -> f64 { batches.iter().map(|batch| of(batch)).sum() };
    let count = sum(&|batch| batch.count as f64);
    let mean = sum(&|batch| batch.count as f64 * batch.mean) / count;
    let between = sum(&|batch| batch.count as f64 * (batch.mean - mean).powi(2));
    let within = sum(&|batch| (batch.count - 1) as f64 * batch.variance);
    if between == 0.0 {
        return Some(count);
    }
    let inflation = between / (batches.len() - 1) as f64 / ((between + within) / (count - 1.0));
    Some(count / inflation.max(1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statrs::statistics::Statistics;

    use super::super::noise::Noise;
    use super::*;

    fn batch(values: &[f64]) -> Batch {
        Batch { count: values.len() as u64, mean: values.mean(), variance: values.variance() }
    }

    /// Returns the effective sample size of correlated values in batches of 500, as a share of the
    /// number of values.
    fn effective_share(seed: u64, correlation: f64, batches: usize) -> f64 {
        let values = Noise::seeded(seed).correlated(correlation, 500 * batches);
        let batches: Vec<Batch> = values.chunks(500).map(batch).collect();
        effective_sample_size(&batches).expect("enough batches") / values.len() as f64
    }

    #[test]
    fn the_effective_size_of_independent_values_is_near_their_count() {
        let share = effective_share(1, 0.0, 200);
        assert!((0.8..=1.0).contains(&share), "{share}");
    }

    #[test]
    fn the_effective_size_of_correlated_values_matches_theory() {
        // The variance of the mean is (1 + ρ) / (1 - ρ) times larger for AR(1) values than for
        // independent values.
        let share = effective_share(2, 0.8, 200);
        assert!((share - 0.2 / 1.8).abs() < 0.03, "{share}");
    }

    #[test]
    fn ten_intervals_estimate_the_effective_size_within_a_factor_of_four() {
        for seed in 0..20 {
            let ratio = effective_share(seed, 0.8, 10) / (0.2 / 1.8);
            assert!((1.0 / 3.0..4.0).contains(&ratio), "{seed}: {ratio}");
        }
    }

    #[test]
    fn four_intervals_are_too_few_and_empty_intervals_do_not_count() {
        let full = batch(&[1.0, 2.0, 4.0]);
        let empty = Batch { count: 0, mean: f64::NAN, variance: f64::NAN };
        assert_eq!(effective_sample_size(&[full, full, full, full, empty]), None);
        assert_eq!(effective_sample_size(&[full, full, empty, full, full, full]), Some(15.0));
    }

    #[test]
    fn an_interval_of_constant_values_counts_as_one_value() {
        let batches =
            [1.0, 5.0, 2.0, 4.0, 3.0, 7.0].map(|mean| Batch { count: 100, mean, variance: 0.0 });
        let effective = effective_sample_size(&batches).expect("enough batches");
        assert!((5.0..6.0).contains(&effective), "{effective}");
    }

    #[test]
    fn the_effective_size_is_at_most_the_count_even_if_the_means_are_nearly_equal() {
        let batches =
            [1.0, 1.001, 0.999, 1.0, 1.001].map(|mean| Batch { count: 100, mean, variance: 1.0 });
        assert_eq!(effective_sample_size(&batches), Some(500.0));
    }

    proptest! {
        #[test]
        fn the_effective_size_is_at_most_the_count_and_independent_of_the_unit(
            values in prop::collection::vec((1..1000u64, 1e-6..1.0, 0.0..1e-3), 5..30),
        ) {
            let batches = |unit: f64| -> Vec<Batch> {
                let batch = |&(count, mean, variance)| Batch {
                    count,
                    mean: mean * unit,
                    variance: variance * unit * unit,
                };
                values.iter().map(batch).collect()
            };
            let effective = effective_sample_size(&batches(1.0)).expect("enough batches");
            let count: u64 = values.iter().map(|value| value.0).sum();
            prop_assert!(effective > 0.0 && effective <= count as f64);
            let in_ns = effective_sample_size(&batches(1e9)).expect("enough batches");
            prop_assert!((in_ns / effective - 1.0).abs() < 1e-6);
        }
    }
}
