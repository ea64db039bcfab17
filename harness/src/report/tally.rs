//! Counts of case results by kind.

use crate::figures::count;
use crate::results::{CaseResult, Kind};

/// Number of case results of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([usize; Kind::ALL.len()]);

impl Tally {
    /// Counts case results.
    pub fn of<'r>(results: impl IntoIterator<Item = &'r CaseResult>) -> Tally {
        let mut tally = Tally::default();
        for result in results {
            tally.0[result.kind() as usize] += 1;
        }
        tally
    }

    /// Returns the number of all results.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }

    /// Returns the number of results of a kind.
    pub fn get(&self, kind: Kind) -> usize {
        self.0[kind as usize]
    }

    /// Formats the counts. Passed and failed cases are always shown, other kinds only if they
    /// occur.
    pub fn summary(&self) -> String {
        let text = |kind: Kind| {
            let word = match kind {
                Kind::Pass => "passed",
                Kind::Fail => "failed",
                Kind::Known if self.get(kind) > 1 => "known failures",
                Kind::Stale if self.get(kind) > 1 => "stale known failures",
                other => other.name(),
            };
            format!("{} {word}", count(self.get(kind) as f64))
        };
        let always = [Kind::Pass, Kind::Fail];
        let shown = |kind: &&Kind| self.get(**kind) > 0 || always.contains(kind);
        Kind::ALL.iter().filter(shown).map(|&kind| text(kind)).collect::<Vec<_>>().join(", ")
    }
}
