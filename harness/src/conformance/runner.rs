//! Runner: runs the cases of a server, several in parallel.

use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::assumptions::{NO_BROADCAST, PLAIN_REQUESTS};
use super::case::Case;
use super::causes::find_causes;
use super::failure::Failure;
use super::preflight::{Blocks, PreflightFailure};
use super::settings::{OnCaseStart, Runner, TIMEOUTS_PER_CASE};
use crate::results::{CaseResult, Kind, State, Verdict};
use crate::server::{LaunchSpec, starvation};

/// Number of cases that run, of all servers.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Interval between two checks of whether a case may start on an overloaded machine.
const PAUSE: Duration = Duration::from_millis(50);

/// Counts a running case until it is dropped.
struct RunningCase;

impl Drop for RunningCase {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Relaxed);
    }
}

impl Runner {
    /// Runs cases on a server, except those that the failure of a preflight check blocks. Reports
    /// each result when it is known, and returns the results in the order of `cases`. After
    /// [`stop`](Self::stop), the cases that did not run have no result.
    pub fn run_cases(
        &self,
        spec: &LaunchSpec,
        cases: &[&'static Case],
        preflight_failure: Option<&PreflightFailure>,
        report: impl Fn(&mut CaseResult) + Sync,
    ) -> Vec<CaseResult> {
        match preflight_failure {
            Some(failure) if failure.blocks == Blocks::Replies => {
                self.run_without_judging_replies(spec, cases, failure, report)
            }
            Some(failure) => self.results_without_run(spec, cases, failure, report),
            None => self.run_after_preflight(spec, cases, report),
        }
    }

    /// Runs the cases in parallel.
    ///
    /// If the reply to a plain request is not exactly one line, no other case can test its
    /// requirement. Each would time out or fail for this reason. So the cases that test plain
    /// requests run first and decide whether the others run. With them runs the case that tests
    /// whether the server broadcasts: then no case that assumes own replies can test its
    /// requirement.
    ///
    /// A blocked case is reported last, when the results of the cases that may block it are known.
    fn run_after_preflight(
        &self,
        spec: &LaunchSpec,
        cases: &[&'static Case],
        report: impl Fn(&mut CaseResult) + Sync,
    ) -> Vec<CaseResult> {
        let deadline = Instant::now().checked_add(self.time_limit());
        let limited = Runner { deadline, ..self.clone() };
        let (plain, others): (Vec<_>, Vec<_>) = cases.iter().partition(|case| is_first(case.name));
        let report_unless_blocked = |result: &mut CaseResult| {
            if !result.is_blocked() {
                report(result);
            }
        };
        let mut results = limited.run_in_parallel(spec, &plain, &|_: &mut CaseResult| {});
        let broadcasts = results.iter().any(|it| it.name == NO_BROADCAST && is_not_answered(it));
        let is_other = |it: &&CaseResult| it.name != NO_BROADCAST && is_not_answered(it);
        let unanswered = results.iter().find(is_other).map(|it| unanswered(&it.name));
        if broadcasts {
            results.iter_mut().filter(|it| it.name != NO_BROADCAST).for_each(|result| {
                if is_not_answered(result) {
                    result.fail_with(broadcast_failure());
                }
            });
        }
        if let Some(failure) = unanswered.as_ref().filter(|_| !broadcasts) {
            // The evidence of its run would be that of another fault.
            for result in results.iter_mut().filter(|it| it.name == NO_BROADCAST) {
                if let Some(case) = plain.iter().find(|case| case.name == NO_BROADCAST) {
                    *result = self.result_without_run(spec, case, failure.clone());
                }
            }
        }
        results.iter_mut().for_each(report_unless_blocked);
        let is_skipped =
            |case: &&'static Case| unanswered.is_some() || broadcasts && case.needs_own_replies();
        let (skipped, others): (Vec<_>, Vec<_>) = others.iter().partition(|it| is_skipped(it));
        let failure = if broadcasts { Some(broadcast_failure()) } else { unanswered };
        if let Some(failure) = failure {
            results.extend(self.skip(spec, &skipped, &failure, report_unless_blocked));
        }
        results.extend(limited.run_in_parallel(spec, &others, &report_unless_blocked));
        limited.with_causes(spec, cases, results, report)
    }

    /// Runs the cases that judge no reply. The others get the failure of the preflight check.
    fn run_without_judging_replies(
        &self,
        spec: &LaunchSpec,
        cases: &[&'static Case],
        preflight_failure: &PreflightFailure,
        report: impl Fn(&mut CaseResult) + Sync,
    ) -> Vec<CaseResult> {
        let deadline = Instant::now().checked_add(self.time_limit());
        let limited = Runner { deadline, ..self.clone() };
        let (blocked, others): (Vec<_>, Vec<_>) =
            cases.iter().partition(|case| case.judges_replies());
        let mut results = self.skip(spec, &blocked, &preflight_failure.failure, &report);
        results.extend(limited.run_in_parallel(spec, &others, &report));
        limited.with_causes(spec, cases, results, |_: &mut CaseResult| {})
    }

    /// Finds the causes of blocked results, reports these, and sorts all in the order of `cases`.
    fn with_causes(
        &self,
        spec: &LaunchSpec,
        cases: &[&'static Case],
        mut results: Vec<CaseResult>,
        report: impl Fn(&mut CaseResult),
    ) -> Vec<CaseResult> {
        let blocked: Vec<String> =
            results.iter().filter(|it| it.is_blocked()).map(|it| it.name.clone()).collect();
        let position = |name: &str| cases.iter().position(|case| case.name == name);
        results.sort_by_key(|result| position(&result.name));
        self.attribute_exits(spec, &mut results);
        find_causes(&mut results, |case| {
            self.known_failures.known_without_result(&spec.name, case)
        });
        results.iter_mut().filter(|it| blocked.contains(&it.name)).for_each(&report);
        results
    }

    /// Returns the results for a server that failed its preflight checks. No case runs.
    ///
    /// If the server cannot be launched, all applicable cases fail. If the server does not match
    /// its contract, one applicable case fails and the others are inconclusive.
    fn results_without_run(
        &self,
        spec: &LaunchSpec,
        cases: &[&'static Case],
        preflight_failure: &PreflightFailure,
        report: impl Fn(&mut CaseResult),
    ) -> Vec<CaseResult> {
        let applies = |case: &&&'static Case| {
            let spec = spec.fitting(|contract| case.suits(contract));
            case.unmet_precondition(&spec.contract).is_none()
        };
        let plain = cases.iter().filter(|case| PLAIN_REQUESTS.contains(&case.name)).find(applies);
        let failed =
            plain.or_else(|| cases.iter().find(applies)).filter(|_| preflight_failure.is_launched);
        let result_of = |case: &&'static Case| match failed {
            Some(failed) if failed.name != case.name => {
                let tested_by = slice::from_ref(&failed.name);
                let observed = &preflight_failure.failure.observed;
                let failure = Failure::assumption_failed(tested_by, observed);
                self.result_without_run(spec, case, failure)
            }
            _ => self.result_without_run(spec, case, preflight_failure.failure.clone()),
        };
        let mut results: Vec<CaseResult> = cases.iter().map(result_of).collect();
        find_causes(&mut results, |_| None);
        results.iter_mut().for_each(report);
        results
    }

    /// Gives all applicable cases the same failure, without running them.
    fn skip(
        &self,
        spec: &LaunchSpec,
        cases: &[&'static Case],
        failure: &Failure,
        report: impl Fn(&mut CaseResult),
    ) -> Vec<CaseResult> {
        let skip_one = |case: &&'static Case| {
            let mut result = self.result_without_run(spec, case, failure.clone());
            report(&mut result);
            result
        };
        cases.iter().map(skip_one).collect()
    }

    /// Runs up to `parallel_cases` cases at a time. Returns the results in the order of completion.
    fn run_in_parallel(
        &self,
        spec: &LaunchSpec,
        cases: &[&'static Case],
        report: &(impl Fn(&mut CaseResult) + Sync),
    ) -> Vec<CaseResult> {
        let (began, next) = (Instant::now(), AtomicUsize::new(0));
        let results = Mutex::new(Vec::<CaseResult>::with_capacity(cases.len()));
        let so_far = || results.lock().unwrap_or_else(PoisonError::into_inner);
        let work = || {
            while !self.is_stopped()
                && let Some(case) = cases.get(next.fetch_add(1, Relaxed))
            {
                let reason = self.reason_to_skip(began, &so_far());
                let mut result = match reason {
                    Some(reason) => {
                        self.result_without_run(spec, case, Failure::inconclusive(reason))
                    }
                    None => {
                        if let Some(OnCaseStart(start)) = &self.on_case_start {
                            start(case.name);
                        }
                        let _running = self.wait_to_start();
                        self.run_case(spec, case)
                    }
                };
                report(&mut result);
                so_far().push(result);
            }
        };
        thread::scope(|scope| {
            // The calling thread also runs cases. If the system cannot create more threads, fewer
            // cases run in parallel.
            for _ in 1..self.parallel_cases.min(cases.len()) {
                if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
        results.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the machine is overloaded and other cases run, at most for the timeout of one
    /// wait: a further server would only add to the load.
    fn wait_to_start(&self) -> RunningCase {
        let deadline = Instant::now() + self.timeout;
        while RUNNING.load(Relaxed) > 0
            && starvation::is_overloaded_now()
            && Instant::now() < deadline
            && !self.is_stopped()
        {
            thread::sleep(PAUSE);
        }
        RUNNING.fetch_add(1, Relaxed);
        RunningCase
    }

    /// Returns why the remaining cases are skipped: the time limit has passed, or more cases hung
    /// than passed.
    fn reason_to_skip(&self, began: Instant, so_far: &[CaseResult]) -> Option<String> {
        if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            let within = self.time_limit().as_secs();
            return Some(format!(
                "the case was skipped: the time limit of {within} s for this server (--within) has \
                 passed"
            ));
        }
        let hung = so_far.iter().filter(|it| it.state == State::Hang).count();
        let passed = so_far.iter().filter(|it| it.kind() == Kind::Pass).count();
        let is_hopeless = began.elapsed() > self.timeout * TIMEOUTS_PER_CASE && hung > passed;
        is_hopeless.then(|| {
            format!("the case was skipped: the server hung in {hung} cases and passed {passed}")
        })
    }
}

/// Returns whether a case runs before the others, because its result decides whether they run.
fn is_first(case: &str) -> bool {
    PLAIN_REQUESTS.contains(&case) || case == NO_BROADCAST
}

/// Returns the failure of the other cases if this case failed, which tests plain requests.
fn unanswered(name: &str) -> Failure {
    let index = PLAIN_REQUESTS.iter().position(|plain| *plain == name);
    let failed = index.map_or(PLAIN_REQUESTS, |at| slice::from_ref(&PLAIN_REQUESTS[at]));
    Failure::assumption_failed(failed, "a plain request is not answered by one line")
}

/// Returns the failure of the cases that cannot judge a server that broadcasts.
fn broadcast_failure() -> Failure {
    let text = "the server sends the messages of each client to other clients";
    Failure::assumption_failed(&[NO_BROADCAST], text)
}

/// Returns whether the server did not answer a plain request by one line. Excludes a crash, because
/// the server may have answered before the crash.
fn is_not_answered(result: &CaseResult) -> bool {
    result.verdict == Some(Verdict::Fail) && result.state != State::Crash
}
