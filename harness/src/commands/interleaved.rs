//! `harness bench --against` and `--against-cmd`: interleaved comparisons of servers with a
//! baseline server.

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Result, bail};
use serde::Serialize;

use super::compared_servers::ComparisonServers;
use super::draft::STOPPED;
use super::progress::{OutputStream, Progress, StepKind};
use super::selection::{print_json, seed_or_random};
use crate::cli::{self, Require};
use crate::interrupt;
use crate::load::enough_descriptors;
use crate::load::interleaved::{
    BusyShares, ComparisonResult, InterleavedComparison, ServerFailure, compare, margin_percent,
};
use crate::load::placement::Placement;
use crate::server::Launcher;
use crate::stats::ComparisonVerdict;
use crate::units::format_duration;
use crate::usage_error::UsageError;

/// Result of a comparison, printed as text or JSON.
#[derive(Serialize)]
struct ComparisonOutput {
    server: String,
    against: String,
    /// Throughput relative to the baseline; null without a confidence interval.
    ratio: Option<f64>,
    /// Lower bound of the 95 % confidence interval of the ratio.
    low: Option<f64>,
    /// Upper bound of the interval.
    high: Option<f64>,
    /// Number of launches that the interval is based on.
    launches: usize,
    /// Number of pairs of slices that the interval is based on.
    pairs: usize,
    margin: f64,
    verdict: ComparisonVerdict,
    /// Reason for the verdict, if it does not follow from the interval alone.
    reason: Option<String>,
    /// Description of a server failure during the comparison.
    failed: Option<String>,
    /// Busy shares of server and load generator, with the server and with the baseline.
    busy: Option<[BusyShares; 2]>,
    seed: u64,
    /// Whether the comparison was interrupted, and has fewer launches or slices than planned.
    partial: bool,
}

/// Time to launch both servers and to connect, in seconds.
const LAUNCH_S: f64 = 0.2;

/// Compares the selected servers with the baseline, and prints the results.
///
/// # Errors
/// Bad usage, or the harness itself failed.
pub(crate) fn against(arguments: &cli::Bench) -> Result<ExitCode> {
    if arguments.measurement.require == Some(Require::Valid) {
        bail!(UsageError(
            "--require valid does not apply to a comparison: use --require conclusive or --require \
             not-slower"
                .to_owned()
        ));
    }
    let default = InterleavedComparison::default();
    let settings = InterleavedComparison {
        connections: arguments.connections,
        launches: arguments.launches,
        time: arguments.duration.unwrap_or(default.time),
        timeout: arguments.measurement.timeout,
        seed: seed_or_random(arguments.measurement.seed),
        ..default
    };
    // Both servers have open connections at the same time.
    enough_descriptors(settings.connections.saturating_mul(2)).map_err(UsageError)?;
    let launcher = Launcher::this_program()?;
    let placement = Placement::find(arguments.measurement.pin, 1)?;
    let ComparisonServers { servers, baseline, excluded } =
        ComparisonServers::find(arguments, &launcher, settings.connections)?;
    let margin = arguments.margin;
    let text_stream = OutputStream::unless_reserved(arguments.json);
    let progress = Progress::new(arguments.terminal, text_stream);
    let planned = settings.time.as_secs_f64() + f64::from(settings.launches) * LAUNCH_S;
    progress.plan(StepKind::Measurement, servers.len(), planned * servers.len() as f64);
    progress.detail(format!("{}; seed {}", placement.description(), settings.seed));
    excluded.iter().for_each(|reason| progress.detail(reason));
    // Signals are handled before the progress starts a thread.
    let interrupted = interrupt::flag();
    progress.begin(StepKind::Measurement);
    let mut all = Vec::new();
    let mut is_met = true;
    for server in &servers {
        progress.show_activity(format!("{} against {}", server.name, baseline.name));
        let found = compare(&launcher, [server, &baseline], settings, &placement, interrupted);
        let partial = interrupted.load(Relaxed);
        let output = ComparisonOutput {
            server: server.name.clone(),
            against: baseline.name.clone(),
            margin,
            seed: settings.seed,
            partial,
            ..match found.as_ref().map_err(|error| error.downcast_ref::<ServerFailure>()) {
                Ok(found) => ComparisonOutput::of(found, margin),
                Err(Some(failed)) => ComparisonOutput::failed(failed),
                Err(None) => {
                    // Print the earlier results before the error.
                    print(arguments.json, &all)?;
                    return found.map(|_| ExitCode::SUCCESS);
                }
            }
        };
        progress.line(output.text(settings));
        progress.step(StepKind::Measurement, planned);
        is_met &= output.failed.is_none()
            && match arguments.measurement.require {
                Some(Require::Conclusive) => output.verdict != ComparisonVerdict::Inconclusive,
                Some(Require::NotSlower) => found.is_ok_and(|it| it.is_not_slower(margin)),
                Some(Require::Valid) | None => true,
            };
        all.push(output);
        if partial {
            progress.line("interrupted; no file was written: the results above are partial");
            break;
        }
        if arguments.fail_fast && !is_met {
            progress.line(STOPPED);
            break;
        }
    }
    drop(progress);
    print(arguments.json, &all)?;
    Ok(interrupt::exit_code().unwrap_or(ExitCode::from(u8::from(!is_met))))
}

fn print(json: bool, all: &[ComparisonOutput]) -> Result<()> {
    if json { print_json(&all) } else { Ok(()) }
}

impl ComparisonOutput {
    fn of(found: &ComparisonResult, margin: f64) -> ComparisonOutput {
        let (verdict, reason) = found.verdict(margin);
        let comparison = found.comparison.ok();
        ComparisonOutput {
            ratio: comparison.map(|it| it.ratio),
            low: comparison.map(|it| it.low),
            high: comparison.map(|it| it.high),
            launches: comparison.map_or(0, |it| it.launches),
            pairs: comparison.map_or(0, |it| it.pairs),
            verdict,
            reason,
            busy: Some(found.busy),
            ..ComparisonOutput::empty()
        }
    }

    fn failed(failed: &ServerFailure) -> ComparisonOutput {
        let message = failed.to_string();
        ComparisonOutput {
            reason: Some(message.clone()),
            failed: Some(message),
            ..ComparisonOutput::empty()
        }
    }

    fn empty() -> ComparisonOutput {
        ComparisonOutput {
            server: String::new(),
            against: String::new(),
            ratio: None,
            low: None,
            high: None,
            launches: 0,
            pairs: 0,
            margin: 0.0,
            verdict: ComparisonVerdict::Inconclusive,
            reason: None,
            failed: None,
            busy: None,
            seed: 0,
            partial: false,
        }
    }

    fn text(&self, settings: InterleavedComparison) -> String {
        let ComparisonOutput { server, against, launches, pairs, margin, .. } = self;
        let mut text = format!("{server} against {against}: ");
        if let (Some(ratio), Some(low), Some(high)) = (self.ratio, self.low, self.high) {
            let (launches, pairs) = (*launches, *pairs);
            let comparison = crate::stats::Comparison { ratio, low, high, launches, pairs };
            let [ratio, low, high] = comparison.figures();
            text.push_str(&format!(
                "{ratio} times the throughput, 95 % confidence {low} to {high}, {pairs} pairs of \
                 slices in {launches} launches: "
            ));
        }
        text.push_str(self.verdict.description());
        if self.verdict == ComparisonVerdict::Equal {
            text.push_str(&format!(" within ±{} %", margin_percent(*margin)));
        }
        if let Some(reason) = &self.reason {
            text.push_str(&format!(" ({reason})"));
        }
        if self.partial {
            text.push_str(" (interrupted: partial)");
        } else if self.verdict == ComparisonVerdict::Inconclusive && self.failed.is_none() {
            text.push_str(&format!(
                "; try a longer --duration (now {}) or more --launches (now {})",
                format_duration(settings.time),
                settings.launches
            ));
        }
        text
    }
}
