//! `harness probe`: detects the protocol, limits and concurrency model of an unknown server, prints
//! the results, and writes a manifest entry.

mod dialect;
mod entry;
mod experiment;
mod instance;
mod limits;
mod observer;
mod protocol;
mod received;
mod reply;
mod target;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Result;
use servers::Service;

use crate::contract::{Declared, Dialect, RequiredModel};
use crate::manifest::{Command, ContractTable, Entry, Port};
use crate::server::{LaunchError, Launcher, Readiness, START_TIMEOUT, raise_descriptor_limit};
use crate::usage_error::UsageError;
use crate::wire::{Bytes, Greeting, ReplyFraming, Wire};
use experiment::Findings;
pub use observer::ProbeObserver;
use protocol::{DetectError, Protocol};
use target::ProbeTarget;

/// Arguments of `harness probe`.
#[derive(Clone, Debug)]
pub struct ProbeArguments {
    /// Command that starts the server.
    pub cmd: Option<String>,
    /// Address of a server that is already running.
    pub connect: Option<SocketAddr>,
    /// Condition and timeout for the server to be ready.
    pub readiness: Readiness,
    /// Name in the manifest; `None` derives it from the command.
    pub name: Option<String>,
    /// Manifest to append the entry to; `None` for standard output.
    pub output: Option<PathBuf>,
}

/// Probes a server and writes the manifest entry. The observer prints the findings.
///
/// # Errors
/// The arguments are invalid, or the server cannot be launched or connected to.
pub fn probe(arguments: &ProbeArguments, observer: &dyn ProbeObserver) -> Result<ExitCode> {
    raise_descriptor_limit();
    let mut arguments = arguments.clone();
    if let Some(command) = &arguments.cmd {
        let name = entry::choose_name(arguments.name, command, arguments.output.as_deref())?;
        arguments.name = Some(name);
    }
    observer.on_phase("detecting the port and the protocol");
    let mut target = arguments.target()?;
    let detected = protocol::detect(&mut target);
    if let Err(DetectError::Launch(error)) = detected {
        return Err(with_advice(error.into(), arguments.cmd.as_deref().unwrap_or_default()));
    }
    observer.on_finding(&visible(&target.description()));
    let mut protocol = match detected {
        Ok(protocol) => protocol,
        Err(error) => {
            observer.on_failure(&visible(&error.to_string()));
            observer.on_failure(
                "the protocol is unknown: only calculators and echo servers can be described; if the \
                 server is one, and needs a handshake before the first request or text around each \
                 request, describe it in a manifest (`handshake`, `request`)",
            );
            if let Some(command) = &arguments.cmd {
                observer.on_failure("an entry to complete:");
                let skeleton = arguments.skeleton(command, target, &error);
                entry::lines(skeleton)?.iter().for_each(|line| observer.on_failure(&visible(line)));
            }
            return Ok(ExitCode::from(1));
        }
    };
    let findings = experiment::run_all(&mut target, &mut protocol, observer);
    observer.on_end();
    let mut contract = limits::combine(&findings.observations, &protocol.example);
    contract.transform = protocol.transform();
    contract.broadcast = protocol.broadcast;
    protocol
        .lines()
        .iter()
        .chain(&findings.lines(&contract))
        .for_each(|line| observer.on_finding(&visible(line)));
    if let Some(command) = &arguments.cmd {
        let entry = arguments.entry(command, target, protocol, findings, contract);
        entry::write(arguments.output.as_deref(), entry)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl ProbeArguments {
    fn target(&self) -> Result<ProbeTarget> {
        let launcher = Launcher::this_program()?.with_task_limit();
        match (&self.cmd, self.connect) {
            (Some(command), _) => ProbeTarget::from_command(launcher, command, &self.readiness)
                .map_err(|error| with_advice(error, command)),
            (None, Some(address)) => ProbeTarget::already_running(launcher, address),
            (None, None) => Err(UsageError("add --cmd or --connect".to_owned()).into()),
        }
    }

    /// Returns the entry of a server with an unknown protocol: how it is started, its greeting and
    /// the end of its replies.
    fn skeleton(&self, command: &str, target: ProbeTarget, error: &DetectError) -> Entry {
        let greeting = error.greeting();
        let lines = greeting.iter().filter(|byte| **byte == b'\n').count();
        let greeting = match greeting {
            [] => None,
            greeting if greeting.ends_with(b"\n") => Some(Greeting::Lines(lines)),
            greeting => Some(Greeting::Until(Bytes::from(greeting))),
        };
        let end = error.reply_end().map(|end| ReplyFraming::Bytes(Bytes::from(end)));
        let wire = Wire { greeting, reply_end: end.unwrap_or_default(), ..Wire::default() };
        Entry { wire, ..self.how_to_start(command, target) }
    }

    /// Returns the manifest entry of the server.
    fn entry(
        &self,
        command: &str,
        target: ProbeTarget,
        protocol: Protocol,
        findings: Findings,
        contract: Declared,
    ) -> Entry {
        let concurrency_model = findings.detected_model.and_then(|detected| {
            let model = RequiredModel::from_str(detected.model.name()).ok()?;
            detected.meets(model).then_some(model)
        });
        let dialect = target.spec.contract.dialect;
        Entry {
            service: protocol.service,
            concurrency_model,
            contract: ContractTable(contract),
            dialect,
            wire: protocol.wire,
            ..self.how_to_start(command, target)
        }
    }

    /// Returns an entry with only the name of the server and how it is started.
    fn how_to_start(&self, command: &str, target: ProbeTarget) -> Entry {
        let timeout = target.spec.readiness.timeout;
        Entry {
            name: self.name.clone().unwrap_or_default(),
            command: Command::Line(command.to_owned()),
            folder: None,
            environment: Default::default(),
            port: target.spec.fixed_port.map(Port::Fixed),
            input: target.spec.input,
            start_timeout: (timeout != START_TIMEOUT).then_some(timeout),
            ready: target.spec.readiness.text,
            service: Service::Calc,
            concurrency_model: None,
            contract: ContractTable(Declared::default()),
            dialect: Dialect::default(),
            wire: Wire::default(),
        }
    }
}

/// Adds advice to a launch error.
fn with_advice(error: anyhow::Error, command: &str) -> anyhow::Error {
    match error.downcast::<LaunchError>() {
        Ok(LaunchError::NotRun(message)) => UsageError(message).into(),
        Ok(error @ LaunchError::Exited { .. }) => {
            let hint = match command.contains("{port}") {
                true => {
                    "run the command by hand, with a host and a port in place of {host} and {port}"
                }
                false => "if the port can be configured, write {host} and {port} in the command",
            };
            anyhow::Error::msg(format!("{error}; {hint}"))
        }
        Ok(error) => error.into(),
        Err(error) => error,
    }
}

/// Returns the text with control characters escaped for a terminal.
fn visible(text: &str) -> String {
    let escape = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn control_characters_in_server_output_are_escaped() {
        assert_eq!(visible("value \u{1b}[2J\u{7}µ"), "value \\u{1b}[2J\\u{7}µ");
    }
}
