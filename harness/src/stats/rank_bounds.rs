//! Bounds on the rank of a quantile in a sample.

/// 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.96;

/// Returns the largest n with P(X ≤ n) ≤ 2.5 %, where X is the number of values on one side of a
/// quantile. `None` if P(X = 0) > 2.5 %.
///
/// Each of `count` independent values is on that side with probability `part`. The result is exact
/// or one less than exact.
///
/// The number of values on that side has a binomial distribution. The function uses the normal
/// approximation, with corrections for continuity and for skewness (Cornish and Fisher, "Moments
/// and cumulants in the specification of distributions", 1938). The correction for skewness matters
/// for a `part` near 0 or 1. The exact incomplete beta function of `statrs` stops after 140 terms,
/// which are too few for the counts of a load run.
pub(super) fn tail_count(count: f64, part: f64) -> Option<f64> {
    let deviation = (count * part * (1.0 - part)).sqrt();
    let skewness = (1.0 - 2.0 * part) * (Z * Z - 1.0) / 6.0;
    let bound = (count * part - Z * deviation + skewness - 0.5).floor();
    (bound >= 0.0).then_some(bound)
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{Binomial, DiscreteCDF};

    use super::*;

    #[test]
    fn the_bound_is_the_exact_binomial_bound_or_one_less() {
        for part in [0.5, 0.1, 0.9, 0.01, 0.99, 0.001] {
            for count in [6, 10, 40, 100, 150, 400, 600, 1_000, 2_000, 5_000] {
                let binomial = Binomial::new(part, count).expect("a probability");
                let Some(bound) = tail_count(count as f64, part) else {
                    assert!(binomial.cdf(0) > 0.018, "{part} of {count}: a bound exists");
                    continue;
                };
                let probability = binomial.cdf(bound as u64);
                assert!(probability <= 0.025, "{bound} of {count} at {part}: {probability}");
                let next = binomial.cdf(bound as u64 + 2);
                assert!(next > 0.025, "{bound} of {count} at {part} is too small: {next}");
            }
        }
    }
}
