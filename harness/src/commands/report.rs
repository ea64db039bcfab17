//! `harness report`: renders reports again, or merges several into one.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

use super::report_files::{self, ReportFile};
use crate::cli;
use crate::report::{EXPORTERS, Output};
use crate::results::Report;
use crate::stdio;
use crate::usage_error::UsageError;

/// Reads reports, merges them, and renders all formats.
///
/// # Errors
/// Bad usage, or a file cannot be written.
pub fn report(arguments: &cli::Report) -> Result<ExitCode> {
    let files = report_files::read(&arguments.results)?;
    check_distinct(&files)?;
    check_not_overwritten(&files, &arguments.output)?;
    if !arguments.allow_different_machines {
        check_machines(&files)?;
    }
    check_plans(&files)?;
    let count = files.len();
    let Some(merged) = Report::merged(files.into_iter().map(|file| file.report)) else {
        bail!(UsageError("name at least one report".to_owned()));
    };
    let baseline = report_files::read(&arguments.baseline)?;
    let baseline = baseline.into_iter().map(|file| file.report).collect();
    let output = Output::create(&arguments.output)?.with_baseline(baseline);
    output.write(&merged)?;
    if count > 1 {
        stdio::line(&format!("merged {count} reports"));
    }
    stdio::line(&format!("report: {}", output.page().display()));
    Ok(ExitCode::SUCCESS)
}

/// Checks that no file is given twice: its runs would count twice.
fn check_distinct(files: &[ReportFile]) -> Result<()> {
    for (at, file) in files.iter().enumerate() {
        let is_copy = |other: &ReportFile| {
            is_same_file(&other.path, &file.path) || other.report.is_same_run(&file.report)
        };
        if files[..at].iter().any(is_copy) {
            bail!(UsageError(format!(
                "{} is given twice, or is a copy of another report",
                file.path.display()
            )));
        }
    }
    Ok(())
}

/// Checks that the output overwrites no input, unless there is only one.
fn check_not_overwritten(files: &[ReportFile], folder: &Path) -> Result<()> {
    if files.len() == 1 {
        return Ok(());
    }
    for output in EXPORTERS.iter().map(|exporter| folder.join(exporter.file_name)) {
        if let Some(input) = files.iter().find(|file| is_same_file(&file.path, &output)) {
            bail!(UsageError(format!(
                "the merged report would overwrite {}: choose another directory with --output",
                input.path.display()
            )));
        }
    }
    Ok(())
}

/// Checks that all reports are of one machine.
fn check_machines(files: &[ReportFile]) -> Result<()> {
    let Some((first, others)) = files.split_first() else { return Ok(()) };
    let machine = first.report.environment.machine();
    for file in others {
        let other = file.report.environment.machine();
        if !machine.is_like(&other) {
            bail!(UsageError(format!(
                "the reports are of different machines: {} is of {machine}, but {} is of {other}; \
                 --allow-different-machines merges them",
                first.path.display(),
                file.path.display()
            )));
        }
    }
    Ok(())
}

/// Checks that all measurements have one plan: a mean over different plans is a figure that no run
/// has.
fn check_plans(files: &[ReportFile]) -> Result<()> {
    let measured: Vec<&ReportFile> =
        files.iter().filter(|file| file.report.is_measured()).collect();
    let Some((first, others)) = measured.split_first() else { return Ok(()) };
    match others.iter().find(|file| file.report.plan != first.report.plan) {
        None => Ok(()),
        Some(other) => bail!(UsageError(format!(
            "the reports have different plans: {} has the {}, but {} has the {}; merge reports of \
             one plan",
            first.path.display(),
            first.report.plan,
            other.path.display(),
            other.report.plan
        ))),
    }
}

/// Returns whether both paths name the same existing file.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
