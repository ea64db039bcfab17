//! Output and exit code of a finished check.

use std::process::ExitCode;

use anyhow::{Result, bail};
use serde::Serialize;

use super::CheckRun;
use crate::commands::annotations;
use crate::commands::case_line::case_line;
use crate::commands::draft::STOPPED;
use crate::commands::progress::{Progress, StepLine};
use crate::conformance::{Blame, Blocks, PreflightFailure};
use crate::report::{Tally, grading, not_run_line};
use crate::results::{Kind, Report, ServerResult};
use crate::stdio;
use crate::usage_error::UsageError;

impl CheckRun<'_> {
    /// Completes and prints the report, and returns the exit code. `preflight_failure` is
    /// given if a single server is tested: the reason why no case was run on it.
    ///
    /// # Errors
    /// No case was run: bad usage, or no server could be tested.
    pub(super) fn conclude(self, preflight_failure: Option<PreflightFailure>) -> Result<ExitCode> {
        self.draft.complete(&self.runner, &self.progress)?;
        let code = self.print_results(preflight_failure);
        annotations::print(&self.draft.lock().report, &self.progress);
        code
    }

    fn print_results(&self, preflight_failure: Option<PreflightFailure>) -> Result<ExitCode> {
        let draft = self.draft.lock();
        let report = &draft.report;
        for server in &report.servers {
            // `CheckRun::test` does not print results of known failures that pass. Whether a known
            // failure is stale (occurs nowhere) is decided when all servers are tested.
            let is_deferred =
                |result: &&_| self.runner.known_failures.may_be_stale(&server.name, result);
            for result in server.cases.iter().filter(is_deferred) {
                match case_line(&server.name, result) {
                    StepLine::Important(line) => self.progress.line(line),
                    StepLine::Detail(line) => self.progress.detail(line),
                }
            }
        }
        if self.arguments.json {
            stdio::json(&document(report)?);
        }
        let (unlike, preflight_failure): (Option<_>, Option<_>) = match preflight_failure {
            Some(failure) if failure.blocks == Blocks::Replies => (Some(failure), None),
            failure => (None, failure),
        };
        if let Some(PreflightFailure { message, blame, .. }) = preflight_failure {
            match blame {
                Blame::Usage => bail!(UsageError(message)),
                Blame::NoServer => bail!(message),
                // Every case has failed.
                Blame::Server => {
                    stdio::error_line(format_args!("harness: {message}"));
                    return Ok(ExitCode::from(
                        report.exit_code(&self.arguments.exit_policy.fail_on),
                    ));
                }
            }
        }
        // The result lines above suffice for a single case.
        if self.cases.len() > 1 {
            grading_reports(report, &self.progress);
        }
        self.progress.detail(format!("seed {}", self.runner.seed));
        if self.runner.is_stopped() {
            self.progress.line(STOPPED);
        }
        check_tested(report)?;
        let tally = Tally::of(report.results());
        let is_single = report.servers.len() == 1 && self.cases.len() > 1;
        let scope = grading::Scope::of(report.results()).filter(|_| is_single);
        let scope = scope.map(|scope| format!("; {}", scope.text())).unwrap_or_default();
        self.progress.line(format!("verdicts: {}{scope}", tally.summary()));
        if let Some(page) = &self.page {
            self.progress.line(format!("report: {}", page.display()));
        }
        if let Some(PreflightFailure { message, .. }) = unlike {
            stdio::error_line(format_args!("harness: {message}"));
        }
        let is_stopped = self.runner.is_stopped();
        if !is_stopped && tally.get(Kind::NotApplicable) == report.results().count() {
            bail!(UsageError(
                "no selected case applies to the declared properties: declare the properties that \
                 the lines above name, or select other cases"
                    .to_owned()
            ));
        }
        Ok(ExitCode::from(report.exit_code(&self.arguments.exit_policy.fail_on)))
    }
}

/// Checks that the counterexample of a replay is valid for its case, and that at least one server
/// was tested.
fn check_tested(report: &Report) -> Result<()> {
    if let Some(invalid) = report.results().find(|result| result.is_wrong_counterexample) {
        bail!(UsageError(format!(
            "this is not a counterexample of {}: {}",
            invalid.name, invalid.observed
        )));
    }
    if report.servers_not_run().count() == report.servers.len() {
        let reasons: Vec<String> = report.servers.iter().filter_map(not_run_line).collect();
        bail!(reasons.join("; "));
    }
    Ok(())
}

/// Prints the grading reports of the external servers, and the overview table if there are several.
fn grading_reports(report: &Report, progress: &Progress) {
    let external = report.external();
    external.iter().for_each(|server| progress.detail(grading::grading_text(server)));
    if external.len() > 1 {
        progress.detail(grading::overview_text(&external));
    }
    if !external.is_empty() {
        progress.detail("");
    }
}

/// Formats the JSON document: an object for one server, an array for several.
fn document(report: &Report) -> Result<String> {
    #[derive(Serialize)]
    struct Document<'r> {
        seed: u64,
        #[serde(flatten)]
        server: &'r ServerResult,
    }
    let documents: Vec<Document<'_>> =
        report.servers.iter().map(|server| Document { seed: report.seed, server }).collect();
    let text = match documents.as_slice() {
        [document] => serde_json::to_string_pretty(document)?,
        several => serde_json::to_string_pretty(several)?,
    };
    Ok(text)
}
