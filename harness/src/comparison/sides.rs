//! The two sides of a comparison: old and new reports, each merged into one.

use serde::Serialize;

use super::notes::Note;
use super::settings::Settings;
use super::side::Side;
use crate::environment::Environment;
use crate::results::{Report, ServerResult};

/// The reports of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SideSummary {
    /// Number of reports.
    pub reports: usize,
    /// Commits of the reports, each once.
    pub commits: Vec<String>,
    /// Start times of the reports.
    pub started_at: Vec<String>,
    /// Machines and builds of the reports, each once.
    pub machines: Vec<String>,
}

/// Both sides, each with its reports merged into one.
pub(super) struct Sides {
    pub(super) merged: [Option<Report>; 2],
    pub(super) summaries: [SideSummary; 2],
    /// Whether figures can be compared: all reports are of one machine and one build, or different
    /// machines are allowed.
    pub(super) figures_comparable: bool,
}

impl Sides {
    pub(super) fn of(reports: [&[Report]; 2], settings: Settings, notes: &mut Vec<Note>) -> Sides {
        let mut unique: [Vec<&Report>; 2] = [Vec::new(), Vec::new()];
        for (side, index) in Side::ALL.into_iter().zip(0..) {
            for report in reports[index] {
                let started_at = report.environment.started_at.clone();
                if unique[index].iter().any(|other| other.is_same_run(report)) {
                    notes.push(Note::DuplicateReport { side, started_at });
                    continue;
                }
                if !report.complete {
                    notes.push(Note::IncompleteReport { side, started_at });
                }
                unique[index].push(report);
            }
        }
        let all = || unique.iter().flatten();
        let machines = distinct(all().map(|it| machine_and_build(&it.environment)));
        let figures_comparable = machines.len() <= 1 || settings.allow_different_machines;
        if machines.len() > 1 {
            notes.push(Note::DifferentMachines { machines, compared: figures_comparable });
        }
        let plans = distinct(all().map(|report| report.plan.clone()));
        if plans.len() > 1 {
            notes.push(Note::DifferentPlans { plans });
        }
        Sides {
            summaries: unique.each_ref().map(|reports| summary(reports)),
            merged: unique.map(|reports| Report::merged(reports.into_iter().cloned())),
            figures_comparable,
        }
    }

    /// Returns whether the times of the old and the new reports overlap.
    pub(super) fn alternate(&self) -> bool {
        // Times in UTC of equal format have the order of their texts.
        let [old, new] = self.summaries.each_ref().map(|it| &it.started_at);
        let is_before =
            |one: &Vec<String>, other: &Vec<String>| one.iter().max() < other.iter().min();
        !is_before(old, new) && !is_before(new, old)
    }

    /// Returns the servers of a side.
    pub(super) fn servers(&self, side: Side) -> &[ServerResult] {
        self.merged[side as usize].as_ref().map_or(&[], |report| &report.servers)
    }

    /// Returns the servers of both sides: those of the old reports first.
    pub(super) fn pairs(&self) -> Vec<[Option<&ServerResult>; 2]> {
        let [old, new] = Side::ALL.map(|side| self.servers(side));
        let named =
            |list: &'_ [ServerResult], name: &str| list.iter().position(|it| it.name == name);
        let mut pairs: Vec<_> =
            old.iter().map(|it| [Some(it), named(new, &it.name).map(|at| &new[at])]).collect();
        pairs.extend(
            new.iter().filter(|it| named(old, &it.name).is_none()).map(|it| [None, Some(it)]),
        );
        pairs
    }
}

fn summary(reports: &[&Report]) -> SideSummary {
    SideSummary {
        reports: reports.len(),
        commits: distinct(reports.iter().filter_map(|it| it.environment.commit.clone())),
        started_at: reports.iter().map(|it| it.environment.started_at.clone()).collect(),
        machines: distinct(reports.iter().map(|it| machine_and_build(&it.environment))),
    }
}

/// Describes machine and build, without the size of the memory, which varies between boots.
fn machine_and_build(environment: &Environment) -> String {
    format!("{}, {} build", environment.machine(), environment.build)
}

/// Returns each value once, in order of first occurrence.
fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}
