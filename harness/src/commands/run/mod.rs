//! `harness run`: tests and benchmarks servers, and writes the report.

mod contenders;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use super::annotations;
use super::benchmark::{Bench, validity_counts};
use super::case_line::{case_line, problem_line, with_style};
use super::draft::STOPPED;
use super::draft::{Draft, Files, empty_report, milliseconds};
use super::progress::weights::{planned_s, weight_of_cases, weight_of_result};
use super::progress::{OutputStream, Progress, StepKind, StepLine};
use super::report_files;
use super::selection::seed_or_random;
use crate::cli::{COUNTEREXAMPLES, Run};
use crate::conformance::{self, Case, Runner};
use crate::counterexamples;
use crate::figures::{count, rate};
use crate::load::{Load, MeasurementSettings, Plan, WORKLOADS, Workload};
use crate::report::{Output, Tally, failure_text, not_run_line};
use crate::results::{Kind, Report, ServerResult};
use crate::server::{LaunchSpec, Launcher, raise_descriptor_limit};
use crate::usage_error::UsageError;

pub(crate) use contenders::Contender;

/// Number of servers tested in parallel, each with parallel cases (see [`Runner`]). Cases mostly
/// wait for timeouts, so the last cases of one server can overlap with the first cases of another.
const TESTED_IN_PARALLEL: usize = 4;

/// Minimum interval between two writes of an incomplete report.
const WRITE_EVERY: Duration = Duration::from_secs(5);

/// Tests and benchmarks the selected servers, and writes the report.
///
/// # Errors
/// Bad usage, or the harness itself failed. Faults of servers are results in the report.
pub fn run(arguments: &Run) -> Result<ExitCode> {
    raise_descriptor_limit();
    let job = Job::prepare(arguments)?;
    job.test_servers()?;
    // The files of passed cases are not written while results arrive.
    job.draft.lock().write()?;
    job.benchmark_servers()?;
    job.conclude()
}

/// A run in progress.
struct Job<'a> {
    arguments: &'a Run,
    launcher: Launcher,
    contenders: Vec<Contender>,
    cases: Vec<&'static Case>,
    workloads: Vec<&'static Workload>,
    runner: Runner,
    /// Directory for counterexamples.
    counterexample_folder: PathBuf,
    /// The HTML page of the report.
    page: PathBuf,
    progress: Progress,
    draft: Draft,
}

impl Job<'_> {
    /// Reads the arguments, and creates the files.
    ///
    /// # Errors
    /// Bad usage, or a file cannot be written.
    fn prepare(arguments: &Run) -> Result<Job<'_>> {
        arguments.exit_policy.check()?;
        // Read first: the baseline may be the report that this run replaces.
        let baseline = report_files::read(&arguments.baseline)?;
        let output = Output::create(&arguments.output)?
            .with_evidence(arguments.evidence)
            .with_baseline(baseline.into_iter().map(|file| file.report).collect());
        let page = output.page();
        let launcher = Launcher::this_program()?;
        let mut contenders = Contender::of_run(arguments, &launcher)?;
        for Contender { tested, benchmarked } in &mut contenders {
            arguments.start.set_in(tested);
            arguments.start.set_in(benchmarked);
        }
        let names: Vec<String> = contenders.iter().map(|it| it.tested.name.clone()).collect();
        let plan = arguments.plan.description();
        let cases: Vec<&Case> = conformance::cases().collect();
        let report = match arguments.resume {
            true => interrupted_report(&output, &plan, (&names, &cases))?,
            false => empty_report(plan.clone(), seed_or_random(arguments.seed)),
        };
        let seed = report.seed;
        let runner = Runner {
            known_failures: arguments.exit_policy.known_failures(&names)?,
            ..Runner::new(launcher.clone(), seed)
        };
        let counterexample_folder = arguments.output.join(COUNTEREXAMPLES);
        counterexamples::check_folder(&counterexample_folder)?;
        let measured = arguments.plan.plan();
        let workloads: Vec<&Workload> =
            WORKLOADS.iter().filter(|it| it.set <= measured.workloads).collect();
        let progress = Progress::new(arguments.terminal, OutputStream::Stdout);
        progress.detail(format!(
            "servers: {}, cases: {}, workloads: {} ({plan}), seed: {}",
            contenders.len(),
            cases.len(),
            workloads.len(),
            runner.seed
        ));
        let files = Files {
            output: Some(output),
            junit: None,
            counterexamples: counterexample_folder.clone(),
        };
        let draft = Draft::begin(report, files, WRITE_EVERY, &progress)?;
        let job = Job {
            arguments,
            launcher,
            contenders,
            cases,
            workloads,
            runner,
            counterexample_folder,
            page,
            progress,
            draft,
        };
        job.plan_steps(measured);
        Ok(job)
    }

    /// Adds the steps of the run to the progress.
    fn plan_steps(&self, plan: Plan) {
        let rounds = plan.rounds as usize;
        for Contender { tested, benchmarked } in &self.contenders {
            let weight = weight_of_cases(tested, &self.cases);
            self.progress.plan(StepKind::Case, self.cases.len(), weight);
            let contract = &benchmarked.contract;
            let planned = self.workloads.iter().map(|it| planned_s(it, contract, plan));
            let weight = planned.sum::<f64>() * f64::from(plan.rounds);
            self.progress.plan(StepKind::Measurement, self.workloads.len() * rounds, weight);
        }
    }

    /// Tests the servers, several in parallel.
    ///
    /// # Errors
    /// The report cannot be written.
    fn test_servers(&self) -> Result<()> {
        self.progress.begin(StepKind::Case);
        self.progress.show_activity("testing ");
        let (next, result) = (AtomicUsize::new(0), Mutex::new(Ok(())));
        let work = || {
            while !self.runner.is_stopped() {
                let index = next.fetch_add(1, Relaxed);
                let Some(Contender { tested, .. }) = self.contenders.get(index) else { break };
                if self.is_tested(&tested.name) {
                    self.skip_cases(index, tested);
                    self.progress.lines_at(self.place_after(index), Vec::new());
                    continue;
                }
                let entry = self.test(index, tested);
                if entry.cases.is_empty() && entry.not_run.is_none() {
                    // The run was stopped before the first case.
                    break;
                }
                let line = not_run_line(&entry).unwrap_or_else(|| {
                    let tally = Tally::of(&entry.cases).summary();
                    format!("tested   {}: {tally}", entry.label())
                });
                let line = StepLine::Detail(line.into());
                self.progress.lines_at(self.place_after(index), vec![line]);
                if let Err(error) = self.add(entry) {
                    *result.lock().unwrap_or_else(PoisonError::into_inner) = Err(error);
                    // Stop the other threads after their current server.
                    next.store(self.contenders.len(), Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            // This thread also works. If no more threads can be spawned, fewer servers run in
            // parallel.
            for _ in 1..TESTED_IN_PARALLEL.min(self.contenders.len()) {
                if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
        self.progress.release_lines();
        result.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the place of a case in the output: the lines of a server are in the order of its
    /// cases, followed by the line about the server.
    fn place(&self, server: usize, case: usize) -> usize {
        server * (self.cases.len() + 1) + case
    }

    /// Returns the place of the line about a server.
    fn place_after(&self, server: usize) -> usize {
        self.place(server, self.cases.len())
    }

    fn skip_cases(&self, server: usize, spec: &LaunchSpec) {
        let weight = weight_of_cases(spec, &self.cases);
        self.progress.skip(StepKind::Case, self.cases.len(), weight);
        for case in 0..self.cases.len() {
            self.progress.lines_at(self.place(server, case), Vec::new());
        }
    }

    fn test(&self, server: usize, spec: &LaunchSpec) -> ServerResult {
        if spec.unavailable.is_some() {
            self.skip_cases(server, spec);
            return ServerResult::new(spec, Vec::new());
        }
        let began = Instant::now();
        self.progress.start_parallel(&spec.name);
        let preflight = self.runner.preflight(spec);
        let failure = preflight.as_ref().err().map(|failure| &**failure);
        let results = self.runner.run_cases(spec, &self.cases, failure, |result| {
            self.progress.step(StepKind::Case, weight_of_result(result.kind()));
            self.progress.count(result.kind());
            counterexamples::save(&self.counterexample_folder, spec, self.runner.seed, result)
                .unwrap_or_else(|error| self.progress.line(format!("{error:#}")));
            if self.arguments.exit_policy.stops_after_case(result) {
                self.runner.stop();
            }
            let is_shown = !result.is_fine() || result.known_failure.is_some();
            let lines = is_shown.then(|| case_line(&spec.name, result)).into_iter().collect();
            let case = self.cases.iter().position(|case| case.name == result.name);
            self.progress.lines_at(self.place(server, case.unwrap_or_default()), lines);
        });
        self.progress.end_parallel(&spec.name);
        let duration_ms = Some(milliseconds(began.elapsed()));
        ServerResult { duration_ms, launch: preflight.ok(), ..ServerResult::new(spec, results) }
    }

    /// Adds the results of a server to the report, in the order of the servers.
    fn add(&self, entry: ServerResult) -> Result<()> {
        let mut draft = self.draft.lock();
        let index = |name: &str| self.contenders.iter().position(|it| it.tested.name == name);
        draft.report.servers.push(entry);
        draft.report.servers.sort_by_key(|server| index(&server.name));
        draft.write_if_due()
    }

    /// Returns whether an interrupted run has already tested this server.
    fn is_tested(&self, name: &str) -> bool {
        self.draft.lock().report.servers.iter().any(|server| server.name == name)
    }

    /// Benchmarks the servers one at a time: server by server, or in several rounds, each with
    /// servers and workloads in random order.
    ///
    /// # Errors
    /// The harness itself failed, or the report cannot be written.
    fn benchmark_servers(&self) -> Result<()> {
        if self.runner.is_stopped() {
            return Ok(());
        }
        self.progress.begin(StepKind::Measurement);
        // The signal thread of `Draft` writes the report and exits, so no measurement stops early.
        let not_interrupted = AtomicBool::new(false);
        let plan = self.arguments.plan.plan();
        let settings = MeasurementSettings::new(plan, self.runner.seed, &not_interrupted);
        for round in 0..plan.rounds {
            for (index, workloads) in self.order(round, plan) {
                let settings = MeasurementSettings {
                    seed: settings.seed.wrapping_add(round.into()),
                    ..settings
                };
                self.benchmark(index, &workloads, round, &settings)?;
                if self.runner.is_stopped() {
                    return Ok(());
                }
            }
        }
        for index in 0..self.contenders.len() {
            let mut draft = self.draft.lock();
            let entry = &mut draft.report.servers[index];
            entry.measurements.sort_by_key(|it| self.workload_index(&it.workload));
            self.progress.detail(format!("measured {}", figures(entry)));
        }
        Ok(())
    }

    /// Returns the order of a round: servers, by index, each with the workloads to measure.
    fn order(&self, round: u32, plan: Plan) -> Vec<(usize, Vec<&'static Workload>)> {
        let servers = 0..self.contenders.len();
        if plan.relaunches && plan.rounds > 1 {
            let pairs =
                servers.flat_map(|index| self.workloads.iter().map(move |it| (index, vec![*it])));
            let mut pairs: Vec<_> = pairs.collect();
            pairs
                .shuffle(&mut SmallRng::seed_from_u64(self.runner.seed.wrapping_add(round.into())));
            return pairs;
        }
        // Measure the memory per connection first, while the process has not served any client.
        let mut ordered = self.workloads.clone();
        ordered.sort_by_key(|workload| workload.load != Load::IdleConnections);
        servers.map(|index| (index, ordered.clone())).collect()
    }

    /// Returns the position of a workload in the report.
    fn workload_index(&self, name: &str) -> Option<usize> {
        self.workloads.iter().position(|it| it.name == name)
    }

    /// Benchmarks a server under workloads, unless this round of an interrupted run has done so.
    fn benchmark(
        &self,
        index: usize,
        workloads: &[&'static Workload],
        round: u32,
        settings: &MeasurementSettings<'_>,
    ) -> Result<()> {
        // Clone the entry: a lock that is held during measurements would block the interrupt
        // handler.
        let mut entry = self.draft.lock().report.servers[index].clone();
        let spec = &self.contenders[index].benchmarked;
        let planned = |workload: &Workload| planned_s(workload, &spec.contract, settings.plan);
        if entry.not_run.is_some() {
            let weight = workloads.iter().map(|it| planned(it)).sum();
            self.progress.skip(StepKind::Measurement, workloads.len(), weight);
            return Ok(());
        }
        let mut bench = Bench::new(&self.launcher, spec);
        for workload in workloads {
            let runs = entry.measurement(workload.name).map_or(0, |it| it.runs.len());
            let is_ruled_out = entry.not_measured.iter().any(|it| it.workload == workload.name);
            if runs <= round as usize && !is_ruled_out {
                self.progress.show_activity(format!("{} under {}", spec.name, workload.name));
                bench.measure(workload, settings, &mut entry)?;
                self.progress.step(StepKind::Measurement, planned(workload));
            } else {
                self.progress.skip(StepKind::Measurement, 1, planned(workload));
            }
            if self.arguments.exit_policy.stops_after_benchmark(&entry) {
                self.runner.stop();
                break;
            }
        }
        let mut draft = self.draft.lock();
        draft.report.servers[index] = entry;
        draft.write_if_due()
    }

    /// Completes the report, prints the summary, and returns the exit code.
    ///
    /// # Errors
    /// The report cannot be written.
    fn conclude(self) -> Result<ExitCode> {
        self.draft.complete(&self.runner, &self.progress)?;
        let draft = self.draft.lock();
        let report = &draft.report;
        for server in &report.servers {
            for stale in server.cases.iter().filter(|result| result.kind() == Kind::Stale) {
                self.progress.line(with_style(stale, failure_text(&server.name, stale)));
            }
        }
        for problem in report.problems() {
            self.progress.line(problem_line(&problem));
        }
        if self.runner.is_stopped() {
            self.progress.line(STOPPED);
        }
        self.progress.line(format!("verdicts: {}", Tally::of(report.results()).summary()));
        self.progress.line(format!("measurements: {}", validity_counts(report)));
        self.progress.line(format!("report: {}", self.page.display()));
        annotations::print(report, &self.progress);
        Ok(ExitCode::from(report.exit_code(&self.arguments.exit_policy.fail_on)))
    }
}

/// Reads the report of an interrupted run, to continue it. Omits servers that were not tested with
/// all `cases`.
///
/// # Errors
/// There is no such report, or it is that of a complete run, or of another plan or other servers.
fn interrupted_report(
    output: &Output,
    plan: &str,
    (names, cases): (&[String], &[&Case]),
) -> Result<Report> {
    let file = output.json();
    let mut report =
        Report::read(&file).map_err(|error| UsageError(format!("--resume: {error}")))?;
    let is_known = |server: &ServerResult| names.contains(&server.name);
    let problem = match &report {
        it if it.complete => "is complete: start a new run without --resume".to_owned(),
        it if it.plan != plan => {
            format!("has another plan ({}): use the same --plan, or start a new run", it.plan)
        }
        it if !it.servers.iter().all(is_known) => {
            "has other servers: name the same servers, or start a new run".to_owned()
        }
        _ => {
            let is_tested = |server: &ServerResult| {
                server.not_run.is_some() || server.cases.len() == cases.len()
            };
            report.servers.retain(is_tested);
            return Ok(report);
        }
    };
    Err(UsageError(format!("--resume: {} {problem}", file.display())).into())
}

/// Formats the server's measurements in one line.
fn figures(entry: &ServerResult) -> String {
    let figures: Vec<String> = entry
        .measurements
        .iter()
        .map(|measurement| match &measurement.idle_connections {
            Some(idle) => format!(
                "{} idle connections at {} bytes each",
                count(measurement.clients as f64),
                count(idle.memory_per_connection_bytes as f64)
            ),
            None => format!("{} {}/s", measurement.workload, rate(measurement.throughput_per_s)),
        })
        .collect();
    format!("{}: {}", entry.label(), figures.join(", "))
}
