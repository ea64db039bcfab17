//! Circumstances that limit a comparison of reports.

use std::fmt;

use serde::Serialize;

use super::side::Side;
use crate::figures::count;

/// A circumstance that limits a comparison. Its text is its [`Display`](fmt::Display).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Note {
    /// The reports are of several machines or builds.
    DifferentMachines {
        /// Descriptions of machines and builds.
        machines: Vec<String>,
        /// Whether the figures were compared nevertheless.
        compared: bool,
    },
    /// The reports have several benchmark plans.
    DifferentPlans {
        /// Descriptions of the plans.
        plans: Vec<String>,
    },
    /// A side has the same report twice. It counts once.
    DuplicateReport {
        /// Side of the report.
        side: Side,
        /// Start of the run.
        started_at: String,
    },
    /// A report is of an interrupted run.
    IncompleteReport {
        /// Side of the report.
        side: Side,
        /// Start of the run.
        started_at: String,
    },
    /// A figure differs, and all old runs were before or after all new runs. So a change of the
    /// machine between them looks like a difference.
    NotAlternating,
    /// A workload had other numbers of connections, so its figures were not compared.
    DifferentConnections {
        /// Name of the server.
        server: String,
        /// Name of the workload.
        workload: String,
        /// Number of connections in the old reports.
        old: usize,
        /// Number of connections in the new reports.
        new: usize,
    },
    /// A measurement has a fault of the server on one side only.
    FaultyMeasurement {
        /// Name of the server.
        server: String,
        /// Name of the workload.
        workload: String,
        /// Side with the fault.
        side: Side,
        /// Description of the fault.
        problem: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::DifferentMachines { machines, compared: false } => write!(
                to,
                "the reports are of different machines or builds, so times and memory are not \
                 compared (--allow-different-machines compares them): {}",
                machines.join("; ")
            ),
            Note::DifferentMachines { machines, compared: true } => write!(
                to,
                "the reports are of different machines or builds, so a difference may be that of \
                 the machines: {}",
                machines.join("; ")
            ),
            Note::DifferentPlans { plans } => {
                write!(to, "the reports have different plans: {}", plans.join("; "))
            }
            Note::DuplicateReport { side, started_at } => {
                write!(
                    to,
                    "the {} report of {started_at} is given twice; it counts once",
                    side.name()
                )
            }
            Note::IncompleteReport { side, started_at } => {
                write!(to, "the {} report of {started_at} is incomplete", side.name())
            }
            Note::NotAlternating => to.write_str(
                "the old and the new runs do not alternate, so a difference may be a change of the \
                 machine between them",
            ),
            Note::DifferentConnections { server, workload, old, new } => {
                let [old, new] = [old, new].map(|it| count(*it as f64));
                write!(
                    to,
                    "{server} {workload}: {old} connections in the old reports, {new} in the new, \
                     so its figures are not compared"
                )
            }
            Note::FaultyMeasurement { server, workload, side, problem } => {
                let side = side.name();
                write!(to, "{server} {workload}: faulty in the {side} reports only: {problem}")
            }
        }
    }
}
