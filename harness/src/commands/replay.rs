//! `harness replay`: re-runs a saved counterexample.

use std::process::ExitCode;

use anyhow::Result;

use super::check;
use crate::cli::{Check, Replay};
use crate::counterexamples::{Again, Recorded, command, in_file};

/// Re-runs a counterexample against the recorded server or another one.
///
/// # Errors
/// Bad usage, or the harness could not do its work.
pub fn replay(arguments: &Replay) -> Result<ExitCode> {
    let recorded = Recorded::read(&arguments.file)?;
    let check = match arguments.elsewhere() {
        Some(check) => check,
        None => Check::of_words(&recorded.check)
            .map_err(|words| in_file(&arguments.file, &format!("`check`: {words}")))?,
    };
    let check = Check {
        cases: vec![recorded.case.clone()],
        seed: Some(recorded.seed),
        json: arguments.json,
        ..check
    };
    let check = Check { timeout: arguments.timeout.unwrap_or(check.timeout), ..check };
    let again = Again { value: recorded.counterexample, command: command(&arguments.file) };
    check::judge(&check, Some(again))
}
