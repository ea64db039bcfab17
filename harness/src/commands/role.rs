//! Roles of a process of this program: server, supervisor, client, known-answer server.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use servers::{Limits, LimitsError, Listener, Server};

use crate::cli;
use crate::client::{self, Ended};
use crate::contract::Contract;
use crate::selftest::known;
use crate::server::{raise_descriptor_limit, supervise};
use crate::stdio;
use crate::usage_error::{UsageError, exit_code_of};

/// Runs as a server, known-answer server or supervisor and exits, if the command line says so.
///
/// A program that launches servers by running itself calls this function first.
pub fn take() {
    if !cli::is_role() {
        return;
    }
    let done = match cli::Cli::read() {
        cli::Command::Serve(arguments) => serve(&arguments),
        cli::Command::Supervise(arguments) => supervise(&arguments),
        cli::Command::Known(arguments) => known(&arguments),
        _ => return,
    };
    if let Err(error) = done {
        stdio::error_line(format_args!("harness: {error:#}"));
        stdio::exit(exit_code_of(&error));
    }
    stdio::exit(0);
}

/// Runs a known-answer server.
///
/// # Errors
/// The server cannot listen, or a system call fails.
pub fn known(arguments: &cli::Known) -> Result<ExitCode> {
    known::serve(arguments.answer, &arguments.host, arguments.port)
}

/// Runs a built-in server until SIGTERM or SIGINT.
///
/// # Errors
/// The server cannot listen, or does not support the limits.
pub fn serve(arguments: &cli::Serve) -> Result<ExitCode> {
    let server = chosen(arguments)?;
    let limits = arguments.limits();
    server.config(&limits).map_err(|error| UsageError(with_flag(&error)))?;
    if let Some(words) = server.pattern.unavailable() {
        bail!("{server} cannot be run here: {words}");
    }
    raise_descriptor_limit();
    let backlog = arguments.backlog.unwrap_or(server.pattern.backlog);
    let listener = Listener::bind(&arguments.host, arguments.port, backlog)?;
    let words = words(&server, &limits)?;
    let listener = listener.on_listening(move |address| {
        stdio::line(&format!("{server} listens on {address}: {words}; end it with Ctrl-C"));
    });
    servers::serve(&server, &limits, listener).context("the server failed")?;
    Ok(ExitCode::SUCCESS)
}

fn chosen(arguments: &cli::Serve) -> Result<Server> {
    let cli::NamedServer { name, server: Server { pattern, service } } = &arguments.server;
    let wanted = arguments.service.unwrap_or(*service);
    if wanted != *service && name != pattern.id {
        bail!(UsageError(format!(
            "{name} answers {}; for {} serve {}-{}",
            service.name(),
            wanted.name(),
            pattern.id,
            wanted.name()
        )));
    }
    Ok(Server { pattern, service: wanted })
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

fn words(server: &Server, limits: &Limits) -> Result<String, LimitsError> {
    let pattern = server.pattern;
    let places = Contract::of(server, limits)?.places();
    Ok(format!("{}; {}; {places}", pattern.summary, pattern.workers.description(limits.workers)))
}

/// Supervises one server until end of file on standard input.
///
/// # Errors
/// A system call fails.
pub fn supervise(_: &cli::Supervise) -> Result<ExitCode> {
    supervise::run().context("supervising failed")?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the interactive client. The exit code tells how the connection ended.
///
/// # Errors
/// The host is a URL, or cannot be resolved.
pub fn client(arguments: &cli::Client) -> Result<ExitCode> {
    if arguments.host.contains("://") {
        bail!(UsageError(format!(
            "`{}` is a URL: write a host and a port, such as 127.0.0.1 8080",
            arguments.host
        )));
    }
    let addresses = servers::sockets::resolve(&arguments.host, arguments.port)?;
    let ended = client::converse(&addresses, arguments.timeout);
    let place = format!("{}:{}", arguments.host, arguments.port);
    match &ended {
        Ended::Done => {}
        Ended::NotStarted => {
            stdio::error_line(format_args!(
                "harness: no server is started on {place} (connection refused): start one, or check host and port"
            ));
        }
        Ended::Refused(words)
        | Ended::Stalled(words)
        | Ended::Closed(words)
        | Ended::Failed(words) => {
            stdio::error_line(format_args!("harness: {place}: {words}"));
        }
    }
    Ok(ExitCode::from(ended.code()))
}
