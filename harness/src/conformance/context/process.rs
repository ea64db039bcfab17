//! The server process of a case: state, signals, exit, and further instances.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::deadlines::{BUSY_FACTOR, POLL_INTERVAL, SHORT_TIMEOUT};
use crate::client::{ClientError, Transcript};
use crate::concurrency::{self, Detected};
use crate::conformance::failure::Failure;
use crate::conformance::settings::Runner;
use crate::exit::Exit;
use crate::results::EventKind;
use crate::server::proc::{self, Pid, SchedStats, Thread};
use crate::server::{ExitReport, LaunchSpec, NetworkLease, Process, Server};

/// The address that a launched server listens on.
pub(in crate::conformance) const LOOPBACK: &str = "127.0.0.1";

/// Timeout of [`ServerProcess::wait_until_asleep`]. A server that spins never falls asleep.
const SLEEP_TIMEOUT: Duration = Duration::from_secs(1);

/// Time for a process to stop, and for its child processes to exit while it is stopped.
const SIGNAL_PAUSE: Duration = Duration::from_millis(60);

/// Shortest and longest polling interval of [`ServerProcess::wait_for`].
const POLL_INTERVALS: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(40)];

/// The server process of a case, and its replacements.
pub struct ServerProcess<'a> {
    runner: &'a Runner,
    spec: &'a LaunchSpec,
    lease: &'a NetworkLease,
    transcript: Transcript,
    server: RefCell<Server>,
    /// Report of the first replaced server that exited by itself against its contract, if any.
    crash: RefCell<Option<ExitReport>>,
    /// Whether the case has sent a signal, so that an exit is no crash.
    was_signalled: Cell<bool>,
    /// Whether the case gave the server a worse shortage than others get.
    had_worse_shortage: Cell<bool>,
    /// Whether the server had no free descriptor for some time.
    lacked_descriptors: Cell<bool>,
    /// Number of clients of the current server.
    clients: Cell<u32>,
    /// Whether a wait ended although the server was still using the CPU.
    was_working: Cell<bool>,
}

/// How the server of a case ended.
pub(in crate::conformance) struct ServerEnd {
    /// Report of the first server that exited by itself against its contract, or else of the last
    /// server.
    pub(in crate::conformance) report: ExitReport,
    /// Whether the case has sent a signal, so that an exit is no crash.
    pub(in crate::conformance) was_signalled: bool,
    /// Whether the case gave the server a worse shortage than others get, so that a failure proves
    /// nothing.
    pub(in crate::conformance) had_worse_shortage: bool,
    /// Whether the server had no free descriptor for some time.
    pub(in crate::conformance) lacked_descriptors: bool,
}

impl<'a> ServerProcess<'a> {
    pub(super) fn new(
        runner: &'a Runner,
        spec: &'a LaunchSpec,
        server: Server,
        lease: &'a NetworkLease,
        transcript: Transcript,
    ) -> ServerProcess<'a> {
        ServerProcess {
            runner,
            spec,
            lease,
            transcript,
            server: RefCell::new(server),
            crash: RefCell::default(),
            was_signalled: Cell::default(),
            had_worse_shortage: Cell::default(),
            lacked_descriptors: Cell::default(),
            clients: Cell::default(),
            was_working: Cell::default(),
        }
    }

    /// Adds an action of the harness to the transcript.
    pub(super) fn record_action(&self, text: impl Into<String>) {
        self.transcript.add(0, EventKind::action(text));
    }

    /// Adds a note to the transcript that belongs to no client.
    pub(super) fn note(&self, text: impl Into<String>) {
        self.transcript.add(0, EventKind::note(text));
    }

    /// Returns the process ids of the server.
    pub(super) fn tree(&self) -> Vec<Pid> {
        self.server.borrow().process.tree()
    }

    /// Records that the case gives the server a worse shortage than others get.
    pub(super) fn record_worse_shortage(&self) {
        self.had_worse_shortage.set(true);
    }

    /// Records that the server has no free descriptor.
    pub(super) fn record_shortage(&self) {
        self.lacked_descriptors.set(true);
    }

    /// Returns the declared connection limit.
    pub(super) fn capacity(&self) -> Option<usize> {
        self.spec.contract.capacity
    }

    /// Returns the CPU time of each thread of the server, and the time for which it waited for a
    /// CPU.
    pub(in crate::conformance) fn sched_stats(&self) -> BTreeMap<Thread, SchedStats> {
        proc::sched_stats_by_thread(&self.tree())
    }

    /// Returns the CPU time that the server has used.
    pub(in crate::conformance) fn cpu_time(&self) -> Duration {
        proc::cpu_time(&self.tree())
    }

    /// Returns the number of the server's processes.
    pub fn count(&self) -> usize {
        self.tree().len()
    }

    /// Returns the address of the server.
    pub fn address(&self) -> SocketAddr {
        self.server.borrow().address
    }

    /// Returns the IP addresses on which the server listens at its port, including the address
    /// found at its launch.
    pub fn listening_addresses(&self) -> Vec<IpAddr> {
        let server = self.server.borrow();
        let mut addresses = server.process.listening();
        addresses.push(server.listens_on);
        addresses.retain(|address| address.port() == server.listens_on.port());
        let mut hosts: Vec<IpAddr> =
            addresses.iter().map(|address| address.ip().to_canonical()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// Returns whether the server listens now.
    pub fn is_listening(&self) -> bool {
        let server = self.server.borrow();
        server.process.listening().contains(&server.listens_on)
    }

    /// Returns the time from the launch until the server listened.
    pub fn startup_time(&self) -> Duration {
        self.server.borrow().listened_after
    }

    /// Returns whether every thread of the server sleeps, in five polls in a row.
    pub fn is_asleep(&self) -> bool {
        self.polls_asleep(5) == 5
    }

    /// Returns in how many of `polls` polls every thread of the server sleeps.
    pub fn polls_asleep(&self, polls: usize) -> usize {
        let is_asleep = |_: &usize| {
            thread::sleep(POLL_INTERVAL);
            proc::is_asleep(&self.tree())
        };
        (0..polls).filter(is_asleep).count()
    }

    /// Returns whether the server is quiescent: no thread can make progress before an event from
    /// outside.
    pub(super) fn is_quiescent(&self) -> bool {
        concurrency::is_quiescent(|| self.tree())
    }

    /// Waits up to 1 s until every thread of the server sleeps.
    ///
    /// Call this before a measurement of resources, so that a worker pool that is still starting is
    /// not counted as the cost of clients.
    pub fn wait_until_asleep(&self) {
        let deadline = Instant::now() + SLEEP_TIMEOUT;
        while !self.is_asleep() && Instant::now() < deadline {}
    }

    /// Polls until `condition` returns true, and returns whether it did. Continues after the
    /// timeout while the server uses the CPU, because it may only lack CPU time.
    pub(super) fn wait_for(&self, timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let began = Instant::now();
        while !condition() {
            let waited = began.elapsed();
            if self.decide_end_of_wait(waited, timeout, || self.is_asleep()) {
                // The condition may have become true after the last poll, just before the server
                // fell asleep.
                return condition();
            }
            // A poll of a server with many threads costs much CPU time. With this interval, the
            // harness notices the condition at most a tenth of the elapsed time, or 2 ms, too late.
            thread::sleep((waited / 10).clamp(POLL_INTERVALS[0], POLL_INTERVALS[1]));
        }
        true
    }

    /// Decides whether a wait ends now: the timeout has passed and the server sleeps, or a multiple
    /// of the timeout has passed. Records the latter, because the server was still using the CPU.
    pub(in crate::conformance) fn decide_end_of_wait(
        &self,
        waited: Duration,
        timeout: Duration,
        is_asleep: impl FnOnce() -> bool,
    ) -> bool {
        if waited >= timeout * BUSY_FACTOR {
            self.record_working();
            return true;
        }
        waited >= timeout && is_asleep()
    }

    /// Records that a wait ended although the server was still using the CPU.
    pub(in crate::conformance) fn record_working(&self) {
        self.was_working.set(true);
    }

    /// Returns whether a wait ended although the server was still using the CPU. On an overloaded
    /// machine, the server then may only have lacked CPU time.
    pub(in crate::conformance) fn was_working(&self) -> bool {
        self.was_working.get()
    }

    /// Sends a signal to the server. After this, an exit is no crash.
    pub fn signal(&self, signal: Signal) {
        self.was_signalled.set(true);
        self.record_action(format!("{signal} to the server"));
        self.server.borrow_mut().process.signal(signal);
    }

    /// Calls `action` while the first process of the server is stopped, as if it got no CPU time.
    /// Signals that arrive while it is stopped coincide.
    pub(in crate::conformance) fn while_stopped(&self, action: impl FnOnce()) {
        let signal = |signal| {
            self.record_action(format!("{signal} to the first process of the server"));
            self.server.borrow_mut().process.signal(signal);
            thread::sleep(SIGNAL_PAUSE);
        };
        signal(Signal::SIGSTOP);
        action();
        thread::sleep(SIGNAL_PAUSE);
        signal(Signal::SIGCONT);
    }

    /// Waits up to `timeout` for the server to exit.
    pub fn wait_for_exit(&self, timeout: Duration) -> Option<Exit> {
        self.server.borrow().process.wait_for_exit(timeout)
    }

    /// Returns whether the server has exited, and none of its processes listens, so that no client
    /// will be served any more.
    pub fn is_gone(&self) -> bool {
        self.wait_for_exit(Duration::ZERO).is_some() && !self.is_listening()
    }

    /// Waits for the server to exit. Continues after the timeout while the server uses the CPU,
    /// because it may only lack CPU time.
    pub fn exits_within(&self, timeout: Duration) -> Option<Exit> {
        let began = Instant::now();
        loop {
            let left = timeout.saturating_sub(began.elapsed());
            let exit = self.wait_for_exit(left.max(POLL_INTERVAL));
            let waited = began.elapsed();
            if exit.is_some() || self.decide_end_of_wait(waited, timeout, || self.is_asleep()) {
                // The server may have exited after the last poll, just before the check for sleep.
                return exit.or_else(|| self.wait_for_exit(POLL_INTERVAL));
            }
        }
    }

    /// Gives the server time to exit, because it may be about to: `grace`, or longer while it uses
    /// the CPU.
    pub(in crate::conformance) fn exits_soon(&self, grace: Duration) -> Option<Exit> {
        match self.wait_for_exit(grace) {
            None if !grace.is_zero() && !self.is_asleep() => self.exits_within(SHORT_TIMEOUT),
            exit => exit,
        }
    }

    /// Starts a second instance of the server on the same port. The first instance may still run.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start_on_same_port(&self) -> Result<Process, Failure> {
        // The requested port; the server may also listen on others.
        self.start_at(LOOPBACK, &self.address().port().to_string())
    }

    /// Starts a second instance of the server with this host and port.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start_at(&self, host: &str, port: &str) -> Result<Process, Failure> {
        self.record_action(format!(
            "a second instance of the server is started on {host} port {port}"
        ));
        Ok(self.runner.launcher.start(self.spec, host, port)?)
    }

    /// Same as [`start_at`](Self::start_at), without the privilege to bind ports below 1024.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start_unprivileged(&self, host: &str, port: &str) -> Result<Process, Failure> {
        self.record_action(format!(
            "a second instance of the server is started on {host} port {port}, unprivileged"
        ));
        Ok(self.runner.launcher.unprivileged().start(self.spec, host, port)?)
    }

    /// Returns whether the file exists in the server's mount namespace.
    ///
    /// # Errors
    /// The harness may not access the server's root directory.
    pub fn has_file(&self, path: &Path) -> Result<bool, Failure> {
        match proc::have_file(&self.tree(), path) {
            // The root directory of another user's process is not readable. Without
            // `read_only`, the server has no root directory of its own.
            Err(_) if !self.spec.confinement.read_only => Ok(false),
            found => found.map_err(|error| {
                Failure::harness_error(
                    "the harness can access the server's root directory",
                    format!("/proc/PID/root: {error}"),
                )
            }),
        }
    }

    /// Detects the server's concurrency model.
    pub fn concurrency_model(&self) -> Detected {
        concurrency::detect(&self.server.borrow())
    }

    /// Returns the address for one more client. Launches a new server if the current server has had
    /// all clients that its contract allows.
    pub(super) fn address_for_client(
        &self,
        exit_grace: Duration,
    ) -> Result<SocketAddr, ClientError> {
        let limit = self.spec.contract.wire.connections_before_exit;
        if limit.is_some_and(|limit| self.clients.get() >= limit) {
            self.relaunch(exit_grace).map_err(|failure| ClientError::Io(failure.observed))?;
        }
        self.clients.set(self.clients.get() + 1);
        Ok(self.address())
    }

    /// Launches a new server in place of the current one, which gets `exit_grace` to exit by itself
    /// ([`exits_soon`](Self::exits_soon)). Keeps the report of such an exit.
    ///
    /// # Errors
    /// The new server cannot be launched.
    pub(super) fn relaunch(&self, exit_grace: Duration) -> Result<(), Failure> {
        self.exits_soon(exit_grace);
        if self.spec.fixed_port.is_some() {
            // Both servers use the same port, so the current one must stop first.
            self.server.borrow_mut().process.stop();
            self.lease.clear()?;
        }
        let server = self.runner.launcher.launch(self.spec).map_err(Failure::not_launched)?;
        self.clients.set(0);
        self.note("a new instance of the server is launched");
        let report = self.server.replace(server).process.end();
        if report.exit.is_some_and(|exit| !self.spec.contract.permits_exit(exit)) {
            self.crash.borrow_mut().get_or_insert(report);
        }
        Ok(())
    }

    /// Gives the server `exit_grace` to exit by itself ([`exits_soon`](Self::exits_soon)), then
    /// ends it.
    pub(in crate::conformance) fn end(self, exit_grace: Duration) -> ServerEnd {
        self.exits_soon(exit_grace);
        let report = self.server.into_inner().process.end();
        ServerEnd {
            report: self.crash.into_inner().unwrap_or(report),
            was_signalled: self.was_signalled.get(),
            had_worse_shortage: self.had_worse_shortage.get(),
            lacked_descriptors: self.lacked_descriptors.get(),
        }
    }
}
