//! How important a fault is.

use serde::Serialize;

use crate::conformance::{CaseResult, State};

/// What a fault means for those who want to use the server, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Importance {
    /// Nothing else can be looked at before this is mended.
    NoAnswer,
    /// It does reliably what nobody wants.
    WrongResults,
    /// Whoever can run code there can do all that is below, and read what is not theirs.
    TakenOver,
    /// One client is enough to take it from everyone.
    Falls,
    /// Somebody does not get a reply, or gets another's.
    LosesReplies,
    /// It works for one client, as long as no other stands in its way.
    HarmsOthers,
    /// It is otherwise than it says of itself.
    Contract,
    /// It works today, and not for a week.
    Leaks,
    /// It is a trouble to those who run it, not to its clients.
    Manners,
    /// What remains.
    LooseEnds,
}

impl Importance {
    /// The words of a heading.
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

/// Cases whose names begin so, in a state or in any; the first row that fits decides. A crash
/// counts more than the case that met it, except where the case is about starting and ending, or
/// takes the server's descriptors away: that is not what any client can do.
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
    // A leak is slow, whichever case has seen it.
    ("", Some(State::Leak), Importance::Leaks),
    ("leaks/", None, Importance::Leaks),
    // No reply at all to a single client: that connection, or the server, is stuck.
    ("results/", Some(State::Hang), Importance::Falls),
    ("malformed/", Some(State::Hang), Importance::Falls),
    ("oversize/endless-beside", None, Importance::HarmsOthers),
    ("oversize/", Some(State::Hang), Importance::Falls),
    ("results/", None, Importance::WrongResults),
    ("framing/", None, Importance::LosesReplies),
    ("malformed/escapes", None, Importance::LooseEnds),
    ("malformed/", None, Importance::LosesReplies),
    ("oversize/", None, Importance::LosesReplies),
    // Silence is another client's doing there; a wrong reply is a mix-up.
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

/// How important it is that a case failed so.
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

/// What is expected of a server that was launched and is not to be connected to.
const LISTENS: &str = "a server that listens";

/// Whether the server failed before anyone could connect: nothing was on the wire.
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
