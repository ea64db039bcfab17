//! Severity of faults.

use serde::Serialize;

use crate::conformance::{CaseResult, State};

/// Severity of a fault for users of the server, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Importance {
    /// The server does not run or reply: nothing else can be tested.
    NoAnswer,
    /// The server returns wrong results.
    WrongResults,
    /// A client can run code on the server's host. This includes all faults below.
    TakenOver,
    /// One client can crash or block the server for all clients.
    Falls,
    /// A client misses a reply, or receives the reply to another client.
    LosesReplies,
    /// One client degrades the service for others.
    HarmsOthers,
    /// The server violates its declared contract.
    Contract,
    /// The server leaks resources, so that it cannot run for long.
    Leaks,
    /// The server affects its operators rather than its clients, at startup or shutdown.
    Manners,
    /// Minor faults.
    LooseEnds,
}

impl Importance {
    /// Returns the heading of this severity.
    pub fn words(self) -> &'static str {
        match self {
            Importance::NoAnswer => "it does not run, or does not answer",
            Importance::WrongResults => "wrong results",
            Importance::TakenOver => "one client can take it over",
            Importance::Falls => "one client can end it or wedge it",
            Importance::LosesReplies => "replies are lost or mixed up",
            Importance::HarmsOthers => "a client harms others",
            Importance::Contract => "it does not keep what it declares",
            Importance::Leaks => "it leaks",
            Importance::Manners => "how it starts and ends",
            Importance::LooseEnds => "loose ends",
        }
    }
}

/// Severity by name prefix and state of the case (`None`: any state); the first match applies.
///
/// A crash outranks the subject of the case. Exceptions are cases of startup, shutdown and
/// descriptor exhaustion, because not every client can cause these conditions.
#[rustfmt::skip]
const RANKS: &[(&str, Option<State>, Importance)] = &[
    ("framing/single", None, Importance::NoAnswer),
    ("framing/one-line", None, Importance::NoAnswer),
    ("startup/listens-in-time", None, Importance::NoAnswer),
    ("startup/", None, Importance::Manners),
    ("shutdown/", None, Importance::Manners),
    ("exhaustion/", None, Importance::HarmsOthers),
    ("malformed/injection", Some(State::Ok), Importance::TakenOver),
    ("", Some(State::Crash), Importance::Falls),
    // A leak harms slowly, whichever case detects it.
    ("", Some(State::Leak), Importance::Leaks),
    ("leaks/", None, Importance::Leaks),
    // No reply to the only client: the connection or the server is stuck.
    ("results/", Some(State::Hang), Importance::Falls),
    ("malformed/", Some(State::Hang), Importance::Falls),
    ("oversize/endless-beside", None, Importance::HarmsOthers),
    ("oversize/", Some(State::Hang), Importance::Falls),
    ("results/", None, Importance::WrongResults),
    ("framing/", None, Importance::LosesReplies),
    ("malformed/escapes", None, Importance::LooseEnds),
    ("malformed/", None, Importance::LosesReplies),
    ("oversize/", None, Importance::LosesReplies),
    // A missing reply is caused by another client; a wrong reply was sent to the wrong client.
    ("isolation/own-answers", Some(State::Ok), Importance::LosesReplies),
    ("isolation/", None, Importance::HarmsOthers),
    ("back-pressure/slow-reader", None, Importance::LosesReplies),
    ("back-pressure/", None, Importance::HarmsOthers),
    ("fairness/", None, Importance::HarmsOthers),
    ("disconnects/half-close", None, Importance::LosesReplies),
    ("disconnects/fin-frees-descriptor", None, Importance::Leaks),
    ("disconnects/", None, Importance::HarmsOthers),
    ("refusal/incumbent-unharmed", None, Importance::HarmsOthers),
    ("refusal/storm", None, Importance::HarmsOthers),
    ("refusal/", None, Importance::Contract),
    ("timeouts/idle", None, Importance::Contract),
    ("timeouts/activity", None, Importance::Contract),
    ("timeouts/", None, Importance::HarmsOthers),
    ("contract/", None, Importance::Contract),
    ("wire/", None, Importance::Contract),
];

/// Returns the severity of a failed case.
pub(super) fn importance(judgement: &CaseResult) -> Importance {
    if never_ran(judgement) {
        return Importance::NoAnswer;
    }
    rank(judgement.name, judgement.state).unwrap_or(Importance::LooseEnds)
}

fn rank(case: &str, state: State) -> Option<Importance> {
    let fits = |(begin, wanted, _): &&(&str, Option<State>, Importance)| {
        case.starts_with(begin) && wanted.is_none_or(|wanted| wanted == state)
    };
    RANKS.iter().find(fits).map(|&(_, _, importance)| importance)
}

/// Expectation in the result of a server that could not be launched.
const LISTENS: &str = "a server that listens";

/// Returns whether the server failed before a client could connect.
pub(super) fn never_ran(judgement: &CaseResult) -> bool {
    judgement.transcript.is_empty() && judgement.expected == LISTENS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Failure, cases};
    use crate::server::LaunchError;

    #[test]
    fn every_case_has_its_rank_in_every_state() {
        for case in cases() {
            for state in [State::Ok, State::Hang, State::Crash, State::Leak] {
                assert!(rank(case.name, state).is_some(), "{} {state:?}", case.name);
            }
        }
    }

    #[test]
    fn a_server_that_cannot_be_launched_is_known_by_what_was_expected_of_it() {
        let error = LaunchError::Elsewhere { asked: 1, found: ([127, 0, 0, 1], 2).into() };
        assert_eq!(Failure::from(error).expected, LISTENS);
    }
}
