//! `harness check`: tests servers, without benchmarks.

mod outcome;
mod servers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::case_line::case_line;
use super::draft::{Draft, Files, empty_report, milliseconds};
use super::progress::weights::{weight_of_cases, weight_of_result};
use super::progress::{OutputStream, Progress, StepKind};
use super::selection::{seed_or_random, selected};
use crate::cli::{COUNTEREXAMPLES, Check};
use crate::conformance::{self, Blocks, Case, OnCaseStart, PreflightFailure, Runner};
use crate::counterexamples::{self, Reproduction};
use crate::manifest::Manifest;
use crate::report::{Junit, Output, not_run_line};
use crate::results::{CaseResult, LaunchFindings, ServerResult};
use crate::server::{LaunchSpec, Launcher, raise_descriptor_limit};

/// Returns whether no case runs after the preflight checks.
fn is_untested(preflight_failure: Option<&PreflightFailure>) -> bool {
    preflight_failure.is_some_and(|failure| failure.blocks == Blocks::All)
}

/// Tests the selected servers, and prints and writes the results.
///
/// # Errors
/// Bad usage, or the harness itself failed.
pub fn check(arguments: &Check) -> Result<ExitCode> {
    test_servers(arguments, None)
}

/// Tests the selected servers. A replay passes the counterexample to reproduce.
pub(crate) fn test_servers(
    arguments: &Check,
    reproduction: Option<Reproduction>,
) -> Result<ExitCode> {
    raise_descriptor_limit();
    let run = CheckRun::prepare(arguments, reproduction)?;
    let mut only_preflight_failure = None;
    run.progress.begin(StepKind::Case);
    for (index, spec) in run.specs.iter().enumerate() {
        let preflight_failure = run.test(index, spec)?;
        // With --fail-fast, some cases have no line.
        run.progress.release_lines();
        if run.runner.is_stopped() {
            break;
        }
        only_preflight_failure = preflight_failure.filter(|_| run.specs.len() == 1);
    }
    run.conclude(only_preflight_failure)
}

/// Minimum interval between two writes of an incomplete report.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// A check in progress.
struct CheckRun<'a> {
    arguments: &'a Check,
    reproduction: Option<Reproduction>,
    cases: Vec<&'static Case>,
    specs: Vec<LaunchSpec>,
    runner: Runner,
    /// Directory for counterexamples.
    counterexample_folder: PathBuf,
    /// The HTML page of the report, if one is written.
    page: Option<PathBuf>,
    progress: Progress,
    draft: Draft,
}

impl CheckRun<'_> {
    /// Reads the arguments, and creates the files.
    ///
    /// # Errors
    /// Bad usage, or a file cannot be written.
    fn prepare(arguments: &Check, reproduction: Option<Reproduction>) -> Result<CheckRun<'_>> {
        let cases = selected(conformance::cases(), |case| case.name, &arguments.cases, "case")?;
        let launcher = Launcher::this_program()?;
        let manifest = arguments.manifest.as_deref().map(Manifest::read).transpose()?;
        // The file of known failures may also name servers of the manifest that are not selected.
        let manifest_names = manifest.as_ref().map(Manifest::names);
        let specs = servers::specs(arguments, manifest, &launcher)?;
        let names =
            manifest_names.unwrap_or_else(|| specs.iter().map(|it| it.name.clone()).collect());
        arguments.exit_policy.check()?;
        let counterexample_folder = match &arguments.output {
            Some(report) => report.join(COUNTEREXAMPLES),
            None => arguments.counterexamples.clone(),
        };
        if reproduction.is_none() {
            counterexamples::check_folder(&counterexample_folder)?;
        }
        let files = Files {
            output: match &arguments.output {
                Some(folder) => Some(Output::create(folder)?.with_evidence(arguments.evidence)),
                None => None,
            },
            junit: arguments.junit.as_deref().map(Junit::create).transpose()?,
            counterexamples: counterexample_folder.clone(),
        };
        let page = files.output.as_ref().map(Output::page);
        let runner = runner(arguments, &names, reproduction.as_ref(), launcher)?;
        let unconfined = servers::unconfined(&runner.launcher, &specs)?;
        let text_stream = OutputStream::unless_reserved(arguments.json);
        let progress = Progress::new(arguments.terminal, text_stream);
        for spec in &specs {
            progress.plan(StepKind::Case, cases.len(), weight_of_cases(spec, &cases));
        }
        let starting = progress.clone();
        let on_case_start = OnCaseStart(Arc::new(move |case| starting.start_parallel(case)));
        let runner = Runner { on_case_start: Some(on_case_start), ..runner };
        unconfined.iter().for_each(|reason| progress.line(format!("not confined: {reason}")));
        if arguments.cmd.is_some() || arguments.connect.is_some() {
            runner
                .known_failures
                .about_other_servers(&specs[0].name)
                .for_each(|note| progress.line(note));
        }
        let report = empty_report("no measurements".to_owned(), runner.seed);
        let draft = Draft::begin(report, files, WRITE_EVERY, &progress)?;
        Ok(CheckRun {
            arguments,
            reproduction,
            cases,
            specs,
            runner,
            counterexample_folder,
            page,
            progress,
            draft,
        })
    }

    /// Tests one server. If a check before the first case fails, for example because the server
    /// cannot be launched, returns that preflight failure.
    ///
    /// # Errors
    /// The report cannot be written.
    fn test(&self, server: usize, spec: &LaunchSpec) -> Result<Option<PreflightFailure>> {
        let untested = ServerResult::new(spec, Vec::new());
        let not_run = not_run_line(&untested);
        self.draft.lock().report.servers.push(untested);
        if let Some(reason) = not_run {
            let weight = weight_of_cases(spec, &self.cases);
            self.progress.skip(StepKind::Case, self.cases.len(), weight);
            self.skip_lines(server);
            self.progress.detail(reason);
            return Ok(None);
        }
        if self.specs.len() > 1 {
            self.progress.show_activity(format!("{} ", spec.name));
        }
        let began = Instant::now();
        let (findings, preflight_failure) = match self.runner.preflight(spec) {
            Ok(findings) => (Some(findings), None),
            Err(failure) => (None, Some(failure)),
        };
        self.print_server(spec, preflight_failure.as_deref());
        for note in findings.iter().flat_map(LaunchFindings::notes) {
            self.progress.detail(format!("{}: {note}", spec.name));
        }
        let is_untested = is_untested(preflight_failure.as_deref());
        let results =
            self.runner.run_cases(spec, &self.cases, preflight_failure.as_deref(), |result| {
                self.keep(spec, result);
                // A result that may show a stale known failure is printed at the end, because only
                // the results of all servers decide that.
                let is_shown =
                    !is_untested && !self.runner.known_failures.may_be_stale(&spec.name, result);
                let lines = is_shown.then(|| case_line(&spec.name, result)).into_iter().collect();
                self.progress.lines_at(self.place(server, result), lines);
            });
        let mut draft = self.draft.lock();
        let tested = draft.report.servers.last_mut().expect("the entry that was pushed above");
        tested.concurrency_model = results.iter().find_map(CaseResult::concurrency_model);
        tested.cases = results;
        tested.round_trip_us = spec
            .running_at
            .and(self.runner.round_trip.known())
            .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        tested.launch = findings;
        tested.duration_ms = Some(milliseconds(began.elapsed()));
        draft.write()?;
        Ok(preflight_failure.map(|preflight_failure| *preflight_failure))
    }

    /// Returns the place of a result in the output, which is in the order of the cases.
    fn place(&self, server: usize, result: &CaseResult) -> usize {
        let case = self.cases.iter().position(|case| case.name == result.name);
        server * self.cases.len() + case.unwrap_or_default()
    }

    /// Lets the lines of the next server follow those of the previous server.
    fn skip_lines(&self, server: usize) {
        for case in 0..self.cases.len() {
            self.progress.lines_at(server * self.cases.len() + case, Vec::new());
        }
    }

    fn print_server(&self, spec: &LaunchSpec, preflight_failure: Option<&PreflightFailure>) {
        if !is_untested(preflight_failure) {
            let contract = spec.contract.summary();
            self.progress.detail(format!("{} ({contract})", spec.shown_command));
        }
        // For a single server, the preflight failure is the error message of the command.
        if let Some(failure) = preflight_failure.filter(|_| self.specs.len() > 1) {
            // The other servers are tested anyway.
            let not_tested = if failure.blocks == Blocks::All { "not tested: " } else { "" };
            self.progress.line(format!("{}: {not_tested}{}", spec.name, failure.message));
        }
    }

    /// Saves the counterexample of a result, and adds the result to the report. Writes the report
    /// periodically, so that a killed check does not lose its results.
    fn keep(&self, spec: &LaunchSpec, result: &mut CaseResult) {
        self.progress.step(StepKind::Case, weight_of_result(result.kind()));
        self.progress.count(result.kind());
        self.progress.end_parallel(&result.name);
        if self.arguments.exit_policy.stops_after_case(result) {
            self.runner.stop();
        }
        let saved = match &self.reproduction {
            Some(reproduction) => {
                result.reproduce.clone_from(&reproduction.command);
                Ok(())
            }
            None => {
                let folder = &self.counterexample_folder;
                counterexamples::save(folder, spec, self.runner.seed, result)
            }
        };
        let mut draft = self.draft.lock();
        if let Some(server) = draft.report.servers.last_mut() {
            let index = |name: &str| self.cases.iter().position(|case| case.name == name);
            server.cases.push(result.clone());
            server.cases.sort_by_key(|result| index(&result.name));
        }
        let written = draft.write_if_due();
        drop(draft);
        for error in [saved, written].into_iter().filter_map(Result::err) {
            self.progress.line(format!("{error:#}"));
        }
    }
}

fn runner(
    arguments: &Check,
    names: &[String],
    reproduction: Option<&Reproduction>,
    launcher: Launcher,
) -> Result<Runner> {
    Ok(Runner {
        timeout: arguments.timeout,
        // With --connect, all cases share one server.
        parallel_cases: if arguments.connect.is_some() { 1 } else { arguments.jobs.into() },
        within: arguments.within,
        known_failures: arguments.exit_policy.known_failures(names)?,
        replay: reproduction.map(|reproduction| reproduction.counterexample.clone()),
        ..Runner::new(launcher, seed_or_random(arguments.seed))
    })
}
