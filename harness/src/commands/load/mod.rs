//! `harness load`: a load test of a listening server.

mod live;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::measurement_args::reject_comparison_conditions;
use super::progress::{OutputStream, Progress};
use super::selection::print_json;
use crate::cli;
use crate::contract::Contract;
use crate::interrupt;
use crate::load::placement::{Pin, Placement};
use crate::load::{
    self, ArrivalProcess, ConnectionGroup, LiveEvent, LoadSpec, Plan, ReplyTemplate, exchanges_for,
    histogram_log,
};
use crate::report::measurement_text;
use crate::results::{Measurement, Outcome, Outcomes};
use crate::server::raise_descriptor_limit;
use crate::stdio;
use crate::thresholds::{ThresholdResult, check_all};
use crate::units::format_duration;
use crate::usage_error::UsageError;
use live::{LiveFigures, UPDATE_EVERY};

/// The JSON document: a measurement, and the results of its thresholds, if any.
#[derive(Serialize)]
struct LoadOutput<'a> {
    #[serde(flatten)]
    measurement: &'a Measurement,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    thresholds: &'a [ThresholdResult],
}

/// Runs a load test against a listening server, and prints the results.
///
/// # Errors
/// Bad usage, or a system call fails. Faults of the server are part of the results.
pub fn load(arguments: &cli::Load) -> Result<ExitCode> {
    raise_descriptor_limit();
    reject_comparison_conditions(arguments.measurement.require)?;
    load::enough_descriptors(arguments.connections).map_err(UsageError)?;
    // Open the files first, so that an unwritable path fails before the load test.
    let json = match arguments.json.as_deref() {
        Some(path) if path != Path::new("-") => Some(create(path)?),
        _ => None,
    };
    let log = arguments.histogram_log.as_deref().map(create).transpose()?;
    let plan = Plan {
        warm_up: arguments.warm_up,
        duration: arguments.duration,
        idle_connections: 0,
        ..Plan::ONE_RUN
    };
    // Before the settings, which take over SIGINT and SIGTERM: the wait does not check for them.
    let address = arguments.address.find(arguments.wait);
    let settings = arguments.measurement.settings(plan);
    let spec = load_spec(arguments, address, settings.seed)?;
    let placement = Placement::find(settings.pin, settings.threads)?;
    let planned = arguments.warm_up + arguments.duration;
    let progress = Progress::of_time(arguments.terminal, OutputStream::Stderr, planned);
    progress.start();
    let duration = settings.precision.is_none().then_some(arguments.duration);
    let mut figures = LiveFigures::new(&progress, arguments.warm_up, duration);
    let mut show = |event: LiveEvent<'_>| figures.handle(event);
    let live = Some((UPDATE_EVERY, &mut show as &mut dyn FnMut(LiveEvent<'_>)));
    let ran = load::load_live(None, &spec, "load", &settings, &placement, live);
    drop(progress);
    let (mut measurement, ran) = ran?;
    if settings.pin != Pin::None {
        measurement.placement = format!(
            "{} (the server is not pinned: it was already running)",
            placement.description()
        );
    }
    if let Some(log) = log {
        histogram_log::write(BufWriter::new(log), &ran).context("the histogram log")?;
    }
    let thresholds = check_all(&arguments.measurement.threshold, [&measurement]);
    print(arguments, json, &measurement, &thresholds)?;
    for message in messages(arguments, address, &measurement) {
        stdio::error_line(format_args!("harness: {message}"));
    }
    if settings.interrupted.load(Relaxed) {
        stdio::error_line(interrupted_line(arguments));
    }
    Ok(arguments.measurement.exit_code([&measurement], &thresholds))
}

/// Returns the message about the results of an interrupted load test.
fn interrupted_line(arguments: &cli::Load) -> String {
    let json = arguments.json.as_deref().filter(|path| *path != Path::new("-"));
    let files: Vec<String> = json
        .into_iter()
        .chain(arguments.histogram_log.as_deref())
        .map(|path| path.display().to_string())
        .collect();
    match files.as_slice() {
        [] => "interrupted; no file was written: the results above are partial".to_owned(),
        files => format!("interrupted; partial results: {}", files.join(", ")),
    }
}

/// Returns the contract that the arguments declare.
fn contract(arguments: &cli::Load) -> Contract {
    Contract {
        wire: arguments.wire.clone().unwrap_or_default(),
        ..Contract::undeclared(arguments.service)
    }
}

/// Timeout of the check of the service. The server has just served clients.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(1);

/// Describes the service of a server that has replied, if it is not that of `--service`.
///
/// The load does not show it: a calculator returns a number unchanged, as an echo server does.
fn other_service(
    arguments: &cli::Load,
    address: SocketAddr,
    outcomes: &Outcomes,
) -> Option<String> {
    let replies = [Outcome::Answered, Outcome::WrongReply, Outcome::ErrorReply];
    let has_replied = replies.iter().any(|&outcome| outcomes.get(outcome) > 0);
    (has_replied && !interrupt::flag().load(Relaxed)).then_some(())?;
    let timeout = arguments.measurement.timeout.min(SERVICE_TIMEOUT);
    ReplyTemplate::other_service(&contract(arguments), address, timeout)
}

/// Returns the load that the arguments describe.
///
/// # Errors
/// The protocol does not support the load, or the server violates the protocol.
fn load_spec(arguments: &cli::Load, address: SocketAddr, seed: u64) -> Result<LoadSpec> {
    let arrivals = match arguments.rate {
        Some(per_s) => ArrivalProcess::Open { arrivals: arguments.arrivals, per_s },
        None => ArrivalProcess::Closed { depth: arguments.depth },
    };
    let contract = contract(arguments);
    if !contract.wire.is_pipelined() && (arguments.depth > 1 || arguments.rate.is_some()) {
        let message = "with this --wire, a request must wait for the reply to the previous one: \
                       remove --depth and --rate";
        return Err(UsageError(message.to_owned()).into());
    }
    let requests_per_connection = contract.wire.requests();
    if requests_per_connection.is_some() && !arguments.reconnect {
        let message = "with this --wire, the server closes connections: add --reconnect";
        return Err(UsageError(message.to_owned()).into());
    }
    if contract.wire.connections_before_exit.is_some() {
        let message = "with this --wire, the server exits after some connections: remove \
                       connections-before-exit";
        return Err(UsageError(message.to_owned()).into());
    }
    let timeout = arguments.measurement.timeout;
    let template = ReplyTemplate::of(&contract, address, timeout).map_err(UsageError)?;
    let requests = exchanges_for(&contract).iter().map(|one| template.exchange(one)).collect();
    let group =
        ConnectionGroup { requests, connections: arguments.connections, arrival_process: arrivals };
    Ok(LoadSpec {
        opening: template.opening.clone(),
        reply_timeout: timeout,
        reconnect: arguments.reconnect,
        requests_per_connection,
        ..LoadSpec::new(address, group, seed)
    })
}

/// Prints the measurement, and writes the JSON document of `--json`.
fn print(
    arguments: &cli::Load,
    json: Option<File>,
    measurement: &Measurement,
    thresholds: &[ThresholdResult],
) -> Result<()> {
    let document = LoadOutput { measurement, thresholds };
    match (json, &arguments.json) {
        (Some(file), _) => write_json(BufWriter::new(file), &document)?,
        (None, Some(_)) => print_json(&document)?,
        (None, None) => {}
    }
    let results = thresholds.iter().map(|result| format!("{result}\n"));
    let text: String = std::iter::once(measurement_text(measurement)).chain(results).collect();
    match &arguments.json {
        Some(path) if path == Path::new("-") => stdio::error(&text),
        _ => stdio::line(text.trim_end()),
    }
    Ok(())
}

/// Returns the messages about a failed load test, one line each. Asks the server for its service.
fn messages(arguments: &cli::Load, address: SocketAddr, measurement: &Measurement) -> Vec<String> {
    let mut messages = Vec::new();
    if let Some(service) = other_service(arguments, address, &measurement.outcomes) {
        messages.push(format!("`--service {}` is wrong: {service}", arguments.service.name()));
    }
    if measurement.is_prevented() {
        let reasons: Vec<String> =
            measurement.local_errors.iter().map(|(error, _)| error.text()).collect();
        messages.push(format!(
            "nothing was measured: cannot connect to {address}: {}",
            reasons.join("; ")
        ));
    }
    let has_all = |outcome| measurement.connections.get(outcome) == arguments.connections as u64;
    if has_all(Outcome::ConnectTimeout) {
        messages.push(format!(
            "no connection to {address} within {}: its accept queue is full, its host does not \
             respond, or a firewall drops the packets",
            format_duration(arguments.measurement.timeout)
        ));
    }
    if has_all(Outcome::Refused) {
        messages.push(format!(
            "no server listens on {address} (connection refused); start it, wait for it with \
             --wait 30s, or correct host and port"
        ));
    }
    messages
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
