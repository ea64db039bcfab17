//! Verdicts that differ between two sets of reports.

use serde::Serialize;

use super::side::Side;
use super::sides::Sides;
use crate::results::{CaseResult, Kind, ServerResult};

/// Effect of a changed verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The case was fine and is no longer fine.
    Worse,
    /// The case is fine now and was not.
    Better,
    /// The case was fine and still is, or was not fine and still is not.
    Other,
}

/// A case of a server with another verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedVerdict {
    /// Name of the server.
    pub server: String,
    /// Name of the case.
    pub case: String,
    /// Old verdict, as in reports: `pass`, `fail (hang)`.
    pub old: String,
    /// New verdict.
    pub new: String,
    /// Effect of the change.
    pub effect: Effect,
    /// The observed behaviour in the new reports.
    pub observed: String,
}

/// A server, case or workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
pub enum Item {
    /// The whole server.
    Server,
    /// A case. A case that does not apply to the server was not run.
    Case(String),
    /// A workload.
    Workload(String),
}

/// A server, case or workload with results on one side only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unmatched {
    /// Name of the server.
    pub server: String,
    /// The server, or its case or workload.
    pub item: Item,
    /// Side that has the results.
    pub only_in: Side,
    /// Reason why the other side has none, if known.
    pub reason: Option<String>,
}

/// Compares the verdicts, and finds what has results on one side only.
pub(super) fn compare(
    sides: &Sides,
    changed: &mut Vec<ChangedVerdict>,
    same: &mut usize,
    unmatched: &mut Vec<Unmatched>,
) {
    for pair in sides.pairs() {
        let [Some(old), Some(new)] = pair else {
            unmatched.extend(missing_server(pair));
            continue;
        };
        if [old, new].iter().any(|server| server.not_run.is_some()) {
            unmatched.extend(server_not_run([old, new]));
            continue;
        }
        for result in old.cases.iter().filter(|it| was_run(it)) {
            match new.result(&result.name).filter(|it| was_run(it)) {
                None => unmatched.push(unmatched_case([old, new], result, Side::Old)),
                Some(other) if result.kind() == other.kind() => *same += 1,
                Some(other) => changed.push(ChangedVerdict {
                    server: old.name.clone(),
                    case: result.name.clone(),
                    old: result.label(),
                    new: other.label(),
                    effect: effect([result, other]),
                    observed: other.observed_with_causes(),
                }),
            }
        }
        let is_new = |it: &&CaseResult| was_run(it) && !old.result(&it.name).is_some_and(was_run);
        let new_cases = new.cases.iter().filter(is_new);
        unmatched.extend(new_cases.map(|it| unmatched_case([old, new], it, Side::New)));
        unmatched.extend(unmatched_workloads([old, new]));
    }
}

/// Returns whether the case was run: its contract does not rule it out.
fn was_run(result: &CaseResult) -> bool {
    !matches!(result.found(), Kind::NotApplicable)
}

fn effect([old, new]: [&CaseResult; 2]) -> Effect {
    match (old.is_fine(), new.is_fine()) {
        (true, false) => Effect::Worse,
        (false, true) => Effect::Better,
        _ => Effect::Other,
    }
}

fn missing_server(pair: [Option<&ServerResult>; 2]) -> Option<Unmatched> {
    let index = pair.iter().position(Option::is_some)?;
    let server = pair[index].filter(|server| server.not_run.is_none())?;
    let only_in = Side::ALL[index];
    Some(Unmatched { server: server.name.clone(), item: Item::Server, only_in, reason: None })
}

/// Returns the server as unmatched if it could run on one side only.
fn server_not_run(pair: [&ServerResult; 2]) -> Option<Unmatched> {
    let index = pair.iter().position(|server| server.not_run.is_none())?;
    let reason = pair[1 - index].not_run.clone();
    let only_in = Side::ALL[index];
    Some(Unmatched { server: pair[0].name.clone(), item: Item::Server, only_in, reason })
}

fn unmatched_case(pair: [&ServerResult; 2], result: &CaseResult, only_in: Side) -> Unmatched {
    let other = pair[1 - only_in as usize].result(&result.name);
    Unmatched {
        server: pair[0].name.clone(),
        item: Item::Case(result.name.clone()),
        only_in,
        // A case that does not apply has the reason in its observation.
        reason: other.map(|other| other.observed.clone()),
    }
}

fn unmatched_workloads(pair: [&ServerResult; 2]) -> impl Iterator<Item = Unmatched> {
    Side::ALL.into_iter().flat_map(move |only_in| {
        let [with, without] = [pair[only_in as usize], pair[1 - only_in as usize]];
        let is_missing = |workload: &str| without.measurement(workload).is_none();
        let missing = with.measurements.iter().filter(move |it| is_missing(&it.workload));
        missing.map(move |measurement| {
            let is_named = |workload: &str| workload == measurement.workload;
            let ruled_out = without.not_measured.iter().find(|it| is_named(&it.workload));
            let reason = ruled_out.map(|it| it.reason.clone()).or_else(|| without.problem.clone());
            Unmatched {
                server: with.name.clone(),
                item: Item::Workload(measurement.workload.clone()),
                only_in,
                reason,
            }
        })
    })
}
