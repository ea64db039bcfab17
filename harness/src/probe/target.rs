//! The probed server: how to launch instances, and properties that all instances share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::Result;
use servers::Service;

use crate::client::{Client, ConnectMode, Transcript};
use crate::contract::Contract;
use crate::server::{
    LaunchOptions, LaunchSpec, LaunchSpecError, Launcher, Network, Readiness, network,
};
use crate::usage_error::UsageError;

/// Timeout for connecting.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause between two attempts.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum number of parallel experiments. More than one per CPU, because they mostly wait for
/// interpreters to start.
const MAX_PARALLEL: usize = 8;

/// Launcher and launch spec of the probed server, with properties that all instances share.
#[derive(Clone)]
pub(super) struct ProbeTarget {
    pub(super) launcher: Launcher,
    pub(super) spec: LaunchSpec,
    /// Whether the server exits after a connection.
    pub(super) exits_by_itself: bool,
    /// Slowest reply so far; `None` before the first reply.
    pub(super) slowest_reply: Option<Duration>,
    /// Whether the server has used the CPU in silence.
    pub(super) spins: bool,
    /// Whether the server has not served a client after others had disconnected.
    pub(super) denies_service: bool,
    /// Whether the server serves several connections at once.
    pub(super) serves_several: bool,
}

impl ProbeTarget {
    /// Returns the target for a command. If the command has no `{port}`, detects how the server
    /// gets its port.
    ///
    /// # Errors
    /// The command is invalid, or does not start a server that listens.
    pub(super) fn from_command(
        launcher: Launcher,
        command: &str,
        readiness: &Readiness,
    ) -> Result<ProbeTarget> {
        let contract = || Contract::undeclared(Service::Calc);
        let usage_error = |error: LaunchSpecError| UsageError(error.to_string());
        let with_readiness =
            || LaunchOptions { readiness: readiness.clone(), ..LaunchOptions::default() };
        let spec = if command.contains("{port}") {
            LaunchSpec::external_in(command, with_readiness(), contract()).map_err(usage_error)?
        } else {
            let options = LaunchOptions { input: Some("{port}\n".to_owned()), ..with_readiness() };
            let with_port_input =
                LaunchSpec::external_in(command, options, contract()).map_err(usage_error)?;
            // Call this before any other thread starts. If it fails, instances with a fixed port
            // run one at a time.
            let _ = network::prepare();
            match detect_own_port(&launcher, &with_port_input)? {
                None => with_port_input,
                Some(port) => {
                    let options = LaunchOptions { fixed_port: Some(port), ..with_readiness() };
                    LaunchSpec::external_in(command, options, contract()).map_err(usage_error)?
                }
            }
        };
        Ok(ProbeTarget::of(launcher, spec))
    }

    /// Returns the target for a server that is already running.
    ///
    /// # Errors
    /// The connection failed.
    pub(super) fn already_running(launcher: Launcher, address: SocketAddr) -> Result<ProbeTarget> {
        let transcript = Transcript::begin();
        let connected =
            Client::connect(1, address, ConnectMode::Default, CONNECT_TIMEOUT, &transcript);
        if let Err(error) = connected {
            return Err(anyhow::anyhow!(
                "cannot connect to {address}: {error}; start the server, or correct host and port"
            ));
        }
        let contract = Contract::undeclared(Service::Calc);
        Ok(ProbeTarget::of(launcher, LaunchSpec::already_running(address, contract)))
    }

    fn of(launcher: Launcher, spec: LaunchSpec) -> ProbeTarget {
        ProbeTarget {
            launcher,
            spec,
            exits_by_itself: false,
            slowest_reply: None,
            spins: false,
            denies_service: false,
            serves_several: false,
        }
    }

    pub(super) fn is_already_running(&self) -> bool {
        self.spec.running_at.is_some()
    }

    /// Describes how the server gets its port.
    pub(super) fn description(&self) -> String {
        match (self.spec.fixed_port, &self.spec.input, self.spec.running_at) {
            (Some(port), ..) => format!("port: always {port}"),
            (None, Some(_), _) => "port: read from standard input".to_owned(),
            (None, None, Some(address)) => format!("address: {address}"),
            (None, None, None) => "port: set in the command".to_owned(),
        }
    }

    /// Runs an experiment for each item, several in parallel, and returns the results in order.
    /// With `--connect`, the experiments run in sequence, unless the server serves several
    /// connections at once.
    pub(super) fn each<I: Sync, T: Send>(
        &self,
        items: &[I],
        experiment: impl Fn(&I) -> T + Sync,
    ) -> Vec<T> {
        let is_sequential = self.is_already_running() && !self.serves_several;
        let parallel = if is_sequential { 1 } else { MAX_PARALLEL.min(items.len()) };
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(items.len()));
        let work = || {
            loop {
                let index = next.fetch_add(1, Relaxed);
                let Some(item) = items.get(index) else { break };
                let result = experiment(item);
                results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
            }
        };
        // Each thread may enter a separate network namespace. If a thread cannot be started, fewer
        // experiments run in parallel.
        thread::scope(|scope| {
            for _ in 1..parallel {
                if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// Returns the port that the server chooses by itself, or `None` if the server reads a port from
/// standard input.
fn detect_own_port(launcher: &Launcher, with_port_input: &LaunchSpec) -> Result<Option<u16>> {
    // In a separate network namespace, no other process can use the server's port.
    let _network = Network::enter();
    let without_input = LaunchSpec { input: None, ..with_port_input.clone() };
    let process = launcher.start(&without_input, "127.0.0.1", "0")?;
    // Half of the time, because a server that reads a port from standard input never listens.
    let deadline = Instant::now() + with_port_input.readiness.timeout / 2;
    while Instant::now() < deadline && process.exit().is_none() {
        if let Some(address) = process.listening().first() {
            return Ok(Some(address.port()));
        }
        sleep(RETRY_INTERVAL);
    }
    // Start the server again with a port on standard input. A server that ignores the port fails
    // here.
    drop(process);
    let mut process = launcher.start(with_port_input, "127.0.0.1", "0")?;
    process.wait_until_ready()?;
    Ok(None)
}
