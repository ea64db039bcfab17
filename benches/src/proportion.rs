//! A proportion with its confidence interval.

use std::fmt;

/// 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_964;

/// Frequency of an event in independent trials, with the 95 % confidence interval of its
/// probability (Wilson, "Probable inference, the law of succession, and statistical inference",
/// 1927).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proportion {
    /// Number of occurrences.
    pub count: u64,
    /// Number of trials.
    pub trials: u64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Proportion {
    /// Computes the proportion and its interval. Without trials, the interval is 0 to 1.
    pub fn of(count: u64, trials: u64) -> Proportion {
        if trials == 0 {
            return Proportion { count, trials, low: 0.0, high: 1.0 };
        }
        let (n, part) = (trials as f64, count as f64 / trials as f64);
        let middle = part + Z * Z / (2.0 * n);
        let reach = Z * (part * (1.0 - part) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        let [low, high] = [middle - reach, middle + reach].map(|end| (end / scale).clamp(0.0, 1.0));
        Proportion { count, trials, low, high }
    }
}

impl fmt::Display for Proportion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Proportion { count, trials, low, high } = self;
        write!(
            formatter,
            "{count} of {trials} (95 % confidence {:.1} % to {:.1} %)",
            100.0 * low,
            100.0 * high
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_wilson_score_interval() {
        // Agresti and Coull, "Approximate is better than exact", 1998, and by hand: for 0 of n the
        // upper end is Z² / (n + Z²).
        for (count, trials, low, high) in [
            (0, 100, 0.0, 0.0370),
            (5, 100, 0.0215, 0.1118),
            (50, 100, 0.4038, 0.5962),
            (100, 100, 0.9630, 1.0),
            (1, 1, 0.2065, 1.0),
            (0, 0, 0.0, 1.0),
        ] {
            let found = Proportion::of(count, trials);
            assert!(
                (found.low - low).abs() < 1e-4 && (found.high - high).abs() < 1e-4,
                "{found:?}"
            );
        }
        let words = "5 of 100 (95 % confidence 2.2 % to 11.2 %)";
        assert_eq!(Proportion::of(5, 100).to_string(), words);
    }
}
