//! Which server to launch: a command line and a contract.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use servers::{Capacity, Limits, Unit, Workers};

use super::confinement::Confinement;
use super::launch_spec_error::{LaunchSpecError, MOST_INPUT};
use super::launcher::Launcher;
use super::split::split;
use crate::contract::Contract;

/// Clients that a judged server takes on at once, where its pattern leaves that open: many enough
/// to be many, few enough that a case can fill it.
const JUDGED_CLIENTS: usize = 64;

/// Clients more that it takes in to wait, where it has a queue of its own.
const JUDGED_QUEUE: usize = 16;

/// Workers, where a pattern has as many as there are processors by default.
const JUDGED_WORKERS: usize = 4;

/// Workers, where they are a pool of processes with a client each: each case has them forked, and
/// looks at each of them again and again.
const JUDGED_PROCESSES: usize = 16;

/// How long a silent client is kept in the cases about that.
const JUDGED_IDLE_TIMEOUT: Duration = Duration::from_millis(500);

const JUDGED_LIMITS: &str = "every pattern of the catalogue can keep these limits";

/// A server that can be launched.
#[derive(Clone, Debug)]
pub struct LaunchSpec {
    /// Its name in reports.
    pub name: String,
    /// Which of the original four programs it is, or which ones its pattern is that of, if any.
    pub original: Option<String>,
    /// The command, word by word, with `{host}` and `{port}` in it.
    pub command: Vec<String>,
    /// Its working folder, if not that of the harness.
    pub folder: Option<PathBuf>,
    /// What is added to the environment that it inherits. `{host}` and `{port}` are filled in.
    pub environment: Vec<(String, String)>,
    /// What it is given on standard input, which ends after that. `{host}` and `{port}` are filled
    /// in.
    pub input: Option<String>,
    /// The port that it listens on whatever it is told.
    pub fixed_port: Option<u16>,
    /// Where it listens already: then nothing is launched.
    pub elsewhere: Option<SocketAddr>,
    /// What it may not do and have.
    pub limits: Confinement,
    /// The command as a user would type it.
    pub shown: String,
    /// How to name this server to `harness check`, for the replay command.
    pub check_arguments: String,
    /// What it declares.
    pub contract: Contract,
    /// What stands against running it here, if anything: then it is not run.
    pub unavailable: Option<String>,
    /// The same under limits that some cases need and that would disturb others.
    pub limited: Option<Box<LaunchSpec>>,
}

/// What a foreign server is launched with, beside its command.
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
    /// A built-in server, launched by running this very program again.
    ///
    /// # Errors
    /// A limit that the pattern cannot keep.
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

    /// A built-in server as it is judged: with few enough places for a case to fill them, and
    /// workers enough to get in each other's way.
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
            // Too few descriptors for so many: it decides itself how many clients they are enough for.
            limits.max_connections = None;
        }
        let mut spec = LaunchSpec::builtin(launcher, server, &limits).expect(JUDGED_LIMITS);
        let idle = Limits { idle_timeout: Some(JUDGED_IDLE_TIMEOUT), ..limits };
        spec.limited =
            Some(Box::new(LaunchSpec::builtin(launcher, server, &idle).expect(JUDGED_LIMITS)));
        spec
    }

    /// This server launched so that a case with these needs applies to it, as far as it can be:
    /// under the limits that it is judged by, or else under narrower ones.
    pub fn fitting(&self, applies: impl Fn(&Contract) -> bool) -> &LaunchSpec {
        match &self.limited {
            Some(limited) if !applies(&self.contract) && applies(&limited.contract) => limited,
            _ => self,
        }
    }

    /// A foreign server. No shell is involved: the words are split as a shell would.
    ///
    /// # Errors
    /// The command has no words, or no `{port}`.
    pub fn foreign(command: &str, contract: Contract) -> Result<LaunchSpec, LaunchSpecError> {
        LaunchSpec::foreign_in(command, Surroundings::default(), contract)
    }

    /// The same in its surroundings.
    ///
    /// # Errors
    /// The command has no words, or it is told no port and has none of its own.
    pub fn foreign_in(
        command: &str,
        surroundings: Surroundings,
        contract: Contract,
    ) -> Result<LaunchSpec, LaunchSpecError> {
        let words = split(command)?;
        let spec = LaunchSpec::of_words(words, surroundings, contract)?;
        Ok(LaunchSpec { name: command.to_owned(), shown: command.to_owned(), ..spec })
    }

    /// A server that runs already, and is only talked to.
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

    /// A foreign server by the words of its command, in its surroundings. It is named by its
    /// command.
    ///
    /// # Errors
    /// There are no words, or `{port}` is in none of what it is told and it has none of its own.
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
        // A word with NUL in it cannot be quoted, and cannot be passed either.
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

    /// The command for one place to listen.
    pub fn words(&self, host: &str, port: &str) -> Vec<String> {
        self.command.iter().map(|word| filled(word, host, port)).collect()
    }
}

/// A text of a server's for one place to listen.
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
