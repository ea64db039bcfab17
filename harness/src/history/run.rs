//! A line of a history file: the main figures of one run.

use serde::{Deserialize, Serialize};

use crate::environment::Machine;
use crate::results::{Kind, Measurement, Report, ServerResult};

/// Format version of a line; incremented by incompatible changes.
pub const FORMAT: u32 = 1;

/// The main figures of a run: a line of a history file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Format version: [`FORMAT`].
    pub format: u32,
    /// Start of the run, in UTC.
    pub started_at: String,
    /// Commit of the working directory, if known.
    pub commit: Option<String>,
    /// The machine.
    pub machine: Machine,
    /// Build profile of the harness: `debug` or `release`.
    pub build: String,
    /// Description of the benchmark plan.
    pub plan: String,
    /// Random seed of the run.
    pub seed: u64,
    /// The servers.
    pub servers: Vec<ServerFigures>,
}

/// The main figures of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerFigures {
    /// Name of the server.
    pub name: String,
    /// Number of cases with the verdict `pass`.
    pub passed: usize,
    /// Number of failed cases, without known failures.
    pub failed: usize,
    /// Number of inconclusive cases.
    pub inconclusive: usize,
    /// The workloads.
    #[serde(default)]
    pub workloads: Vec<WorkloadFigures>,
}

/// The main figures of a server under a workload. A figure that is not known is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadFigures {
    /// Name of the workload.
    pub name: String,
    /// Correct replies per second.
    pub throughput_per_s: f64,
    /// Median latency from the scheduled time, in nanoseconds.
    pub p50_ns: Option<u64>,
    /// 99th percentile of the latency from the scheduled time, in nanoseconds.
    pub p99_ns: Option<u64>,
    /// CPU time of the server per correct reply, in nanoseconds.
    pub server_cpu_ns_per_request: Option<u64>,
    /// Memory per idle connection, in bytes.
    pub memory_per_connection_bytes: Option<u64>,
    /// Number of runs that the figures summarize.
    pub runs: usize,
}

impl Run {
    /// Returns the main figures of a report.
    pub fn of(report: &Report) -> Run {
        let environment = &report.environment;
        Run {
            format: FORMAT,
            started_at: environment.started_at.clone(),
            commit: environment.commit.clone(),
            machine: environment.machine(),
            build: environment.build.clone(),
            plan: report.plan.clone(),
            seed: report.seed,
            servers: report.servers_run().into_iter().map(ServerFigures::of).collect(),
        }
    }

    /// Returns whether both lines are of the same run: same start, commit and machine.
    pub fn is_same_run(&self, other: &Run) -> bool {
        (&self.started_at, &self.commit, &self.machine)
            == (&other.started_at, &other.commit, &other.machine)
    }

    /// Returns whether figures of both runs can be compared: the machines are alike, and the builds
    /// equal.
    pub(super) fn is_comparable(&self, other: &Run) -> bool {
        self.machine.is_like(&other.machine) && self.build == other.build
    }
}

impl ServerFigures {
    fn of(server: &ServerResult) -> ServerFigures {
        let count = |kind| server.cases.iter().filter(|it| it.kind() == kind).count();
        ServerFigures {
            name: server.name.clone(),
            passed: count(Kind::Pass),
            failed: count(Kind::Fail),
            inconclusive: count(Kind::Inconclusive),
            workloads: server.measurements.iter().map(WorkloadFigures::of).collect(),
        }
    }
}

impl WorkloadFigures {
    fn of(measurement: &Measurement) -> WorkloadFigures {
        let idle = measurement.idle_connections.as_ref();
        WorkloadFigures {
            name: measurement.workload.clone(),
            throughput_per_s: measurement.throughput_per_s,
            p50_ns: measurement.latency_intended_ns.p50,
            p99_ns: measurement.latency_intended_ns.p99,
            server_cpu_ns_per_request: measurement.server_cpu_ns_per_request(),
            memory_per_connection_bytes: idle.map(|it| it.memory_per_connection_bytes),
            runs: measurement.runs.len(),
        }
    }
}
