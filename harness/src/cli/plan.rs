//! Benchmark plans of `harness run` and `harness bench`.

use std::time::Duration;

use clap::ValueEnum;

use crate::load::{Plan, WorkloadSet};

/// A benchmark plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanName {
    /// A smoke test: 100 ms per workload, 1,000 idle connections. `harness run` runs only the
    /// workloads `closed-1`, `closed-8`, `closed-64`, `open-constant` and `idle-memory`.
    Quick,
    /// For a first impression of all servers: as `quick`, but 250 ms per workload. `harness run`
    /// takes less than 2 minutes.
    Standard,
    /// For all figures and curves of the report: every server with both services, the workloads
    /// that the report shows, 3 rounds of 500 ms each in random order, 10,000 idle connections.
    /// `harness run` takes up to 45 minutes, and --resume continues an interrupted run.
    Reference,
    /// For published results: all workloads, 10 s each, with 10,000 idle connections. Each workload
    /// runs on a newly launched server.
    Thorough,
}

impl PlanName {
    /// Returns the plan of this name.
    pub fn plan(self) -> Plan {
        let short = Plan {
            warm_up: Duration::from_millis(50),
            duration: Duration::from_millis(250),
            idle_connections: 1_000,
            workloads: WorkloadSet::Common,
            rounds: 1,
            relaunches: false,
        };
        match self {
            PlanName::Quick => Plan { duration: Duration::from_millis(100), ..short },
            PlanName::Standard => short,
            PlanName::Reference => Plan {
                warm_up: Duration::from_millis(100),
                duration: Duration::from_millis(500),
                idle_connections: 10_000,
                workloads: WorkloadSet::Figures,
                rounds: 3,
                relaunches: true,
            },
            PlanName::Thorough => Plan {
                warm_up: Duration::from_secs(1),
                duration: Duration::from_secs(10),
                idle_connections: 10_000,
                workloads: WorkloadSet::All,
                rounds: 1,
                relaunches: true,
            },
        }
    }

    /// Formats the plan's name and the duration of each measurement.
    pub fn description(self) -> String {
        self.description_of(self.plan())
    }

    /// Formats the plan's name and the duration of each measurement in `plan`.
    pub fn description_of(self, plan: Plan) -> String {
        let name = match self {
            PlanName::Quick => "quick",
            PlanName::Standard => "standard",
            PlanName::Reference => "reference",
            PlanName::Thorough => "thorough",
        };
        let rounds =
            if plan.rounds > 1 { format!("{} rounds of ", plan.rounds) } else { String::new() };
        format!("{name} plan: {rounds}{} each", humantime::format_duration(plan.duration))
    }
}
