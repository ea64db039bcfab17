//! `harness replay`: re-runs a saved counterexample.

use std::process::ExitCode;

use anyhow::Result;

use super::check;
use crate::cli::{Check, Replay};
use crate::counterexamples::{CounterexampleFile, Reproduction, command, file_error};

/// Re-runs a counterexample against the recorded server or another server.
///
/// # Errors
/// Bad usage, or the harness itself failed.
pub fn replay(arguments: &Replay) -> Result<ExitCode> {
    let recorded = CounterexampleFile::read(&arguments.file)?;
    let check = match arguments.replacement() {
        Some(check) => check,
        None => Check::parse(&recorded.check)
            .map_err(|error| file_error(&arguments.file, &format!("`check`: {error}")))?,
    };
    let check = Check {
        cases: vec![recorded.case.clone()],
        seed: Some(recorded.seed),
        json: arguments.json,
        terminal: arguments.terminal,
        ..check
    };
    let start = arguments.start.clone().or(check.start);
    let check = Check { start, timeout: arguments.timeout.unwrap_or(check.timeout), ..check };
    let reproduction =
        Reproduction { counterexample: recorded.counterexample, command: command(&arguments.file) };
    check::test_servers(&check, Some(reproduction))
}
