//! All results of a run: the content of `report.json`.

use serde::{Deserialize, Serialize};

use super::case_result::CaseResult;
use super::concurrency_model::ConcurrencyModel;
use super::known_failure::KnownFailure;
use super::launch_findings::LaunchFindings;
use super::measurement::Measurement;
use super::overload::{Overload, OverloadOutcome};
use super::start_state::StartState;
use super::verdict::Kind;
use crate::environment::Environment;

/// Format version of `report.json`; incremented by incompatible changes.
pub const FORMAT: u32 = 5;

/// All results of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// Format version: [`FORMAT`].
    #[cfg_attr(test, schemars(extend("const" = FORMAT)))]
    pub format: u32,
    /// Whether the run completed.
    pub complete: bool,
    /// Machine, program and start time of the run.
    pub environment: Environment,
    /// Description of the benchmark plan.
    pub plan: String,
    /// Random seed of the run.
    pub seed: u64,
    /// Duration of the run so far, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// Number of other reports that were merged into this one. Environment and seed are those of
    /// the first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub merged_reports: usize,
    /// Results, one entry per server.
    pub servers: Vec<ServerResult>,
}

/// All results of one server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServerResult {
    /// Name of the server.
    pub name: String,
    /// The alias of this server or its pattern (`server1` to `server4`), if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Command line of the tested server.
    pub command: String,
    /// Whether this is an external server: not built in.
    pub external: bool,
    /// Group of related server patterns; `None` for an external server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Declared service of the tested server: `calc` or `echo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Description of the declared contract.
    pub contract: String,
    /// Declared connection limit of the tested server, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<usize>,
    /// Declared handling of a connection over the limit, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_full: Option<OverloadOutcome>,
    /// Detected concurrency model, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_model: Option<ConcurrencyModel>,
    /// Round-trip time to the server in microseconds, if the harness did not launch it: the
    /// shortest time in which a connection was established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<u64>,
    /// State in which the server was started; `None` if it already ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_state: Option<StartState>,
    /// What the harness found when it first launched the server, if the server listened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<LaunchFindings>,
    /// Reason why the server cannot run on this machine, if it cannot. Such a server has neither
    /// passed nor failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
    /// Results of the test cases.
    pub cases: Vec<CaseResult>,
    /// Duration of all test cases in milliseconds, if recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Command line of the benchmarked server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_command: Option<String>,
    /// Declared connection limit of the benchmarked server, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_capacity: Option<usize>,
    /// Measurements, one per workload.
    pub measurements: Vec<Measurement>,
    /// Workloads that were not measured, with the reasons.
    #[serde(default)]
    pub not_measured: Vec<NotMeasured>,
    /// Reason why a measurement failed, if a measurement failed.
    pub problem: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A workload that was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NotMeasured {
    /// Name of the workload.
    pub workload: String,
    /// The reason in two or three words, for a table.
    pub short: String,
    /// Reason why it was not measured.
    pub reason: String,
}

impl std::fmt::Display for NotMeasured {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}: {}", self.workload, self.reason)
    }
}

impl Report {
    /// Returns whether both are of one run. Two runs cannot start on one machine in the same second
    /// with the same command and seed, except if the seed is set.
    pub(crate) fn is_same_run(&self, other: &Report) -> bool {
        self.environment == other.environment && self.seed == other.seed && self.plan == other.plan
    }

    /// Iterates over the case results of all servers.
    pub fn results(&self) -> impl Iterator<Item = &CaseResult> {
        self.servers.iter().flat_map(|server| &server.cases)
    }

    /// Returns whether every case result is [fine](CaseResult::is_fine), and no measurement has a
    /// problem.
    pub fn is_fine(&self) -> bool {
        self.results().all(CaseResult::is_fine) && self.problems().next().is_none()
    }

    /// Removes the evidence of results that need no attention.
    pub(crate) fn without_evidence_of_success(mut self) -> Report {
        for result in self.servers.iter_mut().flat_map(|server| &mut server.cases) {
            result.remove_evidence_of_success();
        }
        self
    }

    /// Iterates over the problems of all measurements, server by server.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        self.servers.iter().flat_map(ServerResult::problems)
    }

    /// Returns the known failures, with their servers.
    pub(crate) fn known_failures(&self) -> Vec<(&ServerResult, &CaseResult, &KnownFailure)> {
        let mut found = Vec::new();
        for server in &self.servers {
            for result in &server.cases {
                if let (Kind::Known, Some(known)) = (result.kind(), &result.known_failure) {
                    found.push((server, result, known));
                }
            }
        }
        found
    }

    /// Returns the servers that could run.
    pub(crate) fn servers_run(&self) -> Vec<&ServerResult> {
        self.servers.iter().filter(|server| server.not_run.is_none()).collect()
    }

    /// Iterates over the servers that could not run on this machine, with the reasons.
    pub fn servers_not_run(&self) -> impl Iterator<Item = (&ServerResult, &str)> {
        self.servers.iter().filter_map(|server| Some((server, server.not_run.as_deref()?)))
    }

    /// Returns the names and requirements of all cases, in order of first occurrence.
    pub(crate) fn case_names(&self) -> Vec<(&str, &str)> {
        let mut names: Vec<(&str, &str)> = Vec::new();
        for result in self.results() {
            if !names.iter().any(|(name, _)| *name == result.name) {
                names.push((&result.name, &result.requirement));
            }
        }
        names
    }

    /// Returns the names of all workloads, in order of first occurrence.
    pub(crate) fn workloads(&self) -> Vec<&str> {
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
    /// Returns whether every case result is [fine](CaseResult::is_fine), and no measurement has a
    /// problem.
    pub fn is_fine(&self) -> bool {
        self.cases.iter().all(CaseResult::is_fine) && self.problems().next().is_none()
    }

    pub(crate) fn label(&self) -> String {
        match &self.alias {
            Some(alias) => format!("{} ({alias})", self.name),
            None => self.name.clone(),
        }
    }

    /// Returns what happened to a connection over the limit, with the case that observed it.
    pub(crate) fn overload(&self) -> Option<(&Overload, &CaseResult)> {
        self.cases.iter().find_map(|result| Some((result.overload.as_ref()?, result)))
    }

    /// Returns what happens to a connection over the limit: the observation, otherwise the
    /// declaration.
    pub(crate) fn overload_outcome(&self) -> Option<OverloadOutcome> {
        self.overload().map(|(overload, _)| overload.outcome).or(self.when_full)
    }

    /// Iterates over the problems of the server's measurements.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        let own = self.problem.iter().map(|problem| format!("{}: {problem}", self.name));
        let measured = self.measurements.iter().filter_map(|measurement| {
            let problem = measurement.problem()?;
            Some(format!("{} under {}: {problem}", self.name, measurement.workload))
        });
        own.chain(measured)
    }

    pub(crate) fn result(&self, case: &str) -> Option<&CaseResult> {
        self.cases.iter().find(|result| result.name == case)
    }

    pub(crate) fn measurement(&self, workload: &str) -> Option<&Measurement> {
        self.measurements.iter().find(|measurement| measurement.workload == workload)
    }
}
