//! Failures: why a server does not meet a requirement, or why the case could not test it.

use serde_json::Value;

use super::case_result::{State, Verdict};
use super::quoted::Quoted;
use crate::client::ClientError;
use crate::server::LaunchError;

/// The expected behaviour in the failure of a replay whose counterexample belongs to another case.
pub const FITTING: &str = "a counterexample of this case";

/// Why a requirement is not met, or could not be tested.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The verdict on the server; none if the case is inconclusive.
    pub verdict: Option<Verdict>,
    /// How the case ended.
    pub state: State,
    /// The required behaviour.
    pub expected: String,
    /// The observed behaviour.
    pub observed: String,
    /// Likely cause.
    pub hint: Option<String>,
    /// The usual cause of such an error. It is shown if the case gives no hint of its own.
    pub general_hint: Option<&'static str>,
    /// Cases that test the assumptions of this one: [`CaseResult::blocked_by`].
    ///
    /// [`CaseResult::blocked_by`]: super::CaseResult::blocked_by
    pub blocked_by: &'static [&'static str],
    /// More than the words.
    pub detail: Option<Box<Detail>>,
}

/// What belongs to a failure beside its words.
#[derive(Clone, Debug)]
pub enum Detail {
    /// The random input for which the server does not meet the requirement.
    Counterexample(Value),
    /// The parts of an observation that quotes the server's output.
    Quoted(Quoted),
}

impl Failure {
    /// Returns the failure of a requirement.
    pub fn fail(expected: impl Into<String>, observed: impl Into<String>) -> Failure {
        Failure {
            verdict: Some(Verdict::Fail),
            state: State::Ok,
            expected: expected.into(),
            observed: observed.into(),
            hint: None,
            general_hint: None,
            blocked_by: &[],
            detail: None,
        }
    }

    /// Returns the failure of a requirement because of a client error, such as a timeout.
    pub fn trouble(expected: impl Into<String>, trouble: &ClientError) -> Failure {
        let finding = Failure {
            general_hint: Some(usual_cause(trouble)),
            ..Failure::fail(expected, trouble.to_string())
        };
        match trouble {
            ClientError::Silent(..) | ClientError::ConnectTimedOut(_) | ClientError::NotRead(_) => {
                Failure { state: State::Hang, ..finding }
            }
            // The server or the machine is slow. The case tests neither.
            ClientError::OutOfTime => Failure { verdict: None, state: State::Vacuous, ..finding },
            _ => finding,
        }
    }

    /// Returns an inconclusive result: the case could not test its requirement.
    pub fn vacuous(observed: impl Into<String>) -> Failure {
        Failure {
            verdict: None,
            state: State::Vacuous,
            ..Failure::fail("what the case is about can be tried", observed)
        }
    }

    /// Returns an inconclusive result because the server fails an assumption of the case.
    ///
    /// The cases `by` test this assumption. If one of them failed, it is the cause.
    pub fn blocked(by: &'static [&'static str], observed: impl AsRef<str>) -> Failure {
        let observed = format!("{} (see {})", observed.as_ref(), by.join(", "));
        Failure { blocked_by: by, ..Failure::vacuous(observed) }
    }

    /// Returns an error: the value to replay is not a counterexample of this case.
    pub fn misfit(words: impl Into<String>) -> Failure {
        Failure::harness_error(FITTING, words)
    }

    /// Returns an error of the harness itself.
    pub fn harness_error(expected: impl Into<String>, observed: impl Into<String>) -> Failure {
        let finding = Failure::fail(expected, observed);
        Failure { verdict: None, state: State::HarnessError, ..finding }
    }

    /// Returns the failure of a server that did not release a resource.
    pub fn leak(expected: impl Into<String>, observed: impl Into<String>) -> Failure {
        Failure { state: State::Leak, ..Failure::fail(expected, observed) }
    }

    /// Adds a likely cause.
    pub fn hint(mut self, words: impl Into<String>) -> Failure {
        self.hint = Some(words.into());
        self
    }
}

/// Returns the most common cause of a client error, for servers in any language.
fn usual_cause(trouble: &ClientError) -> &'static str {
    match trouble {
        ClientError::Refused => {
            "nobody listened at that moment: does the listener stay open while clients are served?"
        }
        ClientError::ConnectTimedOut(_) => {
            "the queue of clients to be accepted was full and stayed so: what blocks the loop that accepts?"
        }
        ClientError::NotConnected(_) => {
            "is the address one of this machine, and does it have a port left?"
        }
        ClientError::Reset => {
            "closing a socket before all of its input was read sends a reset; so does a process that dies"
        }
        ClientError::Closed(_) => {
            "does an error, a short read or the client's end make it close before all replies are written?"
        }
        ClientError::Silent(..) => {
            "is the reply left in a buffer, or does it wait for more input, another client or a lock?"
        }
        ClientError::NotRead(_) => {
            "it stopped reading: does one call that blocks, such as a write, keep it from all else?"
        }
        ClientError::Endless => "is each reply ended by a line feed, and sent once?",
        ClientError::OutOfTime => {
            "is there a fixed delay in each request: a sleep, a poll with a timeout?"
        }
    }
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Failure {
        let quoted = |(seen, output)| Box::new(Detail::Quoted(Quoted { seen, output }));
        let detail = error.quoted().map(quoted);
        let finding =
            Failure { detail, ..Failure::fail("a server that listens", error.to_string()) };
        match error {
            LaunchError::Exited { .. } => Failure { state: State::Crash, ..finding }
                .hint("what it wrote last tells why; does the command run by hand?"),
            LaunchError::NotListening { .. } => Failure { state: State::Hang, ..finding }
                .hint("does it listen on {port} before it does anything that takes long?"),
            LaunchError::Elsewhere { .. } => {
                finding.hint("does the command pass {port} on, and does the server take it?")
            }
            LaunchError::NotRun(_) => {
                finding.hint("is the program installed, and is the path right from this folder?")
            }
            LaunchError::NoPort(_) | LaunchError::Supervisor(_) | LaunchError::NoThread(_) => {
                Failure { verdict: None, state: State::HarnessError, ..finding }
            }
        }
    }
}
