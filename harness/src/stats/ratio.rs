//! Ratio of the means of two independent samples, and the correction for many comparisons.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::statistics::Statistics;

use super::comparison::{Comparison, ComparisonVerdict};

/// Minimum number of values in each sample. With fewer, the standard deviation is too uncertain.
pub const MIN_SAMPLES: usize = 5;

/// Probability at which a difference is significant.
pub const SIGNIFICANCE: f64 = 0.05;

/// Ratio of two geometric means, with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MeanRatio {
    /// Geometric mean of the first sample, divided by that of the second.
    pub ratio: f64,
    /// Lower end of the 95 % confidence interval.
    pub low: f64,
    /// Upper end of the 95 % confidence interval.
    pub high: f64,
    /// Probability of a difference at least as large, if the means are equal (two-sided p-value).
    /// It is not corrected for the number of comparisons: see [`holm`].
    pub p: f64,
}

/// Reason why two samples have no [`MeanRatio`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum NoRatio {
    /// A sample is too small.
    #[error("fewer than {MIN_SAMPLES} runs with a value")]
    TooFew,
    /// A value is not positive and finite, so it has no logarithm.
    #[error("a value is zero")]
    NotPositive,
}

impl MeanRatio {
    /// Compares the geometric means of two independent samples by Welch's t test on the logarithms
    /// (B. L. Welch, "The generalization of Student's problem when several different population
    /// variances are involved", Biometrika 34, 1947). The variances may differ. Logarithms, because
    /// figures of runs differ by factors, not by amounts.
    ///
    /// # Errors
    /// A sample has fewer than [`MIN_SAMPLES`] values, or a value that is not positive.
    pub fn of(first: &[f64], second: &[f64]) -> Result<MeanRatio, NoRatio> {
        let samples = [first, second];
        if samples.iter().any(|sample| sample.len() < MIN_SAMPLES) {
            return Err(NoRatio::TooFew);
        }
        if samples.into_iter().flatten().any(|value| !value.is_finite() || *value <= 0.0) {
            return Err(NoRatio::NotPositive);
        }
        let logs =
            samples.map(|sample| sample.iter().map(|value| value.ln()).collect::<Vec<f64>>());
        // Exactly equal samples must have a ratio of exactly 1, also after rounding of the means.
        let [one, other] = logs.each_ref().map(|logs| logs.mean());
        let difference = if is_permutation(&logs) { 0.0 } else { one - other };
        // Squared standard errors of the two means.
        let [one, other] = logs.each_ref().map(|logs| logs.variance() / logs.len() as f64);
        let error = (one + other).sqrt();
        let at = |distance: f64| (difference + distance).exp();
        // Equal values can have a variance of some 1e-32, due to rounding.
        if error < f64::EPSILON {
            let p = if difference.abs() < 1e-12 { 1.0 } else { 0.0 };
            return Ok(MeanRatio { ratio: at(0.0), low: at(0.0), high: at(0.0), p });
        }
        // Welch-Satterthwaite equation.
        let degrees = |square: f64, count: usize| square * square / (count - 1) as f64;
        let degrees =
            (one + other).powi(2) / (degrees(one, first.len()) + degrees(other, second.len()));
        let student = StudentsT::new(0.0, 1.0, degrees).expect("positive degrees of freedom");
        let reach = student.inverse_cdf(1.0 - SIGNIFICANCE / 2.0) * error;
        let p = (2.0 * student.sf(difference.abs() / error)).min(1.0);
        Ok(MeanRatio { ratio: at(0.0), low: at(-reach), high: at(reach), p })
    }

    /// Classifies the ratio of a figure for which higher is better, by the rules of
    /// [`Comparison::verdict`]. A difference counts only if it is significant after the correction
    /// for the number of comparisons: `adjusted_p` is the result of [`holm`]. Without significance,
    /// an interval inside the margin is `equal`, and a wider one inconclusive.
    pub fn verdict(&self, margin: f64, adjusted_p: f64) -> ComparisonVerdict {
        let interval = self.interval();
        match interval.verdict(margin) {
            ComparisonVerdict::Faster | ComparisonVerdict::Slower if adjusted_p >= SIGNIFICANCE => {
                match interval.is_within(margin) {
                    true => ComparisonVerdict::Equal,
                    false => ComparisonVerdict::Inconclusive,
                }
            }
            verdict => verdict,
        }
    }

    /// Formats ratio, lower end and upper end as [`Comparison::figures`].
    pub fn figures(&self) -> [String; 3] {
        self.interval().figures()
    }

    /// Inverts the ratio of a figure for which lower is better, so that higher is better.
    pub fn inverse(&self) -> MeanRatio {
        let MeanRatio { ratio, low, high, p } = *self;
        MeanRatio { ratio: 1.0 / ratio, low: 1.0 / high, high: 1.0 / low, p }
    }

    fn interval(&self) -> Comparison {
        let MeanRatio { ratio, low, high, .. } = *self;
        Comparison { ratio, low, high, launches: 0, pairs: 0 }
    }
}

/// Returns whether both lists have the same values, in any order.
fn is_permutation(lists: &[Vec<f64>; 2]) -> bool {
    let [one, other] = lists.each_ref().map(|list| {
        let mut sorted = list.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    });
    one == other
}

/// Adjusts p-values of many comparisons by Holm's method (S. Holm, "A simple sequentially rejective
/// multiple test procedure", Scandinavian Journal of Statistics 6, 1979).
///
/// If no comparison has a difference, the probability that any adjusted value is below 0.05 is at
/// most 5 %, however many comparisons there are, and however they depend on each other. The method
/// of Benjamini and Hochberg would find more differences, but it bounds only the share of false
/// ones, and assumes a kind of independence: throughput, latency and CPU time of one run are
/// not independent.
pub fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&one, &other| values[one].total_cmp(&values[other]));
    let mut adjusted = vec![1.0; values.len()];
    let mut largest: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        let factor = (values.len() - rank) as f64;
        largest = largest.max((factor * values[index]).min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::noise::Noise;
    use super::*;

    /// Returns a sample with this geometric mean and 3 % of noise.
    fn sample(noise: &mut Noise, mean: f64, count: usize) -> Vec<f64> {
        (0..count).map(|_| mean * (0.03 * noise.normal()).exp()).collect()
    }

    #[test]
    fn the_interval_and_the_p_value_match_welchs_test() {
        // The logarithms are 1 to 5 and 2, 4 … 12: variances 2.5 and 14, standard error
        // √(2.5 / 5 + 14 / 6) = 1.6833, t = -4 / 1.6833 = -2.376 with 6.972 degrees of freedom.
        // Student's t for 95 % is 2.367, so the interval is -4 ± 3.984.
        let exp = |logs: &[f64]| logs.iter().map(|log| log.exp()).collect::<Vec<f64>>();
        let found = MeanRatio::of(&exp(&[1., 2., 3., 4., 5.]), &exp(&[2., 4., 6., 8., 10., 12.]));
        let found = found.expect("enough values");
        assert!((found.ratio.ln() + 4.0).abs() < 1e-9);
        assert!((found.p - 0.0493).abs() < 0.0005, "{found:?}");
        assert!((found.high.ln() + 0.016).abs() < 0.003, "{}", found.high.ln());
        assert!((found.low.ln() + found.high.ln() + 8.0).abs() < 1e-9);
    }

    #[test]
    fn equal_samples_have_a_ratio_of_1_and_constant_ones_no_uncertainty() {
        let values = [3.3, 1.7, 2.9, 5.1, 4.3];
        let mut reversed = values;
        reversed.reverse();
        let same = MeanRatio::of(&values, &reversed).expect("enough values");
        assert_eq!((same.ratio, same.p), (1.0, 1.0));
        assert!(same.low < 1.0 && same.high > 1.0);
        let constant = MeanRatio::of(&[1234.0; 5], &[1234.0; 6]).expect("enough values");
        assert_eq!((constant.ratio, constant.low, constant.high, constant.p), (1.0, 1.0, 1.0, 1.0));
        let doubled = MeanRatio::of(&[2000.0; 5], &[1000.0; 5]).expect("enough values");
        assert!((doubled.ratio - 2.0).abs() < 1e-9 && doubled.p == 0.0);
    }

    #[test]
    fn fewer_than_five_or_unusable_values_have_no_ratio() {
        assert_eq!(MeanRatio::of(&[1.0; 4], &[1.0; 9]), Err(NoRatio::TooFew));
        assert_eq!(MeanRatio::of(&[1.0; 9], &[1.0; 4]), Err(NoRatio::TooFew));
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let values = [1.0, 1.0, value, 1.0, 1.0];
            assert_eq!(MeanRatio::of(&values, &[1.0; 5]), Err(NoRatio::NotPositive), "{value}");
        }
    }

    #[test]
    fn the_interval_contains_the_ratio_in_95_of_100_simulated_comparisons() {
        let mut noise = Noise::seeded(11);
        let covered = (0..1000)
            .filter(|_| {
                let samples = [sample(&mut noise, 0.9, 5), sample(&mut noise, 1.0, 8)];
                let found = MeanRatio::of(&samples[0], &samples[1]).expect("enough values");
                (found.low..=found.high).contains(&0.9)
            })
            .count();
        assert!((930..=975).contains(&covered), "{covered} of 1000");
    }

    #[test]
    fn comparing_two_sets_of_runs_of_one_build_seldom_reports_a_difference() {
        // 100 comparisons of reports, each with 60 figures.
        let mut noise = Noise::seeded(5);
        let (mut families, mut uncorrected) = (0, 0);
        for _ in 0..100 {
            let ratios: Vec<MeanRatio> = (0..60)
                .map(|_| {
                    let [old, new] = [(); 2].map(|()| sample(&mut noise, 1000.0, 5));
                    MeanRatio::of(&new, &old).expect("enough values")
                })
                .collect();
            let adjusted = holm(&ratios.iter().map(|it| it.p).collect::<Vec<f64>>());
            let differs = |(ratio, p): (&MeanRatio, f64)| {
                let verdict = ratio.verdict(0.05, p);
                matches!(verdict, ComparisonVerdict::Faster | ComparisonVerdict::Slower)
            };
            families += usize::from(ratios.iter().zip(adjusted).any(differs));
            uncorrected += usize::from(ratios.iter().any(|it| differs((it, it.p))));
        }
        assert!(families <= 12, "{families} of 100 comparisons report a difference");
        assert!(uncorrected >= 80, "{uncorrected}: without the correction, most report one");
    }

    #[test]
    fn a_large_difference_is_found_among_many_comparisons() {
        let mut noise = Noise::seeded(7);
        let old = sample(&mut noise, 1000.0, 10);
        let new = sample(&mut noise, 800.0, 10);
        let ratio = MeanRatio::of(&new, &old).expect("enough values");
        let mut values = vec![0.5; 200];
        values.push(ratio.p);
        let adjusted = holm(&values)[200];
        assert_eq!(ratio.verdict(0.05, adjusted), ComparisonVerdict::Slower);
        assert_eq!(ratio.inverse().verdict(0.05, adjusted), ComparisonVerdict::Faster);
    }

    #[test]
    fn a_difference_without_significance_is_equal_inside_the_margin_and_else_inconclusive() {
        for (low, high, adjusted_p, verdict) in [
            (1.01, 1.03, 0.01, ComparisonVerdict::Faster),
            (1.01, 1.03, 0.06, ComparisonVerdict::Equal),
            (1.01, 1.30, 0.06, ComparisonVerdict::Inconclusive),
            (0.70, 0.99, 0.06, ComparisonVerdict::Inconclusive),
            (0.70, 0.99, 0.01, ComparisonVerdict::Slower),
            (0.97, 1.03, 1.00, ComparisonVerdict::Equal),
            (0.90, 1.03, 1.00, ComparisonVerdict::Inconclusive),
        ] {
            let ratio = MeanRatio { ratio: f64::sqrt(low * high), low, high, p: 0.01 };
            assert_eq!(ratio.verdict(0.05, adjusted_p), verdict, "{low} to {high}, {adjusted_p}");
        }
    }

    #[test]
    fn holms_adjustment_matches_its_definition() {
        // R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(holm(&[]), Vec::<f64>::new());
    }

    proptest! {
        #[test]
        fn swapping_the_samples_gives_the_inverse(
            one in prop::collection::vec(0.1..10.0f64, 5..9),
            other in prop::collection::vec(0.1..10.0f64, 5..9),
        ) {
            let forth = MeanRatio::of(&one, &other).expect("enough values").inverse();
            let back = MeanRatio::of(&other, &one).expect("enough values");
            for (a, b) in [(forth.ratio, back.ratio), (forth.low, back.low), (forth.p, back.p)] {
                prop_assert!((a / b - 1.0).abs() < 1e-6, "{} and {}", a, b);
            }
        }
    }
}
