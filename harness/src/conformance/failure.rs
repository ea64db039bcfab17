//! Failures: why a server does not meet a requirement, or why the case could not test it.

use serde_json::Value;

use crate::client::ClientError;
use crate::results::{Difference, Fault, Obstacle, Quoted, State, Stimulus, Verdict};
use crate::server::{LaunchError, Limit};
use crate::text::printable;
use crate::wire::ReplyFraming;

/// Why a requirement is not met, or could not be tested.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The verdict on the server; `None` if the case is inconclusive.
    pub verdict: Option<Verdict>,
    /// How the case ended.
    pub state: State,
    /// The way in which the server failed.
    pub fault: Fault,
    /// The required behaviour.
    pub expected: String,
    /// The observed behaviour.
    pub observed: String,
    /// Likely cause, or where to look for it.
    pub hint: Option<String>,
    /// Whether the hint names no cause.
    pub hint_names_no_cause: bool,
    /// The cases that test the assumptions of the failed case: [`CaseResult::blocked_by`].
    ///
    /// [`CaseResult::blocked_by`]: crate::results::CaseResult::blocked_by
    pub blocked_by: &'static [&'static str],
    /// Whether `observed` includes how the connection ended.
    pub observes_connection_end: bool,
    /// What the harness did that made the server fail, if it is not the last event of the
    /// transcript.
    pub stimulus: Option<Box<Stimulus>>,
    /// The first byte in which the received reply differs from the expected one.
    pub difference: Option<Box<Difference>>,
    /// Whether the failure is worse than an exit of the server, and is reported in its place.
    pub replaces_exit: bool,
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
    /// The part of a reply that arrived before a timeout.
    PartialReply(Vec<u8>),
    /// What kept the harness from judging the case.
    Obstacle(Obstacle),
}

impl Failure {
    /// Returns the failure of a requirement that only this case tests. [`fault`](Self::fault) sets
    /// another fault.
    pub fn fail(expected: impl Into<String>, observed: impl Into<String>) -> Failure {
        Failure {
            verdict: Some(Verdict::Fail),
            state: State::Completed,
            fault: Fault::Requirement,
            expected: expected.into(),
            observed: observed.into(),
            hint: None,
            hint_names_no_cause: false,
            blocked_by: &[],
            observes_connection_end: false,
            stimulus: None,
            difference: None,
            replaces_exit: false,
            detail: None,
        }
    }

    /// Returns the failure of a client that got a reply other than the required one. `label`
    /// describes the required reply.
    pub fn wrong_reply(label: impl Into<String>, required: &[u8], received: &[u8]) -> Failure {
        Failure {
            fault: Fault::WrongReply,
            difference: Difference::first(required, received).map(Box::new),
            ..Failure::fail(label, printable(received))
        }
    }

    /// Returns the failure of a requirement because of a client error, such as a timeout. An error
    /// of this machine is an error of the harness.
    pub fn client_error(expected: impl Into<String>, error: &ClientError) -> Failure {
        let Some(fault) = fault_of(error) else {
            return match error {
                // The server or the machine is slow, and no case tests speed.
                ClientError::OutOfTime => Failure {
                    expected: expected.into(),
                    ..Failure::inconclusive(error.to_string())
                },
                _ => Failure::harness_error(expected, error.to_string()),
            };
        };
        Failure {
            state: if fault.is_hang() { State::Hang } else { State::Completed },
            fault,
            observes_connection_end: matches!(error, ClientError::Reset | ClientError::Closed(_)),
            detail: match error {
                ClientError::Silent(_, bytes) => {
                    Some(Box::new(Detail::PartialReply(bytes.clone())))
                }
                _ => None,
            },
            ..Failure::fail(expected, error.to_string())
        }
    }

    /// Returns the failure of a server that must close a connection, with the client error instead
    /// of its end.
    pub fn not_closed(expected: impl Into<String>, error: &ClientError) -> Failure {
        let failure = Failure::client_error(expected, error);
        match error {
            ClientError::Silent(_, bytes) if bytes.is_empty() => failure.fault(Fault::StaysOpen),
            ClientError::Silent(..) => failure.fault(Fault::ExtraBytes),
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

    /// Returns an inconclusive result because of an obstacle. `consequence` is what the case could
    /// not do.
    pub fn obstacle(obstacle: Obstacle, consequence: &str) -> Failure {
        Failure {
            detail: Some(Box::new(Detail::Obstacle(obstacle))),
            ..Failure::inconclusive(format!("{obstacle}: {consequence}"))
        }
    }

    /// Returns the result of a case that does not apply, which only an experiment could show.
    pub fn not_applicable(reason: impl Into<String>) -> Failure {
        Failure { state: State::NotApplicable, ..Failure::inconclusive(reason) }
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

    /// Returns the failure to launch the server under test.
    pub fn not_launched(error: LaunchError) -> Failure {
        let failure = Failure::from(error);
        let fault = match failure.fault {
            Fault::ExitsBeforeListening => Fault::LaunchExits,
            Fault::DoesNotListen => Fault::LaunchSilent,
            Fault::ListensElsewhere => Fault::LaunchElsewhere,
            fault => fault,
        };
        Failure { fault, ..failure }
    }

    /// Sets the way in which the server failed.
    pub fn fault(self, fault: Fault) -> Failure {
        Failure { fault, ..self }
    }

    /// Sets the state of a server that did not answer or exit in time.
    pub fn hang(self) -> Failure {
        Failure { state: State::Hang, ..self }
    }

    /// Names the fault of an echo server whose reply differs because the line is not valid UTF-8.
    pub(super) fn with_utf8_fault(self, line: &[u8]) -> Failure {
        match self.fault {
            Fault::WrongReply if std::str::from_utf8(line).is_err() => {
                self.fault(Fault::ChangesInvalidUtf8).hint(
                    "an echo server returns the bytes of a line: keep them as bytes, without decoding \
                     and encoding them as text",
                )
            }
            _ => self,
        }
    }

    /// Records that the failure concerns the request after the tested one.
    pub fn on_next_request(self) -> Failure {
        Failure { fault: self.fault.on_next_request(), ..self }
    }

    /// Records the request that made the server fail, unless an earlier one is recorded.
    pub fn caused_by(mut self, sent: &[u8]) -> Failure {
        self.stimulus.get_or_insert_with(|| Box::new(Stimulus::Sent(printable(sent))));
        self
    }

    /// Records the action of the harness that made the server fail, unless a stimulus is recorded.
    pub fn caused_by_action(mut self, action: &str) -> Failure {
        self.stimulus.get_or_insert_with(|| Box::new(Stimulus::Action(action.to_owned())));
        self
    }

    /// Records that other clients were connected, which may be why the client got no reply.
    pub(super) fn starved(self, has_others: bool) -> Failure {
        match self.fault {
            Fault::NoReply if has_others => self.fault(Fault::Starves),
            _ => self,
        }
    }

    /// Records that `observed` includes how the connection ended.
    pub fn with_connection_end(mut self) -> Failure {
        self.observes_connection_end = true;
        self
    }

    /// Records that the reply is complete, but ends with another line end than the declared one.
    pub(super) fn checked_end(self, framing: &ReplyFraming) -> Failure {
        match (self.fault, self.detail.as_deref()) {
            (Fault::PartialReply, Some(Detail::PartialReply(received)))
                if framing.is_other_end(received) =>
            {
                Failure { state: State::Completed, ..self }.fault(Fault::OtherEnd).hint(
                    "end every reply with the same bytes, also an error reply: a client waits for \
                     the declared end",
                )
            }
            _ => self,
        }
    }

    /// Marks the failure as worse than an exit of the server, to be reported in its place.
    pub fn replacing_exit(mut self) -> Failure {
        self.replaces_exit = true;
        self
    }

    /// Adds a likely cause.
    pub fn hint(mut self, cause: impl Into<String>) -> Failure {
        self.hint = Some(cause.into());
        self.hint_names_no_cause = false;
        self
    }

    /// Adds a likely cause that explains only some faults.
    pub fn hint_if(self, explains: impl Fn(Fault) -> bool, cause: &str) -> Failure {
        if explains(self.fault) { self.hint(cause) } else { self }
    }
}

/// Returns the fault that a client error shows, or `None` if it is not the server's.
fn fault_of(error: &ClientError) -> Option<Fault> {
    Some(match error {
        ClientError::Refused => Fault::Refuses,
        ClientError::ConnectTimedOut(_) => Fault::DoesNotAccept,
        ClientError::Reset => Fault::Resets,
        ClientError::Closed(bytes) if bytes.is_empty() => Fault::ClosesBeforeReply,
        ClientError::Closed(_) => Fault::ClosesInReply,
        ClientError::Silent(_, bytes) if bytes.is_empty() => Fault::NoReply,
        ClientError::Silent(..) => Fault::PartialReply,
        ClientError::NotRead(_) => Fault::DoesNotRead,
        ClientError::TooLong => Fault::EndlessReply,
        ClientError::Io(_) | ClientError::Local(_) | ClientError::OutOfTime => return None,
    })
}

/// Likely cause of a server that uses the CPUs without pause.
pub(super) const SPINNING_HINT: &str = "wait for events in a blocking call, such as accept, read or poll, \
     instead of asking in a loop";

/// Hint of a server that starts a thread or a process without a connection.
pub(super) const UNCHECKED_ACCEPT_HINT: &str = "check the result of accept: without a free descriptor it fails and returns -1, which is no connection; start no thread or process for it, and pause before the next accept";

/// Hint of a server that does not serve a client while another one is connected.
pub(super) const STARVES_HINT: &str = "the server seems to serve one client at a time: does a blocking read on one connection stop the others?";

/// Returns the most common cause of a fault, for servers in any language, if there is one.
pub(super) fn most_common_cause(fault: Fault) -> Option<&'static str> {
    Some(match fault {
        Fault::Refuses => {
            "no socket was listening at that moment: does the server close its listener while it serves clients?"
        }
        Fault::DoesNotAccept => {
            "the accept queue stayed full: what blocks the loop that accepts connections?"
        }
        Fault::Blocks => {
            "every later client waits: does one connection block the loop or hold a lock that all others need?"
        }
        Fault::Resets => {
            "a socket that is closed before all of its input is read sends a reset; so does a process that crashes"
        }
        Fault::ClosesBeforeReply => {
            "an error or a short read probably ended the code that serves this client: catch errors per request, reply with an error line, and keep the connection open"
        }
        Fault::ClosesInReply => {
            "does an error, a short read or the client's FIN make the server close before all replies are written?"
        }
        Fault::ClosesAfterReply => {
            "does the server close the connection after an error? reply with an error line, and read the next request"
        }
        Fault::StaysOpen => {
            "does the server close its socket on every path that ends a connection?"
        }
        Fault::NoReply | Fault::PartialReply | Fault::NoNextReply => {
            "is the reply still in a buffer, or does the server wait for more input, another client or a lock?"
        }
        Fault::Starves => STARVES_HINT,
        Fault::DoesNotRead => {
            "the server stopped reading: does a blocking call, such as a write, stop everything else?"
        }
        Fault::EndlessReply => "does each reply end with a line feed, and is it sent only once?",
        Fault::OtherReply => {
            "do connections or requests share a buffer or a variable? each connection needs its own"
        }
        Fault::WrongNextReply => {
            "the previous request probably got several lines, or bytes of it stayed in a buffer: each request gets exactly one line"
        }
        Fault::ExtraBytes => {
            "does the server send a prompt, a second line or a reply to an incomplete request? each request gets exactly one line"
        }
        Fault::ErrorReply => "which check rejects this request? the error reply above may say it",
        Fault::NoErrorReply => {
            "does the parser stop at the first part that it understands? reject a request with anything left over"
        }
        _ => return None,
    })
}

impl From<LaunchError> for Failure {
    /// Returns the failure of an instance of the server that a case launched.
    fn from(error: LaunchError) -> Failure {
        let quoted = |(observed, output)| Box::new(Detail::Quoted(Quoted { observed, output }));
        let detail = error.quoted().map(quoted);
        let failure =
            Failure { detail, ..Failure::fail("a server that listens", error.to_string()) };
        match error {
            LaunchError::Exited { .. } => {
                Failure { state: State::Crash, ..failure }.fault(Fault::ExitsBeforeListening).hint(
                    "see the last lines that the server printed; does the command work in a \
                     terminal?",
                )
            }
            LaunchError::Killed { limit: Limit::Spinning, .. } => {
                Failure { state: State::Crash, ..failure }
                    .fault(Fault::LaunchKilled)
                    .hint(SPINNING_HINT)
            }
            LaunchError::Killed { .. } => Failure { state: State::Crash, ..failure }
                .fault(Fault::LaunchKilled)
                .hint("does the server need more processes or time than the limits permit?"),
            LaunchError::NotListening { overload: Some(waited_share), .. }
            | LaunchError::NotReady { overload: Some(waited_share), .. } => {
                Failure::obstacle(Obstacle::Overload { waited_share }, &failure.observed)
            }
            LaunchError::NotListening { .. } => failure
                .hang()
                .fault(Fault::DoesNotListen)
                .hint("does the server listen on {port} before any slow initialization?"),
            LaunchError::NotReady { .. } => failure
                .hang()
                .fault(Fault::LaunchNotReady)
                .hint("does the server print the text of --ready, and flush its output?"),
            LaunchError::WrongPort { .. } => failure
                .fault(Fault::ListensElsewhere)
                .hint("does the command pass {port} to the server, and does the server use it?"),
            LaunchError::NotRun(_) => failure.fault(Fault::NotRun).hint(
                "is the program installed, and is its path correct from the current directory?",
            ),
            LaunchError::NotVisible { .. }
            | LaunchError::NoPort(_)
            | LaunchError::Supervisor(_)
            | LaunchError::NoThread(_) => {
                Failure { verdict: None, state: State::HarnessError, ..failure }
            }
        }
    }
}
