//! Launch specs: the command line and the contract of a server.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use servers::{Capacity, Limits, WorkerKind, Workers};

use super::confinement::Confinement;
use super::launch_spec_error::{LaunchSpecError, MAX_INPUT};
use super::launcher::Launcher;
use super::readiness::Readiness;
use super::split::split;
use crate::contract::Contract;
use crate::results::{LaunchFindings, ProcessView};

/// Connection limit of a built-in server under test, unless the limit of its pattern is fixed. High
/// enough for concurrency, and low enough for a case to reach.
const TESTED_CLIENTS: usize = 64;

/// Length of the server's queue of accepted connections, for patterns that have one.
const TESTED_QUEUE: usize = 16;

/// Number of workers, for patterns that have one per CPU by default.
const TESTED_WORKERS: usize = 4;

/// Number of workers in a pool of processes with one connection each. Low, because each case forks
/// the whole pool and inspects all processes repeatedly.
const TESTED_PROCESSES: usize = 16;

/// Idle timeout in the cases that test the idle timeout.
const TESTED_IDLE_TIMEOUT: Duration = Duration::from_millis(500);

const VALID_LIMITS: &str = "every built-in pattern accepts these limits";

/// A server that the harness can launch or connect to.
#[derive(Clone, Debug)]
pub struct LaunchSpec {
    /// Name in reports.
    pub name: String,
    /// Alias of a built-in server: one or more of `server1` to `server4`.
    pub alias: Option<String>,
    /// Words of the command, with `{host}` and `{port}` as placeholders.
    pub command: Vec<String>,
    /// Working directory; `None` for the working directory of the harness.
    pub folder: Option<PathBuf>,
    /// Environment variables to set. `{host}` and `{port}` are replaced.
    pub environment: Vec<(String, String)>,
    /// Text for the server's standard input, which then ends. `{host}` and `{port}` are replaced.
    pub input: Option<String>,
    /// Port that the server always listens on; `None` if the port can be configured.
    pub fixed_port: Option<u16>,
    /// Address of an external server that already runs; `None` if the harness launches the server.
    pub running_at: Option<SocketAddr>,
    /// Resource limits and isolation.
    pub confinement: Confinement,
    /// Condition and timeout for the server to be ready.
    pub readiness: Readiness,
    /// Command for display, quoted for a shell.
    pub shown_command: String,
    /// Arguments of `harness check` that select this server, for the reproduce command.
    pub check_arguments: String,
    /// Declared properties.
    pub contract: Contract,
    /// Reason that the server cannot run on this machine; `None` if the server can run.
    pub unavailable: Option<String>,
    /// The same server with an idle timeout, which some cases need and which would disturb the
    /// others.
    pub with_idle_timeout: Option<Box<LaunchSpec>>,
}

/// Launch options of an external server.
#[derive(Clone, Debug, Default)]
pub struct LaunchOptions {
    /// [`LaunchSpec::folder`].
    pub folder: Option<PathBuf>,
    /// [`LaunchSpec::environment`].
    pub environment: Vec<(String, String)>,
    /// [`LaunchSpec::input`].
    pub input: Option<String>,
    /// [`LaunchSpec::fixed_port`].
    pub fixed_port: Option<u16>,
    /// [`LaunchSpec::confinement`].
    pub confinement: Confinement,
    /// [`LaunchSpec::readiness`].
    pub readiness: Readiness,
}

impl LaunchSpec {
    /// Returns the launch spec of a built-in server. The command is `harness serve`.
    ///
    /// # Errors
    /// The pattern cannot enforce one of the limits.
    pub fn builtin(
        launcher: &Launcher,
        server: &servers::Server,
        limits: &Limits,
    ) -> Result<LaunchSpec, servers::LimitsError> {
        let contract = Contract::of(server, limits)?;
        let name = server.name();
        let mut arguments = vec!["serve".to_owned(), name.clone()];
        arguments.extend(["{host}".to_owned(), "{port}".to_owned()]);
        arguments.extend(flags(limits));
        let shown_command = format!("harness {}", arguments.join(" "));
        let command = std::iter::once(launcher.program()).chain(arguments).collect();
        Ok(LaunchSpec {
            alias: server.alias().map(str::to_owned),
            command,
            folder: None,
            environment: Vec::new(),
            input: None,
            fixed_port: None,
            running_at: None,
            confinement: Confinement::default(),
            readiness: Readiness::default(),
            shown_command,
            check_arguments: name.clone(),
            contract,
            unavailable: server.pattern.unavailable(),
            with_idle_timeout: None,
            name,
        })
    }

    /// Returns the launch spec of a built-in server under test. The connection limit is low enough
    /// for a case to reach, and there are enough workers to expose races.
    pub fn builtin_under_test(launcher: &Launcher, server: &servers::Server) -> LaunchSpec {
        let max_connections = match server.pattern.capacity {
            Capacity::One | Capacity::PerWorker => None,
            Capacity::PerWorkerAndQueue(_) => Some(TESTED_CLIENTS + TESTED_QUEUE),
            Capacity::Limited { .. } => Some(TESTED_CLIENTS),
        };
        let workers = match server.pattern.workers {
            Workers::One | Workers::PerClient(_) => None,
            Workers::PerCore(_) => Some(TESTED_WORKERS),
            Workers::Pool(WorkerKind::Process, _) => Some(TESTED_PROCESSES),
            Workers::Pool(WorkerKind::Thread, _) => Some(TESTED_CLIENTS),
        };
        let mut limits = Limits { max_connections, workers, ..Limits::default() };
        if server.config(&limits).is_err() {
            // The process has too few descriptors for that limit. The server then derives the limit
            // from the number of descriptors.
            limits.max_connections = None;
        }
        let mut spec = LaunchSpec::builtin(launcher, server, &limits).expect(VALID_LIMITS);
        let idle = Limits { idle_timeout: Some(TESTED_IDLE_TIMEOUT), ..limits };
        spec.with_idle_timeout =
            Some(Box::new(LaunchSpec::builtin(launcher, server, &idle).expect(VALID_LIMITS)));
        spec
    }

    /// Returns [`with_idle_timeout`](Self::with_idle_timeout) if a case applies only to that spec,
    /// and this spec otherwise.
    pub fn fitting(&self, applies: impl Fn(&Contract) -> bool) -> &LaunchSpec {
        match &self.with_idle_timeout {
            Some(other) if !applies(&self.contract) && applies(&other.contract) => other,
            _ => self,
        }
    }

    /// Returns the launch spec of an external server. Splits the command into words like a shell,
    /// but no shell runs the command.
    ///
    /// # Errors
    /// The command is empty, or has no `{port}`.
    pub fn external(command: &str, contract: Contract) -> Result<LaunchSpec, LaunchSpecError> {
        LaunchSpec::external_in(command, LaunchOptions::default(), contract)
    }

    /// Returns the launch spec of an external server with launch options.
    ///
    /// # Errors
    /// The command is empty, or the server has neither a `{port}` nor a fixed port.
    pub fn external_in(
        command: &str,
        options: LaunchOptions,
        contract: Contract,
    ) -> Result<LaunchSpec, LaunchSpecError> {
        let words = split(command)?;
        let spec = LaunchSpec::of_words(words, options, contract)?;
        Ok(LaunchSpec { name: command.to_owned(), shown_command: command.to_owned(), ..spec })
    }

    /// Returns the spec of a server that already runs.
    pub fn already_running(address: SocketAddr, contract: Contract) -> LaunchSpec {
        let contract = Contract { is_launched: false, takes_port: false, ..contract };
        LaunchSpec {
            name: address.to_string(),
            alias: None,
            command: Vec::new(),
            folder: None,
            environment: Vec::new(),
            input: None,
            fixed_port: None,
            running_at: Some(address),
            confinement: Confinement::default(),
            readiness: Readiness::default(),
            shown_command: format!("the server at {address}"),
            check_arguments: String::new(),
            contract,
            unavailable: None,
            with_idle_timeout: None,
        }
    }

    /// Returns the launch spec of an external server from the words of its command. The name of the
    /// server is the command.
    ///
    /// # Errors
    /// There are no words, the input is too long, or there is neither a `{port}` nor a fixed port.
    pub fn of_words(
        command: Vec<String>,
        options: LaunchOptions,
        mut contract: Contract,
    ) -> Result<LaunchSpec, LaunchSpecError> {
        let LaunchOptions { folder, environment, input, fixed_port, confinement, readiness } =
            options;
        if command.is_empty() {
            return Err(LaunchSpecError::Empty);
        }
        if let Some(input) = input.as_ref().filter(|input| input.len() > MAX_INPUT) {
            return Err(LaunchSpecError::LongInput(input.len()));
        }
        let uses = |placeholder: &str| {
            let values = environment.iter().map(|(_, value)| value);
            command.iter().chain(values).chain(&input).any(|text| text.contains(placeholder))
        };
        if fixed_port.is_none() && !uses("{port}") {
            return Err(LaunchSpecError::NoPort);
        }
        contract.takes_host = uses("{host}");
        contract.takes_port = fixed_port.is_none();
        // Quoting fails for a word that contains NUL. Such a word cannot be passed to exec either.
        let shown_command = shlex::try_join(command.iter().map(String::as_str))
            .unwrap_or_else(|_| command.join(" "));
        Ok(LaunchSpec {
            name: shown_command.clone(),
            alias: None,
            command,
            folder,
            environment,
            input,
            fixed_port,
            running_at: None,
            confinement,
            readiness,
            shown_command,
            check_arguments: String::new(),
            contract,
            unavailable: None,
            with_idle_timeout: None,
        })
    }

    /// Returns the spec for cases on a launched server. If the harness does not see the processes
    /// of the server, the contract is that of a server which it did not launch.
    pub fn as_seen(&self, findings: &LaunchFindings) -> Cow<'_, LaunchSpec> {
        if findings.processes == ProcessView::Visible {
            return Cow::Borrowed(self);
        }
        let contract = Contract { is_launched: false, ..self.contract.clone() };
        Cow::Owned(LaunchSpec { contract, ..self.clone() })
    }

    /// Returns the command with this host and port.
    pub fn command_for(&self, host: &str, port: &str) -> Vec<String> {
        self.command.iter().map(|word| fill_placeholders(word, host, port)).collect()
    }
}

/// Replaces the placeholders for host and port.
pub(super) fn fill_placeholders(text: &str, host: &str, port: &str) -> String {
    text.replace("{host}", host).replace("{port}", port)
}

/// Returns the flags of `harness serve` for these limits.
fn flags(limits: &Limits) -> Vec<String> {
    let mut flags = Vec::new();
    let mut flag = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            flags.extend([name.to_owned(), value]);
        }
    };
    flag("--workers", limits.workers.map(|workers| workers.to_string()));
    flag("--max-connections", limits.max_connections.map(|clients| clients.to_string()));
    flag("--backlog", limits.backlog.map(|length| length.to_string()));
    flag("--idle-timeout", limits.idle_timeout.map(|d| format!("{}ms", d.as_millis())));
    flag("--max-line", limits.max_line.map(|bytes| bytes.to_string()));
    flags
}

#[cfg(test)]
mod tests {
    use servers::Service;

    use super::*;

    #[test]
    fn a_command_is_split_like_in_a_shell_and_placeholders_are_filled() {
        let spec = LaunchSpec::external(
            "py 'my server.py' {host} --port={port}",
            Contract::undeclared(Service::Calc),
        )
        .expect("a valid command");
        assert_eq!(spec.command_for("::1", "7"), ["py", "my server.py", "::1", "--port=7"]);
    }

    #[test]
    fn an_invalid_command_is_reported_before_it_is_run() {
        for (command, word) in [("", "empty"), ("python3 'x", "quote"), ("python3 x", "{port}")] {
            let error = LaunchSpec::external(command, Contract::undeclared(Service::Calc))
                .expect_err(command);
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn a_command_needs_no_port_if_it_is_fixed_or_in_the_environment_or_input() {
        let spec = |fixed_port, environment: &[(&str, &str)], input: Option<&str>| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let environment = environment.iter().map(owned).collect();
            let input = input.map(str::to_owned);
            let options =
                LaunchOptions { environment, input, fixed_port, ..LaunchOptions::default() };
            let contract = Contract::undeclared(Service::Calc);
            LaunchSpec::of_words(vec!["./server".to_owned()], options, contract)
        };
        assert!(spec(Some(5000), &[], None).is_ok());
        assert!(spec(None, &[], Some("{port}\n")).is_ok());
        let both = [("PORT", "{port}"), ("HOST", "{host}")];
        let with_both = spec(None, &both, None).expect("a valid spec");
        assert!(with_both.contract.takes_host);
        assert!(matches!(spec(None, &[("PORT", "1")], Some("1")), Err(LaunchSpecError::NoPort)));
        let long = "x".repeat(MAX_INPUT + 1);
        assert!(matches!(spec(Some(1), &[], Some(&long)), Err(LaunchSpecError::LongInput(_))));
    }
}
