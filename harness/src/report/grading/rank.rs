//! The fault of a failed case, and its severity.

use super::descriptions;
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

/// Returns the fault of a failed case. Earlier versions of the harness recorded only that the
/// server exited.
pub(super) fn fault(result: &CaseResult) -> Fault {
    match (result.fault, result.state, result.exit) {
        (Fault::Requirement, State::Crash, Some(_)) => Fault::Exits,
        (fault, ..) => fault,
    }
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
