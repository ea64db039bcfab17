//! Instances (processes) of the probed server. Each experiment launches an instance, so that
//! parallel experiments do not affect each other. With `--connect`, all experiments share one
//! server.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::target::{CONNECT_TIMEOUT, ProbeTarget, RETRY_INTERVAL};
use crate::client::{Client, ClientError, ConnectMode, Transcript};
use crate::concurrency;
use crate::exit::Exit;
use crate::server::{LaunchError, NetworkLease, Server};

/// Timeout for the exit of a server that has exited by itself before.
const REPEATED_EXIT_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout for the exit of a server that has not exited by itself before.
const FIRST_EXIT_TIMEOUT: Duration = Duration::from_millis(250);

/// Pause between two checks whether the server has exited.
const EXIT_CHECK_INTERVAL: Duration = Duration::from_millis(6);

/// Time in which a server that has handled the disconnects of its clients must serve a new one.
const SERVED_TIMEOUT: Duration = Duration::from_secs(3);

/// The same time for a server that has not served a client after others before.
const REPEATED_SERVED_TIMEOUT: Duration = Duration::from_millis(300);

/// An instance of the server. After an exit, the next connection launches a new process.
pub(super) struct Instance<'o> {
    target: &'o ProbeTarget,
    pub(super) server: Option<Server>,
    transcript: Transcript,
    /// Number of connections so far.
    clients: usize,
    /// Number of connections since the last launch.
    connections_since_launch: usize,
    /// Whether the server has exited without a signal.
    exits_by_itself: bool,
    /// Slowest reply so far; `None` before the first reply.
    pub(super) slowest_reply: Cell<Option<Duration>>,
    /// Whether the server has used the CPU in silence.
    pub(super) spins: Cell<bool>,
    /// Whether the server has not served a client after others had disconnected.
    pub(super) denies_service: bool,
    /// Declared after the server, which is therefore dropped first.
    lease: NetworkLease,
}

impl ProbeTarget {
    /// Launches an instance for use on this thread.
    ///
    /// # Errors
    /// The server does not start, or does not listen.
    pub(super) fn instance(&self) -> Result<Instance<'_>, LaunchError> {
        let mut instance = Instance {
            target: self,
            server: None,
            transcript: Transcript::begin(),
            clients: 0,
            connections_since_launch: 0,
            exits_by_itself: self.exits_by_itself,
            slowest_reply: Cell::new(self.slowest_reply),
            spins: Cell::new(self.spins),
            denies_service: self.denies_service,
            lease: NetworkLease::take(&self.spec)?,
        };
        instance.server()?;
        Ok(instance)
    }
}

impl Instance<'_> {
    /// Returns the running server. Launches the server if it has exited.
    pub(super) fn server(&mut self) -> Result<&Server, LaunchError> {
        if self.server.as_ref().is_some_and(|server| server.process.exit().is_some()) {
            self.exits_by_itself = true;
            self.discard()?;
        }
        if self.server.is_none() {
            self.server = Some(self.target.launcher.launch(&self.target.spec)?);
        }
        Ok(self.server.as_ref().expect("the server was launched above"))
    }

    /// Kills the server. The next connection launches a new process.
    pub(super) fn discard(&mut self) -> Result<(), LaunchError> {
        self.server = None;
        self.connections_since_launch = 0;
        self.lease.clear()
    }

    /// Launches a new process in place of the current one. `None` for a server that was already
    /// running.
    pub(super) fn relaunch(&mut self) -> Option<()> {
        if self.target.is_already_running() {
            return None;
        }
        self.discard().ok()
    }

    /// Returns the exit status if the server exits by itself within a timeout. The wait ends
    /// earlier when the server cannot act without input.
    pub(super) fn exit(&self) -> Option<Exit> {
        let process = &self.server.as_ref().filter(|_| !self.target.is_already_running())?.process;
        let timeout = if self.exits_by_itself { REPEATED_EXIT_TIMEOUT } else { FIRST_EXIT_TIMEOUT };
        let began = Instant::now();
        let mut quiescent_checks = 0;
        while began.elapsed() < timeout && quiescent_checks < 3 {
            if let Some(exit) = process.wait_for_exit(EXIT_CHECK_INTERVAL) {
                return Some(exit);
            }
            let is_quiescent =
                !self.exits_by_itself && concurrency::is_quiescent(|| process.tree());
            quiescent_checks = if is_quiescent { quiescent_checks + 1 } else { 0 };
        }
        process.exit()
    }

    /// Returns whether the server has exited without a signal.
    pub(super) fn exits_by_itself(&self) -> bool {
        self.exits_by_itself
    }

    pub(super) fn slowest_reply(&self) -> Option<Duration> {
        self.slowest_reply.get()
    }

    /// Tries to connect once.
    pub(super) fn try_connect(&mut self) -> Result<Client, ClientError> {
        let address = self.server().map_err(|it| ClientError::Io(it.to_string()))?.address;
        self.clients += 1;
        self.connections_since_launch += 1;
        let mode = ConnectMode::Default;
        Client::connect(self.clients, address, mode, CONNECT_TIMEOUT, &self.transcript)
    }

    /// Repeats `attempt` until it breaks with a result, or the time is over in which the server
    /// must serve a client. An attempt may wait until the deadline that it gets.
    pub(super) fn until_served<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self, Instant) -> ControlFlow<Option<T>>,
    ) -> Option<T> {
        let timeout = match self.denies_service {
            true => REPEATED_SERVED_TIMEOUT,
            false => SERVED_TIMEOUT,
        };
        let deadline = Instant::now() + timeout;
        loop {
            if let ControlFlow::Break(result) = attempt(self, deadline) {
                return result;
            }
            if Instant::now() > deadline {
                self.denies_service = true;
                return None;
            }
            sleep(RETRY_INTERVAL);
        }
    }

    /// Connects. Retries while the connection is refused or reset. After a timeout, launches a new
    /// server process and tries again.
    pub(super) fn connect(&mut self) -> Option<Client> {
        if self.connections_since_launch > 0 && (self.clients == 1 || self.exits_by_itself) {
            // The previous client has disconnected, so the server may exit now.
            self.exits_by_itself |= self.exit().is_some();
        }
        for attempt in 0..2 {
            let deadline = Instant::now() + CONNECT_TIMEOUT;
            while Instant::now() < deadline {
                match self.try_connect() {
                    Ok(client) => return Some(client),
                    Err(ClientError::Refused | ClientError::Reset) => sleep(RETRY_INTERVAL),
                    Err(_) => break,
                }
            }
            if attempt == 0 && !self.target.is_already_running() {
                self.discard().ok()?;
            }
        }
        None
    }
}
