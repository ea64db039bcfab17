//! `harness selftest`: validates the load engine against servers with known results.

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;

use crate::cli;
use crate::interrupt;
use crate::selftest::{Compared, Rigour, TRIALS};
use crate::server::Launcher;
use crate::stdio;

/// Maximum number of attempts per trial. On a shared machine, a delayed server cannot behave as
/// predicted. A wrong load engine fails every attempt.
const TRIES: usize = 5;

/// Runs all trials, and prints predicted and measured results. The exit code is 1 if a result
/// differs from its prediction.
///
/// # Errors
/// A server cannot be launched, or a system call fails.
pub fn selftest(arguments: &cli::Selftest) -> Result<ExitCode> {
    let launcher = Launcher::this_program()?;
    let mut all = Vec::new();
    let is_interrupted = || interrupt::flag().load(Relaxed);
    for trial in TRIALS {
        let mut compared = trial.run(&launcher, Rigour::WHOLE, interrupt::flag())?;
        for _ in 1..TRIES {
            if compared.iter().all(|one| one.is_right) || is_interrupted() {
                break;
            }
            let words = "off: the trial is repeated, because other programs may have used the CPU";
            stdio::error_line(format_args!("{}: {words}", trial.name));
            compared = trial.run(&launcher, Rigour::WHOLE, interrupt::flag())?;
        }
        // The results of an interrupted trial are invalid.
        if is_interrupted() {
            break;
        }
        for one in &compared {
            let words = line(one);
            if arguments.json { stdio::error_line(words) } else { stdio::line(&words) }
        }
        all.extend(compared);
    }
    if arguments.json {
        stdio::line(&serde_json::to_string_pretty(&all)?);
    }
    let is_off = all.iter().any(|one| !one.is_right);
    Ok(interrupt::exit_code().unwrap_or(ExitCode::from(u8::from(is_off))))
}

fn line(one: &Compared) -> String {
    let Compared { trial, figure, predicted, measured, is_right } = one;
    let verdict = if *is_right { "right" } else { "OFF" };
    format!("{verdict:5} {trial}: {figure}: predicted {predicted}, measured {measured:.0}")
}
