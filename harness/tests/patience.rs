//! Servers that free their connection slots late, machines that are overloaded, and servers that are
//! far away: none of these is a fault of the server.

use std::path::Path;
use std::process::Command;

use harness::results::{CaseResult, Kind, Report};
use libtest_mimic::Failed;

use crate::common::{self, Test};

pub(crate) fn tests() -> Vec<Test> {
    LATE_SLOTS
        .iter()
        .map(|&(rejection, arguments)| {
            let name = format!("a_slot_that_is_freed_late::{rejection}::is_waited_for");
            Test::new(name, move || a_late_slot_is_waited_for(arguments)).needing("python3")
        })
        .collect()
}

/// What happens to a client of the full server, and the arguments of `late_slot.py`.
const LATE_SLOTS: &[(&str, &str)] = &[
    ("waits", "queue"),
    ("is_refused", "refused"),
    ("is_reset", "reset"),
    ("is_closed", "closed"),
    ("gets_a_busy_line", "line 'error: busy'"),
    ("gets_an_undeclared_line", "line 'no slot is free'"),
];

/// The cases in which a client connects after another one has left.
const CASES_AFTER_ANOTHER_CLIENT: &[&str] = &[
    "contract/capacity",
    "disconnects/",
    "framing/random-cuts",
    "isolation/churn",
    "isolation/schedules",
    "leaks/close-wait",
    "malformed/",
    "refusal/storm",
    "results/deterministic",
    "startup/port-taken",
];

/// Number of checks. Each has other delays.
const CHECKS: usize = 2;

fn path(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/patience").join(file).display().to_string()
}

/// Runs a check, and returns the results of the server's cases.
fn check(arguments: &[&str]) -> Result<Vec<CaseResult>, Failed> {
    let folder = tempfile::tempdir()?;
    let mut command = common::harness();
    command.arg("check").args(arguments);
    results(command, folder.path())
}

/// Runs a check command with its report in `folder`, and returns the results of its last server.
fn results(mut command: Command, folder: &Path) -> Result<Vec<CaseResult>, Failed> {
    let output = command
        .arg("--output")
        .arg(folder.join("report"))
        .arg("--counterexamples")
        .arg(folder.join("counterexamples"))
        .output()?;
    let mut report = Report::read(&folder.join("report/report.json"))
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(report.servers.pop().ok_or("the report has no server")?.cases)
}

/// Requires that no case failed or is inconclusive.
fn expect_judged(results: &[CaseResult]) -> Result<(), Failed> {
    let others: Vec<String> = results
        .iter()
        .filter(|it| matches!(it.found(), Kind::Fail | Kind::Inconclusive))
        .map(|it| format!("{} {}: {}", it.label(), it.name, it.observed))
        .collect();
    if others.is_empty() { Ok(()) } else { Err(others.join("\n").into()) }
}

fn a_late_slot_is_waited_for(arguments: &str) -> Result<(), Failed> {
    let command = format!("python3 -S -E {} {{host}} {{port}} {arguments}", path("late_slot.py"));
    let cases = CASES_AFTER_ANOTHER_CLIENT.iter().flat_map(|&case| ["--case", case]);
    let flags: Vec<&str> =
        ["--cmd", &command, "--service", "echo"].into_iter().chain(cases).collect();
    for _ in 0..CHECKS {
        expect_judged(&check(&flags)?)?;
    }
    Ok(())
}
