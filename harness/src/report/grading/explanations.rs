//! Explanations of failures by the failures of other cases.

use std::mem;

use super::rank;
use crate::results::CaseResult;
use crate::results::Fault::{self, *};

/// Failures that have the cause of other failures.
#[derive(Debug)]
struct Explanation {
    /// The cases whose failure is explained, and their faults; any fault if empty.
    effects: (&'static [&'static str], &'static [Fault]),
    /// The cases that name the cause, if one of them failed, and their faults; any fault if empty.
    causes: (&'static [&'static str], &'static [Fault]),
    /// The shared cause, if it is not that of a single case.
    likely_cause: Option<&'static str>,
}

/// The cases of a client that waits because another client is idle, slow or does not read.
const OTHER_CLIENT_WAITS: &[&str] =
    &["oversize/endless-beside", "timeouts/drip-beside", "back-pressure/others-are-served"];

/// The cases in which a client shuts down its sending side and waits for the end of the connection.
const HALF_CLOSES: &[&str] =
    &["disconnects/half-close", "disconnects/half-close-many", "framing/end-without-newline"];

/// The cases with several clients, one after another.
const SUCCESSIVE_CLIENTS: &[&str] = &[
    "back-pressure/never-reads",
    "disconnects/fin-frees-descriptor",
    "disconnects/reset-before-accept",
    "framing/random-cuts",
    "idle/after-fin",
    "idle/after-reset",
    "isolation/schedules",
    "refusal/storm",
    "results/deterministic",
    "startup/port-taken",
];

/// The cases of resources that stay in use while a connection is open.
const OPEN_CONNECTIONS: &[&str] = &[
    "disconnects/fin-frees-descriptor",
    "leaks/descriptors",
    "leaks/threads-and-processes",
    "leaks/close-wait",
    "leaks/resets",
];

/// The cases in which the server must exit, and so must its child processes.
const SHUTDOWNS: &[&str] = &[
    "contract/shutdown",
    "shutdown/sigterm",
    "shutdown/sigint",
    "shutdown/drains",
    "shutdown/busy-client",
    "shutdown/reset-while-draining",
    "shutdown/second-signal",
    "shutdown/aborts",
    "shutdown/port-is-free",
];

/// Explanations of failures by the failures of other cases.
const EXPLANATIONS: &[Explanation] = &[
    // Cases with random input, by the cases that test one property of that input.
    Explanation {
        effects: (&["results/arithmetic"], &[]),
        causes: (&["results/precedence", "results/overflow"], &[]),
        likely_cause: None,
    },
    Explanation {
        effects: (&["results/arithmetic"], &[WrongReply]),
        causes: (&["results/float-precision"], &[WrongReply]),
        likely_cause: None,
    },
    Explanation {
        effects: (&["results/arithmetic"], &[ErrorReply]),
        causes: (&["results/float-precision"], &[ErrorReply]),
        likely_cause: None,
    },
    Explanation {
        effects: (&["framing/random-cuts"], &[]),
        causes: (
            &[
                "framing/byte-by-byte",
                "framing/all-cuts",
                "framing/split-token",
                "framing/pipelined",
            ],
            &[],
        ),
        likely_cause: None,
    },
    Explanation {
        effects: (&["isolation/schedules"], &[ExtraBytes, WrongReply, OtherReply, ErrorReply]),
        causes: (&["framing/byte-by-byte", "framing/all-cuts", "framing/split-token"], &[]),
        likely_cause: None,
    },
    // An echo server that changes lines also changes those of other cases.
    Explanation {
        effects: (
            &["framing/sizes", "malformed/only-spaces", "malformed/nul", "malformed/invalid-utf8"],
            &[WrongReply, ChangesInvalidUtf8],
        ),
        causes: (&["results/echo-is-identical"], &[]),
        likely_cause: None,
    },
    // Some random lines are not valid UTF-8, or have a NUL.
    Explanation {
        effects: (&["results/echo-is-identical"], &[ClosesAfterReply, ClosesBeforeReply]),
        causes: (
            &["malformed/invalid-utf8", "malformed/nul"],
            &[ClosesAfterReply, ClosesBeforeReply],
        ),
        likely_cause: None,
    },
    // A client that has left stops the service of later clients.
    Explanation {
        effects: (SUCCESSIVE_CLIENTS, &[Fault::NoReply, Blocks, ClosesBeforeReply]),
        causes: (&["isolation/churn"], &[]),
        likely_cause: None,
    },
    // A server that does not handle the end of the input keeps the connection.
    Explanation {
        effects: (OPEN_CONNECTIONS, &[Requirement]),
        causes: (HALF_CLOSES, &[StaysOpen, EndlessReply]),
        likely_cause: None,
    },
    Explanation {
        effects: (OPEN_CONNECTIONS, &[Requirement]),
        causes: (&["disconnects/fin-frees-descriptor"], &[Requirement]),
        likely_cause: None,
    },
    // What remains after every client remains after a client that resets.
    Explanation {
        effects: (&["leaks/resets"], &[Requirement]),
        causes: (&["leaks/descriptors", "leaks/threads-and-processes"], &[Requirement]),
        likely_cause: None,
    },
    Explanation {
        effects: (&["startup/restart"], &[ProcessesRemain]),
        causes: (SHUTDOWNS, &[ProcessesRemain]),
        likely_cause: None,
    },
    // One thread serves all clients, with blocking calls.
    Explanation {
        effects: (OTHER_CLIENT_WAITS, &[Fault::NoReply, Starves, Blocks]),
        causes: (OTHER_CLIENT_WAITS, &[Fault::NoReply, Starves, Blocks]),
        likely_cause: Some(
            "a blocking read or write of one connection stops the code that serves the others: read \
             and write only what is possible without blocking, or serve each connection in its own \
             thread",
        ),
    },
];

impl Explanation {
    /// Returns whether a failure with this fault can be explained.
    fn has_effect(&self, name: &str, fault: Fault) -> bool {
        is_one_of(self.effects, name, fault)
    }

    /// Returns whether a failure with this fault explains others.
    fn has_cause(&self, name: &str, fault: Fault) -> bool {
        is_one_of(self.causes, name, fault)
    }
}

fn is_one_of((cases, faults): (&[&str], &[Fault]), name: &str, fault: Fault) -> bool {
    cases.contains(&name) && (faults.is_empty() || faults.contains(&fault))
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
            it.has_effect(&result.name, rank::fault(result))
                && group.iter().any(|other| it.has_cause(&other.name, rank::fault(other)))
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
        group.len() > 1
            && group.iter().all(|result| it.has_effect(&result.name, rank::fault(result)))
    };
    EXPLANATIONS.iter().filter(is_shared).find_map(|it| it.likely_cause)
}
