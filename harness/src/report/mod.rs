//! The report: data, and the formats it is written in.
//!
//! Touches data and its own files only: no socket, no process, no clock. The same report always
//! renders to the same bytes.

mod html;
mod json;
mod markdown;
mod output;
mod plot;

pub use output::Output;

use serde::Serialize;

use crate::conformance::{Judgement, State, Verdict};
use crate::environment::Environment;
use crate::load::Measurement;

/// Raised when a reader of `report.json` would have to change.
pub const FORMAT: u32 = 1;

/// Everything that a run found out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// Whether the run came to its end.
    pub complete: bool,
    /// Where and when.
    pub environment: Environment,
    /// How much was measured, in words.
    pub plan: String,
    /// What repeats the chances of the run.
    pub seed: u64,
    /// Server by server.
    pub servers: Vec<ServerReport>,
}

/// What was found out about one server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerReport {
    /// Its name.
    #[serde(rename = "server")]
    pub name: String,
    /// Which of the original four programs it is, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<&'static str>,
    /// The command that was judged.
    pub command: String,
    /// What it declares, in words.
    pub contract: String,
    /// The verdicts, by case.
    pub cases: Vec<Judgement>,
    /// The command that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_command: Option<String>,
    /// The measurements, by workload.
    pub measurements: Vec<Measurement>,
    /// Workloads that the contract rules out, and why.
    pub not_measured: Vec<String>,
    /// Why it could not be measured, if so.
    pub problem: Option<String>,
}

/// A format to write a report in.
#[derive(Debug)]
pub struct Exporter {
    /// The file in the report's folder.
    pub file_name: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// The file's content.
    pub render: fn(&Report) -> String,
}

/// Every format. All of them are written, always.
pub const EXPORTERS: &[Exporter] = &[json::EXPORTER, markdown::EXPORTER, html::EXPORTER];

/// How many judgements there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// As required.
    pub passed: usize,
    /// It works, but not as the strict wording asks; or nothing was required.
    pub loose: usize,
    /// Not as required.
    pub failed: usize,
    /// Neither: nothing exercised, or the harness failed.
    pub undecided: usize,
    /// Ruled out by the contract.
    pub not_applicable: usize,
}

impl Tally {
    /// Counts judgements.
    pub fn of<'j>(judgements: impl IntoIterator<Item = &'j Judgement>) -> Tally {
        let mut tally = Tally::default();
        for judgement in judgements {
            let kind = match (judgement.verdict, judgement.state) {
                (_, State::NotApplicable) => &mut tally.not_applicable,
                (Some(Verdict::Pass), State::Ok) => &mut tally.passed,
                (Some(Verdict::Loose | Verdict::Info), State::Ok) => &mut tally.loose,
                (Some(_), _) => &mut tally.failed,
                (None, _) => &mut tally.undecided,
            };
            *kind += 1;
        }
        tally
    }

    /// In words, without the kinds that did not occur.
    pub fn words(&self) -> String {
        let kinds = [
            (self.passed, "passed"),
            (self.loose, "loose"),
            (self.failed, "failed"),
            (self.undecided, "undecided"),
            (self.not_applicable, "not applicable"),
        ];
        let words: Vec<String> = kinds
            .iter()
            .filter(|(count, word)| *count > 0 || ["passed", "failed"].contains(word))
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        words.join(", ")
    }
}

impl Report {
    /// Every judgement.
    pub fn judgements(&self) -> impl Iterator<Item = &Judgement> {
        self.servers.iter().flat_map(|server| &server.cases)
    }

    /// Whether every verdict and every measurement is fine.
    pub fn is_fine(&self) -> bool {
        self.judgements().all(Judgement::is_fine) && self.problems().next().is_none()
    }

    /// What stands against the measurements, server by server.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        self.servers.iter().flat_map(|server| {
            let own = server.problem.iter().map(|problem| format!("{}: {problem}", server.name));
            let measured = server.measurements.iter().filter_map(|measurement| {
                let problem = measurement.problem.as_ref()?;
                Some(format!("{} under {}: {problem}", server.name, measurement.workload))
            });
            own.chain(measured)
        })
    }

    /// The cases that occur, in order.
    fn case_names(&self) -> Vec<(&'static str, &'static str)> {
        let mut names = Vec::new();
        for judgement in self.judgements() {
            if !names.iter().any(|(name, _)| *name == judgement.name) {
                names.push((judgement.name, judgement.requirement));
            }
        }
        names
    }

    /// The workloads that occur, in order.
    fn workloads(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for measurement in self.servers.iter().flat_map(|server| &server.measurements) {
            if !names.contains(&measurement.workload.as_str()) {
                names.push(&measurement.workload);
            }
        }
        names
    }
}

impl ServerReport {
    fn label(&self) -> String {
        match self.original {
            Some(original) => format!("{} ({original})", self.name),
            None => self.name.clone(),
        }
    }

    fn judgement(&self, case: &str) -> Option<&Judgement> {
        self.cases.iter().find(|judgement| judgement.name == case)
    }

    fn measurement(&self, workload: &str) -> Option<&Measurement> {
        self.measurements.iter().find(|measurement| measurement.workload == workload)
    }
}

/// One character for a judgement, in a matrix.
fn symbol(judgement: Option<&Judgement>) -> &'static str {
    match judgement.map(|judgement| (judgement.verdict, judgement.state)) {
        None => " ",
        Some((_, State::NotApplicable)) => "·",
        Some((Some(Verdict::Pass), State::Ok)) => "✓",
        Some((Some(Verdict::Loose), State::Ok)) => "~",
        Some((Some(Verdict::Info), State::Ok)) => "i",
        Some((Some(_), _)) => "✗",
        Some((None, _)) => "?",
    }
}

/// Nanoseconds for people, to three digits.
fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", three_digits(ns as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", three_digits(ns as f64 / 1e6)),
        _ => format!("{} s", three_digits(ns as f64 / 1e9)),
    }
}

fn three_digits(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A count for people, with thin spaces between thousands.
fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{2009}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        let times = [999, 1_000, 12_340, 123_456, 1_500_000, 2_000_000_000].map(time);
        assert_eq!(times, ["999 ns", "1.00 µs", "12.3 µs", "123 µs", "1.50 ms", "2.00 s"]);
        assert_eq!(
            [7.0, 999.6, 1234567.0].map(count),
            ["7", "1\u{2009}000", "1\u{2009}234\u{2009}567"]
        );
    }
}
