//! Failures: why a server does not meet a requirement, or why the case could not test it.

use serde_json::Value;

use crate::client::ClientError;
use crate::results::{Quoted, State, Verdict};
use crate::server::LaunchError;

/// Why a requirement is not met, or could not be tested.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The verdict on the server; `None` if the case is inconclusive.
    pub verdict: Option<Verdict>,
    /// How the case ended.
    pub state: State,
    /// The required behaviour.
    pub expected: String,
    /// The observed behaviour.
    pub observed: String,
    /// Likely cause, or where to look for it.
    pub hint: Option<String>,
    /// Whether the hint names no cause.
    pub hint_names_no_cause: bool,
    /// Most common cause of the client error; shown if `hint` is `None`.
    pub general_hint: Option<&'static str>,
    /// The cases that test the assumptions of the failed case: [`CaseResult::blocked_by`].
    ///
    /// [`CaseResult::blocked_by`]: crate::results::CaseResult::blocked_by
    pub blocked_by: &'static [&'static str],
    /// Whether `observed` includes how the connection ended.
    pub observes_connection_end: bool,
    /// Further data of the failure.
    pub detail: Option<Box<Detail>>,
}

/// Further data of a failure.
#[derive(Clone, Debug)]
pub enum Detail {
    /// The random input for which the server does not meet the requirement.
    Counterexample(Value),
    /// The observation and the server's output, which `observed` combines.
    Quoted(Quoted),
    /// The value to replay is not a counterexample of the case.
    WrongCounterexample,
}

impl Failure {
    /// Returns the failure of a requirement.
    pub fn fail(expected: impl Into<String>, observed: impl Into<String>) -> Failure {
        Failure {
            verdict: Some(Verdict::Fail),
            state: State::Completed,
            expected: expected.into(),
            observed: observed.into(),
            hint: None,
            hint_names_no_cause: false,
            general_hint: None,
            blocked_by: &[],
            observes_connection_end: false,
            detail: None,
        }
    }

    /// Returns the failure of a requirement because of a client error, such as a timeout.
    pub fn client_error(expected: impl Into<String>, error: &ClientError) -> Failure {
        let failure = Failure {
            general_hint: Some(most_common_cause(error)),
            observes_connection_end: matches!(error, ClientError::Reset | ClientError::Closed(_)),
            ..Failure::fail(expected, error.to_string())
        };
        match error {
            ClientError::Silent(..) | ClientError::ConnectTimedOut(_) | ClientError::NotRead(_) => {
                Failure { state: State::Hang, ..failure }
            }
            // The server or the machine is slow, and no case tests speed.
            ClientError::OutOfTime => {
                Failure { verdict: None, state: State::Inconclusive, ..failure }
            }
            _ => failure,
        }
    }

    /// Returns an inconclusive result: the case could not test its requirement.
    pub fn inconclusive(observed: impl Into<String>) -> Failure {
        Failure {
            verdict: None,
            state: State::Inconclusive,
            ..Failure::fail("a state in which the case can test its requirement", observed)
        }
    }

    /// Returns an inconclusive result because an assumption of the case does not hold.
    ///
    /// `tested_by` names the cases that test this assumption. If one of them failed, it is the
    /// cause.
    pub fn assumption_failed(
        tested_by: &'static [&'static str],
        observed: impl Into<String>,
    ) -> Failure {
        Failure { blocked_by: tested_by, ..Failure::inconclusive(observed) }
    }

    /// Returns a harness error: the value to replay is not a counterexample of this case.
    pub fn wrong_counterexample(observed: impl Into<String>) -> Failure {
        Failure {
            detail: Some(Box::new(Detail::WrongCounterexample)),
            ..Failure::harness_error("a counterexample of this case", observed)
        }
    }

    /// Returns an error of the harness, which is no verdict on the server.
    pub fn harness_error(expected: impl Into<String>, observed: impl Into<String>) -> Failure {
        let failure = Failure::fail(expected, observed);
        Failure { verdict: None, state: State::HarnessError, ..failure }
    }

    /// Returns the failure of a server that did not release a resource.
    pub fn leak(expected: impl Into<String>, observed: impl Into<String>) -> Failure {
        Failure { state: State::Leak, ..Failure::fail(expected, observed) }
    }

    /// Records that `observed` includes how the connection ended.
    pub fn with_connection_end(mut self) -> Failure {
        self.observes_connection_end = true;
        self
    }

    /// Adds a likely cause.
    pub fn hint(mut self, cause: impl Into<String>) -> Failure {
        self.hint = Some(cause.into());
        self.hint_names_no_cause = false;
        self
    }
}

/// Returns the most common cause of a client error, for servers in any language.
fn most_common_cause(error: &ClientError) -> &'static str {
    match error {
        ClientError::Refused => {
            "no socket was listening at that moment: does the server close its listener while it serves clients?"
        }
        ClientError::ConnectTimedOut(_) => {
            "the accept queue stayed full: what blocks the loop that accepts connections?"
        }
        ClientError::Io(_) => {
            "does the address belong to this machine, and does the machine have a free local port?"
        }
        ClientError::Reset => {
            "a socket that is closed before all of its input is read sends a reset; so does a process that crashes"
        }
        ClientError::Closed(_) => {
            "does an error, a short read or the client's FIN make the server close before all replies are written?"
        }
        ClientError::Silent(..) => {
            "is the reply still in a buffer, or does the server wait for more input, another client or a lock?"
        }
        ClientError::NotRead(_) => {
            "the server stopped reading: does a blocking call, such as a write, stop everything else?"
        }
        ClientError::TooLong => "does each reply end with a line feed, and is it sent only once?",
        ClientError::OutOfTime => {
            "does each request have a fixed delay, such as a sleep or a poll with a timeout?"
        }
    }
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Failure {
        let quoted = |(observed, output)| Box::new(Detail::Quoted(Quoted { observed, output }));
        let detail = error.quoted().map(quoted);
        let failure =
            Failure { detail, ..Failure::fail("a server that listens", error.to_string()) };
        match error {
            LaunchError::Exited { .. } => Failure { state: State::Crash, ..failure }.hint(
                "see the last lines that the server printed; does the command work in a terminal?",
            ),
            LaunchError::Killed { .. } => Failure { state: State::Crash, ..failure }
                .hint("does the server need more processes or time than the limits permit?"),
            LaunchError::NotListening { .. } => Failure { state: State::Hang, ..failure }
                .hint("does the server listen on {port} before any slow initialization?"),
            LaunchError::WrongPort { .. } => failure
                .hint("does the command pass {port} to the server, and does the server use it?"),
            LaunchError::NotRun(_) => failure.hint(
                "is the program installed, and is its path correct from the current directory?",
            ),
            LaunchError::NoPort(_) | LaunchError::Supervisor(_) | LaunchError::NoThread(_) => {
                Failure { verdict: None, state: State::HarnessError, ..failure }
            }
        }
    }
}
