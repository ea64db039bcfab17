//! What the threads that read from a supervisor know of a server: its events and its output.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::log::{self, Log};
use super::proc;
use super::starvation::Period;
use super::supervise::SupervisorEvent;
use crate::exit::Exit;
use crate::results::Survivor;
use crate::wire::ReplyRegex;

/// Longest wait on an overloaded machine, as a multiple of the timeout.
pub(super) const MAX_EXTENSION: u32 = 3;

/// Shortest wait for a change.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    pub(super) log: Mutex<Log>,
    /// Regular expression that the output of a ready server matches.
    pub(super) ready_text: Option<ReplyRegex>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The server's first process, or the process that replaces it in a daemon.
    pub(super) pid: Option<proc::Pid>,
    pub(super) failed: Option<String>,
    pub(super) exit: Option<Exit>,
    pub(super) exited_at: Option<Instant>,
    pub(super) survivors: Vec<Survivor>,
    pub(super) exceeded_tasks: bool,
    pub(super) spins: bool,
    pub(super) exceeded_lifetime: bool,
    pub(super) missing_isolation: Vec<String>,
    /// Whether the server is a daemon: its first process exited with 0, and another one replaced
    /// it.
    pub(super) is_daemon: bool,
    /// Whether the supervisor found no process to replace the first one.
    pub(super) has_no_daemon: bool,
    /// Whether the output matched the text of a ready server.
    pub(super) has_ready_text: bool,
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

impl Shared {
    /// Returns the state before the server has started.
    pub(super) fn new(ready_text: Option<ReplyRegex>) -> Arc<Shared> {
        Arc::new(Shared { ready_text, ..Shared::default() })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
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

    /// Same as [`wait`](Self::wait), with a timeout that begins with the period, and does not
    /// include the time in which the harness could not run. The supervisor then probably could not
    /// run either.
    pub(super) fn wait_usable(
        &self,
        period: &Period,
        timeout: Duration,
        done: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        loop {
            let left = timeout.saturating_sub(period.usable()).max(SHORTEST_WAIT);
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
                Ok(SupervisorEvent::Replaced(Some(pid))) => {
                    state.pid = Some(pid);
                    (state.exit, state.exited_at, state.is_daemon) = (None, None, true);
                }
                Ok(SupervisorEvent::Replaced(None)) => state.has_no_daemon = true,
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
        let mut awaited = self.ready_text.as_ref();
        log::read(output, |add| {
            let mut log = self.log();
            add(&mut log);
            if awaited.is_some_and(|text| text.is_match(log.end())) {
                drop(log);
                awaited = None;
                self.state().has_ready_text = true;
                self.changed.notify_all();
            }
        });
        self.state().log_is_complete = true;
        self.changed.notify_all();
    }
}
