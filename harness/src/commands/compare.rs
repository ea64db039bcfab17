//! `harness bench --against`: interleaved comparisons of servers with a baseline server.

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Result, bail};
use serde::Serialize;
use servers::Limits;

use super::asked::{named, print_json, seed_or_chance};
use super::progress::{People, Progress};
use crate::cli::{self, Require};
use crate::interrupt;
use crate::load::enough_descriptors;
use crate::load::interleaved::{
    Busy, Failed, Found, InterleavedComparison, compare, shown_percent,
};
use crate::load::placement::Placement;
use crate::manifest;
use crate::server::{LaunchSpec, Launcher};
use crate::stats::Verdict;
use crate::units::written;
use crate::usage_error::UsageError;

/// Result of a comparison, as printed in text and JSON.
#[derive(Serialize)]
struct Compared {
    server: String,
    against: String,
    /// Throughput relative to the baseline, with the bounds of its 95 % confidence interval; null
    /// without an interval.
    ratio: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    /// Number of launches and of pairs of slices behind the interval.
    launches: usize,
    pairs: usize,
    margin: f64,
    verdict: Verdict,
    /// Reason for the verdict beyond the interval.
    reason: Option<String>,
    /// Description of a server failure during the comparison.
    failed: Option<String>,
    /// Fractions of the time in which server and load generator were busy, for both servers.
    busy: Option<[Busy; 2]>,
    seed: u64,
    /// Whether the comparison was interrupted, and has fewer launches or slices than planned.
    partial: bool,
}

/// Compares the selected servers with the baseline `other`, and prints the results.
///
/// # Errors
/// Bad usage, or the harness could not do its work.
pub(crate) fn against(arguments: &cli::Bench, other: &str) -> Result<ExitCode> {
    if arguments.measured.require == Some(Require::Valid) {
        let words = "--require valid is for a measurement: with --against require conclusive or \
                     not-slower";
        bail!(UsageError(words.to_owned()));
    }
    let usual = InterleavedComparison::default();
    let alternation = InterleavedComparison {
        connections: arguments.connections,
        launches: arguments.launches,
        time: arguments.duration.unwrap_or(usual.time),
        seed: seed_or_chance(arguments.measured.seed),
        ..usual
    };
    // Both servers hold connections at the same time.
    enough_descriptors(alternation.connections.saturating_mul(2)).map_err(UsageError)?;
    let launcher = Launcher::this_program()?;
    let placement = Placement::find(arguments.measured.pin, 1)?;
    let Sides { servers, other, left_out } =
        Sides::find(arguments, other, &launcher, alternation.connections)?;
    let margin = arguments.margin;
    let people = if arguments.json { People::Stderr } else { People::Stdout };
    let progress = Progress::new(servers.len(), people);
    progress.line(&format!("{}; seed {}", placement.words(), alternation.seed));
    left_out.iter().for_each(|words| progress.line(words));
    let mut all = Vec::new();
    let mut is_met = true;
    for server in &servers {
        progress.doing(format!("{} against {}", server.name, other.name));
        let found =
            compare(&launcher, [server, &other], alternation, &placement, interrupt::flag());
        let partial = interrupt::flag().load(Relaxed);
        let compared = Compared {
            server: server.name.clone(),
            against: other.name.clone(),
            margin,
            seed: alternation.seed,
            partial,
            ..match found.as_ref().map_err(|error| error.downcast_ref::<Failed>()) {
                Ok(found) => Compared::of(found, margin),
                Err(Some(failed)) => Compared::failed(failed),
                Err(None) => {
                    // Earlier results are not lost.
                    print(arguments.json, &all)?;
                    return found.map(|_| ExitCode::SUCCESS);
                }
            }
        };
        progress.line(&compared.words(alternation));
        progress.step();
        is_met &= compared.failed.is_none()
            && match arguments.measured.require {
                Some(Require::Conclusive) => compared.verdict != Verdict::Inconclusive,
                Some(Require::NotSlower) => found.is_ok_and(|it| it.is_not_slower(margin)),
                Some(Require::Valid) | None => true,
            };
        all.push(compared);
        if partial {
            break;
        }
    }
    drop(progress);
    print(arguments.json, &all)?;
    Ok(interrupt::exit_code().unwrap_or(ExitCode::from(u8::from(!is_met))))
}

fn print(json: bool, all: &[Compared]) -> Result<()> {
    if json { print_json(&all) } else { Ok(()) }
}

impl Compared {
    fn of(found: &Found, margin: f64) -> Compared {
        let (verdict, reason) = found.verdict(margin);
        let comparison = found.comparison.ok();
        Compared {
            ratio: comparison.map(|it| it.ratio),
            low: comparison.map(|it| it.low),
            high: comparison.map(|it| it.high),
            launches: comparison.map_or(0, |it| it.launches),
            pairs: comparison.map_or(0, |it| it.pairs),
            verdict,
            reason,
            busy: Some(found.busy),
            ..Compared::nothing()
        }
    }

    fn failed(failed: &Failed) -> Compared {
        let words = failed.to_string();
        Compared { reason: Some(words.clone()), failed: Some(words), ..Compared::nothing() }
    }

    fn nothing() -> Compared {
        Compared {
            server: String::new(),
            against: String::new(),
            ratio: None,
            low: None,
            high: None,
            launches: 0,
            pairs: 0,
            margin: 0.0,
            verdict: Verdict::Inconclusive,
            reason: None,
            failed: None,
            busy: None,
            seed: 0,
            partial: false,
        }
    }

    fn words(&self, alternation: InterleavedComparison) -> String {
        let Compared { server, against, launches, pairs, margin, .. } = self;
        let mut words = format!("{server} against {against}: ");
        if let (Some(ratio), Some(low), Some(high)) = (self.ratio, self.low, self.high) {
            let (launches, pairs) = (*launches, *pairs);
            let comparison = crate::stats::Comparison { ratio, low, high, launches, pairs };
            let [ratio, low, high] = comparison.figures();
            words.push_str(&format!(
                "{ratio} times the throughput, 95 % confidence {low} to {high}, {pairs} pairs of \
                 slices in {launches} launches: "
            ));
        }
        words.push_str(self.verdict.words());
        if self.verdict == Verdict::Equal {
            words.push_str(&format!(" within ±{} %", shown_percent(*margin)));
        }
        if let Some(reason) = &self.reason {
            words.push_str(&format!(" ({reason})"));
        }
        if self.partial {
            words.push_str(" (interrupted: partial)");
        } else if self.verdict == Verdict::Inconclusive && self.failed.is_none() {
            words.push_str(&format!(
                "; try a longer --duration (now {}) or more --launches (now {})",
                written(alternation.time),
                alternation.launches
            ));
        }
        words
    }
}

/// The servers of a comparison.
struct Sides {
    servers: Vec<LaunchSpec>,
    other: LaunchSpec,
    /// Reasons why servers that were not named explicitly are excluded.
    left_out: Vec<String>,
}

impl Sides {
    /// Finds the servers among the built-in ones or in a manifest. Servers named on the command
    /// line must be comparable; without names, servers that are not comparable are excluded.
    fn find(
        arguments: &cli::Bench,
        other: &str,
        launcher: &Launcher,
        connections: usize,
    ) -> Result<Sides> {
        let names = &arguments.servers;
        let (mut servers, other) = match &arguments.manifest {
            Some(file) => {
                let other = manifest::specs(file, &[other.to_owned()])?.swap_remove(0);
                (manifest::specs(file, names)?, other)
            }
            None => {
                let spec = |server: &servers::Server| -> Result<LaunchSpec> {
                    Ok(LaunchSpec::builtin(launcher, server, &Limits::default())?)
                };
                let all: Result<_> = named(names)?.iter().map(spec).collect();
                let other = cli::server(other)
                    .map_err(|words| UsageError(format!("--against {other}: {words}")))?;
                (all?, spec(&other)?)
            }
        };
        comparable(&other, &other, connections).map_err(UsageError)?;
        let mut left_out = Vec::new();
        if names.is_empty() {
            servers.retain(|server| match comparable(server, &other, connections) {
                // Comparing the baseline with itself yields no information.
                Ok(()) => server.name != other.name,
                Err(words) => {
                    left_out.push(format!("not compared: {words}"));
                    false
                }
            });
        }
        for server in &servers {
            comparable(server, &other, connections).map_err(UsageError)?;
        }
        let mut seen = HashSet::new();
        servers.retain(|server| seen.insert(server.name.clone()));
        Ok(Sides { servers, other, left_out })
    }
}

/// Checks that the server can run beside the baseline, and under the same load.
fn comparable(server: &LaunchSpec, other: &LaunchSpec, connections: usize) -> Result<(), String> {
    let name = &server.name;
    let contract = &server.contract;
    if let Some(reason) = &server.unavailable {
        return Err(format!("{name} cannot be run here: {reason}"));
    }
    let [service, its] = [contract, &other.contract].map(|it| it.service.name());
    if service != its {
        return Err(format!(
            "{name} answers {service} and {} {its}: compare servers of one service",
            other.name
        ));
    }
    if server.fixed_port.is_some() {
        return Err(format!(
            "{name} listens on a port of its own: a comparison runs two servers at a time, and \
             gives each a port"
        ));
    }
    if contract.wire.requests().is_some() || contract.wire.clients_per_life.is_some() {
        return Err(format!("{name}: by its wire a connection does not last"));
    }
    match contract.capacity {
        Some(serves) if serves < connections => Err(format!(
            "{name} cannot serve so many clients at once: compare with --connections {serves}"
        )),
        _ => Ok(()),
    }
}
