//! `harness bench`: launches servers and benchmarks them under the workloads.

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use anyhow::{Result, bail};
use serde::Serialize;

use super::benchmark::{Bench, validity_counts};
use super::case_line::problem_line;
use super::command_server::command_server;
use super::draft::{STOPPED, empty_report, milliseconds};
use super::interleaved;
use super::measurement_args::reject_comparison_conditions;
use super::progress::weights::planned_s;
use super::progress::{OutputStream, Progress, StepKind};
use super::run::Contender;
use super::selection::{named, print_json, selected};
use crate::cli;
use crate::load::{MeasurementSettings, Plan, WORKLOADS, Workload};
use crate::manifest;
use crate::report::{Output, measurement_line};
use crate::results::{Report, ServerResult};
use crate::server::{Launcher, raise_descriptor_limit};
use crate::thresholds::{ThresholdResult, check_all};
use crate::usage_error::UsageError;

/// Launches servers and benchmarks them under the workloads.
///
/// # Errors
/// Bad usage, or the harness itself failed.
pub fn bench(arguments: &cli::Bench) -> Result<ExitCode> {
    raise_descriptor_limit();
    if arguments.against.is_some() || arguments.against_cmd.is_some() {
        return interleaved::against(arguments);
    }
    reject_comparison_conditions(arguments.measurement.require)?;
    let job = Job::prepare(arguments)?;
    let plan = arguments.plan.description_of(job.settings.plan);
    let (mut report, began) = (empty_report(plan, job.settings.seed), Instant::now());
    job.progress.begin(StepKind::Measurement);
    let mut is_stopped = false;
    for contender in &job.contenders {
        let mut entry = ServerResult::new(&contender.tested, Vec::new());
        let benchmarked = job.benchmark(contender, &mut entry);
        report.servers.push(entry);
        report.duration_ms = milliseconds(began.elapsed());
        benchmarked?;
        is_stopped = report.servers.last().is_some_and(|entry| job.stops_after(entry));
        if job.is_interrupted() || is_stopped {
            break;
        }
        if let Some(output) = &job.output {
            output.write(&report)?;
        }
    }
    report.complete = !job.is_interrupted() && !is_stopped;
    job.conclude(&report)
}

/// A server in the JSON document, with the results of its thresholds, if any.
#[derive(Serialize)]
struct BenchOutput<'a> {
    #[serde(flatten)]
    server: &'a ServerResult,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    thresholds: &'a [ThresholdResult],
}

/// A benchmark in progress.
struct Job<'a> {
    arguments: &'a cli::Bench,
    workloads: Vec<&'static Workload>,
    launcher: Launcher,
    contenders: Vec<Contender>,
    settings: MeasurementSettings<'static>,
    output: Option<Output>,
    progress: Progress,
}

impl Job<'_> {
    /// Reads the arguments, and creates the directory of the report.
    ///
    /// # Errors
    /// Bad usage, or the directory cannot be written to.
    fn prepare(arguments: &cli::Bench) -> Result<Job<'_>> {
        let workloads = selected(WORKLOADS.iter(), |it| it.name, &arguments.workload, "workload")?;
        let launcher = Launcher::this_program()?;
        let mut contenders: Vec<Contender> = match (&arguments.manifest, &arguments.cmd) {
            (Some(_), Some(_)) => bail!(UsageError(
                "--cmd and --manifest both name servers: remove one, or add --against SERVER"
                    .to_owned()
            )),
            (None, Some(command)) => {
                let spec = command_server(arguments, "--cmd", command)?;
                Contender::described(vec![spec]).collect()
            }
            (Some(file), None) => {
                Contender::described(manifest::specs(file, &arguments.servers)?).collect()
            }
            (None, None) => Contender::builtin(&launcher, &named(&arguments.servers)?)?,
        };
        for contender in &mut contenders {
            arguments.start.set_in(&mut contender.benchmarked);
        }
        let plan = arguments.plan.plan();
        let plan = Plan {
            duration: arguments.duration.unwrap_or(plan.duration),
            warm_up: arguments.warm_up.unwrap_or(plan.warm_up),
            ..plan
        };
        let settings = MeasurementSettings {
            syscalls: arguments.syscalls,
            ..arguments.measurement.settings(plan)
        };
        let output = arguments.output.as_deref().map(Output::create).transpose()?;
        let text_stream = OutputStream::unless_reserved(arguments.json);
        let progress = Progress::new(arguments.terminal, text_stream);
        for contender in &contenders {
            let contract = &contender.benchmarked.contract;
            let weight = workloads.iter().map(|it| planned_s(it, contract, plan)).sum();
            progress.plan(StepKind::Measurement, workloads.len(), weight);
        }
        Ok(Job { arguments, workloads, launcher, contenders, settings, output, progress })
    }

    fn is_interrupted(&self) -> bool {
        self.settings.interrupted.load(Relaxed)
    }

    /// Returns whether `--fail-fast` is set and the server makes the exit code 1.
    fn stops_after(&self, entry: &ServerResult) -> bool {
        let is_failure = |measurement| self.arguments.measurement.is_failure(measurement);
        self.arguments.fail_fast && (has_failed(entry) || entry.measurements.iter().any(is_failure))
    }

    /// Benchmarks one server under all workloads. Stops early on an interrupt, and after the first
    /// failure with `--fail-fast`.
    fn benchmark(&self, contender: &Contender, entry: &mut ServerResult) -> Result<()> {
        let server = &contender.tested.name;
        let contract = &contender.benchmarked.contract;
        let planned = |workload: &Workload| planned_s(workload, contract, self.settings.plan);
        if let Some(reason) = &contender.tested.unavailable {
            self.progress.detail(format!("{server}: not run: {reason}"));
            let weight = self.workloads.iter().map(|it| planned(it)).sum();
            self.progress.skip(StepKind::Measurement, self.workloads.len(), weight);
            return Ok(());
        }
        // Some workloads do not apply to any built-in server. Report that only if the user selected
        // workloads or a manifest.
        let shows_reasons = self.arguments.manifest.is_some()
            || self.arguments.cmd.is_some()
            || !self.arguments.workload.is_empty();
        let mut bench = Bench::new(&self.launcher, &contender.benchmarked);
        for workload in &self.workloads {
            self.progress.show_activity(format!("{server} under {}", workload.name));
            let (measured, not_measured) = (entry.measurements.len(), entry.not_measured.len());
            bench.measure(workload, &self.settings, entry)?;
            for measurement in &entry.measurements[measured..] {
                self.progress.detail(format!("{server} {}", measurement_line(measurement)));
            }
            for reason in entry.not_measured[not_measured..].iter().filter(|_| shows_reasons) {
                self.progress.detail(format!("{server} not measured: {reason}"));
            }
            self.progress.step(StepKind::Measurement, planned(workload));
            if self.is_interrupted() || self.stops_after(entry) {
                break;
            }
        }
        Ok(())
    }

    /// Writes and prints the report, and returns the exit code.
    fn conclude(self, report: &Report) -> Result<ExitCode> {
        let is_interrupted = self.is_interrupted();
        let Job { arguments, output, progress, .. } = self;
        for problem in report.problems() {
            progress.line(problem_line(&problem));
        }
        progress.line(format!("measurements: {}", validity_counts(report)));
        let page = output.as_ref().map(|output| output.page().display().to_string());
        if let Some(output) = &output {
            output.write(report)?;
        }
        match page {
            Some(page) if is_interrupted => {
                progress.line(format!("interrupted; partial results: {page}"));
            }
            None if is_interrupted => progress
                .line("interrupted; no report was kept: add --output DIR to keep partial results"),
            Some(page) => progress.line(format!("report: {page}")),
            None => {}
        }
        if !report.complete && !is_interrupted {
            progress.line(STOPPED);
        }
        let thresholds = |server: &ServerResult| {
            check_all(&arguments.measurement.threshold, &server.measurements)
        };
        let thresholds: Vec<Vec<ThresholdResult>> = report.servers.iter().map(thresholds).collect();
        for (server, results) in report.servers.iter().zip(&thresholds) {
            for result in results {
                progress.line(format!("{} {result}", server.name));
            }
        }
        drop(progress);
        if arguments.json {
            let servers: Vec<BenchOutput<'_>> = report
                .servers
                .iter()
                .zip(&thresholds)
                .map(|(server, thresholds)| BenchOutput { server, thresholds })
                .collect();
            print_json(&servers)?;
        }
        if !is_interrupted {
            check_measured(report)?;
            if report.servers.iter().any(has_failed) {
                return Ok(ExitCode::from(1));
            }
        }
        let all = report.servers.iter().flat_map(|server| &server.measurements);
        Ok(arguments.measurement.exit_code(all, &thresholds.concat()))
    }
}

/// Returns whether the server failed: it did not run, or a measurement is faulty. The contract
/// allows each workload, so the server is at fault, as in a comparison.
fn has_failed(server: &ServerResult) -> bool {
    server.problem.is_some() || server.measurements.iter().any(|it| it.problem().is_some())
}

/// Checks that at least one measurement was attempted.
///
/// # Errors
/// No server can run on this machine, or no workload applies.
fn check_measured(report: &Report) -> Result<()> {
    if report.servers.iter().all(|server| server.not_run.is_some()) {
        bail!("nothing was measured: no selected server can run on this machine");
    }
    let was_attempted =
        |server: &ServerResult| !server.measurements.is_empty() || server.problem.is_some();
    if report.servers.iter().any(was_attempted) {
        return Ok(());
    }
    let reasons = report.servers.iter().flat_map(|server| {
        server.not_measured.iter().map(move |reason| format!("{}: {reason}", server.name))
    });
    let reasons: Vec<String> = reasons.take(MAX_REASONS).collect();
    Err(UsageError(format!("nothing was measured: {}", reasons.join("; "))).into())
}

/// Maximum number of reasons in the error message.
const MAX_REASONS: usize = 4;
