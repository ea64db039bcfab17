//! Stationarity of a run: whether a figure changed between the first and the second half.

use std::fmt;

use serde::Serialize;

/// Minimum number of intervals for a test. With eight intervals, all values of one half are above
/// all values of the other half by chance in 3 of 100 runs; with ten, in fewer than 1 of 100.
pub const MIN_INTERVALS: usize = 10;

/// Relative difference between the halves that is ignored, even if it is significant.
const MIN_CHANGE: f64 = 0.1;

/// 99.5 % quantile of the standard normal distribution, for a two-sided test at 1 %.
const Z: f64 = 2.576;

/// Change of a figure over the successive intervals of a run.
///
/// `change` is the relative difference of the mean of the second half to the mean of the first:
/// -0.2 is a decrease of 20 %.
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
    /// All values of one half are above all values of the other half.
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
    /// A change is reported if it is larger than 10 % and significant by one of two
    /// distribution-free tests. For independent figures, each test raises a false alarm in at most
    /// 1 of 100 cases.
    ///
    /// - The trend test of Mann (Econometrica 13, 1945) and Kendall ("Rank Correlation Methods",
    ///   1975): the normal approximation, corrected for ties and continuity.
    /// - A test whether all figures of one half are above all figures of the other half. It detects
    ///   an abrupt change in a short run better. It is the extreme case of a rank-sum test: 2 of
    ///   the 252 ways to split ten figures into halves raise a false alarm.
    pub fn of(figures: &[f64]) -> Stationarity {
        let intervals = figures.len();
        if intervals < MIN_INTERVALS {
            return Stationarity::TooShort { intervals };
        }
        let (first, second) = figures.split_at(intervals / 2);
        let change = mean(second) / mean(first) - 1.0;
        if change.abs() <= MIN_CHANGE {
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
            Stationarity::Stationary => return formatter.write_str("no significant change"),
            Stationarity::TooShort { intervals } => {
                return write!(formatter, "{intervals} intervals are too few to detect a change");
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

    /// Simulates series of ten intervals, and counts the series in which a change is reported. `at`
    /// gives the figure at a position from 0 to 1; `noise` is its coefficient of variation.
    fn count_alarms(series: u64, noise: f64, at: impl Fn(f64) -> f64) -> usize {
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
    fn noise_causes_false_alarms_in_at_most_two_of_a_hundred_runs() {
        let false_alarms = count_alarms(100, 0.15, |_| 50_000.0);
        assert!(false_alarms <= 2, "{false_alarms} of 100");
        let false_alarms = count_alarms(5_000, 0.15, |_| 50_000.0);
        assert!(false_alarms <= 100, "{false_alarms} of 5000");
    }

    #[test]
    fn a_step_in_the_middle_is_detected() {
        let seen = count_alarms(100, 0.03, |part| if part < 0.5 { 1.0 } else { 0.7 });
        assert!(seen >= 95, "{seen} of 100");
    }

    #[test]
    fn a_steady_decline_is_detected() {
        let seen = count_alarms(100, 0.03, |part| 1.0 - 0.4 * part);
        assert!(seen >= 95, "{seen} of 100");
    }

    #[test]
    fn a_change_below_ten_percent_is_ignored_even_if_significant() {
        assert_eq!(count_alarms(100, 0.001, |part| 1.0 + 0.15 * part), 0);
    }

    #[test]
    fn a_single_outlier_interval_is_not_a_change() {
        let mut figures = [100.0; 12];
        figures[9] = 5.0;
        assert_eq!(Stationarity::of(&figures), Stationarity::Stationary);
    }

    #[test]
    fn the_message_gives_the_kind_and_size_of_the_change() {
        let falling: Vec<f64> = (0..10).map(|interval| 100.0 - 5.0 * f64::from(interval)).collect();
        let trend = "a trend: the second half is 28 % below the first";
        assert_eq!(Stationarity::of(&falling).to_string(), trend);
        let step = [5.0, 4.0, 5.0, 4.0, 5.0, 7.0, 6.0, 7.0, 6.0, 7.0];
        let shift = "a shift: the second half is 43 % above the first";
        assert_eq!(Stationarity::of(&step).to_string(), shift);
        let short = "9 intervals are too few to detect a change";
        assert_eq!(Stationarity::of(&step[..9]).to_string(), short);
        assert_eq!(Stationarity::of(&[7.0; 10]).to_string(), "no significant change");
    }

    #[test]
    fn ties_do_not_hide_a_trend() {
        // 47 more pairs rise than fall: 2.94 standard deviations, or 2.52 without the correction
        // for ties.
        let figures = [1, 1, 1, 1, 1, 1, 2, 1, 2, 2, 2, 2, 2, 2].map(f64::from);
        assert!(matches!(Stationarity::of(&figures), Stationarity::Trend { .. }));
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_unit(
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
