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
use super::benchmark::Bench;
use super::draft::{Draft, Files, empty_report, milliseconds};
use super::progress::{OutputStream, Progress};
use super::selection::seed_or_random;
use crate::cli::{COUNTEREXAMPLES, Run};
use crate::conformance::{self, Case, Runner};
use crate::counterexamples;
use crate::figures::{count, rate};
use crate::load::{Load, MeasurementSettings, Plan, WORKLOADS, Workload};
use crate::report::{Output, Tally, case_text, failure_text, not_run_line};
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
        let output = Output::create(&arguments.output)?.with_evidence(arguments.evidence);
        let page = output.page();
        let launcher = Launcher::this_program()?;
        let contenders = Contender::of_run(arguments, &launcher)?;
        let names: Vec<String> = contenders.iter().map(|it| it.tested.name.clone()).collect();
        let plan = arguments.plan.description();
        let report = match arguments.resume {
            true => interrupted_report(&output, &plan, &names)?,
            false => empty_report(plan.clone(), seed_or_random(arguments.seed)),
        };
        let seed = report.seed;
        let runner = Runner {
            known_failures: arguments.exit_policy.known_failures(&names)?,
            ..Runner::new(launcher.clone(), seed)
        };
        let counterexample_folder = arguments.output.join(COUNTEREXAMPLES);
        counterexamples::check_folder(&counterexample_folder)?;
        let cases: Vec<&Case> = conformance::cases().collect();
        let measured = arguments.plan.plan();
        let workloads: Vec<&Workload> =
            WORKLOADS.iter().filter(|it| it.set <= measured.workloads).collect();
        let rounds = measured.rounds as usize;
        let steps = contenders.len() * (cases.len() + workloads.len() * rounds);
        let progress = Progress::new(steps, OutputStream::Stdout);
        progress.line(&format!(
            "servers: {}, cases: {}, workloads: {} ({plan}), seed: {}",
            contenders.len(),
            cases.len(),
            workloads.len(),
            runner.seed
        ));
        let files = Files { output: Some(output), junit: None };
        let draft = Draft::begin(report, files, WRITE_EVERY, &progress)?;
        Ok(Job {
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
        })
    }

    /// Tests the servers, several in parallel.
    ///
    /// # Errors
    /// The report cannot be written.
    fn test_servers(&self) -> Result<()> {
        let (next, result) = (AtomicUsize::new(0), Mutex::new(Ok(())));
        let work = || {
            while let Some(contender) = self.contenders.get(next.fetch_add(1, Relaxed)) {
                if self.is_tested(&contender.tested.name) {
                    self.progress.skip(self.cases.len());
                    continue;
                }
                let entry = self.test(&contender.tested);
                self.progress.line(&match not_run_line(&entry) {
                    Some(reason) => reason,
                    None => {
                        format!("tested   {}: {}", entry.label(), Tally::of(&entry.cases).summary())
                    }
                });
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
        result.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn test(&self, spec: &LaunchSpec) -> ServerResult {
        if spec.unavailable.is_some() {
            self.progress.skip(self.cases.len());
            return ServerResult::new(spec, Vec::new());
        }
        let began = Instant::now();
        self.progress.show_activity(format!("testing {}", spec.name));
        let preflight_failure = self.runner.preflight(spec).err();
        let results =
            self.runner.run_cases(spec, &self.cases, preflight_failure.as_deref(), |result| {
                self.progress.step();
                counterexamples::save(&self.counterexample_folder, spec, self.runner.seed, result)
                    .unwrap_or_else(|error| self.progress.line(&format!("{error:#}")));
                if !result.is_fine() || result.known_failure.is_some() {
                    self.progress.line(&case_text(&spec.name, result));
                }
            });
        let duration_ms = Some(milliseconds(began.elapsed()));
        ServerResult { duration_ms, ..ServerResult::new(spec, results) }
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
            }
        }
        for index in 0..self.contenders.len() {
            let mut draft = self.draft.lock();
            let entry = &mut draft.report.servers[index];
            entry.measurements.sort_by_key(|it| self.workload_index(&it.workload));
            self.progress.line(&format!("measured {}", figures(entry)));
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
        if entry.not_run.is_some() {
            self.progress.skip(workloads.len());
            return Ok(());
        }
        let spec = &self.contenders[index].benchmarked;
        let mut bench = Bench::new(&self.launcher, spec);
        for workload in workloads {
            let runs = entry.measurement(workload.name).map_or(0, |it| it.runs.len());
            let is_ruled_out = entry.not_measured.iter().any(|it| it.workload == workload.name);
            if runs <= round as usize && !is_ruled_out {
                self.progress.show_activity(format!("{} under {}", spec.name, workload.name));
                bench.measure(workload, settings, &mut entry)?;
            }
            self.progress.step();
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
                self.progress.line(&failure_text(&server.name, stale));
            }
        }
        for problem in report.problems() {
            self.progress.line(&format!("problem: {problem}"));
        }
        self.progress.line(&format!("verdicts: {}", Tally::of(report.results()).summary()));
        self.progress.line(&format!("measurements: {}", validity_counts(report)));
        self.progress.line(&format!("report: {}", self.page.display()));
        annotations::print(report, &self.progress);
        Ok(ExitCode::from(report.exit_code(&self.arguments.exit_policy.fail_on)))
    }
}

/// Reads the report of an interrupted run, to continue it.
///
/// # Errors
/// There is no such report, or it is that of a complete run, or of another plan or other servers.
fn interrupted_report(output: &Output, plan: &str, names: &[String]) -> Result<Report> {
    let file = output.json();
    let report = Report::read(&file).map_err(|error| UsageError(format!("--resume: {error}")))?;
    let is_known = |server: &ServerResult| names.contains(&server.name);
    let problem = match &report {
        it if it.complete => "is complete: start a new run without --resume".to_owned(),
        it if it.plan != plan => {
            format!("has another plan ({}): use the same --plan, or start a new run", it.plan)
        }
        it if !it.servers.iter().all(is_known) => {
            "has other servers: name the same servers, or start a new run".to_owned()
        }
        _ => return Ok(report),
    };
    Err(UsageError(format!("--resume: {} {problem}", file.display())).into())
}

/// Formats the number of measurements for each validity, the most frequent first.
fn validity_counts(report: &Report) -> String {
    let labels = report.servers.iter().flat_map(|server| &server.measurements);
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for label in labels.map(|measurement| measurement.validity.label.name()) {
        match counts.iter_mut().find(|(name, _)| *name == label) {
            Some((_, count)) => *count += 1,
            None => counts.push((label, 1)),
        }
    }
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let counts: Vec<String> =
        counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
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
