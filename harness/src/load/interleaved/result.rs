//! Result of an interleaved comparison.

use serde::Serialize;

use crate::load::assessment::thresholds::{BUSY, SERVER_BUSY};
use crate::stats::{Comparison, ComparisonVerdict, NoInterval};

/// Busy shares of a server and the generator while the server was loaded; 1 is one busy CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BusyShares {
    /// Share of the time in which the server ran or waited for a CPU, summed over its threads.
    pub server: f64,
    /// Share of the time in which the generator ran or waited for a CPU.
    pub generator: f64,
}

/// Result of an interleaved comparison.
#[derive(Clone, Debug)]
pub struct ComparisonResult {
    /// Ratio of the throughputs with a confidence interval, or the reason why there is no interval.
    pub comparison: Result<Comparison, NoInterval>,
    /// Busy shares under the load on the first server, and under the load on the second.
    pub busy: [BusyShares; 2],
    /// Whether the servers shared their CPU with the generator.
    pub is_shared: bool,
}

impl ComparisonResult {
    /// Classifies the result, with a reason if the interval alone does not explain it.
    pub fn verdict(&self, margin: f64) -> (ComparisonVerdict, Option<String>) {
        let comparison = match self.comparison {
            Ok(comparison) => comparison,
            Err(reason) => return (ComparisonVerdict::Inconclusive, Some(reason.to_string())),
        };
        let percent = margin_percent(margin);
        match comparison.verdict(margin) {
            ComparisonVerdict::Equal => match self.understated() {
                None => (ComparisonVerdict::Equal, None),
                reason => (ComparisonVerdict::Inconclusive, reason),
            },
            ComparisonVerdict::Inconclusive => {
                let reason = format!("the interval contains 1 and is not within ±{percent} %");
                (ComparisonVerdict::Inconclusive, Some(reason))
            }
            verdict if comparison.is_within(margin) => {
                (verdict, Some(format!("by less than {percent} %")))
            }
            verdict => (verdict, None),
        }
    }

    /// Returns whether the result rules out that the first server is slower by more than the
    /// margin.
    pub fn is_not_slower(&self, margin: f64) -> bool {
        self.comparison.is_ok_and(|it| {
            it.verdict(margin) == ComparisonVerdict::Faster
                || it.is_not_below(margin) && self.understated().is_none()
        })
    }

    /// Returns the reason why the ratio may understate a difference between the servers, if any.
    /// Servers that do not limit the throughput appear equal, even if their CPU times differ.
    pub fn understated(&self) -> Option<String> {
        if self.is_shared {
            let reason = "the servers and the generator shared a CPU, so the ratio understates a \
                         difference between the servers";
            return Some(reason.to_owned());
        }
        let is_bound = |busy: &&BusyShares| busy.generator > BUSY && busy.server < SERVER_BUSY;
        self.busy.iter().find(is_bound).map(|busy| {
            format!(
                "the generator limited the throughput: it was busy for {:.0} % of the time, a \
                 server for {:.0} %",
                100.0 * busy.generator,
                100.0 * busy.server
            )
        })
    }
}

/// Converts a margin to percent, rounded to hide errors of binary fractions: 0.07 is 7 %.
pub fn margin_percent(margin: f64) -> f64 {
    (margin * 1e6).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(low: f64, high: f64, busy: [BusyShares; 2]) -> ComparisonResult {
        let ratio = (low * high).sqrt();
        let comparison = Ok(Comparison { ratio, low, high, launches: 16, pairs: 160 });
        ComparisonResult { comparison, busy, is_shared: false }
    }

    #[test]
    fn servers_are_not_equal_if_the_generator_limits_them_or_shares_their_cpu() {
        let limited = BusyShares { server: 1.0, generator: 0.98 };
        let idle = BusyShares { server: 0.6, generator: 0.98 };
        let slow_by_itself = BusyShares { server: 0.1, generator: 0.2 };
        for (busy, verdict) in [
            ([limited, limited], ComparisonVerdict::Equal),
            ([slow_by_itself, limited], ComparisonVerdict::Equal),
            ([idle, limited], ComparisonVerdict::Inconclusive),
            ([limited, idle], ComparisonVerdict::Inconclusive),
        ] {
            let equal = found(0.98, 1.02, busy);
            let (found_verdict, reason) = equal.verdict(0.05);
            assert_eq!(found_verdict, verdict, "{busy:?}");
            assert_eq!(reason.is_some(), verdict == ComparisonVerdict::Inconclusive, "{reason:?}");
            assert_eq!(equal.is_not_slower(0.05), verdict == ComparisonVerdict::Equal);
            // A difference outside the margin is real, even if it is understated.
            assert_eq!(found(1.1, 1.2, busy).verdict(0.05), (ComparisonVerdict::Faster, None));
            assert!(found(1.1, 1.2, busy).is_not_slower(0.05));
        }
        let shared = ComparisonResult { is_shared: true, ..found(0.98, 1.02, [limited, limited]) };
        assert_eq!(shared.verdict(0.05).0, ComparisonVerdict::Inconclusive);
        assert!(!shared.is_not_slower(0.05));
    }

    #[test]
    fn a_verdict_not_explained_by_the_interval_has_a_reason() {
        let busy = [BusyShares { server: 1.0, generator: 0.5 }; 2];
        let too_few = NoInterval::TooFew { enough: 1, launches: 2 };
        let no_interval = ComparisonResult { comparison: Err(too_few), busy, is_shared: false };
        let rows = [
            (no_interval, ComparisonVerdict::Inconclusive, Some("1 of 2 launches")),
            (found(0.084, 7.725, busy), ComparisonVerdict::Inconclusive, Some("not within ±5 %")),
            (found(0.96, 0.99, busy), ComparisonVerdict::Slower, Some("by less than 5 %")),
            (found(0.6, 0.99, busy), ComparisonVerdict::Slower, None),
            (found(0.99, 1.01, busy), ComparisonVerdict::Equal, None),
        ];
        for (found, verdict, words) in rows {
            let (found_verdict, reason) = found.verdict(0.05);
            assert_eq!((found_verdict, reason.is_some()), (verdict, words.is_some()), "{reason:?}");
            assert!(reason.unwrap_or_default().contains(words.unwrap_or_default()));
        }
        assert!(!found(0.9, 0.99, busy).is_not_slower(0.05));
        assert!(found(0.96, 0.99, busy).is_not_slower(0.05));
    }
}
