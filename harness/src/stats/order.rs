//! Bounds on the rank of a quantile in a sample.

/// 97.5 % quantile of the standard normal distribution: 2.5 % of it are above.
const Z: f64 = 1.96;

/// Returns the largest n for which the probability of n or fewer values on one side of a quantile
/// is at most 2.5 %.
///
/// Each of `count` independent values is on that side with probability `part`. The result is at
/// most one less than the exact number. `None` if even no value on that side is more probable.
///
/// The number is binomial. This is the normal approximation with the corrections for continuity and
/// for skewness (Cornish and Fisher, "Moments and cumulants in the specification of distributions",
/// 1938). The latter matters at the edges. The incomplete beta function of `statrs` would be exact,
/// but not for the numbers of a load run: it gives up after 140 terms.
pub(super) fn too_few(count: f64, part: f64) -> Option<f64> {
    let deviation = (count * part * (1.0 - part)).sqrt();
    let skewness = (1.0 - 2.0 * part) * (Z * Z - 1.0) / 6.0;
    let too_few = (count * part - Z * deviation + skewness - 0.5).floor();
    (too_few >= 0.0).then_some(too_few)
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{Binomial, DiscreteCDF};

    use super::*;

    #[test]
    fn so_few_are_as_rare_as_the_binomial_distribution_says_and_two_more_are_not() {
        for part in [0.5, 0.1, 0.9, 0.01, 0.99, 0.001] {
            for count in [6, 10, 40, 100, 150, 400, 600, 1_000, 2_000, 5_000] {
                let binomial = Binomial::new(part, count).expect("a probability");
                let Some(few) = too_few(count as f64, part) else {
                    assert!(binomial.cdf(0) > 0.018, "{part} of {count}: none would be rare");
                    continue;
                };
                let chance = binomial.cdf(few as u64);
                assert!(chance <= 0.025, "{few} of {count} at {part}: {chance}");
                let next = binomial.cdf(few as u64 + 2);
                assert!(next > 0.025, "{few} of {count} at {part} is too careful: {next}");
            }
        }
    }
}
