//! Severity of faults.

use serde::Serialize;

use crate::results::{CaseResult, State};

/// Severity of a fault for the users of the server. The variants are ordered, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The server does not run or does not reply, so that nothing else can be tested.
    NoReply,
    /// The server returns wrong results.
    WrongResults,
    /// A client can run code on the server's host, and so can cause all faults below.
    CodeExecution,
    /// One client can crash or block the server for all clients.
    Outage,
    /// A client gets no reply, or the reply to another client's request.
    LostReplies,
    /// One client degrades the service for others.
    AffectsOthers,
    /// The server violates its declared contract.
    ContractViolation,
    /// The server leaks resources, so that it cannot run for long.
    ResourceLeak,
    /// A fault at startup or shutdown, which affects the operator of the server.
    StartupOrShutdown,
    /// Minor faults.
    Minor,
}

impl Severity {
    /// Returns the name of this severity in reports.
    pub fn label(self) -> &'static str {
        match self {
            Severity::NoReply => "the server does not run or does not reply",
            Severity::WrongResults => "wrong results",
            Severity::CodeExecution => "a client can run code on the host",
            Severity::Outage => "one client can crash or block the server",
            Severity::LostReplies => "replies are lost or mixed up",
            Severity::AffectsOthers => "one client affects others",
            Severity::ContractViolation => "the contract is violated",
            Severity::ResourceLeak => "resource leak",
            Severity::StartupOrShutdown => "startup and shutdown",
            Severity::Minor => "minor fault",
        }
    }
}

/// Severity by name prefix and state of the case (`None`: any state). The first match applies.
///
/// A crash has its own severity, whatever the topic of the case. Exceptions are the cases of
/// startup, shutdown and descriptor exhaustion, because not every client can cause these
/// conditions.
#[rustfmt::skip]
const RANKS: &[(&str, Option<State>, Severity)] = &[
    ("framing/single", None, Severity::NoReply),
    ("framing/one-line", None, Severity::NoReply),
    ("startup/listens-in-time", None, Severity::NoReply),
    ("startup/", None, Severity::StartupOrShutdown),
    ("shutdown/", None, Severity::StartupOrShutdown),
    ("exhaustion/", None, Severity::AffectsOthers),
    ("malformed/injection", Some(State::Completed), Severity::CodeExecution),
    ("", Some(State::Crash), Severity::Outage),
    // A leak affects clients only after a long time, whichever case detects it.
    ("", Some(State::Leak), Severity::ResourceLeak),
    ("leaks/", None, Severity::ResourceLeak),
    // No reply to the only client: the connection or the server is stuck.
    ("results/", Some(State::Hang), Severity::Outage),
    ("malformed/", Some(State::Hang), Severity::Outage),
    ("oversize/endless-beside", None, Severity::AffectsOthers),
    ("oversize/", Some(State::Hang), Severity::Outage),
    ("results/", None, Severity::WrongResults),
    ("framing/", None, Severity::LostReplies),
    ("malformed/escapes", None, Severity::Minor),
    ("malformed/", None, Severity::LostReplies),
    ("oversize/", None, Severity::LostReplies),
    // With `State::Completed`, a client got the reply to another client. Otherwise another client blocked
    // it.
    ("isolation/own-answers", Some(State::Completed), Severity::LostReplies),
    ("isolation/", None, Severity::AffectsOthers),
    ("back-pressure/slow-reader", None, Severity::LostReplies),
    ("back-pressure/", None, Severity::AffectsOthers),
    ("fairness/", None, Severity::AffectsOthers),
    ("disconnects/half-close", None, Severity::LostReplies),
    ("disconnects/fin-frees-descriptor", None, Severity::ResourceLeak),
    ("disconnects/", None, Severity::AffectsOthers),
    ("refusal/connected-clients-unaffected", None, Severity::AffectsOthers),
    ("refusal/storm", None, Severity::AffectsOthers),
    ("refusal/", None, Severity::ContractViolation),
    ("timeouts/idle", None, Severity::ContractViolation),
    ("timeouts/activity", None, Severity::ContractViolation),
    ("timeouts/", None, Severity::AffectsOthers),
    ("contract/", None, Severity::ContractViolation),
    ("wire/", None, Severity::ContractViolation),
];

/// Returns the severity of a failed case.
pub(super) fn severity(result: &CaseResult) -> Severity {
    if failed_to_launch(result) {
        return Severity::NoReply;
    }
    rank(&result.name, result.state).unwrap_or(Severity::Minor)
}

fn rank(case: &str, state: State) -> Option<Severity> {
    let matches = |(prefix, required, _): &&(&str, Option<State>, Severity)| {
        case.starts_with(prefix) && required.is_none_or(|required| required == state)
    };
    RANKS.iter().find(matches).map(|&(_, _, severity)| severity)
}

/// `expected` in the result of a case whose server could not be launched.
const EXPECTED_LISTENER: &str = "a server that listens";

/// Returns whether the server failed before a client could connect.
pub(super) fn failed_to_launch(result: &CaseResult) -> bool {
    result.transcript.is_empty() && result.expected == EXPECTED_LISTENER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Failure, cases};
    use crate::server::LaunchError;

    #[test]
    fn every_case_has_a_rank_in_every_state() {
        for case in cases() {
            for state in [State::Completed, State::Hang, State::Crash, State::Leak] {
                assert!(rank(case.name, state).is_some(), "{} {state:?}", case.name);
            }
        }
    }

    #[test]
    fn a_launch_failure_is_recognized_by_its_expected_text() {
        let error = LaunchError::WrongPort { requested: 1, found: ([127, 0, 0, 1], 2).into() };
        assert_eq!(Failure::from(error).expected, EXPECTED_LISTENER);
    }
}
