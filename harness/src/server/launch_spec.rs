//! Launch spec of a server: a command line and a contract.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use servers::{Capacity, Limits, Unit, Workers};

use super::confinement::Confinement;
use super::launch_spec_error::{LaunchSpecError, MOST_INPUT};
use super::launcher::Launcher;
use super::split::split;
use crate::contract::Contract;

/// Connection limit of a built-in server under test, if its pattern has no fixed one. It is high
/// enough for concurrency, and low enough for a case to reach.
const JUDGED_CLIENTS: usize = 64;

/// Length of the server's own queue, for patterns that have one.
const JUDGED_QUEUE: usize = 16;

/// Number of workers, for patterns that default to one per CPU.
const JUDGED_WORKERS: usize = 4;

/// Number of workers in a pool of processes with one connection each. Each case forks them again
/// and inspects all of them repeatedly.
const JUDGED_PROCESSES: usize = 16;

/// Idle timeout in the cases that test it.
const JUDGED_IDLE_TIMEOUT: Duration = Duration::from_millis(500);

const JUDGED_LIMITS: &str = "every pattern of the catalogue can keep these limits";

/// A server that can be launched or connected to.
#[derive(Clone, Debug)]
pub struct LaunchSpec {
    /// Name in reports.
    pub name: String,
    /// The program of the original four with this server's pattern, or several, if any.
    pub original: Option<String>,
    /// Words of the command, with `{host}` and `{port}` as placeholders.
    pub command: Vec<String>,
    /// Working directory, if not that of the harness.
    pub folder: Option<PathBuf>,
    /// Variables added to the inherited environment. `{host}` and `{port}` are replaced.
    pub environment: Vec<(String, String)>,
    /// Text written to the server's standard input, followed by end of file. `{host}` and `{port}`
    /// are replaced.
    pub input: Option<String>,
    /// Port of a server whose port cannot be configured.
    pub fixed_port: Option<u16>,
    /// Address of an external server that already runs; nothing is launched.
    pub elsewhere: Option<SocketAddr>,
    /// Resource limits and isolation.
    pub limits: Confinement,
    /// The command as a user would type it.
    pub shown: String,
    /// Arguments that select this server in `harness check`, for the reproduce command.
    pub check_arguments: String,
    /// Declared properties.
    pub contract: Contract,
    /// Reason that the server cannot run on this machine, if any; it is then skipped.
    pub unavailable: Option<String>,
    /// The same server with limits that some cases need and that would disturb others.
    pub limited: Option<Box<LaunchSpec>>,
}

/// Launch options of an external server besides its command.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// [`LaunchSpec::folder`].
    pub folder: Option<PathBuf>,
    /// [`LaunchSpec::environment`].
    pub environment: Vec<(String, String)>,
    /// [`LaunchSpec::input`].
    pub input: Option<String>,
    /// [`LaunchSpec::fixed_port`].
    pub fixed_port: Option<u16>,
    /// [`LaunchSpec::limits`].
    pub limits: Confinement,
}

impl LaunchSpec {
    /// Returns the launch spec of a built-in server, which runs the harness program again.
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
        let shown = format!("harness {}", arguments.join(" "));
        let command = std::iter::once(launcher.program()).chain(arguments).collect();
        Ok(LaunchSpec {
            original: server.original().map(str::to_owned),
            command,
            folder: None,
            environment: Vec::new(),
            input: None,
            fixed_port: None,
            elsewhere: None,
            limits: Confinement::default(),
            shown,
            check_arguments: name.clone(),
            contract,
            unavailable: server.pattern.unavailable(),
            limited: None,
            name,
        })
    }

    /// Returns the launch spec of a built-in server under test. The connection limit is low enough
    /// for a case to reach, and there are enough workers to expose races.
    pub fn judged(launcher: &Launcher, server: &servers::Server) -> LaunchSpec {
        let max_connections = match server.pattern.capacity {
            Capacity::One | Capacity::PerWorker => None,
            Capacity::PerWorkerAndQueue(_) => Some(JUDGED_CLIENTS + JUDGED_QUEUE),
            Capacity::Limited { .. } => Some(JUDGED_CLIENTS),
        };
        let workers = match server.pattern.workers {
            Workers::One | Workers::PerClient(_) => None,
            Workers::PerCore(_) => Some(JUDGED_WORKERS),
            Workers::Pool(Unit::Process, _) => Some(JUDGED_PROCESSES),
            Workers::Pool(Unit::Thread, _) => Some(JUDGED_CLIENTS),
        };
        let mut limits = Limits { max_connections, workers, ..Limits::default() };
        if server.config(&limits).is_err() {
            // Too few descriptors for that limit: the server derives its own limit from them.
            limits.max_connections = None;
        }
        let mut spec = LaunchSpec::builtin(launcher, server, &limits).expect(JUDGED_LIMITS);
        let idle = Limits { idle_timeout: Some(JUDGED_IDLE_TIMEOUT), ..limits };
        spec.limited =
            Some(Box::new(LaunchSpec::builtin(launcher, server, &idle).expect(JUDGED_LIMITS)));
        spec
    }

    /// Returns the launch spec to which a case applies, if there is one. Prefers the usual limits
    /// to the narrower ones.
    pub fn fitting(&self, applies: impl Fn(&Contract) -> bool) -> &LaunchSpec {
        match &self.limited {
            Some(limited) if !applies(&self.contract) && applies(&limited.contract) => limited,
            _ => self,
        }
    }

    /// Returns the launch spec of an external server. The command is split into words as by a
    /// shell; no shell runs it.
    ///
    /// # Errors
    /// The command is empty, or has no `{port}`.
    pub fn foreign(command: &str, contract: Contract) -> Result<LaunchSpec, LaunchSpecError> {
        LaunchSpec::foreign_in(command, Surroundings::default(), contract)
    }

    /// Returns the launch spec of an external server with launch options.
    ///
    /// # Errors
    /// The command is empty, or the server has neither a `{port}` nor a fixed port.
    pub fn foreign_in(
        command: &str,
        surroundings: Surroundings,
        contract: Contract,
    ) -> Result<LaunchSpec, LaunchSpecError> {
        let words = split(command)?;
        let spec = LaunchSpec::of_words(words, surroundings, contract)?;
        Ok(LaunchSpec { name: command.to_owned(), shown: command.to_owned(), ..spec })
    }

    /// Returns the spec of a server that already runs and is only connected to.
    pub fn elsewhere(address: SocketAddr, contract: Contract) -> LaunchSpec {
        let contract = Contract { is_launched: false, takes_port: false, ..contract };
        LaunchSpec {
            name: address.to_string(),
            original: None,
            command: Vec::new(),
            folder: None,
            environment: Vec::new(),
            input: None,
            fixed_port: None,
            elsewhere: Some(address),
            limits: Confinement::default(),
            shown: format!("whoever listens on {address}"),
            check_arguments: String::new(),
            contract,
            unavailable: None,
            limited: None,
        }
    }

    /// Returns the launch spec of an external server from the words of its command, which is also
    /// its name.
    ///
    /// # Errors
    /// There are no words, the input is too long, or there is neither a `{port}` nor a fixed port.
    pub fn of_words(
        command: Vec<String>,
        surroundings: Surroundings,
        mut contract: Contract,
    ) -> Result<LaunchSpec, LaunchSpecError> {
        let Surroundings { folder, environment, input, fixed_port, limits } = surroundings;
        if command.is_empty() {
            return Err(LaunchSpecError::Empty);
        }
        if let Some(input) = input.as_ref().filter(|input| input.len() > MOST_INPUT) {
            return Err(LaunchSpecError::LongInput(input.len()));
        }
        let is_told = |what: &str| {
            let values = environment.iter().map(|(_, value)| value);
            command.iter().chain(values).chain(&input).any(|text| text.contains(what))
        };
        if fixed_port.is_none() && !is_told("{port}") {
            return Err(LaunchSpecError::NoPort);
        }
        contract.takes_host = is_told("{host}");
        contract.takes_port = fixed_port.is_none();
        // A word that contains NUL can be neither quoted nor passed to exec.
        let shown = shlex::try_join(command.iter().map(String::as_str))
            .unwrap_or_else(|_| command.join(" "));
        Ok(LaunchSpec {
            name: shown.clone(),
            original: None,
            command,
            folder,
            environment,
            input,
            fixed_port,
            elsewhere: None,
            limits,
            shown,
            check_arguments: String::new(),
            contract,
            unavailable: None,
            limited: None,
        })
    }

    /// Returns the command for one host and port.
    pub fn words(&self, host: &str, port: &str) -> Vec<String> {
        self.command.iter().map(|word| filled(word, host, port)).collect()
    }
}

/// Replaces the placeholders for host and port.
pub(super) fn filled(text: &str, host: &str, port: &str) -> String {
    text.replace("{host}", host).replace("{port}", port)
}

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
    fn a_command_is_split_as_a_shell_would_and_filled_in() {
        let spec = LaunchSpec::foreign(
            "py 'my server.py' {host} --port={port}",
            Contract::undeclared(Service::Calc),
        )
        .expect("it");
        assert_eq!(spec.words("::1", "7"), ["py", "my server.py", "::1", "--port=7"]);
    }

    #[test]
    fn a_command_that_cannot_work_is_told_before_it_is_run() {
        for (command, word) in [("", "empty"), ("python3 'x", "quote"), ("python3 x", "{port}")] {
            let error = LaunchSpec::foreign(command, Contract::undeclared(Service::Calc))
                .expect_err(command);
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn a_server_with_a_port_of_its_own_or_told_otherwise_needs_none_in_its_command() {
        let port = |fixed_port, environment: &[(&str, &str)], input: Option<&str>| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let environment = environment.iter().map(own).collect();
            let input = input.map(str::to_owned);
            let surroundings =
                Surroundings { environment, input, fixed_port, ..Surroundings::default() };
            let contract = Contract::undeclared(Service::Calc);
            LaunchSpec::of_words(vec!["./server".to_owned()], surroundings, contract)
        };
        assert!(port(Some(5000), &[], None).is_ok());
        assert!(port(None, &[], Some("{port}\n")).is_ok());
        let spec = port(None, &[("PORT", "{port}"), ("HOST", "{host}")], None).expect("it is told");
        assert!(spec.contract.takes_host);
        assert!(matches!(port(None, &[("PORT", "1")], Some("1")), Err(LaunchSpecError::NoPort)));
        let long = "x".repeat(MOST_INPUT + 1);
        assert!(matches!(port(Some(1), &[], Some(&long)), Err(LaunchSpecError::LongInput(_))));
    }
}
