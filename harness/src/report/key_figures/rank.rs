//! Ranks of figures, with ties.

use super::column::Better;
use super::figure::Figure;

/// Ranks that a figure may have: `1–8` is a tie of eight figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// Best possible rank, from 1.
    pub first: usize,
    /// Worst possible rank.
    pub last: usize,
}

impl std::fmt::Display for Rank {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first == self.last {
            true => write!(to, "{}", self.first),
            false => write!(to, "{}–{}", self.first, self.last),
        }
    }
}

/// Returns the rank of each figure. A figure is better than another only if its whole interval is.
/// A missing figure, or one that is [not ranked](Figure::is_ranked), has no rank, and does not
/// count.
pub fn ranks(figures: &[Option<&Figure>], better: Better) -> Vec<Option<Rank>> {
    let intervals: Vec<_> = figures.iter().map(|it| (*it)?.competing_range()).collect();
    let known: Vec<_> = intervals.iter().flatten().collect();
    let rank = |own: &crate::stats::Interval<f64>| {
        let lower = known.iter().filter(|other| other.high < own.low).count();
        let higher = known.iter().filter(|other| other.low > own.high).count();
        let (better, worse) = match better {
            Better::Higher => (higher, lower),
            Better::Lower => (lower, higher),
        };
        Rank { first: better + 1, last: known.len() - worse }
    };
    intervals.iter().map(|it| it.as_ref().map(rank)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Interval;

    fn figure(low: f64, high: f64) -> Figure {
        Figure { interval: Some(Interval { low, high }), ..Figure::exact((low + high) / 2.0) }
    }

    fn shown(figures: &[Option<&Figure>], better: Better) -> Vec<String> {
        let text = |rank: Option<Rank>| rank.map_or("-".to_owned(), |rank| rank.to_string());
        ranks(figures, better).into_iter().map(text).collect()
    }

    #[test]
    fn overlapping_intervals_share_their_ranks() {
        let [best, near, bridge, worst] =
            [figure(9.0, 11.0), figure(8.0, 9.5), figure(5.0, 8.5), figure(1.0, 2.0)];
        let all = [Some(&worst), Some(&best), None, Some(&near), Some(&bridge)];
        assert_eq!(shown(&all, Better::Higher), ["4", "1–2", "-", "1–3", "2–3"]);
        assert_eq!(shown(&all, Better::Lower), ["1", "3–4", "-", "2–4", "2–3"]);
    }

    #[test]
    fn a_figure_that_does_not_compete_has_no_rank() {
        let unknown = Figure { interval: None, ..Figure::exact(3.0) };
        let doubtful = Figure { is_ranked: false, ..Figure::exact(9.0) };
        let all = [Some(&unknown), Some(&Figure::exact(5.0)), Some(&doubtful)];
        assert_eq!(shown(&all, Better::Higher), ["-", "1", "-"]);
    }

    #[test]
    fn a_lower_bound_is_not_worse_than_a_higher_value() {
        let bound = Figure { is_lower_bound: true, ..figure(99.0, 101.0) };
        let all = [Some(&bound), Some(&figure(109.0, 111.0)), Some(&figure(89.0, 91.0))];
        assert_eq!(shown(&all, Better::Higher), ["1–2", "1–2", "3"]);
    }
}
