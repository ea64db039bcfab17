//! The process tree of a server, which the supervisor controls.

use std::collections::HashSet;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;

use super::launch_error::Limit;
use super::port::PortLease;
use super::proc::{self, ResourceUsage};
use super::readiness::Readiness;
use super::shared::{Shared, State};
use super::starvation::Period;
use crate::exit::Exit;
use crate::results::{LaunchFindings, ProcessView, Survivor};

/// Timeout for the supervisor to start, and to clean up.
pub(super) const SUPERVISOR_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout for a command to exit after SIGTERM, if the server is not one of its descendants. A
/// client of a daemon, such as `docker run`, uses this time to end the server.
const TERM_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout for the socket of an ended server to close. The kernel closes an io_uring after its
/// process.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(1);

/// Default capacity of a pipe, in bytes.
const PIPE_CAPACITY: usize = 64 * 1024;

/// The process tree of a server. Dropping the value kills the process tree.
#[derive(Debug)]
pub struct Process {
    /// `None` for a server given by `--connect`, whose processes are unknown.
    pub(super) supervisor: Option<Child>,
    /// Standard input of the supervisor: a launch request, then signals for the server. Closing the
    /// pipe ends the server.
    pub(super) signals: Option<ChildStdin>,
    pub(super) shared: Arc<Shared>,
    /// Requested port; 0 for any port.
    pub(super) requested_port: u16,
    /// CPUs that the server is pinned to; `None` for all CPUs of the harness.
    pub(super) processors: Option<Vec<usize>>,
    pub(super) port: Option<PortLease>,
    /// Condition and timeout for the server to be ready.
    pub(super) readiness: Readiness,
    /// Inodes of the sockets that listened on the requested port before the start.
    pub(super) earlier_listeners: HashSet<u64>,
    /// Whether the requested port accepted a connection before the start.
    pub(super) answered_before: bool,
    /// What the harness found when it waited for the server.
    pub(super) findings: LaunchFindings,
    /// Inode of the listening socket of a server whose processes are unknown.
    pub(super) listener: Option<(u16, u64)>,
    /// Whether the command had exited before the server listened outside of its process tree.
    pub(super) command_had_exited: bool,
}

/// Exit status, surviving processes and output of a server whose process tree was killed.
#[derive(Clone, Debug)]
pub struct ExitReport {
    /// Exit status; `None` if the server did not exit by itself and was killed.
    pub exit: Option<Exit>,
    /// Processes that survived the server's first process.
    pub survivors: Vec<Survivor>,
    /// Time at which the server's first process exited.
    pub exited_at: Option<Instant>,
    /// Whether the server was killed because it exceeded its limit of threads and processes.
    pub exceeded_tasks: bool,
    /// Whether the server was killed because many of its threads used the CPUs without pause.
    pub spins: bool,
    /// Whether the server was killed because it exceeded its lifetime limit.
    pub exceeded_lifetime: bool,
    /// Descriptions of the isolation that could not be applied.
    pub missing_isolation: Vec<String>,
    /// End of the server's standard output and standard error.
    pub log: String,
    /// Last chunks of that output, with their times of arrival.
    pub output: Vec<(Instant, Vec<u8>)>,
    /// What the harness found about the processes of the server.
    pub findings: LaunchFindings,
}

impl Process {
    /// Returns a stand-in for the processes of a server given by `--connect`, which are unknown.
    pub(super) fn not_launched() -> Process {
        let shared = Arc::<Shared>::default();
        let state = State { ended: true, log_is_complete: true, ..State::default() };
        *shared.state() = state;
        Process::of_supervisor(shared, 0)
    }

    /// Returns a process whose supervisor is not yet set.
    pub(super) fn of_supervisor(shared: Arc<Shared>, requested_port: u16) -> Process {
        Process {
            supervisor: None,
            signals: None,
            shared,
            requested_port,
            processors: None,
            port: None,
            readiness: Readiness::default(),
            earlier_listeners: HashSet::new(),
            answered_before: false,
            findings: LaunchFindings::default(),
            listener: None,
            command_had_exited: false,
        }
    }

    /// Returns the addresses that the process tree listens on.
    pub fn listening(&self) -> Vec<SocketAddr> {
        proc::listening(&self.tree())
    }

    /// Returns the resource usage of the process tree.
    pub fn resource_usage(&self) -> ResourceUsage {
        proc::resource_usage(&self.tree())
    }

    /// Returns the server's processes, with the first process in front. Empty if they are unknown.
    pub fn tree(&self) -> Vec<proc::Pid> {
        match self.findings.processes {
            ProcessView::Visible => self.command_tree(),
            ProcessView::Outside | ProcessView::Hidden(_) => Vec::new(),
        }
    }

    /// Returns the processes that the command started, with the first process in front.
    pub(super) fn command_tree(&self) -> Vec<proc::Pid> {
        let (Some(supervisor), Some(pid)) = (self.supervisor_pid(), self.shared.state().pid) else {
            return Vec::new();
        };
        // The supervisor is the parent of orphaned descendants.
        let mut tree = proc::tree(supervisor).split_off(1);
        tree.sort_by_key(|&other| other != pid);
        tree
    }

    /// Returns the CPUs that the server is pinned to, with the numbers of the kernel. `None` stands
    /// for all CPUs of the harness.
    pub fn processors(&self) -> Option<&[usize]> {
        self.processors.as_deref()
    }

    /// Returns the process id of the supervisor. Its descendants are the server's processes. `None`
    /// if the server's processes are unknown.
    pub fn supervisor(&self) -> Option<proc::Pid> {
        self.supervisor_pid().filter(|_| self.findings.processes == ProcessView::Visible)
    }

    /// Returns what the harness found when it launched the server.
    pub fn findings(&self) -> &LaunchFindings {
        &self.findings
    }

    fn supervisor_pid(&self) -> Option<proc::Pid> {
        self.supervisor.as_ref().map(|supervisor| supervisor.id() as proc::Pid)
    }

    /// Writes the launch request to the supervisor.
    pub(super) fn send_request(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(pipe) = &mut self.signals else { return Ok(()) };
        if line.len() > PIPE_CAPACITY {
            // The write must not block on a supervisor that does not read.
            fcntl(&*pipe, FcntlArg::F_SETPIPE_SZ(line.len() as i32))?;
        }
        match pipe.write_all(line).and_then(|()| pipe.flush()) {
            // The supervisor has exited, and its output gives the reason.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Sends a signal to the server's first process, if the process has not exited.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(signals) = &mut self.signals {
            // Fails if the supervisor has exited; the server then was killed.
            let _ = signals.write_all(&[signal as u8]).and_then(|()| signals.flush());
        }
    }

    /// Returns the exit status of the server's first process, if it has exited.
    pub fn exit(&self) -> Option<Exit> {
        self.shared.state().exit.filter(|_| !self.command_had_exited)
    }

    /// Returns the limit for which the server was killed, if any.
    pub(super) fn exceeded_limit(&self) -> Option<Limit> {
        let state = self.shared.state();
        let limits = [
            (state.exceeded_tasks, Limit::Tasks),
            (state.spins, Limit::Spinning),
            (state.exceeded_lifetime, Limit::Lifetime),
        ];
        limits.into_iter().find(|(is_exceeded, _)| *is_exceeded).map(|(_, limit)| limit)
    }

    /// Waits for the server's first process to exit. Returns `None` if the timeout expires first.
    pub fn wait_for_exit(&self, timeout: Duration) -> Option<Exit> {
        // A command that had exited before the server listened tells nothing of its server.
        let has_exit = |state: &State| state.exit.is_some() && !self.command_had_exited;
        let state = self.shared.wait(timeout, |state| has_exit(state) || state.ended);
        state.exit.filter(|_| !self.command_had_exited)
    }

    /// Returns the end of the server's output so far. Control characters are replaced, so that they
    /// cannot affect a terminal.
    pub fn log(&self) -> String {
        self.shared.log().text()
    }

    /// Returns the log of a server that has exited. Waits a moment if the log is empty, because
    /// output may still be in the pipe.
    pub(super) fn log_after_exit(&self) -> String {
        let end = Instant::now() + Duration::from_millis(200);
        while self.log().is_empty() && Instant::now() < end {
            thread::sleep(PAUSE);
        }
        self.log()
    }

    /// Kills the process tree. Exit status and log stay available.
    pub fn stop(&mut self) {
        self.clean_up();
    }

    /// Kills the process tree and returns the exit status, surviving processes and output.
    pub fn end(mut self) -> ExitReport {
        self.clean_up();
        let state = self.shared.wait(SUPERVISOR_TIMEOUT, |state| state.log_is_complete);
        let findings = LaunchFindings { is_daemon: state.is_daemon, ..self.findings.clone() };
        ExitReport {
            exit: state.exit,
            exited_at: state.exited_at,
            findings,
            survivors: state.survivors.clone(),
            exceeded_tasks: state.exceeded_tasks,
            spins: state.spins,
            exceeded_lifetime: state.exceeded_lifetime,
            missing_isolation: state.missing_isolation.clone(),
            log: self.log(),
            output: self.shared.log().take_chunks(),
        }
    }

    fn clean_up(&mut self) {
        if self.signals.is_none() {
            return;
        }
        if self.findings.processes == ProcessView::Outside {
            self.end_client();
        }
        self.signals = None;
        let ended = self
            .shared
            .wait_usable(&Period::begin(), SUPERVISOR_TIMEOUT, |state| state.ended)
            .ended;
        if !ended {
            // The parent-death signal then kills at least the server's first process.
            let _ = self.supervisor.as_mut().map(Child::kill);
        }
        let _ = self.supervisor.as_mut().map(Child::wait);
        self.findings.keeps_running = self.still_listens();
    }

    /// Ends a command that made another process listen, such as the client of a daemon: asks it to
    /// exit, because it may then also end the server. The exit is no exit of the server.
    fn end_client(&mut self) {
        let before = self.shared.state().exit;
        if before.is_none() {
            self.signal(Signal::SIGTERM);
            self.wait_for_exit(TERM_TIMEOUT);
        }
        let mut state = self.shared.state();
        state.exit = before.filter(|_| !self.command_had_exited);
        state.exited_at = state.exited_at.filter(|_| state.exit.is_some());
    }

    /// Returns whether the listening socket of a server whose processes are unknown stays open.
    fn still_listens(&self) -> bool {
        let Some((port, inode)) = self.listener else { return false };
        let end = Instant::now() + CLOSE_TIMEOUT;
        let listens = || proc::listeners(port).contains(&inode);
        while listens() && Instant::now() < end {
            thread::sleep(PAUSE * 10);
        }
        listens()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.clean_up();
    }
}
