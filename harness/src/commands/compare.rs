//! `harness compare`: compares two sets of reports.

use std::process::ExitCode;

use anyhow::Result;

use super::report_files;
use super::selection::print_json;
use crate::cli::{self, FailOnTimes};
use crate::comparison::{ReportComparison, Settings};
use crate::results::Report;
use crate::stdio;

/// Compares two sets of reports, and prints the differences.
///
/// # Errors
/// A file is no report.
pub fn compare(arguments: &cli::Compare) -> Result<ExitCode> {
    let read = |paths| -> Result<Vec<Report>> {
        Ok(report_files::read(paths)?.into_iter().map(|file| file.report).collect())
    };
    let (old, new) = (read(&arguments.old)?, read(&arguments.new)?);
    let settings = Settings {
        margin: arguments.margin,
        allow_different_machines: arguments.allow_different_machines,
    };
    let comparison = ReportComparison::of(&old, &new, settings);
    if arguments.json {
        print_json(&comparison)?;
    } else {
        for line in comparison.text(arguments.all).lines() {
            stdio::line(line);
        }
    }
    let reasons = failures(&comparison, arguments);
    for reason in &reasons {
        stdio::error_line(format_args!("harness: {reason}"));
    }
    Ok(ExitCode::from(u8::from(!reasons.is_empty())))
}

/// Returns the reasons for the exit code 1.
fn failures(comparison: &ReportComparison, arguments: &cli::Compare) -> Vec<String> {
    let worse = comparison.worse_verdicts().count();
    let mut reasons = Vec::new();
    if worse > 0 {
        reasons.push(format!("verdicts that got worse: {worse}"));
    }
    if let Some(limit) = arguments.fail_if_slower {
        let slower = comparison.slower_than(limit).count();
        if slower > 0 {
            reasons.push(format!("times that are slower than --fail-if-slower permits: {slower}"));
        }
    }
    if arguments.fail_on == Some(FailOnTimes::Inconclusive) {
        let inconclusive = comparison.inconclusive_times().count();
        if inconclusive > 0 {
            reasons.push(format!("inconclusive times: {inconclusive}"));
        } else if !comparison.figures.iter().any(|it| it.figure.is_time()) {
            reasons.push("times were not compared".to_owned());
        }
    }
    reasons
}
