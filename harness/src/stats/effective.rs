//! Effective sample size of a run's requests.

/// Minimum number of batches: fewer do not show how their means vary.
pub const LEAST_BATCHES: usize = 5;

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

/// Returns the number of independent values with the same information about the mean as the values
/// of these successive batches.
///
/// The values may be correlated. The result is at most their number; `None` if fewer than
/// [`LEAST_BATCHES`] batches have any value.
///
/// The method of batch means: n / max(1, VIF). The variance inflation factor VIF is the mean batch
/// size times the variance of the batch means, divided by the variance of all values. It is 1 for
/// independent values. Law, "Simulation Modeling and Analysis", 5th edition, section 9.5.3;
/// Alexopoulos and Seila, "Output data analysis" in Banks, "Handbook of Simulation", 1998.
///
/// Batches of different size are weighted by their size (the mean square between groups of an
/// analysis of variance). Each batch should be longer than the correlation between its values
/// lasts. With k batches the relative error of the factor is about √(2 / (k - 1)).
///
/// The result is for the mean. For a quantile, let `p` be the share of a batch's values above the
/// quantile. Pass `p` as the mean of the batch, and `p (1 - p)` as its variance.
pub fn effective_sample_size(batches: &[Batch]) -> Option<f64> {
    let batches: Vec<&Batch> = batches.iter().filter(|batch| batch.count > 0).collect();
    if batches.len() < LEAST_BATCHES {
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

    /// Returns the effective share of the values in this many batches of 500. Each value is
    /// correlated with the one before.
    fn worth(seed: u64, correlation: f64, batches: usize) -> f64 {
        let values = Noise::seeded(seed).correlated(correlation, 500 * batches);
        let batches: Vec<Batch> = values.chunks(500).map(batch).collect();
        effective_sample_size(&batches).expect("enough batches") / values.len() as f64
    }

    #[test]
    fn independent_values_are_worth_nearly_all() {
        let worth = worth(1, 0.0, 200);
        assert!((0.8..=1.0).contains(&worth), "{worth}");
    }

    #[test]
    fn correlated_values_are_worth_what_theory_says() {
        // The mean of AR(1) values has (1 + ρ) / (1 - ρ) times the variance of that of independent
        // values.
        let worth = worth(2, 0.8, 200);
        assert!((worth - 0.2 / 1.8).abs() < 0.03, "{worth}");
    }

    #[test]
    fn ten_intervals_tell_the_size_to_a_factor_of_three() {
        for seed in 0..20 {
            let worth = worth(seed, 0.8, 10) / (0.2 / 1.8);
            assert!((1.0 / 3.0..4.0).contains(&worth), "{seed}: {worth}");
        }
    }

    #[test]
    fn four_intervals_say_nothing_nor_do_empty_ones() {
        let one = batch(&[1.0, 2.0, 4.0]);
        let empty = Batch { count: 0, mean: f64::NAN, variance: f64::NAN };
        assert_eq!(effective_sample_size(&[one, one, one, one, empty]), None);
        assert_eq!(effective_sample_size(&[one, one, empty, one, one, one]), Some(15.0));
    }

    #[test]
    fn values_that_change_only_from_one_interval_to_the_next_are_worth_one_each() {
        let batches =
            [1.0, 5.0, 2.0, 4.0, 3.0, 7.0].map(|mean| Batch { count: 100, mean, variance: 0.0 });
        let effective = effective_sample_size(&batches).expect("enough batches");
        assert!((5.0..6.0).contains(&effective), "{effective}");
    }

    #[test]
    fn intervals_that_are_more_alike_than_chance_are_worth_no_more_than_their_values() {
        let batches =
            [1.0, 1.001, 0.999, 1.0, 1.001].map(|mean| Batch { count: 100, mean, variance: 1.0 });
        assert_eq!(effective_sample_size(&batches), Some(500.0));
    }

    proptest! {
        #[test]
        fn a_run_is_worth_no_more_than_its_values_and_the_unit_makes_no_difference(
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
