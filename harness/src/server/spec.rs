//! Which server to launch: a command line and a contract.

use std::time::Duration;

use servers::{Capacity, Limits, Unit, Workers};

use super::{Contract, Launcher};

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
pub struct Spec {
    /// Its name in reports.
    pub name: String,
    /// Which of the original four programs it is, if any.
    pub original: Option<&'static str>,
    /// The command, word by word, with `{host}` and `{port}` in it.
    pub command: Vec<String>,
    /// The command as a user would type it.
    pub shown: String,
    /// How to name this server to `harness check`, for the replay command.
    pub check_arguments: String,
    /// What it declares.
    pub contract: Contract,
    /// What stands against running it here, if anything: then it is not run.
    pub unavailable: Option<String>,
    /// The same under limits that some cases need and that would disturb others.
    pub limited: Option<Box<Spec>>,
}

/// A command that cannot be launched.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It is not shell words.
    #[error("cannot split the command into words (is a quote open?): {0}")]
    Words(String),
    /// There is nothing in it.
    #[error("the command is empty: give one such as \"python3 server.py {{host}} {{port}}\"")]
    Empty,
    /// The server would not know where to listen.
    #[error(
        "the command has no {{port}}: write {{host}} and {{port}} where the server expects them, as in \"python3 server.py {{host}} {{port}}\""
    )]
    NoPort,
}

impl Spec {
    /// A built-in server, launched by running this very program again.
    ///
    /// # Errors
    /// A limit that the pattern cannot keep.
    pub fn builtin(
        launcher: &Launcher,
        server: &servers::Server,
        limits: &Limits,
    ) -> Result<Spec, servers::LimitsError> {
        let contract = Contract::of(server, limits)?;
        let name = server.name();
        let mut arguments = vec!["serve".to_owned(), name.clone()];
        arguments.extend(["{host}".to_owned(), "{port}".to_owned()]);
        arguments.extend(flags(limits));
        let shown = format!("harness {}", arguments.join(" "));
        let command = std::iter::once(launcher.program()).chain(arguments).collect();
        Ok(Spec {
            original: server.original(),
            command,
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
    pub fn judged(launcher: &Launcher, server: &servers::Server) -> Spec {
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
        let mut spec = Spec::builtin(launcher, server, &limits).expect(JUDGED_LIMITS);
        let idle = Limits { idle_timeout: Some(JUDGED_IDLE_TIMEOUT), ..limits };
        spec.limited = Some(Box::new(Spec::builtin(launcher, server, &idle).expect(JUDGED_LIMITS)));
        spec
    }

    /// This server launched so that a case with these needs applies to it, as far as it can be:
    /// under the limits that it is judged by, or else under narrower ones.
    pub fn fitting(&self, applies: impl Fn(&Contract) -> bool) -> &Spec {
        match &self.limited {
            Some(limited) if !applies(&self.contract) && applies(&limited.contract) => limited,
            _ => self,
        }
    }

    /// A foreign server. No shell is involved: the words are split as a shell would.
    ///
    /// # Errors
    /// The command has no words, or no `{port}`.
    pub fn foreign(command: &str, mut contract: Contract) -> Result<Spec, SpecError> {
        let words = shlex::split(command).ok_or_else(|| SpecError::Words(command.to_owned()))?;
        if words.is_empty() {
            return Err(SpecError::Empty);
        }
        if !words.iter().any(|word| word.contains("{port}")) {
            return Err(SpecError::NoPort);
        }
        contract.takes_host = words.iter().any(|word| word.contains("{host}"));
        Ok(Spec {
            name: command.to_owned(),
            original: None,
            command: words,
            shown: command.to_owned(),
            check_arguments: String::new(),
            contract,
            unavailable: None,
            limited: None,
        })
    }

    /// The command for one place to listen.
    pub fn words(&self, host: &str, port: &str) -> Vec<String> {
        let fill = |word: &String| word.replace("{host}", host).replace("{port}", port);
        self.command.iter().map(fill).collect()
    }
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
        let spec = Spec::foreign(
            "py 'my server.py' {host} --port={port}",
            Contract::undeclared(Service::Calc),
        )
        .expect("it");
        assert_eq!(spec.words("::1", "7"), ["py", "my server.py", "::1", "--port=7"]);
    }

    #[test]
    fn a_command_that_cannot_work_is_told_before_it_is_run() {
        for (command, word) in [("", "empty"), ("python3 'x", "quote"), ("python3 x", "{port}")] {
            let error =
                Spec::foreign(command, Contract::undeclared(Service::Calc)).expect_err(command);
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
