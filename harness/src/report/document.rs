//! Data model of the report.

use serde::Serialize;

use crate::conformance::{CaseResult, Kind, Known, State};
use crate::environment::Environment;
use crate::load::Measurement;
use crate::server::LaunchSpec;

/// A kind of result that makes the exit code of a run 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// A verdict or a measurement failed, or a known failure now passes.
    Fail,
    /// A case was inconclusive.
    Undecided,
    /// A server works, but deviates from the strict requirement.
    Loose,
    /// The contract rules a case out.
    NotApplicable,
    /// No result.
    None,
}

impl FailOn {
    /// All kinds, in the order of the help.
    pub const ALL: &[FailOn] =
        &[FailOn::Fail, FailOn::Undecided, FailOn::Loose, FailOn::NotApplicable, FailOn::None];

    /// Returns the name in flags.
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

/// Format version of `report.json`; incremented by incompatible changes.
pub const FORMAT: u32 = 3;

/// All results of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Format version: [`FORMAT`].
    pub format: u32,
    /// Whether the run completed.
    pub complete: bool,
    /// Machine, program and start time of the run.
    pub environment: Environment,
    /// Description of the benchmark plan.
    pub plan: String,
    /// Random seed of the run.
    pub seed: u64,
    /// Results, one entry per server.
    pub servers: Vec<ServerResult>,
}

/// All results of one server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerResult {
    /// Name of the server.
    #[serde(rename = "server")]
    pub name: String,
    /// Aliases `server1` to `server4` that name this server or its pattern, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// Command line of the tested server.
    pub command: String,
    /// Whether the server is external to this project.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// Description of the declared contract.
    pub contract: String,
    /// Description of the detected concurrency model, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<String>,
    /// Reason why the server cannot run on this machine, if so. It has neither passed nor failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
    /// Results of the test cases.
    pub cases: Vec<CaseResult>,
    /// Duration of all test cases in milliseconds, if recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// Command line of the benchmarked server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_command: Option<String>,
    /// Measurements, one per workload.
    pub measurements: Vec<Measurement>,
    /// Workloads that were not measured, with the reasons.
    pub not_measured: Vec<String>,
    /// Reason why a measurement failed, if one did.
    pub problem: Option<String>,
}

impl Report {
    /// Iterates over the case results of all servers.
    pub fn judgements(&self) -> impl Iterator<Item = &CaseResult> {
        self.servers.iter().flat_map(|server| &server.cases)
    }

    /// Returns whether no case and no measurement needs attention.
    pub fn is_fine(&self) -> bool {
        self.judgements().all(CaseResult::is_fine) && self.problems().next().is_none()
    }

    /// Returns the exit code of the program: 3 if the harness failed in a case, otherwise 1 if a
    /// criterion of `fail_on` is met, otherwise 0.
    pub fn exit_code(&self, fail_on: &[FailOn]) -> u8 {
        if self.judgements().any(|judgement| judgement.state == State::HarnessError) {
            3
        } else {
            u8::from(fail_on.iter().any(|one| one.is_met(self)))
        }
    }

    /// Iterates over the problems of all measurements, server by server.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        self.servers.iter().flat_map(ServerResult::problems)
    }

    /// Returns the known failures, with their servers.
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

    /// Returns the servers that could run.
    pub(super) fn run(&self) -> Vec<&ServerResult> {
        self.servers.iter().filter(|server| server.not_run.is_none()).collect()
    }

    /// Iterates over the servers that could not run on this machine, with the reasons.
    pub fn not_run(&self) -> impl Iterator<Item = (&ServerResult, &str)> {
        self.servers.iter().filter_map(|server| Some((server, server.not_run.as_deref()?)))
    }

    /// Returns the names and requirements of all cases, in order of first occurrence.
    pub(super) fn case_names(&self) -> Vec<(&'static str, &'static str)> {
        let mut names = Vec::new();
        for judgement in self.judgements() {
            if !names.iter().any(|(name, _)| *name == judgement.name) {
                names.push((judgement.name, judgement.requirement));
            }
        }
        names
    }

    /// Returns the names of all workloads, in order of first occurrence.
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
    /// Returns the results of a server without measurements. `cases` is empty if the server
    /// cannot run.
    pub fn new(spec: &LaunchSpec, cases: Vec<CaseResult>) -> ServerResult {
        ServerResult {
            name: spec.name.clone(),
            original: spec.original.clone(),
            command: spec.shown.clone(),
            foreign: spec.original.is_none() && servers::find(&spec.name).is_none(),
            contract: spec.contract.words(),
            mechanism: cases.iter().find_map(CaseResult::mechanism),
            not_run: spec.unavailable.clone(),
            cases,
            took_ms: None,
            measured_command: None,
            measurements: Vec::new(),
            not_measured: Vec::new(),
            problem: None,
        }
    }

    /// Returns whether no case and no measurement needs attention.
    pub fn is_fine(&self) -> bool {
        self.cases.iter().all(CaseResult::is_fine) && self.problems().next().is_none()
    }

    pub(crate) fn label(&self) -> String {
        match &self.original {
            Some(original) => format!("{} ({original})", self.name),
            None => self.name.clone(),
        }
    }

    /// Iterates over the problems of the server's measurements.
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
