//! Statistical comparison of two servers' throughputs.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::statistics::Statistics;

/// Ratio of two servers' throughputs, estimated from pairs of slices in several launches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Ratio of the throughputs: a geometric mean in which every launch has the same weight.
    pub ratio: f64,
    /// Lower end of the 95 % confidence interval.
    pub low: f64,
    /// Upper end of the 95 % confidence interval.
    pub high: f64,
    /// Number of launches used.
    pub launches: usize,
    /// Number of pairs of slices, in all launches used.
    pub pairs: usize,
}

/// Minimum number of launches for an interval. Student's t is 12.7 for two launches and 3.2 for
/// four. With fewer than four launches, an interval is so wide that it decides nothing.
pub const MIN_LAUNCHES: usize = 4;

/// Minimum number of pairs of slices in a launch: the interquartile mean drops the lowest and the
/// highest quarter of the pairs.
pub const MIN_PAIRS: usize = 4;

/// Reason why a comparison has no confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoInterval {
    /// Too few launches have enough pairs.
    #[error(
        "{enough} of {launches} launches have at least {MIN_PAIRS} pairs of slices; a confidence \
         interval needs {MIN_LAUNCHES} such launches"
    )]
    TooFew {
        /// Number of launches with enough pairs.
        enough: usize,
        /// Number of all launches.
        launches: usize,
    },
    /// The ratios of a launch have no finite mean.
    #[error("a ratio is zero or not finite: one server answered no request in many slices")]
    NotFinite,
}

/// Classification of the throughput of the first server, relative to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComparisonVerdict {
    /// The whole interval is above 1.
    Faster,
    /// The whole interval is below 1.
    Slower,
    /// The interval contains 1, and the whole interval is inside the margin.
    Equal,
    /// The interval contains 1 and exceeds the margin, or there is no interval.
    Inconclusive,
}

impl ComparisonVerdict {
    /// Returns the word used in reports.
    pub fn description(self) -> &'static str {
        match self {
            ComparisonVerdict::Faster => "faster",
            ComparisonVerdict::Slower => "slower",
            ComparisonVerdict::Equal => "equal",
            ComparisonVerdict::Inconclusive => "inconclusive",
        }
    }
}

impl Comparison {
    /// Compares two servers by the ratios of each launch's pairs: the throughput of the first
    /// server divided by the throughput of the second.
    ///
    /// The ratios are positive. Launches with fewer than [`MIN_PAIRS`] pairs are left out.
    ///
    /// The pairs of one launch are correlated, so each launch contributes one value: the
    /// interquartile mean of the logarithms of its ratios. This mean is robust against slices that
    /// other processes disturb (Rosenberger and Gasko in Hoaglin, Mosteller and Tukey,
    /// "Understanding Robust and Exploratory Data Analysis", 1983).
    ///
    /// Launches are independent. The confidence interval of their mean uses Student's t with
    /// (launches - 1) degrees of freedom. Because each launch contributes one mean (batch means, as
    /// in [`super::effective_sample_size`]), the interval also covers the variation within a
    /// launch, and assumes no distribution of that variation.
    ///
    /// # Errors
    /// There are too few launches or pairs, or a launch has no finite mean (one server answered
    /// nothing).
    pub fn of(launches: &[Vec<f64>]) -> Result<Comparison, NoInterval> {
        let counted: Vec<&Vec<f64>> =
            launches.iter().filter(|pairs| pairs.len() >= MIN_PAIRS).collect();
        let count = counted.len();
        if count < MIN_LAUNCHES {
            return Err(NoInterval::TooFew { enough: count, launches: launches.len() });
        }
        let logs: Vec<f64> = counted.iter().map(|pairs| mean_log(pairs)).collect();
        if logs.iter().any(|log| !log.is_finite()) {
            return Err(NoInterval::NotFinite);
        }
        let student = StudentsT::new(0.0, 1.0, (count - 1) as f64).expect("a degree of freedom");
        let error = (&logs).std_dev() / (count as f64).sqrt();
        let reach = student.inverse_cdf(0.975) * error;
        let mean = (&logs).mean();
        Ok(Comparison {
            ratio: mean.exp(),
            low: (mean - reach).exp(),
            high: (mean + reach).exp(),
            launches: count,
            pairs: counted.iter().map(|pairs| pairs.len()).sum(),
        })
    }

    /// Classifies the interval. A margin of 0.05 extends from 1 / 1.05 to 1.05, so that swapping
    /// the servers gives the opposite verdict.
    pub fn verdict(&self, margin: f64) -> ComparisonVerdict {
        if self.low > 1.0 {
            ComparisonVerdict::Faster
        } else if self.high < 1.0 {
            ComparisonVerdict::Slower
        } else if self.is_within(margin) {
            ComparisonVerdict::Equal
        } else {
            ComparisonVerdict::Inconclusive
        }
    }

    /// Returns whether the whole interval is inside the margin.
    pub fn is_within(&self, margin: f64) -> bool {
        self.is_not_below(margin) && self.high <= 1.0 + margin
    }

    /// Returns whether the whole interval is above the lower end of the margin (non-inferiority).
    /// If so, the first server is at most as much slower as the margin permits.
    pub fn is_not_below(&self, margin: f64) -> bool {
        self.low >= 1.0 / (1.0 + margin)
    }

    /// Returns the half-width of the interval, relative to the ratio.
    pub fn half_width(&self) -> f64 {
        (self.high / self.low).sqrt() - 1.0
    }

    /// Formats the ratio, the lower end and the upper end, with no more digits than the interval
    /// supports.
    ///
    /// Uses the most decimals, from 2 to 4, whose unit is at least a tenth of the half-width.
    /// Rounds the ends outward. Adds decimals, up to 6, while the rounded interval contains 1 and
    /// the exact interval does not.
    pub fn figures(&self) -> [String; 3] {
        let half_width = (self.high - self.low) / 2.0;
        let supported = -(half_width / 10.0).log10();
        let min_decimals =
            if supported.is_finite() { supported.floor().clamp(2.0, 4.0) as usize } else { 4 };
        let rounded = |decimals: usize| {
            let unit = 10f64.powi(decimals as i32);
            ((self.low * unit).floor() / unit, (self.high * unit).ceil() / unit)
        };
        let agrees = |decimals: &usize| {
            let (low, high) = rounded(*decimals);
            (low > 1.0, high < 1.0) == (self.low > 1.0, self.high < 1.0)
        };
        let decimals = (min_decimals..MAX_DECIMALS).find(agrees).unwrap_or(MAX_DECIMALS);
        let (low, high) = rounded(decimals);
        [self.ratio, low, high].map(|figure| format!("{figure:.decimals$}"))
    }
}

/// Maximum number of printed decimals.
const MAX_DECIMALS: usize = 6;

/// Returns the interquartile mean of the logarithms, or NaN for an empty slice.
fn mean_log(ratios: &[f64]) -> f64 {
    let mut logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    logs.sort_by(f64::total_cmp);
    let quarter = logs.len() / 4;
    let middle = &logs[quarter..logs.len() - quarter];
    middle.mean()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::noise::Noise;
    use super::*;

    /// Default margin of the command line.
    const MARGIN: f64 = 0.05;

    /// Default number of launches.
    const LAUNCHES: usize = 20;

    /// Number of pairs per launch with the default settings.
    const PAIRS: usize = 12;

    /// Simulates launches. Pairs have 5 % of noise, correlated with the previous pair. One slice in
    /// 20 loses half of its time. Launches differ by 1 %.
    fn launches(noise: &mut Noise, ratio: f64) -> Vec<Vec<f64>> {
        let launch = |_| {
            let of_launch = ratio.ln() + 0.01 * noise.normal();
            let pairs = noise.correlated(0.3, PAIRS);
            let mut burst = || if noise.uniform() < 0.05 { 0.5 } else { 1.0 };
            pairs.iter().map(|pair| (of_launch + 0.05 * pair).exp() * burst() / burst()).collect()
        };
        (0..LAUNCHES).map(launch).collect()
    }

    /// Simulates comparisons of servers with this ratio of throughputs.
    fn simulated(simulations: u64, ratio: f64) -> Vec<Comparison> {
        let compare = |seed| Comparison::of(&launches(&mut Noise::seeded(seed), ratio));
        (0..simulations).map(|seed| compare(seed).expect("enough launches")).collect()
    }

    /// Counts the comparisons with this verdict.
    fn count(found: &[Comparison], verdict: ComparisonVerdict) -> usize {
        found.iter().filter(|comparison| comparison.verdict(MARGIN) == verdict).count()
    }

    #[test]
    fn the_interval_contains_the_ratio_in_95_of_100_simulated_comparisons() {
        for ratio in [1.0, 0.97, 1.5] {
            let found = simulated(1000, ratio);
            let covers = |it: &&Comparison| it.low <= ratio && ratio <= it.high;
            let covered = found.iter().filter(covers).count();
            assert!((935..=965).contains(&covered), "{ratio}: {covered} of 1000");
        }
    }

    #[test]
    fn identical_servers_are_called_different_in_5_of_100_simulated_comparisons() {
        let found = simulated(1000, 1.0);
        let [faster, slower, equal] =
            [ComparisonVerdict::Faster, ComparisonVerdict::Slower, ComparisonVerdict::Equal]
                .map(|it| count(&found, it));
        assert!((30..=70).contains(&(slower + faster)), "{slower} slower, {faster} faster");
        assert!(slower.min(faster) >= 10, "{slower} slower, {faster} faster: one side only");
        assert!(equal >= 900, "{equal} equal");
    }

    #[test]
    fn a_difference_of_three_percent_is_detected() {
        let found = simulated(200, 0.97);
        let slower = count(&found, ComparisonVerdict::Slower);
        assert!(slower >= 180 && count(&found, ComparisonVerdict::Faster) == 0, "{slower} slower");
    }

    #[test]
    fn servers_that_differ_by_the_margin_are_rarely_called_equal() {
        for ratio in [1.0 + MARGIN, 1.0 / (1.0 + MARGIN)] {
            let equal = count(&simulated(1000, ratio), ComparisonVerdict::Equal);
            assert!(equal <= 50, "{ratio}: {equal} of 1000");
        }
    }

    #[test]
    fn the_interval_uses_students_t_distribution() {
        // Logarithms -1 and 1, with standard deviation √(4 / 3): the standard error is 1 / √3, and
        // t with 3 degrees of freedom is 3.182.
        let launch = |at: i32| vec![f64::from(at % 2 * 2 - 1).exp(); MIN_PAIRS];
        let four: Vec<Vec<f64>> = (0..4).map(launch).collect();
        let four = Comparison::of(&four).expect("four launches");
        assert!(four.ratio.ln().abs() < 1e-9);
        assert!((four.high.ln() - 3.1824 / 3f64.sqrt()).abs() < 1e-3, "{}", four.high.ln());
        assert_eq!((four.launches, four.pairs), (4, 16));
        // Eight launches with standard deviation √(8 / 7): t with 7 degrees of freedom is 2.365.
        let eight: Vec<Vec<f64>> = (0..8).map(launch).collect();
        let eight = Comparison::of(&eight).expect("eight launches");
        assert!((eight.high.ln() - 2.3646 / 7f64.sqrt()).abs() < 1e-4, "{}", eight.high.ln());
    }

    #[test]
    fn bursts_in_some_slices_do_not_move_the_ratio() {
        let mut pairs = vec![1.1; 80];
        pairs.extend([0.0; 10]);
        pairs.extend([f64::INFINITY; 10]);
        let comparison = Comparison::of(&vec![pairs; 4]).expect("four launches");
        assert!((comparison.ratio - 1.1).abs() < 1e-9);
        assert_eq!(comparison.verdict(MARGIN), ComparisonVerdict::Faster);
    }

    #[test]
    fn too_few_launches_or_pairs_give_no_interval_but_a_reason() {
        let of = |launches: &[Vec<f64>]| Comparison::of(launches);
        assert_eq!(of(&[]), Err(NoInterval::TooFew { enough: 0, launches: 0 }));
        let three = vec![vec![1.1; 100]; 3];
        assert_eq!(of(&three), Err(NoInterval::TooFew { enough: 3, launches: 3 }));
        let short = [three, vec![vec![1.1; MIN_PAIRS - 1]; 5]].concat();
        let too_few = NoInterval::TooFew { enough: 3, launches: 8 };
        assert_eq!(of(&short), Err(too_few));
        let words = "3 of 8 launches have at least 4 pairs of slices; a confidence interval \
                     needs 4 such launches";
        assert_eq!(too_few.to_string(), words);
    }

    #[test]
    fn a_server_that_sends_no_replies_is_not_called_slower() {
        for ratio in [0.0, f64::NAN, f64::INFINITY] {
            let mut launches = vec![vec![1.1; 8]; 4];
            launches[2] = vec![ratio; 8];
            assert_eq!(Comparison::of(&launches), Err(NoInterval::NotFinite), "{ratio}");
        }
    }

    fn interval(low: f64, high: f64) -> Comparison {
        Comparison { ratio: (low * high).sqrt(), low, high, launches: 4, pairs: 16 }
    }

    #[test]
    fn an_interval_inside_the_margin_is_equal_and_a_wider_one_inconclusive() {
        use ComparisonVerdict::{Equal, Faster, Inconclusive, Slower};
        for (low, high, margin, verdict) in [
            (0.084, 7.725, 0.05, Inconclusive),
            (0.96, 1.04, 0.05, Equal),
            (0.96, 1.04, 0.03, Inconclusive),
            // The margin is equally wide in both directions: 1 / 1.05 is 0.9524.
            (0.9525, 1.0499, 0.05, Equal),
            (0.9523, 1.02, 0.05, Inconclusive),
            (0.98, 1.051, 0.05, Inconclusive),
            (1.0, 1.0, 0.05, Equal),
            // A significant difference counts, however small.
            (1.001, 1.02, 0.05, Faster),
            (0.9, 0.999, 0.05, Slower),
        ] {
            assert_eq!(interval(low, high).verdict(margin), verdict, "{low} to {high}, ±{margin}");
        }
        assert!(interval(0.96, 0.99).is_within(0.05) && interval(0.96, 9.0).is_not_below(0.05));
        assert!(!interval(0.95, 0.99).is_not_below(0.05));
    }

    #[test]
    fn figures_have_no_more_digits_than_the_interval_supports() {
        for (low, high, expected) in [
            (1.0654, 1.2031, ["1.13", "1.06", "1.21"]),
            (0.99412, 1.00673, ["1.000", "0.994", "1.007"]),
            (0.084, 7.725, ["0.81", "0.08", "7.73"]),
            // The printed interval does not contradict the verdict.
            (1.0004, 1.09, ["1.0442", "1.0004", "1.0900"]),
            (0.8, 0.99996, ["0.89441", "0.80000", "0.99996"]),
            (1.0, 1.0, ["1.0000", "1.0000", "1.0000"]),
        ] {
            assert_eq!(interval(low, high).figures(), expected, "{low} to {high}");
        }
    }

    proptest! {
        #[test]
        fn swapping_the_servers_gives_the_reciprocal_and_opposite_verdict(
            launches in prop::collection::vec(prop::collection::vec(0.1..10.0, 4..30), 4..8),
        ) {
            let original = Comparison::of(&launches).expect("enough launches");
            let swap = |launch: &Vec<f64>| launch.iter().map(|ratio: &f64| 1.0 / ratio).collect();
            let swapped: Vec<Vec<f64>> = launches.iter().map(swap).collect();
            let swapped = Comparison::of(&swapped).expect("enough launches");
            for (figure, reciprocal) in [
                (original.ratio, swapped.ratio),
                (original.low, swapped.high),
                (original.high, swapped.low),
            ] {
                let product = figure * reciprocal;
                prop_assert!((product - 1.0).abs() < 1e-6, "{} and {}", figure, reciprocal);
            }
            prop_assert!(original.low <= original.ratio && original.ratio <= original.high);
            let opposite = match swapped.verdict(0.5) {
                ComparisonVerdict::Faster => ComparisonVerdict::Slower,
                ComparisonVerdict::Slower => ComparisonVerdict::Faster,
                same => same,
            };
            prop_assert_eq!(original.verdict(0.5), opposite);
        }
    }
}
