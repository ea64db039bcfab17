//! Confidence interval of a mean.

use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::statistics::Statistics;

use super::Interval;

/// Minimum number of values for an interval. With two values, Student's t is 12.7.
pub const MIN_VALUES: usize = 3;

/// Returns the geometric mean of positive values, and its 95 % confidence interval by Student's t
/// on the logarithms: figures of runs differ by factors, not by amounts.
///
/// `None` with fewer than [`MIN_VALUES`] values, or if a value is not positive and finite.
pub fn geometric_mean(values: &[f64]) -> Option<(f64, Interval<f64>)> {
    let is_usable = |value: &f64| value.is_finite() && *value > 0.0;
    if values.len() < MIN_VALUES || !values.iter().all(is_usable) {
        return None;
    }
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let interval = mean_interval(&logs)?;
    let mean = (&logs).mean();
    Some((mean.exp(), Interval { low: interval.low.exp(), high: interval.high.exp() }))
}

/// Returns the 95 % confidence interval of the mean, by Student's t. `None` with fewer than
/// [`MIN_VALUES`] values, or if a value is not finite.
pub fn mean_interval(values: &[f64]) -> Option<Interval<f64>> {
    if values.len() < MIN_VALUES || !values.iter().all(|value| value.is_finite()) {
        return None;
    }
    let t = StudentsT::new(0.0, 1.0, (values.len() - 1) as f64).ok()?.inverse_cdf(0.975);
    let (mean, half) = (values.mean(), t * values.std_dev() / (values.len() as f64).sqrt());
    Some(Interval { low: mean - half, high: mean + half })
}

#[cfg(test)]
mod tests {
    use super::super::noise::Noise;
    use super::*;

    #[test]
    fn the_interval_matches_students_t() {
        // The logarithms are -1, 0 and 1: mean 0, standard error 1 / √3, t(2) = 4.303.
        let values = [(-1f64).exp(), 1.0, 1f64.exp()];
        let (mean, interval) = geometric_mean(&values).expect("three values");
        assert!((mean - 1.0).abs() < 1e-9);
        assert!((interval.high.ln() - 4.3027 / 3f64.sqrt()).abs() < 1e-3, "{interval:?}");
        assert!((interval.low * interval.high - 1.0).abs() < 1e-9);
    }

    #[test]
    fn too_few_or_unusable_values_have_no_interval() {
        for values in [&[][..], &[1.0, 2.0], &[1.0, 2.0, 0.0], &[1.0, f64::NAN, 2.0]] {
            assert_eq!(geometric_mean(values), None);
        }
    }

    #[test]
    fn the_interval_covers_the_mean_in_95_of_100_samples() {
        let mut noise = Noise::seeded(3);
        let covered = (0..1000)
            .filter(|_| {
                let values: Vec<f64> = (0..5)
                    .map(|_| ((0..12).map(|_| noise.uniform()).sum::<f64>() - 6.0).exp())
                    .collect();
                let (_, interval) = geometric_mean(&values).expect("five values");
                (interval.low..=interval.high).contains(&1.0)
            })
            .count();
        assert!((930..=970).contains(&covered), "{covered} of 1000");
    }
}
