//! Cases that test the assumptions of other cases.
//!
//! If an assumption of a case does not hold, the case is inconclusive. Its result names the cases
//! that test the assumption.

/// The cases that test whether the reply to a plain request (short and valid) is one line.
pub(super) const PLAIN_REQUESTS: &[&str] = &["framing/single", "framing/one-line"];

/// The cases that test whether a plain request gets the right reply.
pub(super) const CORRECT_REPLIES: &[&str] = &["results/arithmetic", "results/echo-is-identical"];

/// The case that tests whether each client gets the replies to its own requests.
pub(super) const OWN_ANSWERS: &[&str] = &["isolation/own-answers"];

/// The case that tests whether clients receive only the replies to their own requests. It runs with
/// the cases of [`PLAIN_REQUESTS`]: if a server broadcasts, its clients receive other lines than
/// the replies to their requests.
pub(super) const NO_BROADCAST: &str = "isolation/no-broadcast";

/// The case that tests whether pipelined requests are answered in order.
pub(super) const PIPELINING: &[&str] = &["framing/pipelined"];

/// The cases that test whether the server sleeps when it has no work.
pub(super) const SLEEP: &[&str] =
    &["idle/no-client", "idle/connected-clients", "idle/after-fin", "idle/after-reset"];

/// The cases that test whether a client gets a connection slot: up to the declared limit, and after
/// other clients have disconnected.
pub(super) const CONNECTION_SLOTS: &[&str] = &[
    "contract/capacity",
    "isolation/churn",
    "refusal/slot-freed-by-fin",
    "refusal/slot-freed-by-rst",
    "refusal/slot-freed-in-request",
];
