//! The fault of a failed case, and its severity.

use std::mem;

use super::descriptions;
use super::severity::Severity;
use crate::results::{CaseResult, Fault, Provocation, State};

/// Returns the severity of a failed case.
pub(super) fn severity(result: &CaseResult) -> Severity {
    match &result.provoked {
        // A client can make the server exit at any time, unless the server never replies.
        Some(provoked) if provoked.provocation == Provocation::Request => Severity::NoReply,
        Some(_) => Severity::Outage,
        None => descriptions::severity(&result.name, fault(result)).unwrap_or(Severity::Minor),
    }
}

/// Returns the fault of a failed case. Earlier versions of the harness recorded only that the server
/// exited.
pub(super) fn fault(result: &CaseResult) -> Fault {
    match (result.fault, result.state, result.exit) {
        (Fault::Requirement, State::Crash, Some(_)) => Fault::Exits,
        (fault, ..) => fault,
    }
}

/// Moves cases with random input to the group of a case that names the cause, if one failed.
pub(super) fn explained(mut groups: Vec<Vec<&CaseResult>>) -> Vec<Vec<&CaseResult>> {
    for at in (0..groups.len()).rev() {
        let explains = |group: &Vec<&CaseResult>, result: &CaseResult| {
            let specific = descriptions::more_specific(&result.name);
            result.provoked.is_none()
                && group.iter().any(|other| specific.contains(&other.name.as_str()))
        };
        let explaining = (0..groups.len()).find(|&other| {
            other != at && groups[at].iter().all(|result| explains(&groups[other], result))
        });
        if let Some(explaining) = explaining {
            let group = mem::take(&mut groups[at]);
            groups[explaining].extend(group);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// Returns the highest severity of a group.
pub(super) fn highest_severity(group: &[&CaseResult]) -> Severity {
    let severities = group.iter().map(|result| severity(result));
    severities.min().unwrap_or(Severity::Minor)
}
