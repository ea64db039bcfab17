//! The fault of a failed case, and its severity.

use std::mem;

use super::descriptions::{self, EXPLANATIONS, Explanation};
use super::severity::Severity;
use crate::results::{CaseResult, Fault, Level, Provocation, State};

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

/// Joins each group whose failures are all explained by a failure of another group with that group.
pub(super) fn explained(mut groups: Vec<Vec<&CaseResult>>) -> Vec<Vec<&CaseResult>> {
    for at in (0..groups.len()).rev() {
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

/// Returns whether a failure of the group explains the result, which is not one of the group.
fn explains(group: &[&CaseResult], result: &CaseResult) -> bool {
    result.provoked.is_none()
        && EXPLANATIONS.iter().any(|it| {
            it.has_effect(&result.name, fault(result))
                && group.iter().any(|other| it.has_cause(&other.name, fault(other)))
        })
}

/// Returns whether a failure of the group explains this result of the group.
pub(super) fn is_explained(group: &[&CaseResult], result: &CaseResult) -> bool {
    let others: Vec<&CaseResult> =
        group.iter().copied().filter(|other| other.name != result.name).collect();
    explains(&others, result)
}

/// Returns the results of a group that no failure of the group explains.
pub(super) fn unexplained<'j>(group: &[&'j CaseResult]) -> Vec<&'j CaseResult> {
    group.iter().copied().filter(|result| !is_explained(group, result)).collect()
}

/// Returns the cause that all results of the group share, if an explanation has one.
pub(super) fn shared_cause(group: &[&CaseResult]) -> Option<&'static str> {
    let is_shared = |it: &&Explanation| {
        group.len() > 1 && group.iter().all(|result| it.has_effect(&result.name, fault(result)))
    };
    EXPLANATIONS.iter().filter(is_shared).find_map(|it| it.likely_cause)
}

/// Returns whether no case of a group is required.
pub(super) fn is_hardening(group: &[&CaseResult]) -> bool {
    group.iter().all(|result| result.level == Level::Hardening)
}

/// Returns the highest severity of a group.
pub(super) fn highest_severity(group: &[&CaseResult]) -> Severity {
    let severities = group.iter().map(|result| severity(result));
    severities.min().unwrap_or(Severity::Minor)
}
