//! Benchmark plans of `harness run` and `harness bench`.

use std::time::Duration;

use clap::ValueEnum;

use crate::load::Plan;

/// A benchmark plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanName {
    /// A smoke test: 100 ms per workload, 1,000 idle connections. `harness run` runs only the
    /// workloads `closed-1`, `closed-8`, `closed-64`, `open-constant` and `idle-memory`.
    Quick,
    /// For a first impression of all servers: as `quick`, but 250 ms per workload. `harness run`
    /// takes less than 2 minutes.
    Standard,
    /// For published results: all workloads, 10 s each, with 10,000 idle connections. Each workload
    /// runs on a newly launched server.
    Thorough,
}

impl PlanName {
    /// Returns the plan of this name.
    pub fn plan(self) -> Plan {
        let (warm_up, duration, idle_connections, is_short) = match self {
            PlanName::Quick => (50, 100, 1_000, true),
            PlanName::Standard => (50, 250, 1_000, true),
            PlanName::Thorough => (1_000, 10_000, 10_000, false),
        };
        let [warm_up, duration] = [warm_up, duration].map(Duration::from_millis);
        Plan { warm_up, duration, idle_connections, is_short }
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
            PlanName::Thorough => "thorough",
        };
        format!("{name} plan: {} each", humantime::format_duration(plan.duration))
    }
}
