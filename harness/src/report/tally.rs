//! Counts of case results by kind.

use crate::conformance::{CaseResult, Kind};

/// Number of case results of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([usize; Kind::ALL.len()]);

impl Tally {
    /// Counts case results.
    pub fn of<'j>(judgements: impl IntoIterator<Item = &'j CaseResult>) -> Tally {
        let mut tally = Tally::default();
        for judgement in judgements {
            tally.0[judgement.kind() as usize] += 1;
        }
        tally
    }

    /// Returns the number of results of a kind.
    pub fn get(&self, kind: Kind) -> usize {
        self.0[kind as usize]
    }

    /// Formats the counts. Passed and failed are always shown, other kinds only if they occur.
    pub fn words(&self) -> String {
        let counted = |kind: Kind| {
            let word = match kind {
                Kind::Pass => "passed",
                Kind::Fail => "failed",
                Kind::Known if self.get(kind) > 1 => "known failures",
                Kind::Stale if self.get(kind) > 1 => "stale expectations",
                other => other.name(),
            };
            format!("{} {word}", self.get(kind))
        };
        let always = [Kind::Pass, Kind::Fail];
        let shown = |kind: &&Kind| self.get(**kind) > 0 || always.contains(kind);
        Kind::ALL.iter().filter(shown).map(|&kind| counted(kind)).collect::<Vec<_>>().join(", ")
    }
}
