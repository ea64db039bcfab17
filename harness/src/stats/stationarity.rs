//! Stationarity of a run: whether it changed from its start to its end.

use std::fmt;

use serde::Serialize;

/// Minimum number of intervals for a shift: halves of four are apart by chance in 3 of 100 cases.
pub const LEAST_INTERVALS: usize = 10;

/// Minimum relative difference between the halves to report, even if it is significant.
const LEAST_CHANGE: f64 = 0.1;

/// 99.5 % quantile of the standard normal distribution: 1 of 100 values is further from 0.
const Z: f64 = 2.576;

/// Change of a figure over the successive intervals of a run.
///
/// `change` is the relative difference between the means of the second and the first half: -0.2 is
/// a decrease of 20 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Stationarity {
    /// No significant change, or one of less than 10 %.
    Stationary,
    /// The figure rises or falls throughout.
    Trend {
        /// Relative difference between the halves.
        change: f64,
    },
    /// All values of one half are above all of the other.
    Shift {
        /// Relative difference between the halves.
        change: f64,
    },
    /// Too few intervals for a test.
    TooShort {
        /// Number of intervals.
        intervals: usize,
    },
}

impl Stationarity {
    /// Tests a series of figures, such as the throughput or the median latency of each interval.
    ///
    /// A change is reported if it is larger than 10 % and significant by either of two
    /// distribution-free tests. They raise a false alarm for independent figures in at most 1 of
    /// 100 cases.
    ///
    /// One is the trend test of Mann (Econometrica 13, 1945) and Kendall ("Rank Correlation
    /// Methods", 1975): the normal approximation, corrected for ties and continuity. The other
    /// checks whether all figures of one half are above all of the other. It detects an abrupt
    /// change in a short run sooner (a rank-sum test at its extreme: 2 of the 252 ways to halve
    /// ten).
    pub fn of(figures: &[f64]) -> Stationarity {
        let intervals = figures.len();
        if intervals < LEAST_INTERVALS {
            return Stationarity::TooShort { intervals };
        }
        let (first, second) = figures.split_at(intervals / 2);
        let change = mean(second) / mean(first) - 1.0;
        if change.abs() <= LEAST_CHANGE {
            Stationarity::Stationary
        } else if has_trend(figures) {
            Stationarity::Trend { change }
        } else if all_below(first, second) || all_below(second, first) {
            Stationarity::Shift { change }
        } else {
            Stationarity::Stationary
        }
    }
}

impl fmt::Display for Stationarity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how, change) = match self {
            Stationarity::Stationary => return formatter.write_str("no change is shown"),
            Stationarity::TooShort { intervals } => {
                return write!(formatter, "{intervals} intervals are too few to show a change");
            }
            Stationarity::Trend { change } => ("a trend", change),
            Stationarity::Shift { change } => ("a shift", change),
        };
        let side = if *change > 0.0 { "above" } else { "below" };
        let percent = change.abs() * 100.0;
        write!(formatter, "{how}: the second half is {percent:.0} % {side} the first")
    }
}

fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
}

fn all_below(low: &[f64], high: &[f64]) -> bool {
    low.iter().all(|low| high.iter().all(|high| low < high))
}

/// Applies the Mann-Kendall test, two-sided, at 1 %.
fn has_trend(figures: &[f64]) -> bool {
    let mut score = 0.0f64;
    for (at, earlier) in figures.iter().enumerate() {
        for later in &figures[at + 1..] {
            score += f64::from(i8::from(later > earlier) - i8::from(later < earlier));
        }
    }
    let variance = |count: usize| (count * (count - 1) * (2 * count + 5)) as f64 / 18.0;
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let tied: f64 = sorted.chunk_by(|a, b| a == b).map(|equal| variance(equal.len())).sum();
    score.abs() - 1.0 > Z * (variance(figures.len()) - tied).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::noise::Noise;
    use super::*;

    /// Counts the simulated series of ten intervals in which a change is reported. `at` gives the
    /// figure at a position from 0 to 1; `noise` is its coefficient of variation.
    fn alarms(series: u64, noise: f64, at: impl Fn(f64) -> f64) -> usize {
        (0..series)
            .filter(|&seed| {
                let mut random = Noise::seeded(seed);
                let figures: Vec<f64> = (0..10)
                    .map(|interval| at(f64::from(interval) / 9.0) * (1.0 + noise * random.normal()))
                    .collect();
                Stationarity::of(&figures) != Stationarity::Stationary
            })
            .count()
    }

    #[test]
    fn noise_is_called_a_change_in_two_of_a_hundred_runs_at_most() {
        let false_alarms = alarms(100, 0.15, |_| 50_000.0);
        assert!(false_alarms <= 2, "{false_alarms} of 100");
        let false_alarms = alarms(5_000, 0.15, |_| 50_000.0);
        assert!(false_alarms <= 100, "{false_alarms} of 5000");
    }

    #[test]
    fn a_step_in_the_middle_is_seen() {
        let seen = alarms(100, 0.03, |part| if part < 0.5 { 1.0 } else { 0.7 });
        assert!(seen >= 95, "{seen} of 100");
    }

    #[test]
    fn a_steady_fall_is_seen() {
        let seen = alarms(100, 0.03, |part| 1.0 - 0.4 * part);
        assert!(seen >= 95, "{seen} of 100");
    }

    #[test]
    fn a_change_below_a_tenth_is_none_however_sure() {
        assert_eq!(alarms(100, 0.001, |part| 1.0 + 0.15 * part), 0);
    }

    #[test]
    fn a_bad_interval_is_not_a_change() {
        let mut figures = [100.0; 12];
        figures[9] = 5.0;
        assert_eq!(Stationarity::of(&figures), Stationarity::Stationary);
    }

    #[test]
    fn the_words_say_what_changed_and_by_how_much() {
        let falling: Vec<f64> = (0..10).map(|interval| 100.0 - 5.0 * f64::from(interval)).collect();
        let trend = "a trend: the second half is 28 % below the first";
        assert_eq!(Stationarity::of(&falling).to_string(), trend);
        let step = [5.0, 4.0, 5.0, 4.0, 5.0, 7.0, 6.0, 7.0, 6.0, 7.0];
        let shift = "a shift: the second half is 43 % above the first";
        assert_eq!(Stationarity::of(&step).to_string(), shift);
        let short = "9 intervals are too few to show a change";
        assert_eq!(Stationarity::of(&step[..9]).to_string(), short);
        assert_eq!(Stationarity::of(&[7.0; 10]).to_string(), "no change is shown");
    }

    #[test]
    fn figures_that_are_equal_take_nothing_from_a_trend() {
        // 47 more pairs rise than fall: 2.94 standard deviations, or 2.52 without the correction
        // for ties.
        let figures = [1, 1, 1, 1, 1, 1, 2, 1, 2, 2, 2, 2, 2, 2].map(f64::from);
        assert!(matches!(Stationarity::of(&figures), Stationarity::Trend { .. }));
    }

    proptest! {
        #[test]
        fn the_unit_makes_no_difference(
            figures in prop::collection::vec(1.0..2.0, 10..30),
            exponent in -20..20i32,
        ) {
            // Powers of two avoid rounding.
            let unit = 2f64.powi(exponent);
            let scaled: Vec<f64> = figures.iter().map(|figure| figure * unit).collect();
            prop_assert_eq!(Stationarity::of(&scaled), Stationarity::of(&figures));
        }
    }
}
