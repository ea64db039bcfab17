//! Test context: gives a case the contract, the server process, clients, deadlines and evidence.

mod deadlines;
mod departures;
mod distance;
mod evidence;
mod learned;
mod process;
mod resources;

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(super) use self::deadlines::{
    BUSY_FACTOR, Deadlines, EXIT_GRACE, POLL_INTERVAL, SHORT_TIMEOUT,
};
pub(super) use self::departures::{Departures, Presence};
pub use self::evidence::Evidence;
pub(super) use self::learned::LearnedReplies;
pub use self::process::ServerProcess;
pub(super) use self::process::{LOOPBACK, ServerEnd};
pub use self::resources::Resources;
use super::assumptions::PLAIN_REQUESTS;
use super::failure::Failure;
use super::round_trip::RoundTrip;
use super::settings::Runner;
use crate::client::{ClientError, Transcript};
use crate::contract::Contract;
use crate::results::{Fault, Obstacle};
use crate::server::starvation::Period;
use crate::server::{LaunchSpec, NetworkLease, Server};

/// Context of a case: the contract, the process and the resources of the server under test, the
/// client factory, the deadlines and the evidence.
pub struct TestContext<'a> {
    /// The contract that the server declares.
    pub contract: &'a Contract,
    /// Random seed of the case.
    pub seed: u64,
    /// Timeout of one wait, for a reply or an event.
    pub timeout: Duration,
    process: ServerProcess<'a>,
    evidence: Evidence,
    deadlines: Deadlines,
    learned_replies: LearnedReplies,
    departures: Departures,
    /// Round-trip time to the server; `None` if the harness launched it.
    round_trip: Option<RoundTrip>,
    /// The time of the case, and the time in which the harness could not run.
    period: Period,
    clients: Cell<usize>,
    /// Whether the case judges replies.
    judges_replies: bool,
    /// The counterexample to replay, if any.
    counterexample: Option<&'a Value>,
    /// Whether the case has requested the counterexample.
    was_replayed: Cell<bool>,
}

/// The parts of a test context that outlive the case.
pub(super) struct FinishedCase<'a> {
    pub(super) process: ServerProcess<'a>,
    pub(super) evidence: Evidence,
    /// Whether a plain request was answered.
    pub(super) was_served: bool,
    /// Whether the case has requested the counterexample to replay.
    pub(super) was_replayed: bool,
    /// Why the time limit of the case has passed, if it has and the reason is known.
    pub(super) obstacle: Option<Obstacle>,
    /// The share of lost time, if a wait ended although the server was still using the CPU, and the
    /// machine was overloaded.
    pub(super) waited_share: Option<f64>,
}

impl<'a> TestContext<'a> {
    pub(super) fn new(
        runner: &'a Runner,
        spec: &'a LaunchSpec,
        server: Server,
        lease: &'a NetworkLease,
    ) -> TestContext<'a> {
        let transcript = Transcript::begin();
        let round_trip = spec.running_at.map(|_| runner.round_trip.clone());
        let timeout =
            runner.timeout + round_trip.as_ref().map_or(Duration::ZERO, RoundTrip::time_of_a_wait);
        TestContext {
            contract: &spec.contract,
            seed: runner.seed,
            timeout,
            process: ServerProcess::new(runner, spec, server, lease, transcript.clone()),
            evidence: Evidence::new(transcript),
            deadlines: Deadlines::new(timeout, runner.deadline),
            learned_replies: LearnedReplies::default(),
            departures: Departures::new(spec.running_at.is_some()),
            round_trip,
            period: Period::begin(),
            clients: Cell::default(),
            judges_replies: true,
            counterexample: runner.replay.as_ref(),
            was_replayed: Cell::default(),
        }
    }

    /// Returns the context of a case that accepts any reply to a plain request.
    pub(super) fn without_judging_replies(self) -> TestContext<'a> {
        TestContext { judges_replies: false, ..self }
    }

    /// Returns whether the case judges replies.
    pub(super) fn judges_replies(&self) -> bool {
        self.judges_replies
    }

    /// Returns the server process: its state, signals, exit and further instances.
    pub fn process(&self) -> &ServerProcess<'a> {
        &self.process
    }

    /// Returns the resources of the server's processes.
    pub fn resources(&self) -> Resources<'_> {
        Resources::new(&self.process, self.timeout)
    }

    /// Returns the evidence: observations, notes and verified requirements.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// Returns whether a plain request was answered.
    pub(super) fn was_served(&self) -> bool {
        self.learned_replies.has_replies()
    }

    /// Returns the record of clients that have left.
    pub(super) fn departures(&self) -> &Departures {
        &self.departures
    }

    /// Returns the replies to plain requests.
    pub(super) fn learned_replies(&self) -> &LearnedReplies {
        &self.learned_replies
    }

    /// Polls until `condition` returns true. Continues after the timeout while the server uses the
    /// CPU, because it may only lack CPU time.
    ///
    /// # Errors
    /// The condition is still false after the timeout; returns the failure of `failure`.
    pub fn wait_until(
        &self,
        condition: impl FnMut() -> bool,
        failure: impl FnOnce() -> Failure,
    ) -> Result<(), Failure> {
        self.wait_for(self.timeout, condition, failure)
    }

    /// Same as [`wait_until`](Self::wait_until), with another timeout.
    ///
    /// # Errors
    /// The condition is still false after the timeout; returns the failure of `failure`.
    pub fn wait_for(
        &self,
        timeout: Duration,
        condition: impl FnMut() -> bool,
        failure: impl FnOnce() -> Failure,
    ) -> Result<(), Failure> {
        if !self.process.wait_for(timeout, condition) {
            return Err(failure());
        }
        self.evidence.record_verified();
        Ok(())
    }

    /// Returns the timeout of the next wait, limited by the deadline of the case.
    ///
    /// # Errors
    /// The deadline of the case has passed.
    pub(super) fn time_left(&self) -> Result<Duration, ClientError> {
        if self.deadlines.has_passed() {
            self.deadlines.extend_by_cpu_wait(&self.process.tree());
        }
        self.deadlines.time_left()
    }

    /// Returns whether the server is quiescent, as in [`ServerProcess::is_quiescent`].
    ///
    /// Returns false until several times the slowest reply time has passed since `began`.
    pub(super) fn is_quiescent_since(&self, began: Instant) -> bool {
        self.learned_replies.has_replies()
            && began.elapsed() >= self.deadlines.quiescent_silence()
            && self.process.is_quiescent()
    }

    /// Returns the failure for a failed connection or a plain request without a reply. If no plain
    /// request was answered before, the case is inconclusive.
    pub(super) fn not_served(&self, expected: &str, error: &ClientError) -> Failure {
        if self.learned_replies.has_replies() {
            Failure::client_error(expected, error)
        } else {
            Failure::assumption_failed(PLAIN_REQUESTS, format!("expected that {expected}: {error}"))
                .hint("the server's output may show why it does not serve")
        }
    }

    /// Returns the failure of a client that got another reply than the required one. The fault
    /// depends on what it got: a reply to another request, the busy line, an error, or any other
    /// reply.
    pub(super) fn wrong_reply(
        &self,
        label: impl Into<String>,
        required: &[u8],
        received: &[u8],
    ) -> Failure {
        let is_error = |reply: &[u8]| self.contract.is_error(reply) == Some(true);
        let fault = if self.learned_replies.is_other_reply(required, received) {
            Fault::OtherReply
        } else if self.contract.is_busy(received) {
            Fault::Rejects
        } else if is_error(received) && !is_error(required) {
            Fault::ErrorReply
        } else {
            Fault::WrongReply
        };
        Failure::wrong_reply(label, required, received).fault(fault)
    }

    /// Returns the address for one more client. Launches a new server if the current server exits
    /// after a number of clients and has had all of them.
    pub(super) fn address_for_client(&self) -> Result<SocketAddr, ClientError> {
        self.process.address_for_client(self.deadlines.exit_grace())
    }

    /// Returns the number of the next client in the transcript.
    pub(super) fn next_client(&self) -> usize {
        self.clients.set(self.clients.get() + 1);
        self.clients.get()
    }

    /// Launches a new server in place of the current one.
    ///
    /// # Errors
    /// The new server cannot be launched.
    pub(super) fn relaunch(&self) -> Result<(), Failure> {
        self.process.relaunch(self.deadlines.exit_grace())
    }

    /// Returns the saved counterexample if this run is a replay. The case then tests only this
    /// value.
    pub(super) fn counterexample(&self) -> Option<&'a Value> {
        self.was_replayed.set(true);
        self.counterexample
    }

    pub(super) fn finish(self) -> FinishedCase<'a> {
        let waited_share = self.period.overload();
        let overload = waited_share.map(|waited_share| Obstacle::Overload { waited_share });
        let obstacle = overload.or(self.distance()).filter(|_| self.deadlines.have_ended_a_wait());
        FinishedCase {
            obstacle,
            waited_share: waited_share.filter(|_| self.process.was_working()),
            process: self.process,
            evidence: self.evidence,
            was_served: self.learned_replies.has_replies(),
            was_replayed: self.was_replayed.get(),
        }
    }
}
