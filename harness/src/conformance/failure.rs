//! Words for what a case finds.

use serde_json::Value;

use super::case_result::{State, Verdict};
use crate::client::ClientError;
use crate::server::LaunchError;

/// What is expected of a replay, in the finding of one that is none of its case.
pub const FITTING: &str = "a counterexample of this case";

/// Why a requirement is not met, or could not be looked at.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What the server did.
    pub verdict: Option<Verdict>,
    /// How the case went.
    pub state: State,
    /// What would have been right.
    pub expected: String,
    /// What was seen.
    pub observed: String,
    /// What may be the cause.
    pub hint: Option<String>,
    /// What is mostly the cause of such trouble, where the case knows nothing better.
    pub general_hint: Option<&'static str>,
    /// The value that was drawn and for which the requirement is not met.
    pub counterexample: Option<Box<Value>>,
    /// Cases that judge what this one takes for granted: [`CaseResult::blocked_by`].
    ///
    /// [`CaseResult::blocked_by`]: super::Judgement::blocked_by
    pub blocked_by: &'static [&'static str],
}

impl Failure {
    /// The requirement is not met.
    pub fn fail(expected: impl Into<String>, observed: impl Into<String>) -> Failure {
        Failure {
            verdict: Some(Verdict::Fail),
            state: State::Ok,
            expected: expected.into(),
            observed: observed.into(),
            hint: None,
            general_hint: None,
            counterexample: None,
            blocked_by: &[],
        }
    }

    /// The requirement is not met: this came instead.
    pub fn trouble(expected: impl Into<String>, trouble: &ClientError) -> Failure {
        let finding = Failure {
            general_hint: Some(usual_cause(trouble)),
            ..Failure::fail(expected, trouble.to_string())
        };
        match trouble {
            ClientError::Silent(..) | ClientError::ConnectTimedOut(_) | ClientError::NotRead(_) => {
                Failure { state: State::Hang, ..finding }
            }
            // It was slow, or the machine: neither is what the case is about.
            ClientError::OutOfTime => Failure { verdict: None, state: State::Vacuous, ..finding },
            _ => finding,
        }
    }

    /// What the case is about could not be tried.
    pub fn vacuous(observed: impl Into<String>) -> Failure {
        Failure {
            verdict: None,
            state: State::Vacuous,
            ..Failure::fail("what the case is about can be tried", observed)
        }
    }

    /// What the case is about could not be tried, because the server does not do what these other
    /// cases judge. Where one of them failed, that is the cause.
    pub fn blocked(by: &'static [&'static str], observed: impl AsRef<str>) -> Failure {
        let observed = format!("{} (see {})", observed.as_ref(), by.join(", "));
        Failure { blocked_by: by, ..Failure::vacuous(observed) }
    }

    /// What is to be tried again is no value of the case's.
    pub fn misfit(words: impl Into<String>) -> Failure {
        Failure::harness_error(FITTING, words)
    }

    /// The harness could not do its work.
    pub fn harness_error(expected: impl Into<String>, observed: impl Into<String>) -> Failure {
        let finding = Failure::fail(expected, observed);
        Failure { verdict: None, state: State::HarnessError, ..finding }
    }

    /// Something of the server's was left behind.
    pub fn leak(expected: impl Into<String>, observed: impl Into<String>) -> Failure {
        Failure { state: State::Leak, ..Failure::fail(expected, observed) }
    }

    /// Adds what may be the cause.
    pub fn hint(mut self, words: impl Into<String>) -> Failure {
        self.hint = Some(words.into());
        self
    }
}

/// What mostly causes such trouble, in servers of any language.
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
        let finding = Failure::fail("a server that listens", error.to_string());
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
