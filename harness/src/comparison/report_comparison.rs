//! The result of a comparison of reports.

use serde::Serialize;

use super::figures::{self, FigureComparison, FigureVerdict};
use super::notes::Note;
use super::settings::Settings;
use super::sides::{SideSummary, Sides};
use super::verdicts::{self, ChangedVerdict, Effect, Unmatched};
use crate::results::Report;

/// Comparison of old and new reports.
#[derive(Clone, Debug, Serialize)]
pub struct ReportComparison {
    /// The old reports.
    pub old: SideSummary,
    /// The new reports.
    pub new: SideSummary,
    /// Equivalence margin.
    pub margin: f64,
    /// Circumstances that limit the comparison.
    pub notes: Vec<Note>,
    /// Number of verdicts that are the same on both sides.
    pub same_verdicts: usize,
    /// Verdicts that differ, by server and case.
    pub verdicts: Vec<ChangedVerdict>,
    /// Servers, cases and workloads with results on one side only.
    pub unmatched: Vec<Unmatched>,
    /// Whether the figures were compared. If not, a note has the reason.
    pub figures_compared: bool,
    /// Figures, by server and workload.
    pub figures: Vec<FigureComparison>,
}

impl ReportComparison {
    /// Compares two sets of reports. A report that occurs twice on one side counts once.
    pub fn of(old: &[Report], new: &[Report], settings: Settings) -> ReportComparison {
        let mut notes = Vec::new();
        let sides = Sides::of([old, new], settings, &mut notes);
        let (mut verdicts, mut unmatched, mut same_verdicts) = (Vec::new(), Vec::new(), 0);
        verdicts::compare(&sides, &mut verdicts, &mut same_verdicts, &mut unmatched);
        let figures = match sides.figures_comparable {
            true => figures::compare(&sides, settings.margin, &mut notes),
            false => Vec::new(),
        };
        if figures.iter().any(|it| it.verdict.is_difference()) && !sides.alternate() {
            notes.push(Note::NotAlternating);
        }
        ReportComparison {
            figures_compared: sides.figures_comparable,
            old: sides.summaries[0].clone(),
            new: sides.summaries[1].clone(),
            margin: settings.margin,
            notes,
            same_verdicts,
            verdicts,
            unmatched,
            figures,
        }
    }

    /// Iterates over the verdicts that got worse: a case that was fine is no longer fine.
    pub fn worse_verdicts(&self) -> impl Iterator<Item = &ChangedVerdict> {
        self.verdicts.iter().filter(|it| it.effect == Effect::Worse)
    }

    /// Iterates over the times that are conclusively slower, by an estimate beyond `limit`. A limit
    /// of 0.1 is exceeded by a throughput below 1 / 1.1, and by a p99 or CPU time above 1.1 times
    /// the old one.
    pub fn slower_than(&self, limit: f64) -> impl Iterator<Item = &FigureComparison> {
        self.figures.iter().filter(move |it| it.is_slower_than(limit))
    }

    /// Iterates over the times without a conclusive result.
    pub fn inconclusive_times(&self) -> impl Iterator<Item = &FigureComparison> {
        let is_inconclusive = |it: &&FigureComparison| it.verdict == FigureVerdict::Inconclusive;
        self.figures.iter().filter(|it| it.figure.is_time()).filter(is_inconclusive)
    }
}
