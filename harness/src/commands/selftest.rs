//! `harness selftest`: validates the load generator against known-answer servers.

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Result;

use super::draft::STOPPED;
use super::progress::{OutputStream, Progress, StepKind};
use crate::cli;
use crate::interrupt;
use crate::selftest::{CheckedPrediction, TRIALS, Trial, TrialSettings};
use crate::server::Launcher;
use crate::stdio;
use crate::text::style::{Style, StyledText};

/// Maximum number of attempts per trial. On a busy machine, the known-answer server may be delayed
/// and miss the prediction. A faulty load generator fails every attempt.
const MAX_ATTEMPTS: usize = 5;

/// Runs all trials, and prints predicted and measured results. Trials that miss a prediction are
/// repeated after all others, so that a short disturbance does not fall into every attempt. The
/// exit code is 1 if a result differs from its prediction in the last attempt.
///
/// # Errors
/// A server cannot be launched, or a system call fails.
pub fn selftest(arguments: &cli::Selftest) -> Result<ExitCode> {
    let launcher = Launcher::this_program()?;
    // Signals are handled before the progress starts a thread.
    let interrupted = interrupt::flag();
    let progress = Progress::new(arguments.terminal, OutputStream::unless_reserved(arguments.json));
    let planned = TRIALS.iter().map(planned_s).sum();
    progress.plan(StepKind::Measurement, TRIALS.len(), planned);
    progress.begin(StepKind::Measurement);
    let mut all = Vec::new();
    let mut trials: Vec<&Trial> = TRIALS.iter().collect();
    for attempt in 1..=MAX_ATTEMPTS {
        let mut missed = Vec::new();
        for trial in trials {
            progress.show_activity(match attempt {
                1 => trial.name.to_owned(),
                _ => format!("{}, attempt {attempt} of {MAX_ATTEMPTS}", trial.name),
            });
            let checked = trial.run(&launcher, TrialSettings::IDLE_MACHINE, interrupted)?;
            // The results of an interrupted trial are invalid.
            if interrupted.load(Relaxed) {
                return finish(arguments, &progress, &all);
            }
            progress.step(StepKind::Measurement, planned_s(trial));
            let is_right = checked.iter().all(|prediction| prediction.is_right);
            if !is_right && attempt < MAX_ATTEMPTS {
                progress.notice(&format!(
                    "{}: not as predicted; will be repeated, because other programs may have used \
                     the CPU",
                    trial.name
                ));
                progress.plan(StepKind::Measurement, 1, planned_s(trial));
                missed.push(trial);
                continue;
            }
            for prediction in &checked {
                match prediction.is_right {
                    true => progress.detail(line(prediction)),
                    false => progress.line(line(prediction)),
                }
            }
            all.extend(checked);
            if arguments.fail_fast && !is_right {
                progress.line(STOPPED);
                return finish(arguments, &progress, &all);
            }
        }
        trials = missed;
    }
    finish(arguments, &progress, &all)
}

/// Returns the planned duration of a trial in seconds, with the warm-up.
fn planned_s(trial: &Trial) -> f64 {
    (trial.duration(TrialSettings::IDLE_MACHINE) + WARM_UP).as_secs_f64()
}

/// Approximate duration of the launch and the warm-up of a trial.
const WARM_UP: Duration = Duration::from_millis(700);

/// Prints the summary and the JSON document, if requested, and returns the exit code.
fn finish(
    arguments: &cli::Selftest,
    progress: &Progress,
    all: &[CheckedPrediction],
) -> Result<ExitCode> {
    let wrong = all.iter().filter(|prediction| !prediction.is_right).count();
    progress.line(format!("predictions: {} right, {wrong} wrong", all.len() - wrong));
    if interrupt::flag().load(Relaxed) {
        progress.line("interrupted; no file was written: the results above are partial");
    }
    if arguments.json {
        stdio::json(&serde_json::to_string_pretty(all)?);
    }
    Ok(interrupt::exit_code().unwrap_or(ExitCode::from(u8::from(wrong > 0))))
}

fn line(prediction: &CheckedPrediction) -> StyledText {
    let CheckedPrediction { trial, figure, predicted, measured, is_right } = prediction;
    let (style, verdict) = match is_right {
        true => (Style::Pass, "ok   "),
        false => (Style::Fail, "WRONG"),
    };
    StyledText::new(Some(style), verdict)
        .and(format!(" {trial}: {figure}: predicted {predicted}, measured {measured:.0}"))
}
