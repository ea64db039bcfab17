//! The process tree of a server, which the supervisor controls.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;

use super::launch_error::{LaunchError, Limit};
use super::log::{self, Log};
use super::port::PortLease;
use super::proc::{self, ResourceUsage};
use super::starvation::Period;
use super::supervise::SupervisorEvent;
use crate::exit::Exit;
use crate::results::Survivor;

/// Timeout for the supervisor to start, and to clean up.
pub(super) const SUPERVISOR_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout for a server that listens on another port to listen on the requested port. Some servers
/// open another port first.
const WRONG_PORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait on an overloaded machine, as a multiple of the timeout.
const MAX_EXTENSION: u32 = 3;

/// First and longest pause between two checks for a listening socket. The first pauses are short,
/// for servers that start at once. The later pauses leave the CPU to interpreters that start
/// slowly.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(16);

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
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    pub(super) log: Mutex<Log>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) pid: Option<proc::Pid>,
    pub(super) failed: Option<String>,
    pub(super) exit: Option<Exit>,
    pub(super) exited_at: Option<Instant>,
    pub(super) survivors: Vec<Survivor>,
    pub(super) exceeded_tasks: bool,
    pub(super) spins: bool,
    pub(super) exceeded_lifetime: bool,
    pub(super) missing_isolation: Vec<String>,
    /// Whether no process of the server is left, or the supervisor has exited.
    pub(super) ended: bool,
    /// Whether the output was read to its end.
    pub(super) log_is_complete: bool,
}

/// Starts the threads that read the supervisor's events and the server's output.
pub(super) fn spawn_readers(
    shared: &Arc<Shared>,
    events: impl Read + Send + 'static,
    log: impl Read + Send + 'static,
) -> io::Result<()> {
    let (for_events, for_log) = (Arc::clone(shared), Arc::clone(shared));
    thread::Builder::new().spawn(move || for_events.read_events(events))?;
    thread::Builder::new().spawn(move || for_log.read_log(log))?;
    Ok(())
}

impl Process {
    /// Returns a stand-in for the processes of a server given by `--connect`, which are unknown.
    pub(super) fn not_launched() -> Process {
        let shared = Arc::<Shared>::default();
        let state = State { ended: true, log_is_complete: true, ..State::default() };
        *shared.state() = state;
        let (supervisor, signals, processors) = (None, None, None);
        Process { supervisor, signals, shared, requested_port: 0, processors, port: None }
    }

    /// Waits until the process tree has a listening socket. Does not connect: a connection would
    /// occupy an iterative server, and makes some servers exit.
    ///
    /// # Errors
    /// The server exited, listens on another port, or did not listen in time.
    pub fn wait_until_listening(&self, timeout: Duration) -> Result<SocketAddr, LaunchError> {
        let period = Period::begin();
        let mut pause = FIRST_PAUSE;
        loop {
            let listening = self.listening();
            if let Some(address) =
                listening.iter().find(|one| [0, one.port()].contains(&self.requested_port))
            {
                return Ok(*address);
            }
            if let Some(exit) = self.wait_for_exit(pause) {
                let log = self.log_after_exit();
                return Err(match self.exceeded_limit() {
                    Some(limit) => LaunchError::Killed { limit, log },
                    None => LaunchError::Exited { exit, log },
                });
            }
            // A server on an overloaded machine may lack the CPU time to start.
            let usable = period.usable();
            let overload = period.overload();
            let is_over = usable > timeout
                && (overload.is_none()
                    || period.elapsed() > timeout * MAX_EXTENSION
                    || proc::is_asleep(&self.tree()));
            match listening.first() {
                Some(&found) if usable > timeout.min(WRONG_PORT_TIMEOUT) => {
                    return Err(LaunchError::WrongPort { requested: self.requested_port, found });
                }
                None if is_over || period.elapsed() > timeout * MAX_EXTENSION => {
                    let waited = usable.max(timeout);
                    return Err(LaunchError::NotListening { waited, overload, log: self.log() });
                }
                _ => {}
            }
            pause = (pause * 2).min(MAX_PAUSE);
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

    /// Returns the server's processes, with the first process in front.
    pub fn tree(&self) -> Vec<proc::Pid> {
        let (Some(supervisor), Some(pid)) = (self.supervisor(), self.shared.state().pid) else {
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

    /// Returns the process id of the supervisor. Its descendants are the server's processes.
    pub fn supervisor(&self) -> Option<proc::Pid> {
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
        self.shared.state().exit
    }

    /// Returns the limit for which the server was killed, if any.
    fn exceeded_limit(&self) -> Option<Limit> {
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
        self.shared.wait(timeout, |state| state.exit.is_some() || state.ended).exit
    }

    /// Returns the end of the server's output so far. Control characters are replaced, so that they
    /// cannot affect a terminal.
    pub fn log(&self) -> String {
        self.shared.log().text()
    }

    /// Returns the log of a server that has exited. Waits a moment if the log is empty, because
    /// output may still be in the pipe.
    fn log_after_exit(&self) -> String {
        let end = Instant::now() + Duration::from_millis(200);
        while self.log().is_empty() && Instant::now() < end {
            thread::sleep(FIRST_PAUSE);
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
        ExitReport {
            exit: state.exit,
            exited_at: state.exited_at,
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
        if self.signals.take().is_none() {
            return;
        }
        let ended = self.shared.wait_usable(SUPERVISOR_TIMEOUT, |state| state.ended).ended;
        if !ended {
            // The parent-death signal then kills at least the server's first process.
            let _ = self.supervisor.as_mut().map(Child::kill);
        }
        let _ = self.supervisor.as_mut().map(Child::wait);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.clean_up();
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done` or until the timeout expires.
    pub(super) fn wait(
        &self,
        timeout: Duration,
        done: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), timeout, |state| !done(state))
            .unwrap_or_else(PoisonError::into_inner);
        state
    }

    /// Same as [`wait`](Self::wait), with a timeout that does not include the time in which the harness
    /// could not run. The supervisor then probably could not run either.
    pub(super) fn wait_usable(
        &self,
        timeout: Duration,
        done: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let period = Period::begin();
        loop {
            let left = timeout.saturating_sub(period.usable()).max(FIRST_PAUSE);
            let state = self.wait(left, &done);
            if done(&state)
                || period.usable() >= timeout
                || period.elapsed() > timeout * MAX_EXTENSION
            {
                return state;
            }
        }
    }

    fn read_events(&self, events: impl Read) {
        for line in BufReader::new(events).lines().map_while(Result::ok) {
            let mut state = self.state();
            match serde_json::from_str(&line) {
                Ok(SupervisorEvent::Started(pid)) => state.pid = Some(pid),
                Ok(SupervisorEvent::Failed(message)) => state.failed = Some(message),
                Ok(SupervisorEvent::Exited(exit)) => {
                    state.exit = Some(exit);
                    state.exited_at = Some(Instant::now());
                }
                Ok(SupervisorEvent::Survivor(survivor)) => state.survivors.push(survivor),
                Ok(SupervisorEvent::TasksExceeded) => state.exceeded_tasks = true,
                Ok(SupervisorEvent::Spinning) => state.spins = true,
                Ok(SupervisorEvent::LifetimeExceeded) => state.exceeded_lifetime = true,
                Ok(SupervisorEvent::MissingIsolation(message)) => {
                    state.missing_isolation.push(message)
                }
                Ok(SupervisorEvent::Ended) => state.ended = true,
                Err(_) => {
                    state.failed = Some(format!("the supervisor sent an unknown event: `{line}`"))
                }
            }
            drop(state);
            self.changed.notify_all();
        }
        self.state().ended = true;
        self.changed.notify_all();
    }

    fn read_log(&self, output: impl Read) {
        log::read(output, |add| add(&mut self.log()));
        self.state().log_is_complete = true;
        self.changed.notify_all();
    }
}
