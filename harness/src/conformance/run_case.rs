//! Runs one case: launches a server, runs the check, ends the server, and determines the result.

use std::any::Any;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::{Duration, Instant};

use super::case::Case;
use super::context::{EXIT_GRACE, Evidence, FinishedCase, SHORT_TIMEOUT, ServerEnd, TestContext};
use super::failure::{Detail, Failure, SPINNING_HINT, UNCHECKED_ACCEPT_HINT, most_common_cause};
use super::resources::sample_during;
use super::settings::Runner;
use crate::exit::Exit;
use crate::results::{CaseResult, EventKind, Fault, Kind, Obstacle, State, Verdict};
use crate::server::{
    ExitReport, LaunchSpec, MAX_TASKS, NetworkLease, SPINNING_TIME, spinning_tasks,
};
use crate::text::{OutputEnd, output_end, visible};

/// The hint of a failure without a likely cause.
const DEFAULT_HINT: &str =
    "--output DIR and --json contain every byte and the server's output, with their times";

/// The hint of a server that exceeded its limit of threads and processes.
const TASK_LIMIT_HINT: &str =
    "limit the number of threads and processes, and end those of clients that have disconnected";

/// The hint of a server that exited.
const EXIT_HINT: &str =
    "the end of the server's output shows where it failed; no client may make it exit";

/// The return value of the check of a case; `Err` if the check panicked.
type CheckOutcome = thread::Result<Result<(), Failure>>;

impl Runner {
    /// Runs one case on a server and returns its result.
    pub fn run_case(&self, spec: &LaunchSpec, case: &'static Case) -> CaseResult {
        let began = Instant::now();
        let spec = spec.fitting(|contract| case.suits(contract));
        let mut result = self.initial_result(spec, case);
        if result.state != State::NotApplicable {
            // `run` catches a panic of the check. This catches a panic of the rest of `run`.
            panic::catch_unwind(AssertUnwindSafe(|| self.run(spec, case, &mut result)))
                .unwrap_or_else(|panic| result.fail_with(panicked(&*panic)));
        }
        for text in [&mut result.expected, &mut result.observed] {
            // The text may quote bytes from the server.
            *text = visible(text).into_owned();
        }
        result.known_failure = self.known_failures.known(&spec.name, &result);
        result.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        result
    }

    /// Returns the result of a case that is not run: this failure, or "not applicable".
    pub(super) fn result_without_run(
        &self,
        spec: &LaunchSpec,
        case: &'static Case,
        failure: Failure,
    ) -> CaseResult {
        let spec = spec.fitting(|contract| case.suits(contract));
        let mut result = self.initial_result(spec, case);
        if result.state != State::NotApplicable {
            result.fail_with(failure);
        }
        result.known_failure = self.known_failures.known(&spec.name, &result);
        result
    }

    /// Returns the initial result of a case: inconclusive, or not applicable with the reason.
    fn initial_result(&self, spec: &LaunchSpec, case: &'static Case) -> CaseResult {
        let unmet = case.unmet_precondition(&spec.contract);
        CaseResult {
            state: if unmet.is_some() { State::NotApplicable } else { State::Inconclusive },
            observed: unmet.unwrap_or_default(),
            reproduce: format!(
                "harness check {} --case {} --seed {}",
                spec.check_arguments, case.name, self.seed
            ),
            level: case.level,
            ..CaseResult::new(case.name, case.requirement)
        }
    }

    /// Launches a server, runs the check, ends the server and determines the result.
    fn run(&self, spec: &LaunchSpec, case: &Case, result: &mut CaseResult) {
        // The lease must outlive the server.
        let launched = NetworkLease::take(spec)
            .and_then(|lease| self.launcher.launch(spec).map(|server| (lease, server)));
        let (lease, server) = match launched {
            Ok(launched) => launched,
            Err(error) => return result.fail_with(Failure::not_launched(error)),
        };
        let findings = server.process.findings().clone();
        let spec = &*spec.as_seen(&findings);
        if case.unmet_precondition(&spec.contract).is_some() {
            return result.fail_with(Failure::inconclusive(findings.processes.to_string()));
        }
        let supervisor = server.process.supervisor();
        let ctx = TestContext::new(self, spec, server, &lease);
        let ctx = if case.judges_replies() { ctx } else { ctx.without_judging_replies() };
        let check = || {
            if let Some(number) = case.clients_to_try(&spec.contract) {
                ctx.clients().try_to_serve(number)?;
            }
            (case.check)(&ctx)
        };
        let check = || panic::catch_unwind(AssertUnwindSafe(check));
        let outcome: CheckOutcome;
        (outcome, result.resources) = match supervisor {
            Some(supervisor) => {
                sample_during(supervisor, check, |outcome| !matches!(outcome, Ok(Ok(()))))
            }
            None => (check(), Vec::new()),
        };
        let explained = |failure: Failure| {
            with_blocked_server(&ctx, failure).checked_end(&spec.contract.wire.reply_end)
        };
        let outcome = outcome.map(|checked| checked.map_err(explained));
        let replaces_exit = matches!(&outcome, Ok(Err(failure)) if failure.replaces_exit);
        let FinishedCase { process, evidence, was_served, was_replayed, obstacle, waited_share } =
            ctx.finish();
        result.set_outcome(outcome, &evidence);
        if let Some(obstacle) = obstacle {
            result.explain_by(obstacle);
        }
        // After a failure, the server may be about to crash and need a moment to exit.
        let is_inapplicable = result.state == State::NotApplicable;
        let exit_grace =
            if result.is_fine() && !is_inapplicable { Duration::ZERO } else { EXIT_GRACE };
        let ServerEnd { mut report, was_signalled, had_worse_shortage, lacked_descriptors } =
            process.end(exit_grace);
        result.add_output(&evidence, &mut report);
        let unexpected_exit = report.exit.filter(|&exit| {
            !was_signalled
                && !replaces_exit
                && !spec.contract.permits_exit(exit)
                && (was_served || result.state != State::Inconclusive)
        });
        if let Some(waited_share) = waited_share {
            result.excuse_by_overload(waited_share);
        }
        if report.exceeded_tasks {
            let hint = if lacked_descriptors { UNCHECKED_ACCEPT_HINT } else { TASK_LIMIT_HINT };
            result.fail_by_task_limit(spec.confinement.tasks.unwrap_or(MAX_TASKS), hint);
        } else if report.spins {
            result.fail_by_spinning();
        } else if report.exceeded_lifetime {
            result.fail_by_lifetime(spec.confinement.lifetime.unwrap_or_default());
        } else if let Some(exit) = unexpected_exit {
            result.fail_by_exit(exit);
        } else if is_inapplicable {
            // An experiment has shown that the case does not apply.
        } else if result.is_fine() && self.replay.is_some() && !was_replayed {
            result.fail_with(Failure::wrong_counterexample("the case has no random input"));
        } else if result.is_fine() && !evidence.has_verified_any() {
            let text = "the case ended without verifying its requirement";
            result.fail_with(Failure::inconclusive(text));
        }
        if had_worse_shortage && result.kind() == Kind::Fail {
            result.fail_with(Failure::inconclusive(format!(
                "numbers between the server's descriptors are not in use, so the limit that leaves it \
                 no descriptor is lower than its highest; observed: {}",
                result.observed
            )));
        }
        if result.kind() == Kind::Fail && result.hint.is_none() {
            let common = most_common_cause(result.fault);
            result.hint_names_no_cause = common.is_none();
            result.hint = Some(common.unwrap_or(DEFAULT_HINT).to_owned());
        }
    }
}

impl CaseResult {
    pub(super) fn fail_with(&mut self, failure: Failure) {
        self.verdict = failure.verdict;
        self.state = failure.state;
        self.expected = failure.expected;
        self.observed = failure.observed;
        self.hint = failure.hint;
        self.hint_names_no_cause = failure.hint_names_no_cause;
        self.blocked_by = failure.blocked_by.iter().map(|name| (*name).to_owned()).collect();
        self.observes_connection_end = failure.observes_connection_end;
        self.fault = failure.fault;
        self.stimulus = failure.stimulus.map(|stimulus| *stimulus);
        self.difference = failure.difference;
        (self.counterexample, self.quoted, self.is_wrong_counterexample) = (None, None, false);
        self.obstacle = None;
        match failure.detail.map(|detail| *detail) {
            Some(Detail::Counterexample(value)) => self.counterexample = Some(value),
            Some(Detail::Quoted(quoted)) => self.quoted = Some(Box::new(quoted)),
            Some(Detail::WrongCounterexample) => self.is_wrong_counterexample = true,
            Some(Detail::Obstacle(obstacle)) => self.obstacle = Some(obstacle),
            Some(Detail::PartialReply(_)) | None => {}
        }
    }

    /// Sets the outcome of the check.
    fn set_outcome(&mut self, outcome: CheckOutcome, evidence: &Evidence) {
        self.discovery = evidence.discovery().map(Box::new);
        self.overload = evidence.overload();
        match outcome {
            Ok(Ok(())) => {
                self.state = State::Completed;
                self.verdict = Some(evidence.verdict());
                self.observed = evidence.observation().unwrap_or("as required".to_owned());
            }
            Ok(Err(failure)) => self.fail_with(failure),
            Err(panic) => self.fail_with(panicked(&*panic)),
        }
    }

    /// Gives an inconclusive result this obstacle as its reason: the time limit of the case ended a
    /// wait. Keeps an obstacle that is already known.
    fn explain_by(&mut self, obstacle: Obstacle) {
        if self.found() == Kind::Inconclusive && self.obstacle.is_none() {
            let consequence = "the time limit of the case is exceeded";
            let expected = mem::take(&mut self.expected);
            self.fail_with(Failure { expected, ..Failure::obstacle(obstacle, consequence) });
        }
    }

    /// Makes a failed case inconclusive: a wait ended while the server was using the CPU, and the
    /// machine was overloaded.
    fn excuse_by_overload(&mut self, waited_share: f64) {
        if self.found() == Kind::Fail {
            let seen = mem::take(&mut self.observed);
            self.fail_with(Failure::obstacle(Obstacle::Overload { waited_share }, &seen));
        }
    }

    /// Adds the transcript, the server's output and exit, and its surviving processes.
    fn add_output(&mut self, evidence: &Evidence, report: &mut ExitReport) {
        let output = mem::take(&mut report.output);
        self.logged_error = (self.state == State::Hang)
            .then(|| evidence.transcript().until_last_event(&output))
            .and_then(|printed| match output_end(&printed)? {
                OutputEnd::Error(error) => Some(error),
                OutputEnd::Line(_) => None,
            });
        let output = output.into_iter().map(|(at, bytes)| (at, EventKind::output(&bytes)));
        let exit =
            report.exited_at.zip(report.exit).map(|(at, exit)| (at, EventKind::Exited { exit }));
        self.transcript = evidence.transcript().events_with(output.chain(exit));
        self.log = mem::take(&mut report.log);
        self.exit = report.exit;
        self.survivors = mem::take(&mut report.survivors);
    }

    /// Fails a case whose server exceeded its limit of threads and processes.
    fn fail_by_task_limit(&mut self, limit: usize, hint: &str) {
        self.discovery = None;
        let client_observed = mem::take(&mut self.observed);
        let observed = format!(
            "the server exceeded this limit and was killed; the client saw: {client_observed}"
        );
        self.client_observed = Some(client_observed);
        let failure =
            Failure::fail(format!("at most {limit} threads and processes"), observed).hint(hint);
        self.fail_with(Failure { state: State::Crash, ..failure.fault(Fault::TaskLimit) });
    }

    /// Fails a case whose server used the CPUs without pause.
    fn fail_by_spinning(&mut self) {
        self.discovery = None;
        let (tasks, time) = (spinning_tasks(), SPINNING_TIME.as_secs());
        let client_observed = mem::take(&mut self.observed);
        let observed = format!(
            "at least {tasks} threads and processes of the server used the CPUs for {time} s without \
             pause, and the server was killed; the client saw: {client_observed}"
        );
        self.client_observed = Some(client_observed);
        let failure =
            Failure::fail("a server whose threads sleep while no request arrives", observed)
                .hint(SPINNING_HINT);
        self.fail_with(Failure { state: State::Crash, ..failure.fault(Fault::SpinLimit) });
    }

    /// Makes the case inconclusive, because its server exceeded the lifetime limit.
    fn fail_by_lifetime(&mut self, lifetime: Duration) {
        // What the case detected may be an effect of the kill, such as a closed connection.
        self.discovery = None;
        let observed = format!(
            "the server was killed after its lifetime of {} s; observed before: {}",
            lifetime.as_secs(),
            self.observed
        );
        self.fail_with(Failure::inconclusive(observed));
    }

    /// Fails a case whose server exited unexpectedly.
    fn fail_by_exit(&mut self, exit: Exit) {
        self.discovery = None;
        let client_observed = mem::take(&mut self.observed);
        self.client_observed = (self.found() != Kind::Pass).then_some(client_observed);
        self.verdict = Some(Verdict::Fail);
        self.state = State::Crash;
        self.blocked_by.clear();
        self.expected = "the server keeps running".to_owned();
        self.observed = match &self.client_observed {
            Some(observed) => format!("the server exited ({exit}); the client saw: {observed}"),
            None => format!("the server exited ({exit})"),
        };
        self.fault = Fault::Exits;
        self.difference = None;
        // The hint of the case explains what its clients observed.
        self.hint = Some(EXIT_HINT.to_owned());
        self.hint_names_no_cause = false;
    }
}

/// Determines whether a client that waited in vain was the only one. All clients of the case have
/// disconnected.
fn with_blocked_server(ctx: &TestContext<'_>, failure: Failure) -> Failure {
    let is_relevant = failure.verdict.is_some() && failure.fault.is_hang() && ctx.was_served();
    match is_relevant.then(|| ctx.clients().is_any_served(SHORT_TIMEOUT * 2)).flatten() {
        Some(false) => failure.fault(Fault::Blocks),
        _ => failure,
    }
}

/// Returns the failure of a case that panicked.
fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    Failure::harness_error("the case runs to its end", format!("the case panicked: {message}"))
        .hint("this is a fault of the harness: please report it")
}
