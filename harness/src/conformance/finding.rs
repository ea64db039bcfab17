//! Words for what a case finds.

use super::verdict::{State, Verdict};
use crate::client::Trouble;
use crate::server::LaunchError;

/// Why a requirement is not met, or could not be looked at.
#[derive(Clone, Debug)]
pub struct Finding {
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
}

impl Finding {
    /// The requirement is not met.
    pub fn fail(expected: impl Into<String>, observed: impl Into<String>) -> Finding {
        Finding {
            verdict: Some(Verdict::Fail),
            state: State::Ok,
            expected: expected.into(),
            observed: observed.into(),
            hint: None,
        }
    }

    /// The requirement is not met: this came instead.
    pub fn trouble(expected: impl Into<String>, trouble: &Trouble) -> Finding {
        let state = match trouble {
            Trouble::Silent(..)
            | Trouble::ConnectTimedOut(_)
            | Trouble::NotRead(_)
            | Trouble::OutOfTime => State::Hang,
            _ => State::Ok,
        };
        Finding { state, ..Finding::fail(expected, trouble.to_string()) }
    }

    /// What the case is about could not be tried.
    pub fn vacuous(observed: impl Into<String>) -> Finding {
        Finding {
            verdict: None,
            state: State::Vacuous,
            ..Finding::fail("what the case is about can be tried", observed)
        }
    }

    /// Something of the server's was left behind.
    pub fn leak(expected: impl Into<String>, observed: impl Into<String>) -> Finding {
        Finding { state: State::Leak, ..Finding::fail(expected, observed) }
    }

    /// Adds what may be the cause.
    pub fn hint(mut self, words: impl Into<String>) -> Finding {
        self.hint = Some(words.into());
        self
    }
}

impl From<LaunchError> for Finding {
    fn from(error: LaunchError) -> Finding {
        let finding = Finding::fail("a server that listens", error.to_string());
        match error {
            LaunchError::Exited { .. } => Finding { state: State::Crash, ..finding },
            LaunchError::NotListening { .. } => Finding { state: State::Hang, ..finding },
            LaunchError::Elsewhere { .. } => {
                finding.hint("does the command pass {port} on, and does the server take it?")
            }
            LaunchError::NotRun(_) => {
                finding.hint("is the program installed, and is the path right from this folder?")
            }
            LaunchError::NoPort(_) | LaunchError::Supervisor(_) => {
                Finding { verdict: None, state: State::HarnessError, ..finding }
            }
        }
    }
}
