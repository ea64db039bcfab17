//! `harness selftest`: validates the load generator against known-answer servers.

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;

use crate::cli;
use crate::interrupt;
use crate::selftest::{CheckedPrediction, TRIALS, Trial, TrialSettings};
use crate::server::Launcher;
use crate::stdio;

/// Maximum number of attempts per trial. On a busy machine, the known-answer server may be delayed
/// and miss the prediction. A faulty load generator fails every attempt.
const MAX_ATTEMPTS: usize = 5;

/// Runs all trials, and prints predicted and measured results. Trials that miss a prediction are
/// repeated after all others, so that a short disturbance does not fall into every attempt. The exit
/// code is 1 if a result differs from its prediction in the last attempt.
///
/// # Errors
/// A server cannot be launched, or a system call fails.
pub fn selftest(arguments: &cli::Selftest) -> Result<ExitCode> {
    let launcher = Launcher::this_program()?;
    let mut all = Vec::new();
    let mut trials: Vec<&Trial> = TRIALS.iter().collect();
    for attempt in 1..=MAX_ATTEMPTS {
        let mut missed = Vec::new();
        for trial in trials {
            let checked = trial.run(&launcher, TrialSettings::IDLE_MACHINE, interrupt::flag())?;
            // The results of an interrupted trial are invalid.
            if interrupt::flag().load(Relaxed) {
                return finish(arguments, &all);
            }
            let is_right = checked.iter().all(|prediction| prediction.is_right);
            if !is_right && attempt < MAX_ATTEMPTS {
                stdio::error_line(format_args!(
                    "{}: not as predicted; will be repeated, because other programs may have used \
                     the CPU",
                    trial.name
                ));
                missed.push(trial);
                continue;
            }
            for prediction in &checked {
                let line = line(prediction);
                if arguments.json { stdio::error_line(line) } else { stdio::line(&line) }
            }
            all.extend(checked);
        }
        trials = missed;
    }
    finish(arguments, &all)
}

/// Prints the JSON document, if requested, and returns the exit code.
fn finish(arguments: &cli::Selftest, all: &[CheckedPrediction]) -> Result<ExitCode> {
    if arguments.json {
        stdio::json(&serde_json::to_string_pretty(all)?);
    }
    let has_failed = all.iter().any(|prediction| !prediction.is_right);
    Ok(interrupt::exit_code().unwrap_or(ExitCode::from(u8::from(has_failed))))
}

fn line(prediction: &CheckedPrediction) -> String {
    let CheckedPrediction { trial, figure, predicted, measured, is_right } = prediction;
    let verdict = if *is_right { "ok" } else { "WRONG" };
    format!("{verdict:5} {trial}: {figure}: predicted {predicted}, measured {measured:.0}")
}
