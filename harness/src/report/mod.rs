//! The report: data, and the formats it is written in.
//!
//! Touches data and its own files only: no socket, no process, no clock. The same report always
//! renders to the same bytes.

mod html;
mod json;
mod junit;
mod markdown;
pub mod marks;
mod output;
mod plot;
pub mod step_summary;
mod text;

pub use output::{Junit, Output};
pub use text::{brief, failure, line, measurement as measurement_words, not_run};

use serde::Serialize;

use crate::conformance::{Judgement, Kind, Known, State};
use crate::environment::Environment;
use crate::load::Measurement;
use crate::server::Spec;

/// What makes the exit code of a run 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// A verdict or a measurement failed, or a known failure is none any more.
    Fail,
    /// A case could not find out.
    Undecided,
    /// A server works, but not as the strict wording asks.
    Loose,
    /// A case is ruled out by the contract.
    NotApplicable,
    /// Nothing.
    None,
}

impl FailOn {
    /// All of them.
    pub const ALL: &[FailOn] =
        &[FailOn::Fail, FailOn::Undecided, FailOn::Loose, FailOn::NotApplicable, FailOn::None];

    /// Returns its name in flags.
    pub fn name(self) -> &'static str {
        match self {
            FailOn::Fail => "fail",
            FailOn::Undecided => "undecided",
            FailOn::Loose => "loose",
            FailOn::NotApplicable => "not-applicable",
            FailOn::None => "none",
        }
    }

    fn is_met(self, report: &Report) -> bool {
        let any = |wanted: fn(&Judgement) -> bool| report.judgements().any(wanted);
        match self {
            FailOn::Fail => {
                any(|one| matches!(one.kind(), Kind::Fail | Kind::Stale))
                    || report.problems().next().is_some()
            }
            FailOn::Undecided => any(|one| one.kind() == Kind::Undecided),
            FailOn::Loose => any(|one| one.kind() == Kind::Loose),
            FailOn::NotApplicable => any(|one| one.kind() == Kind::NotApplicable),
            FailOn::None => false,
        }
    }
}

/// Raised when a reader of `report.json` would have to change.
pub const FORMAT: u32 = 3;

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
    /// Which of the original four programs it is, or which ones its pattern is that of, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// The command that was judged.
    pub command: String,
    /// Whether it was not written here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// What it declares, in words.
    pub contract: String,
    /// How it is built, in words, if that was found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<String>,
    /// Why it could not be run here, if so: it has neither passed nor failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
    /// The verdicts, by case.
    pub cases: Vec<Judgement>,
    /// How long judging it took, in milliseconds, if that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
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
    /// The file's content; none if the report has nothing for it.
    pub render: fn(&Report) -> Option<String>,
}

/// Every format. All that have something to say are written, always.
pub const EXPORTERS: &[Exporter] = &[
    json::EXPORTER,
    markdown::EXPORTER,
    html::EXPORTER,
    junit::EXPORTER,
    marks::MARKDOWN,
    marks::HTML,
];

/// How many judgements there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([usize; Kind::ALL.len()]);

impl Tally {
    /// Counts judgements.
    pub fn of<'j>(judgements: impl IntoIterator<Item = &'j Judgement>) -> Tally {
        let mut tally = Tally::default();
        for judgement in judgements {
            tally.0[judgement.kind() as usize] += 1;
        }
        tally
    }

    /// How many there are of a kind.
    pub fn get(&self, kind: Kind) -> usize {
        self.0[kind as usize]
    }

    /// In words, without the kinds that did not occur.
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

impl Report {
    /// Every judgement.
    pub fn judgements(&self) -> impl Iterator<Item = &Judgement> {
        self.servers.iter().flat_map(|server| &server.cases)
    }

    /// Whether every verdict and every measurement is fine.
    pub fn is_fine(&self) -> bool {
        self.judgements().all(Judgement::is_fine) && self.problems().next().is_none()
    }

    /// The exit code of a program that made this report: 0 if all is fine, 1 if there is something
    /// to fail on, 3 if the harness could not do its work.
    pub fn exit_code(&self, fail_on: &[FailOn]) -> u8 {
        if self.judgements().any(|judgement| judgement.state == State::HarnessError) {
            3
        } else {
            u8::from(fail_on.iter().any(|one| one.is_met(self)))
        }
    }

    /// What stands against the measurements, server by server.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        self.servers.iter().flat_map(ServerReport::problems)
    }

    /// The judgements that were expected not to pass and did not, with their servers.
    fn known(&self) -> Vec<(&ServerReport, &Judgement, &Known)> {
        let mut found = Vec::new();
        for server in &self.servers {
            for judgement in &server.cases {
                if let (Kind::Known, Some(known)) = (judgement.kind(), &judgement.known) {
                    found.push((server, judgement, known));
                }
            }
        }
        found
    }

    /// The servers that were run.
    fn run(&self) -> Vec<&ServerReport> {
        self.servers.iter().filter(|server| server.not_run.is_none()).collect()
    }

    /// The servers that could not be run here, and why.
    pub fn not_run(&self) -> impl Iterator<Item = (&ServerReport, &str)> {
        self.servers.iter().filter_map(|server| Some((server, server.not_run.as_deref()?)))
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
    /// A server with its verdicts, of which there are none if it cannot be run; not measured.
    pub fn new(spec: &Spec, cases: Vec<Judgement>) -> ServerReport {
        ServerReport {
            name: spec.name.clone(),
            original: spec.original.clone(),
            command: spec.shown.clone(),
            foreign: spec.original.is_none() && servers::find(&spec.name).is_none(),
            contract: spec.contract.words(),
            mechanism: None,
            not_run: spec.unavailable.clone(),
            cases,
            took_ms: None,
            measured_command: None,
            measurements: Vec::new(),
            not_measured: Vec::new(),
            problem: None,
        }
    }

    pub(crate) fn label(&self) -> String {
        match &self.original {
            Some(original) => format!("{} ({original})", self.name),
            None => self.name.clone(),
        }
    }

    /// What stands against its measurements.
    fn problems(&self) -> impl Iterator<Item = String> {
        let own = self.problem.iter().map(|problem| format!("{}: {problem}", self.name));
        let measured = self.measurements.iter().filter_map(|measurement| {
            let problem = measurement.problem()?;
            Some(format!("{} under {}: {problem}", self.name, measurement.workload))
        });
        own.chain(measured)
    }

    fn judgement(&self, case: &str) -> Option<&Judgement> {
        self.cases.iter().find(|judgement| judgement.name == case)
    }

    fn measurement(&self, workload: &str) -> Option<&Measurement> {
        self.measurements.iter().find(|measurement| measurement.workload == workload)
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

/// A time for people, or a dash where there is none.
pub(crate) fn time_or_dash(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), time)
}

fn three_digits(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A rate per second for people: with three digits where it is small.
pub(crate) fn rate(per_s: f64) -> String {
    let decimals = match per_s {
        100.0.. => return count(per_s),
        10.0..100.0 => 1,
        1.0..10.0 => 2,
        _ => 3,
    };
    let digits = format!("{per_s:.decimals$}");
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
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
        assert_eq!([None, Some(5)].map(time_or_dash), ["-", "5 ns"]);
        assert_eq!(
            [0.0, 0.001, 0.5, 1.0, 1.25, 10.0, 33.34, 99.96, 1234.5].map(rate),
            ["0", "0.001", "0.5", "1", "1.25", "10", "33.3", "100", "1\u{2009}234"]
        );
        assert_eq!(
            [7.0, 999.6, 1234567.0].map(count),
            ["7", "1\u{2009}000", "1\u{2009}234\u{2009}567"]
        );
    }
}
