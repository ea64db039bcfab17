//! Runner: runs each case with its own server process, several cases in parallel.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::case::Case;
use super::case_result::{CaseResult, Kind, State, Verdict, find_causes};
use super::context::{DYING, Evidence, TestContext};
use super::failure::{Detail, Failure};
use super::preflight::Obstacle;
use super::resources::watched;
use super::settings::{PATIENCES, PLAIN, Runner};
use crate::client::Happening;
use crate::server::{LaunchSpec, MOST_TASKS, Place};
use crate::text::visible;

/// The hint of a failure without a likely cause.
const LOOK: &str =
    "--output DIR and --json have each byte, and what the server wrote, on one clock";

impl Runner {
    /// Runs one case on a server and returns its result.
    pub fn judge(&self, spec: &LaunchSpec, case: &'static Case) -> CaseResult {
        let began = Instant::now();
        let spec = spec.fitting(|contract| case.suits(contract));
        let mut judgement = self.unjudged(spec, case);
        if judgement.state != State::NotApplicable {
            // `run` catches a panic of the case. This catches a panic of the code around it.
            panic::catch_unwind(AssertUnwindSafe(|| self.run(spec, case, &mut judgement)))
                .unwrap_or_else(|panic| judgement.take(panicked(&*panic)));
        }
        for words in [&mut judgement.expected, &mut judgement.observed] {
            // Both may quote bytes from the server.
            *words = visible(words).into_owned();
        }
        judgement.known = self.expected.known(&spec.name, &judgement);
        judgement.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        judgement
    }

    /// Returns the results for a server that failed its preflight checks. No case runs.
    ///
    /// If the server cannot be launched, all applicable cases fail. If it does not match its
    /// contract, the first applicable case fails and the others are inconclusive.
    pub fn judge_unchecked(
        &self,
        spec: &LaunchSpec,
        cases: &[&'static Case],
        obstacle: &Obstacle,
        reached: impl Fn(&mut CaseResult),
    ) -> Vec<CaseResult> {
        let applies = |case: &&&'static Case| {
            let spec = spec.fitting(|contract| case.suits(contract));
            case.unmet_by(&spec.contract).is_none()
        };
        let plain = cases.iter().filter(|case| PLAIN.contains(&case.name)).find(applies);
        let first = plain.or_else(|| cases.iter().find(applies)).filter(|_| obstacle.is_launched);
        let judge = |case: &&'static Case| match first {
            Some(first) if first.name != case.name => {
                let by = std::slice::from_ref(&first.name);
                self.alike(spec, case, Failure::blocked(by, &obstacle.finding.observed))
            }
            _ => self.alike(spec, case, obstacle.finding.clone()),
        };
        let mut judgements: Vec<CaseResult> = cases.iter().map(judge).collect();
        find_causes(&mut judgements, |_| None);
        judgements.iter_mut().for_each(reached);
        judgements
    }

    /// Gives all applicable cases the same failure, without running them.
    fn judge_alike(
        &self,
        spec: &LaunchSpec,
        cases: &[&'static Case],
        finding: &Failure,
        reached: impl Fn(&mut CaseResult),
    ) -> Vec<CaseResult> {
        let judge = |case: &&'static Case| {
            let mut judgement = self.alike(spec, case, finding.clone());
            reached(&mut judgement);
            judgement
        };
        cases.iter().map(judge).collect()
    }

    /// Gives an applicable case a failure, without running it.
    fn alike(&self, spec: &LaunchSpec, case: &'static Case, finding: Failure) -> CaseResult {
        let spec = spec.fitting(|contract| case.suits(contract));
        let mut judgement = self.unjudged(spec, case);
        if judgement.state != State::NotApplicable {
            judgement.take(finding);
        }
        judgement.known = self.expected.known(&spec.name, &judgement);
        judgement
    }

    /// Returns an inconclusive result for a case that the run has no time for.
    fn undecided(&self, spec: &LaunchSpec, case: &'static Case, words: String) -> CaseResult {
        self.alike(spec, case, Failure::vacuous(words))
    }

    /// Returns why the remaining cases are skipped: the time limit has passed, or most cases hang.
    fn gives_up(&self, began: Instant, so_far: &[CaseResult]) -> Option<String> {
        if self.until.is_some_and(|until| Instant::now() > until) {
            let within = self.within.unwrap_or_default().as_secs();
            return Some(format!("the time for this server, {within} s, was over (--within)"));
        }
        let hung = so_far.iter().filter(|one| one.state == State::Hang).count();
        let passed = so_far.iter().filter(|one| one.kind() == Kind::Pass).count();
        let is_hopeless = began.elapsed() > self.patience * PATIENCES && hung > passed;
        is_hopeless.then(|| format!("it hung in {hung} cases and passed {passed}: it is given up"))
    }

    /// Returns the initial result of a case, with whether it applies.
    fn unjudged(&self, spec: &LaunchSpec, case: &'static Case) -> CaseResult {
        let unmet = case.unmet_by(&spec.contract);
        CaseResult {
            state: if unmet.is_some() { State::NotApplicable } else { State::Vacuous },
            observed: unmet.unwrap_or_default(),
            replay: format!(
                "harness check {} --case {} --seed {}",
                spec.check_arguments, case.name, self.seed
            ),
            ..CaseResult::new(case.name, case.requirement)
        }
    }

    fn run(&self, spec: &LaunchSpec, case: &Case, judgement: &mut CaseResult) {
        // The port lease is held until the case is over.
        let launched = Place::take(spec)
            .and_then(|place| self.launcher.launch(spec).map(|server| (place, server)));
        let (place, server) = match launched {
            Ok(launched) => launched,
            Err(error) => return judgement.take(Failure::from(error)),
        };
        let supervisor = server.process.supervisor();
        let ctx = TestContext::new(self, spec, server, &place);
        let check = || panic::catch_unwind(AssertUnwindSafe(|| (case.check)(&ctx)));
        let (checked, resources) = match supervisor {
            Some(supervisor) => {
                watched(supervisor, check, |checked| !matches!(checked, Ok(Ok(()))))
            }
            None => (check(), Vec::new()),
        };
        judgement.resources = resources;
        let mut evidence = ctx.take_apart();
        judgement.discovery = evidence.discovery.take().map(Box::new);
        let (transcript, met) = (evidence.transcript.clone(), evidence.met);
        let (served, may_end) = (evidence.served, evidence.may_end);
        let general_hint = match &checked {
            Ok(Err(finding)) => finding.general_hint,
            _ => None,
        };
        let not_replayed = self.replay.is_some() && !evidence.replayed;
        judgement.conclude(checked, &evidence);
        // After a failure, the server may be about to crash and need a moment to exit.
        let moment = if judgement.is_fine() { Duration::ZERO } else { DYING };
        evidence.process.wait_for_exit(moment);
        let ended = evidence.process.end();
        let ended = evidence.death.unwrap_or(ended);
        let wrote = ended.wrote.into_iter().map(|(at, bytes)| (at, Happening::ServerWrote(bytes)));
        let exited =
            ended.exited_at.zip(ended.exit).map(|(at, exit)| (at, Happening::Exited(exit)));
        judgement.transcript = transcript.events_with(wrote.chain(exited));
        judgement.log = ended.log;
        judgement.exit = ended.exit;
        judgement.survivors = ended.survivors;
        if ended.overgrown {
            let most = spec.limits.tasks.unwrap_or(MOST_TASKS);
            let seen = std::mem::take(&mut judgement.observed);
            let words = format!("it had more, and was ended; the client saw: {seen}");
            judgement.client_saw = Some(seen);
            let finding = Failure::fail(format!("at most {most} threads and processes"), words)
                .hint("what is started for each client must end with it, and have a bound");
            judgement.take(Failure { state: State::Crash, ..finding });
        } else if ended.outlived {
            let seconds = spec.limits.lifetime.unwrap_or_default().as_secs();
            let seen = std::mem::take(&mut judgement.observed);
            let words = format!("it had not, and was ended after {seconds} s; seen: {seen}");
            judgement.take(Failure::vacuous(words));
        } else if let Some(exit) = ended.exit
            && !may_end
            && !spec.contract.may_end_by(exit)
            && (served || judgement.state != State::Vacuous)
        {
            let seen = std::mem::take(&mut judgement.observed);
            judgement.client_saw = (judgement.found() != Kind::Pass).then_some(seen);
            let seen = judgement.client_saw.as_ref();
            let seen = seen.map_or_else(String::new, |seen| format!("; the client saw: {seen}"));
            judgement.verdict = Some(Verdict::Fail);
            judgement.state = State::Crash;
            judgement.blocked_by.clear();
            judgement.expected = "the server goes on".to_owned();
            judgement.observed = format!("the server ended, with {exit}{seen}");
            judgement.hint.get_or_insert_with(|| {
                "what the server wrote last tells where it died; a client must not be able to end it"
                    .to_owned()
            });
        } else if judgement.is_fine() && not_replayed {
            judgement.take(Failure::misfit("the case draws nothing by chance"));
        } else if judgement.is_fine() && met == 0 {
            judgement.take(Failure::vacuous("the case came to its end without seeing anything"));
        }
        if judgement.kind() == Kind::Fail {
            judgement.hint.get_or_insert_with(|| general_hint.unwrap_or(LOOK).to_owned());
        }
    }
}

impl CaseResult {
    fn take(&mut self, finding: Failure) {
        self.verdict = finding.verdict;
        self.state = finding.state;
        self.expected = finding.expected;
        self.observed = finding.observed;
        self.hint = finding.hint;
        self.blocked_by = finding.blocked_by.to_vec();
        (self.counterexample, self.quoted) = match finding.detail.map(|detail| *detail) {
            Some(Detail::Counterexample(value)) => (Some(value), None),
            Some(Detail::Quoted(quoted)) => (None, Some(Box::new(quoted))),
            None => (None, None),
        };
    }

    fn conclude(&mut self, checked: thread::Result<Result<(), Failure>>, evidence: &Evidence) {
        match checked {
            Ok(Ok(())) => {
                self.state = State::Ok;
                self.verdict = Some(evidence.verdict);
                self.observed = evidence.observed.clone().unwrap_or("as required".to_owned());
            }
            Ok(Err(finding)) => self.take(finding),
            Err(panic) => self.take(panicked(&*panic)),
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    Failure::harness_error("the case runs", format!("the case panicked: {words}"))
        .hint("this is a fault of the harness: please report it")
}

/// Runs cases on a server in parallel and reports each result when it is known. Returns the results
/// in the order of `cases`.
///
/// If the server does not answer a plain request by exactly one line, no other case can test its
/// requirement. Each would time out or fail for this reason. So the cases of plain requests run
/// first and decide whether the others run.
///
/// A result that another case may have caused is reported last, when all results are known.
pub fn judge_all(
    judge: &Runner,
    spec: &LaunchSpec,
    cases: &[&'static Case],
    reached: impl Fn(&mut CaseResult) + Sync,
) -> Vec<CaseResult> {
    let judge =
        &Runner { until: judge.within.map(|within| Instant::now() + within), ..judge.clone() };
    let (plain, others): (Vec<_>, Vec<_>) =
        cases.iter().partition(|case| PLAIN.contains(&case.name));
    let told_now = |judgement: &mut CaseResult| {
        if !judgement.is_blocked() {
            reached(judgement);
        }
    };
    let mut judgements = judge_together(judge, spec, &plain, &told_now);
    let others = match judgements.iter().find(|judgement| is_not_answered(judgement)) {
        Some(CaseResult { name, .. }) => {
            let by =
                PLAIN.iter().position(|plain| plain == name).map_or(PLAIN, |at| &PLAIN[at..=at]);
            let finding = Failure::blocked(by, "a plain request is not answered by one line");
            judge.judge_alike(spec, &others, &finding, told_now)
        }
        None => judge_together(judge, spec, &others, &told_now),
    };
    judgements.extend(others);
    let blocked: Vec<&str> =
        judgements.iter().filter(|one| one.is_blocked()).map(|one| one.name).collect();
    find_causes(&mut judgements, |case| judge.expected.known_unjudged(&spec.name, case));
    judgements.iter_mut().filter(|one| blocked.contains(&one.name)).for_each(&reached);
    let place = |name| cases.iter().position(|case| case.name == name);
    judgements.sort_by_key(|judgement| place(judgement.name));
    judgements
}

/// Returns whether the server fails to answer a plain request by one line. A crash is excluded, as
/// the server may have answered before it.
fn is_not_answered(judgement: &CaseResult) -> bool {
    judgement.verdict == Some(Verdict::Fail) && judgement.state != State::Crash
}

fn judge_together(
    judge: &Runner,
    spec: &LaunchSpec,
    cases: &[&'static Case],
    reached: &(impl Fn(&mut CaseResult) + Sync),
) -> Vec<CaseResult> {
    let (began, next) = (Instant::now(), AtomicUsize::new(0));
    let judgements = Mutex::new(Vec::<CaseResult>::with_capacity(cases.len()));
    let so_far = || judgements.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
            let given_up = judge.gives_up(began, &so_far());
            let mut judgement = match given_up {
                Some(words) => judge.undecided(spec, case, words),
                None => judge.judge(spec, case),
            };
            reached(&mut judgement);
            so_far().push(judgement);
        }
    };
    thread::scope(|scope| {
        // This thread runs cases, too. If the system cannot create more threads, fewer cases run in
        // parallel.
        for _ in 1..judge.at_once.min(cases.len()) {
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    judgements.into_inner().unwrap_or_else(PoisonError::into_inner)
}
