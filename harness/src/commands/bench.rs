//! `harness load` and `harness bench`: benchmarks of a listening server, and of launched servers.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::asked::{named, print_json, seed_or_chance, selected};
use super::compare;
use super::progress::{People, Progress};
use super::run::{Bench, Contender};
use crate::cli::{self, Measured, Require};
use crate::contract::Contract;
use crate::environment::Environment;
use crate::interrupt;
use crate::load::placement::{Pin, Placement};
use crate::load::{
    self, ArrivalProcess, Group, LoadSpec, Measurement, Measuring, Outcome, Plan, ReplyTemplate,
    Verdict, WORKLOADS, histogram_log, usual,
};
use crate::manifest;
use crate::report::{FORMAT, Output, Report, ServerResult, brief, measurement_words};
use crate::server::{Launcher, raise_descriptor_limit};
use crate::stdio;
use crate::usage_error::UsageError;

impl Measured {
    pub(crate) fn measuring(&self, plan: Plan) -> Measuring<'static> {
        Measuring {
            plan,
            pin: self.pin,
            threads: self.threads.into(),
            seed: seed_or_chance(self.seed),
            precision: self.precision,
            extended: self.extend,
            syscalls: false,
            interrupted: interrupt::flag(),
        }
    }

    fn exit_code<'m>(&self, measurements: impl IntoIterator<Item = &'m Measurement>) -> ExitCode {
        if let Some(code) = interrupt::exit_code() {
            return code;
        }
        let is_valid_wanted = self.require == Some(Require::Valid);
        let fails = |one: &Measurement| {
            let is_doubtful = is_valid_wanted && one.validity.verdict != Verdict::Valid;
            is_doubtful || !one.has_answers()
        };
        ExitCode::from(u8::from(measurements.into_iter().any(fails)))
    }
}

/// Runs a load test against a listening server, and prints the results.
///
/// # Errors
/// Bad usage, or a system call fails. Faults of the server are part of the results.
pub fn load(arguments: &cli::Load) -> Result<ExitCode> {
    raise_descriptor_limit();
    measured_alone(arguments.measured.require)?;
    load::enough_descriptors(arguments.connections).map_err(UsageError)?;
    // Open the files first, so that an unwritable path fails before the load test.
    let json = match arguments.json.as_deref() {
        Some(path) if path != Path::new("-") => Some(create(path)?),
        _ => None,
    };
    let log = arguments.histogram_log.as_deref().map(create).transpose()?;
    let plan =
        Plan { warm_up: arguments.warm_up, duration: arguments.duration, held: 0, is_short: false };
    let measuring = arguments.measured.measuring(plan);
    let pace = match arguments.rate {
        Some(per_s) => ArrivalProcess::Open { arrivals: arguments.arrivals, per_s },
        None => ArrivalProcess::Closed { depth: arguments.depth },
    };
    let contract = Contract {
        wire: arguments.wire.clone().unwrap_or_default(),
        ..Contract::undeclared(arguments.service)
    };
    if !contract.wire.is_pipelined() && (arguments.depth > 1 || arguments.rate.is_some()) {
        let words = "by its wire a request must wait for the reply to the one before it: load it \
                     without --depth and --rate";
        return Err(UsageError(words.to_owned()).into());
    }
    if contract.wire.requests().is_some() || contract.wire.clients_per_life.is_some() {
        let words = "by its wire a connection does not last: describe it in a manifest, and load it \
                     by `harness bench --manifest FILE --workload churn`";
        return Err(UsageError(words.to_owned()).into());
    }
    let dialog = ReplyTemplate::of(&contract, arguments.address).map_err(UsageError)?;
    let exchanges = usual(&contract).iter().map(|one| dialog.exchange(one)).collect();
    let group = Group { exchanges, connections: arguments.connections, pace };
    let demand = LoadSpec {
        opening: dialog.opening.clone(),
        ..LoadSpec::new(arguments.address, group, measuring.seed)
    };
    let placement = Placement::find(measuring.pin, measuring.threads)?;
    let name = "load";
    let (mut measurement, ran) = load::load(None, &demand, name, &measuring, &placement)?;
    if measuring.pin != Pin::None {
        measurement.placement = format!("{} (the server was not launched here)", placement.words());
    }
    if let Some(log) = log {
        histogram_log::write(BufWriter::new(log), &ran).context("the histogram log")?;
    }
    match (json, &arguments.json) {
        (Some(file), _) => write_json(BufWriter::new(file), &measurement)?,
        (None, Some(_)) => print_json(&measurement)?,
        (None, None) => {}
    }
    let words = measurement_words(&measurement);
    match &arguments.json {
        Some(path) if path == Path::new("-") => stdio::error(&words),
        _ => stdio::print(&words),
    }
    if measurement.connections.get(Outcome::Refused) == arguments.connections as u64 {
        stdio::error_line(format_args!(
            "harness: no server listens on {} (connection refused): start it first, or correct host \
             and port",
            arguments.address
        ));
    }
    Ok(arguments.measured.exit_code([&measurement]))
}

/// Rejects conditions that only apply to comparisons.
fn measured_alone(require: Option<Require>) -> Result<()> {
    match require {
        None | Some(Require::Valid) => Ok(()),
        Some(Require::Conclusive | Require::NotSlower) => {
            let words = "--require conclusive and --require not-slower are for a comparison: add \
                         --against SERVER, or require valid";
            Err(UsageError(words.to_owned()).into())
        }
    }
}

fn create(path: &Path) -> Result<File> {
    let cannot =
        |error| UsageError(format!("cannot write {}: {error}; name another file", path.display()));
    Ok(File::create(path).map_err(cannot)?)
}

fn write_json(mut to: impl Write, document: &impl Serialize) -> Result<()> {
    serde_json::to_writer_pretty(&mut to, document)?;
    writeln!(to)?;
    to.flush().context("the JSON document")
}

/// Launches servers and benchmarks them under the workloads.
///
/// # Errors
/// Bad usage, or the harness could not do its work.
pub fn bench(arguments: &cli::Bench) -> Result<ExitCode> {
    raise_descriptor_limit();
    if let Some(other) = &arguments.against {
        return compare::against(arguments, other);
    }
    measured_alone(arguments.measured.require)?;
    let workloads = selected(WORKLOADS.iter(), |it| it.name, &arguments.workload, "workload")?;
    let launcher = Launcher::this_program()?;
    let contenders: Vec<Contender> = match &arguments.manifest {
        Some(file) => Contender::described(manifest::specs(file, &arguments.servers)?).collect(),
        None => Contender::builtin(&launcher, &named(&arguments.servers)?)?,
    };
    let mut plan = arguments.plan.plan();
    plan.duration = arguments.duration.unwrap_or(plan.duration);
    plan.warm_up = arguments.warm_up.unwrap_or(plan.warm_up);
    let measuring =
        Measuring { syscalls: arguments.syscalls, ..arguments.measured.measuring(plan) };
    let output = arguments.output.as_deref().map(Output::create).transpose()?;
    let mut report = Report {
        format: FORMAT,
        complete: false,
        environment: Environment::detect(),
        plan: arguments.plan.words_of(plan),
        seed: measuring.seed,
        servers: Vec::new(),
    };
    let people = if arguments.json { People::Stderr } else { People::Stdout };
    // Every built-in server lacks some workload: report that only if the user selected workloads or
    // a manifest.
    let is_asked_for = arguments.manifest.is_some() || !arguments.workload.is_empty();
    let progress = Progress::new(contenders.len() * workloads.len(), people);
    'servers: for Contender { judged: spec, measured: as_measured } in &contenders {
        let server = &spec.name;
        report.servers.push(ServerResult::new(spec, Vec::new()));
        let entry = report.servers.last_mut().expect("it was just pushed");
        if let Some(reason) = &spec.unavailable {
            progress.line(&format!("{server}: not run: {reason}"));
            progress.skip(workloads.len());
            continue;
        }
        let mut measured = Bench::new(&launcher, as_measured);
        for workload in &workloads {
            progress.doing(format!("{server} under {}", workload.name));
            let (before, left_out) = (entry.measurements.len(), entry.not_measured.len());
            measured.measure(workload, &measuring, entry)?;
            for one in &entry.measurements[before..] {
                progress.line(&format!("{server} {}", brief(one)));
            }
            for reason in entry.not_measured[left_out..].iter().filter(|_| is_asked_for) {
                progress.line(&format!("{server} not measured: {reason}"));
            }
            progress.step();
            if measuring.interrupted.load(Relaxed) {
                break 'servers;
            }
        }
        if let Some(output) = &output {
            output.write(&report)?;
        }
    }
    report.complete = !measuring.interrupted.load(Relaxed);
    if let Some(output) = &output {
        output.write(&report)?;
        progress.line(&format!("report: {}", output.page().display()));
    }
    for problem in report.problems() {
        progress.line(&format!("problem: {problem}"));
    }
    drop(progress);
    if arguments.json {
        print_json(&report.servers)?;
    }
    if report.complete {
        something_measured(&report)?;
        if report.servers.iter().any(|server| server.problem.is_some()) {
            return Ok(ExitCode::from(1));
        }
    }
    let all = report.servers.iter().flat_map(|server| &server.measurements);
    Ok(arguments.measured.exit_code(all))
}

/// Checks that at least one measurement was attempted.
///
/// # Errors
/// No server can run on this machine, or no workload applies.
fn something_measured(report: &Report) -> Result<()> {
    if report.servers.iter().all(|server| server.not_run.is_some()) {
        bail!("nothing was measured: none of the servers can be run here");
    }
    let has_any =
        |server: &ServerResult| !server.measurements.is_empty() || server.problem.is_some();
    if report.servers.iter().any(has_any) {
        return Ok(());
    }
    let reasons = report.servers.iter().flat_map(|server| {
        server.not_measured.iter().map(move |reason| format!("{}: {reason}", server.name))
    });
    let reasons: Vec<String> = reasons.take(MOST_REASONS).collect();
    Err(UsageError(format!("nothing was measured: {}", reasons.join("; "))).into())
}

/// Maximum number of reasons in an error message.
const MOST_REASONS: usize = 4;
