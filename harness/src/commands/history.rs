//! `harness history`: appends runs to a history file, and prints trends.

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::report_files;
use crate::cli;
use crate::history::{Filter, HistoryError, HistoryFile, Run, trends};
use crate::stdio;
use crate::usage_error::UsageError;

/// Appends the runs of reports to a history, or prints its trends.
///
/// # Errors
/// A file is no report or no history, or the history cannot be written.
pub fn history(arguments: &cli::History) -> Result<ExitCode> {
    if arguments.results.is_empty() { print_trends(arguments) } else { append(arguments) }
}

fn append(arguments: &cli::History) -> Result<ExitCode> {
    let files = report_files::read(&arguments.results)?;
    // Later, --resume would complete the report, but the history would have the run already.
    if let Some(file) = files.iter().find(|file| !file.report.complete) {
        bail!(UsageError(format!(
            "{} is of an interrupted run; complete it with `harness run --resume`",
            file.path.display()
        )));
    }
    let name = arguments.file.display();
    let mut history = HistoryFile::open(&arguments.file).map_err(error)?;
    for file in files {
        let run = Run::of(&file.report);
        let started_at = run.started_at.clone();
        stdio::line(&match history.append(&run).map_err(error)? {
            true => format!("appended the run of {started_at} to {name}"),
            false => format!("{name} has the run of {started_at} already"),
        });
    }
    Ok(ExitCode::SUCCESS)
}

fn print_trends(arguments: &cli::History) -> Result<ExitCode> {
    let runs = HistoryFile::read(&arguments.file).map_err(error)?;
    let filter = Filter {
        servers: arguments.servers.clone(),
        workloads: arguments.workloads.clone(),
        allow_different_machines: arguments.allow_different_machines,
    };
    let Some(text) = trends(&runs, &filter) else {
        bail!(UsageError(match runs.is_empty() {
            true => format!(
                "{} has no run; append one with `harness history FILE RESULT`",
                arguments.file.display()
            ),
            false => format!(
                "no run in {} has a measurement of the selected servers and workloads",
                arguments.file.display()
            ),
        }));
    };
    text.lines().for_each(stdio::line);
    Ok(ExitCode::SUCCESS)
}

/// A file that cannot be read, or is no history, is bad usage; a failed write is not.
fn error(error: HistoryError) -> anyhow::Error {
    match error {
        HistoryError::Append { .. } => error.into(),
        other => UsageError(other.to_string()).into(),
    }
}
