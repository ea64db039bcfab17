//! Launches built-in and external servers through a supervisor.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::confinement::Confinement;
use super::diag;
use super::interpreter;
use super::launch_error::{LaunchError, quote};
use super::launch_request::LaunchRequest;
use super::launch_spec::{LaunchSpec, fill_placeholders};
use super::launcher::{Launcher, ROLE};
use super::network;
use super::network_lease::NetworkLease;
use super::port::{self, PORT_CHECKS, PortLease};
use super::proc;
use super::process::{Process, SUPERVISOR_TIMEOUT};
use super::readiness::Readiness;
use super::self_connection::accepts;
use super::shared::{Shared, State, spawn_readers};
use super::starvation::Period;
use super::supervise::MAX_TASKS;
use super::waiting::CONNECT_TIMEOUT;

/// A running server that listens.
#[derive(Debug)]
pub struct Server {
    /// Process tree of the server.
    pub process: Process,
    /// Address for clients: the listening address, or loopback if the server listens on a wildcard
    /// address.
    pub address: SocketAddr,
    /// Listening address.
    pub listens_on: SocketAddr,
    /// Time from the start of the command until the server listened.
    pub listened_after: Duration,
    /// Exclusive network of the server, unless the calling thread already holds one.
    _lease: NetworkLease,
}

impl Launcher {
    /// Launches a server on a free port, or on its fixed port, and waits until it listens.
    ///
    /// A server with a fixed port or an isolated network needs a [`NetworkLease`]. If the calling
    /// thread holds a lease, the server uses that lease. Otherwise this function takes a lease and
    /// releases it with the server.
    ///
    /// # Errors
    /// The server could not be launched, or did not listen in time.
    pub fn launch(&self, spec: &LaunchSpec) -> Result<Server, LaunchError> {
        if let Some(address) = spec.running_at {
            return Ok(Server {
                process: Process::not_launched(),
                address,
                listens_on: address,
                listened_after: Duration::ZERO,
                _lease: NetworkLease::default(),
            });
        }
        let lease = NetworkLease::take(spec)?;
        let host = IpAddr::from([127, 0, 0, 1]);
        let port = match spec.fixed_port {
            None => Some(PortLease::take(host).map_err(LaunchError::NoPort)?),
            Some(number) => {
                port::wait_until_free(number).map_err(LaunchError::NoPort)?;
                None
            }
        };
        let number = port.as_ref().map(PortLease::number).or(spec.fixed_port).unwrap_or(0);
        // No server listens yet, so the connection disturbs none.
        let answered_before = accepts((host, number).into(), CONNECT_TIMEOUT);
        let began = Instant::now();
        let mut process = self.start(spec, &host.to_string(), &number.to_string())?;
        process.port = port;
        process.answered_before = answered_before;
        let listens_on = process.wait_until_ready()?;
        Ok(Server {
            process,
            address: client_address(listens_on),
            listens_on,
            listened_after: began.elapsed(),
            _lease: lease,
        })
    }

    /// Starts a server with this host and port, and waits until its process runs. Does not wait
    /// until the server listens. Host and port may be invalid. A server with a fixed port ignores
    /// `port`.
    ///
    /// # Errors
    /// The process could not be started.
    pub fn start(&self, spec: &LaunchSpec, host: &str, port: &str) -> Result<Process, LaunchError> {
        let fill = |text: &String| fill_placeholders(text, host, port);
        let environment = spec.environment.iter();
        let mut confinement = spec.confinement.clone();
        confinement.tasks = confinement.tasks.or(self.limits_tasks.then_some(MAX_TASKS));
        let mut command = spec.command_for(host, port);
        // Skip the shim of a version manager, which costs 0.1 s of CPU time per launch.
        if let Some(interpreter) = interpreter::behind_shim(spec).as_deref().and_then(Path::to_str)
        {
            command[0] = interpreter.to_owned();
        }
        let request = LaunchRequest {
            command,
            folder: spec.folder.clone(),
            environment: environment.map(|(name, value)| (name.clone(), fill(value))).collect(),
            input: spec.input.as_ref().map(fill),
            processors: self.processors.clone(),
            unprivileged: self.unprivileged,
            confinement,
            limits_spinning: self.limits_tasks,
        };
        let requested_port = spec.fixed_port.or(port.parse().ok()).unwrap_or(0);
        self.supervise(&request, requested_port, spec.readiness.clone())
    }

    /// Returns descriptions of the isolation that this machine cannot apply.
    ///
    /// # Errors
    /// The trial process could not be started.
    pub fn missing_isolation(&self, wanted: &Confinement) -> Result<Vec<String>, LaunchError> {
        let mut missing = Vec::new();
        if wanted.network_alone {
            missing.extend(network::available().err());
        }
        // Try the isolation on this program: it certainly exists, and exits at once.
        let command = vec![self.program(), "--version".to_owned()];
        let confinement = Confinement {
            network_alone: wanted.network_alone,
            read_only: wanted.read_only,
            ..Confinement::default()
        };
        let request = LaunchRequest { command, confinement, ..LaunchRequest::default() };
        let trial = self.supervise(&request, 0, Readiness::default())?;
        trial.wait_for_exit(SUPERVISOR_TIMEOUT);
        missing.extend(trial.end().missing_isolation);
        Ok(missing)
    }

    fn supervise(
        &self,
        request: &LaunchRequest,
        port: u16,
        readiness: Readiness,
    ) -> Result<Process, LaunchError> {
        let earlier_listeners = if port == 0 { HashSet::new() } else { proc::listeners(port) };
        let not_run = |error: io::Error| {
            LaunchError::NotRun(format!("cannot run `{}`: {error}", request.command.join(" ")))
        };
        let line = request.line().map_err(not_run)?;
        let mut supervisor = Command::new(&self.program);
        supervisor
            .arg("supervise")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C must signal only the harness. When the harness exits, the supervisor reads the
            // end of its input and cleans up.
            .process_group(0);
        if self.role_from_environment {
            supervisor.env(ROLE, "supervise");
        }
        let started = {
            // Exclude port checks: between fork and exec, the child would inherit the check's
            // socket.
            let _port_checks = PORT_CHECKS.lock().unwrap_or_else(PoisonError::into_inner);
            supervisor.spawn()
        };
        let mut supervisor = started.map_err(LaunchError::Supervisor)?;
        let shared = Shared::new(readiness.text.clone());
        let events = supervisor.stdout.take().expect("a piped stdout");
        let log = supervisor.stderr.take().expect("a piped stderr");
        let readers = spawn_readers(&shared, events, log);
        let mut process = Process::of_supervisor(shared, port);
        process.signals = supervisor.stdin.take();
        process.supervisor = Some(supervisor);
        process.processors.clone_from(&request.processors);
        process.readiness = readiness;
        process.earlier_listeners = earlier_listeners;
        if let Err(error) = readers {
            // Without the reader thread, a wait for the end would time out: mark the end now.
            process.shared.state().ended = true;
            return Err(LaunchError::NoThread(error));
        }
        process.send_request(&line).map_err(LaunchError::Supervisor)?;
        let is_started = |state: &State| state.pid.is_some() || state.ended;
        let state = process.shared.wait_usable(&Period::begin(), SUPERVISOR_TIMEOUT, is_started);
        match (&state.pid, &state.failed) {
            (Some(_), _) => {}
            (None, Some(message)) => return Err(LaunchError::NotRun(message.clone())),
            (None, None) => {
                drop(state);
                let log = process.log_after_exit();
                let message = format!("the supervisor did not start the command{}", quote(&log));
                return Err(LaunchError::Supervisor(io::Error::other(message)));
            }
        }
        drop(state);
        Ok(process)
    }
}

/// Returns the address for clients. For a wildcard address that is loopback: 127.0.0.1, because
/// `::` usually accepts IPv4 too, and IPv6 may be disabled; `::1` if the socket accepts only IPv6.
fn client_address(listens_on: SocketAddr) -> SocketAddr {
    let is_ipv6_only = || {
        diag::is_ipv6_only(listens_on.port()).unwrap_or_else(|| {
            // The kernel does not report the option. If ::1 exists, it reaches dual-stack and
            // IPv6-only sockets alike.
            TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
        })
    };
    let host = match listens_on.ip() {
        IpAddr::V6(host) if host.is_unspecified() && is_ipv6_only() => Ipv6Addr::LOCALHOST.into(),
        host if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, listens_on.port())
}
