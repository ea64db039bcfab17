//! Which of two servers is faster.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::statistics::Statistics;

/// How many times as fast one server is as another, from pairs of slices in several launches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// How many times as fast: a geometric mean, in which every launch has the same weight.
    pub ratio: f64,
    /// Where that of all launches is with 95 % confidence: the lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How many launches it is from.
    pub launches: usize,
    /// How many pairs of slices, in all launches.
    pub pairs: usize,
}

/// What a comparison says of the first server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The whole interval is above 1.
    Faster,
    /// The whole interval is below 1.
    Slower,
    /// 1 is in the interval.
    NoDifferenceShown,
}

impl Verdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::NoDifferenceShown => "no difference shown",
        }
    }
}

impl Comparison {
    /// That of the ratios of the pairs of each launch, which are positive: the throughput of the
    /// first server over that of the second. Launches without pairs do not count; none if fewer
    /// than two have any, or one of them has no finite mean (a server that answers nothing is
    /// not slow).
    ///
    /// Pairs of one launch depend on each other and have its circumstances in common, so that a
    /// launch is one value only: the interquartile mean of the logarithms of its ratios, which
    /// does not mind some slices whose time others have taken (Rosenberger and Gasko in Hoaglin,
    /// Mosteller and Tukey, "Understanding Robust and Exploratory Data Analysis", 1983). Launches
    /// are independent; their mean has the interval of Student's t with one degree of freedom
    /// less than there are launches. It holds the variation within launches, too, whatever that is
    /// like (batch means, as in [`super::effective_sample_size`]).
    pub fn of(launches: &[Vec<f64>]) -> Option<Comparison> {
        let logs: Vec<f64> = launches.iter().filter_map(|pairs| mean_log(pairs)).collect();
        let count = logs.len();
        if count < 2 || logs.iter().any(|log| !log.is_finite()) {
            return None;
        }
        let student = StudentsT::new(0.0, 1.0, (count - 1) as f64).expect("a degree of freedom");
        let error = (&logs).std_dev() / (count as f64).sqrt();
        let reach = student.inverse_cdf(0.975) * error;
        let mean = (&logs).mean();
        Some(Comparison {
            ratio: mean.exp(),
            low: (mean - reach).exp(),
            high: (mean + reach).exp(),
            launches: count,
            pairs: launches.iter().map(Vec::len).sum(),
        })
    }

    /// Whether a difference is shown, and which.
    pub fn verdict(&self) -> Verdict {
        if self.low > 1.0 {
            Verdict::Faster
        } else if self.high < 1.0 {
            Verdict::Slower
        } else {
            Verdict::NoDifferenceShown
        }
    }
}

/// The interquartile mean of the logarithms; none of nothing.
fn mean_log(ratios: &[f64]) -> Option<f64> {
    let mut logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    logs.sort_by(f64::total_cmp);
    let quarter = logs.len() / 4;
    let middle = &logs[quarter..logs.len() - quarter];
    (!middle.is_empty()).then(|| middle.mean())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::noise::Noise;
    use super::*;

    /// Pairs with noise of 20 %, each correlated with the one before; of the slices, one in 20
    /// loses half of its time; launches differ by 0.5 %.
    fn launches(noise: &mut Noise, ratio: f64, launches: usize, pairs: usize) -> Vec<Vec<f64>> {
        let launch = |_| {
            let of_launch = ratio.ln() + 0.005 * noise.normal();
            let pairs = noise.correlated(0.3, pairs);
            let mut burst = || if noise.uniform() < 0.05 { 0.5 } else { 1.0 };
            pairs.iter().map(|pair| (of_launch + 0.2 * pair).exp() * burst() / burst()).collect()
        };
        (0..launches).map(launch).collect()
    }

    /// How often a server is said to be slower and faster.
    fn verdicts(simulations: u64, ratio: f64, pairs: usize) -> (usize, usize) {
        let verdicts: Vec<Verdict> = (0..simulations)
            .map(|seed| launches(&mut Noise::seeded(seed), ratio, 8, pairs))
            .map(|launches| Comparison::of(&launches).expect("eight launches").verdict())
            .collect();
        let said = |verdict| verdicts.iter().filter(|&&said| said == verdict).count();
        (said(Verdict::Slower), said(Verdict::Faster))
    }

    #[test]
    fn a_server_is_called_different_from_itself_in_5_of_100_comparisons() {
        let (slower, faster) = verdicts(1000, 1.0, 100);
        assert!((30..=70).contains(&(slower + faster)), "{slower} slower, {faster} faster");
    }

    #[test]
    fn three_percent_are_told_apart() {
        let (slower, faster) = verdicts(100, 0.97, 280);
        assert!(slower >= 80 && faster == 0, "{slower} slower, {faster} faster");
    }

    #[test]
    fn the_interval_is_that_of_student() {
        // Logarithms -1 and 1: the standard error is 1, and t with one degree of freedom 12.706.
        let two = Comparison::of(&[vec![1f64.exp()], vec![(-1f64).exp()]]).expect("two launches");
        assert!(two.ratio.ln().abs() < 1e-9);
        assert!((two.high.ln() - 12.706).abs() < 1e-3, "{}", two.high.ln());
        assert_eq!((two.launches, two.pairs), (2, 2));
        // Eight launches of standard deviation √(8 / 7): t with 7 degrees of freedom is 2.365.
        let eight: Vec<Vec<f64>> = (0..8).map(|at| vec![f64::from(at % 2 * 2 - 1).exp()]).collect();
        let eight = Comparison::of(&eight).expect("eight launches");
        assert!((eight.high.ln() - 2.3646 / 7f64.sqrt()).abs() < 1e-4, "{}", eight.high.ln());
    }

    #[test]
    fn bursts_in_some_slices_do_not_move_the_ratio() {
        let mut pairs = vec![1.1; 80];
        pairs.extend([0.0; 10]);
        pairs.extend([f64::INFINITY; 10]);
        let comparison = Comparison::of(&[pairs.clone(), pairs]).expect("two launches");
        assert!((comparison.ratio - 1.1).abs() < 1e-9);
        assert_eq!(comparison.verdict(), Verdict::Faster);
    }

    #[test]
    fn one_launch_says_nothing_nor_does_a_server_that_answers_nothing() {
        assert_eq!(Comparison::of(&[vec![1.1; 100], vec![]]), None);
        assert_eq!(Comparison::of(&[vec![1.1; 100], vec![0.0; 100], vec![1.1; 100]]), None);
        assert_eq!(Comparison::of(&[vec![f64::NAN], vec![1.0]]), None);
    }

    proptest! {
        #[test]
        fn the_other_way_round_is_the_reciprocal(
            launches in prop::collection::vec(prop::collection::vec(0.1..10.0, 1..30), 2..6),
        ) {
            let there = Comparison::of(&launches).expect("two launches at least");
            let turned = |launch: &Vec<f64>| launch.iter().map(|ratio: &f64| 1.0 / ratio).collect();
            let back: Vec<Vec<f64>> = launches.iter().map(turned).collect();
            let back = Comparison::of(&back).expect("as many");
            for (one, other) in
                [(there.ratio, back.ratio), (there.low, back.high), (there.high, back.low)]
            {
                prop_assert!((one * other - 1.0).abs() < 1e-6, "{} and {}", one, other);
            }
            prop_assert!(there.low <= there.ratio && there.ratio <= there.high);
        }
    }
}
