//! What a run found out.

use serde::Serialize;

use crate::conformance::{CaseResult, Kind, Known, State};
use crate::environment::Environment;
use crate::load::Measurement;
use crate::server::LaunchSpec;

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
        let any = |wanted: fn(&CaseResult) -> bool| report.judgements().any(wanted);
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
    pub servers: Vec<ServerResult>,
}

/// What was found out about one server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerResult {
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
    pub cases: Vec<CaseResult>,
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

impl Report {
    /// Every judgement.
    pub fn judgements(&self) -> impl Iterator<Item = &CaseResult> {
        self.servers.iter().flat_map(|server| &server.cases)
    }

    /// Whether every verdict and every measurement is fine.
    pub fn is_fine(&self) -> bool {
        self.judgements().all(CaseResult::is_fine) && self.problems().next().is_none()
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
        self.servers.iter().flat_map(ServerResult::problems)
    }

    /// The judgements that were expected not to pass and did not, with their servers.
    pub(super) fn known(&self) -> Vec<(&ServerResult, &CaseResult, &Known)> {
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
    pub(super) fn run(&self) -> Vec<&ServerResult> {
        self.servers.iter().filter(|server| server.not_run.is_none()).collect()
    }

    /// The servers that could not be run here, and why.
    pub fn not_run(&self) -> impl Iterator<Item = (&ServerResult, &str)> {
        self.servers.iter().filter_map(|server| Some((server, server.not_run.as_deref()?)))
    }

    /// The cases that occur, in order.
    pub(super) fn case_names(&self) -> Vec<(&'static str, &'static str)> {
        let mut names = Vec::new();
        for judgement in self.judgements() {
            if !names.iter().any(|(name, _)| *name == judgement.name) {
                names.push((judgement.name, judgement.requirement));
            }
        }
        names
    }

    /// The workloads that occur, in order.
    pub(super) fn workloads(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for measurement in self.servers.iter().flat_map(|server| &server.measurements) {
            if !names.contains(&measurement.workload.as_str()) {
                names.push(&measurement.workload);
            }
        }
        names
    }
}

impl ServerResult {
    /// A server with its verdicts, of which there are none if it cannot be run; not measured.
    pub fn new(spec: &LaunchSpec, cases: Vec<CaseResult>) -> ServerResult {
        ServerResult {
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

    /// Whether every verdict and every measurement is fine.
    pub fn is_fine(&self) -> bool {
        self.cases.iter().all(CaseResult::is_fine) && self.problems().next().is_none()
    }

    pub(crate) fn label(&self) -> String {
        match &self.original {
            Some(original) => format!("{} ({original})", self.name),
            None => self.name.clone(),
        }
    }

    /// What stands against its measurements.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let own = self.problem.iter().map(|problem| format!("{}: {problem}", self.name));
        let measured = self.measurements.iter().filter_map(|measurement| {
            let problem = measurement.problem()?;
            Some(format!("{} under {}: {problem}", self.name, measurement.workload))
        });
        own.chain(measured)
    }

    pub(super) fn judgement(&self, case: &str) -> Option<&CaseResult> {
        self.cases.iter().find(|judgement| judgement.name == case)
    }

    pub(super) fn measurement(&self, workload: &str) -> Option<&Measurement> {
        self.measurements.iter().find(|measurement| measurement.workload == workload)
    }
}
