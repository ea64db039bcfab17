//! Roles of a process: server, known-answer server, supervisor, client.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use servers::{Limits, LimitsError, Listener, Server};

use crate::cli;
use crate::client::{self, ClientOutcome};
use crate::contract::Contract;
use crate::selftest::known;
use crate::server::{raise_descriptor_limit, supervise};
use crate::stdio;
use crate::usage_error::{UsageError, exit_code_of};

/// If the command line names a role (server, known-answer server or supervisor), runs the role and
/// exits the process. Otherwise, returns.
///
/// A program that launches servers by running itself must call this function first.
pub fn take() {
    if !cli::is_role() {
        return;
    }
    let result = match cli::Cli::read() {
        cli::Command::Serve(arguments) => serve(&arguments),
        cli::Command::Supervise(arguments) => supervise(&arguments),
        cli::Command::Known(arguments) => known(&arguments),
        _ => return,
    };
    if let Err(error) = result {
        stdio::error_line(format_args!("harness: {error:#}"));
        stdio::exit(exit_code_of(&error));
    }
    stdio::exit(0);
}

/// Runs a known-answer server.
///
/// # Errors
/// The server cannot listen, or a system call fails.
pub fn known(arguments: &cli::KnownAnswer) -> Result<ExitCode> {
    known::serve(arguments.answer, &arguments.host, arguments.port)
}

/// Runs a built-in server until SIGTERM or SIGINT.
///
/// # Errors
/// The server cannot listen, or does not support the limits.
pub fn serve(arguments: &cli::Serve) -> Result<ExitCode> {
    let server = selected_server(arguments)?;
    let limits = arguments.limits();
    server.config(&limits).map_err(|error| UsageError(with_flag(&error)))?;
    if let Some(reason) = server.pattern.unavailable() {
        bail!("{server} cannot run on this machine: {reason}");
    }
    raise_descriptor_limit();
    let backlog = arguments.backlog.unwrap_or(server.pattern.backlog);
    let listener = Listener::bind(&arguments.host, arguments.port, backlog)?;
    let description = description(&server, &limits)?;
    let listener = listener.on_listening(move |address| {
        stdio::line(&format!("{server} listens on {address}: {description}; press Ctrl-C to stop"));
    });
    servers::serve(&server, &limits, listener).context("the server failed")?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the named server, with the service of `--service` if the name does not determine it.
fn selected_server(arguments: &cli::Serve) -> Result<Server> {
    let cli::NamedServer { name, server: Server { pattern, service } } = &arguments.server;
    let requested = arguments.service.unwrap_or(*service);
    if requested != *service && name != pattern.id {
        bail!(UsageError(format!(
            "{name} serves {}; for {}, run `harness serve {}-{}`",
            service.name(),
            requested.name(),
            pattern.id,
            requested.name()
        )));
    }
    Ok(Server { pattern, service: requested })
}

/// Formats the error with the flag that sets the limit.
fn with_flag(error: &LimitsError) -> String {
    let flag = match error {
        LimitsError::ServesOne(_)
        | LimitsError::FewerThanWorkers(..)
        | LimitsError::TooMany { .. }
        | LimitsError::TooFewDescriptors(..) => "--max-connections",
        LimitsError::ServesOnePerWorker(_)
        | LimitsError::NoWorkers { .. }
        | LimitsError::WorkersOutOfRange(_) => "--workers",
    };
    format!("{error} ({flag})")
}

fn description(server: &Server, limits: &Limits) -> Result<String, LimitsError> {
    let pattern = server.pattern;
    let connections = Contract::of(server, limits)?.limits_summary();
    Ok(format!(
        "{}; {}; {connections}",
        pattern.summary,
        pattern.workers.description(limits.workers)
    ))
}

/// Supervises one server until standard input reaches end of file.
///
/// # Errors
/// A system call fails.
pub fn supervise(_: &cli::Supervise) -> Result<ExitCode> {
    supervise::run().context("supervising failed")?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the interactive client. The exit code gives the outcome.
///
/// # Errors
/// The host is a URL, or cannot be resolved.
pub fn client(arguments: &cli::Client) -> Result<ExitCode> {
    if arguments.host.contains("://") {
        bail!(UsageError(format!(
            "`{}` is a URL: write a host and a port, such as `127.0.0.1 8080`",
            arguments.host
        )));
    }
    let addresses = servers::sockets::resolve(&arguments.host, arguments.port)?;
    if arguments.wait.is_some()
        && let Some(address) = cli::Address::of(addresses.clone())
    {
        address.find(arguments.wait);
    }
    let outcome = client::run_interactive(&addresses, arguments.timeout);
    let server = format!("{}:{}", arguments.host, arguments.port);
    match &outcome {
        ClientOutcome::Done => {}
        ClientOutcome::NotStarted => {
            stdio::error_line(format_args!(
                "harness: no server listens on {server} (connection refused); start it, or correct host and port"
            ));
        }
        ClientOutcome::Rejected(reason)
        | ClientOutcome::Stalled(reason)
        | ClientOutcome::ProtocolError(reason)
        | ClientOutcome::Failed(reason) => {
            stdio::error_line(format_args!("harness: {server}: {reason}"));
        }
    }
    Ok(ExitCode::from(outcome.code()))
}
