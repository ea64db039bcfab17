//! Reports that are written while the command still runs, so that an interrupt does not lose
//! results.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::progress::Progress;
use crate::conformance::Runner;
use crate::environment::Environment;
use crate::interrupt;
use crate::report::{Junit, Output, step_summary};
use crate::results::{FORMAT, Report};

/// Line about the results of a command that `--fail-fast` stopped.
pub(crate) const STOPPED: &str =
    "stopped after the first failure (--fail-fast): the results are incomplete";

/// The files of a report.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) output: Option<Output>,
    pub(crate) junit: Option<Junit>,
    /// Directory for counterexamples, which are written during the run.
    pub(crate) counterexamples: PathBuf,
}

impl Files {
    /// Writes the files. With `is_draft`, omits those that take long to write.
    fn write(&self, report: &Report, is_draft: bool) -> Result<()> {
        let write = if is_draft { Output::write_draft } else { Output::write };
        let output = self.output.as_ref().map_or(Ok(()), |output| write(output, report));
        let junit = self.junit.as_ref().map_or(Ok(()), |junit| junit.write(report));
        output.and(junit)
    }

    /// Returns the paths to show to the user: the HTML page and the JUnit file.
    fn paths(&self) -> Vec<String> {
        let page = self.output.as_ref().map(Output::page);
        let junit = self.junit.as_ref().map(Junit::file);
        page.into_iter().chain(junit).map(|path| path.display().to_string()).collect()
    }
}

/// A report in progress. On SIGINT or SIGTERM, the signal thread writes the report and exits the
/// program.
pub(crate) struct Draft {
    state: Arc<Mutex<DraftState>>,
}

/// A report with its files, and the time of the last write.
pub(crate) struct DraftState {
    pub(crate) report: Report,
    files: Files,
    /// Minimum interval between two writes, because each write renders the whole report.
    write_interval: Duration,
    last_write: Instant,
    began: Instant,
    /// Duration of the interrupted run that this run continues, in milliseconds.
    earlier_ms: u64,
}

/// Returns a report without results.
pub(crate) fn empty_report(plan: String, seed: u64) -> Report {
    Report {
        format: FORMAT,
        complete: false,
        environment: Environment::detect(),
        plan,
        seed,
        duration_ms: 0,
        merged_reports: 0,
        servers: Vec::new(),
    }
}

/// Returns a duration in milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Draft {
    /// Writes `report`, and starts to handle interrupts. Call this function before any thread
    /// starts, because threads inherit the signal mask.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn begin(
        report: Report,
        files: Files,
        write_interval: Duration,
        progress: &Progress,
    ) -> Result<Draft> {
        let (began, earlier_ms) = (Instant::now(), report.duration_ms);
        let mut state =
            DraftState { report, files, write_interval, last_write: began, began, earlier_ms };
        state.write()?;
        let draft = Draft { state: Arc::new(Mutex::new(state)) };
        let (interrupted, progress) = (Draft { state: Arc::clone(&draft.state) }, progress.clone());
        interrupt::before_exit(move || {
            let mut state = interrupted.lock();
            let message = state.write_interrupted();
            progress.release_lines();
            progress.line(message);
            // No result is printed that is not in the files: the program exits with the lock.
            std::mem::forget(state);
        });
        Ok(draft)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, DraftState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes the report: marks stale known failures, writes the files, and appends the step
    /// summary. If `--fail-fast` stopped the run, the report stays incomplete, and no known failure
    /// is stale, because it may occur in a case that did not run.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn complete(&self, runner: &Runner, progress: &Progress) -> Result<()> {
        let mut draft = self.lock();
        if !runner.is_stopped() {
            runner.known_failures.mark_stale(&mut draft.report.servers);
            draft.report.complete = true;
        }
        if let Err(error) = step_summary::append(&draft.report) {
            progress.line(format!("no step summary: {error:#}"));
        }
        draft.write()
    }
}

impl DraftState {
    /// Writes all files.
    pub(crate) fn write(&mut self) -> Result<()> {
        self.write_files(false)
    }

    fn write_files(&mut self, is_draft: bool) -> Result<()> {
        self.report.duration_ms = self.earlier_ms + milliseconds(self.began.elapsed());
        let result = self.files.write(&self.report, is_draft);
        // The interval starts after the write, so that writes of a large report are not continuous.
        self.last_write = Instant::now();
        result
    }

    /// Writes the files that do not take long, unless the last write is more recent than the
    /// interval.
    pub(crate) fn write_if_due(&mut self) -> Result<()> {
        let is_due = self.last_write.elapsed() >= self.write_interval;
        if is_due { self.write_files(true) } else { Ok(()) }
    }

    /// Writes the report, and returns a message with the paths of its files.
    fn write_interrupted(&mut self) -> String {
        let mut paths = self.files.paths();
        if self.report.results().any(|result| result.counterexample.is_some()) {
            paths.push(self.files.counterexamples.display().to_string());
        }
        match self.write() {
            Ok(()) if paths.is_empty() => {
                "interrupted; no results were kept: add --output DIR to keep partial results"
                    .to_owned()
            }
            Ok(()) => format!("interrupted; partial results: {}", paths.join(", ")),
            Err(error) => format!("interrupted: {error:#}"),
        }
    }
}
