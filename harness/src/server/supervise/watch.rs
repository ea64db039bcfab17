//! Supervises a running server: forwards signals, reaps children and enforces limits.

use std::collections::HashSet;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{self, Pid};

use super::super::launch_request::{LISTENS, LaunchRequest, REPLACE};
use super::super::proc;
use super::event::{SupervisorEvent, report};
use super::kill::{KILL_INTERVAL, SignalScope, descendants, kill_all, reap};
use super::start::PendingInput;
use crate::exit::Exit;
use crate::results::Survivor;

/// Interval between two counts of threads and processes. Most servers exit before the first count.
const COUNT_INTERVAL: Duration = Duration::from_millis(250);

/// Interval for limits below [`LOW_LIMIT`]. A server exceeds them sooner, and counting takes less
/// time.
const SHORT_COUNT_INTERVAL: Duration = Duration::from_millis(50);
const LOW_LIMIT: usize = 2000;

/// Time after which a server with many runnable threads is killed.
pub const SPINNING_TIME: Duration = Duration::from_secs(5);
/// Time from the moment when the server listens, in which an exit of its first process with 0 makes
/// it a daemon. Later, it is an exit of the server.
const DAEMON_TIME: Duration = Duration::from_secs(1);

/// State of the supervision of one server.
pub(super) struct Watch<'a> {
    server: Pid,
    scope: SignalScope,
    input: Option<PendingInput>,
    /// Limit of threads and processes.
    max_tasks: Option<usize>,
    /// End of the permitted lifetime.
    lifetime_end: Option<Instant>,
    /// Receives SIGCHLD.
    child_exits: &'a SignalFd,
    /// Whether a server that spins is killed.
    limits_spinning: bool,
    /// Threads that were runnable in each count since this time, if they are many.
    spinning: Option<(Instant, HashSet<proc::Pid>)>,
    /// Time of the last count of threads and processes.
    counted_at: Instant,
    /// Whether the server's first process has exited.
    exited: bool,
    /// Whether a limit was exceeded, so that all processes must be killed.
    killing: bool,
    /// The last signal that the harness has sent.
    signalled: Option<Signal>,
    /// Whether an exit after a signal may be that of a server that becomes a daemon: the server has
    /// already become one, or its first process was running when it was signalled. A server that
    /// waits for clients sleeps.
    may_daemonize: bool,
    /// Time at which the harness found the server listening.
    listens_since: Option<Instant>,
}

impl<'a> Watch<'a> {
    pub(super) fn begin(
        server: Pid,
        scope: SignalScope,
        input: Option<PendingInput>,
        request: &LaunchRequest,
        child_exits: &'a SignalFd,
    ) -> Watch<'a> {
        let (max_tasks, now) = (request.confinement.tasks, Instant::now());
        let lifetime_end =
            request.confinement.lifetime.and_then(|lifetime| now.checked_add(lifetime));
        Watch {
            server,
            scope,
            input,
            max_tasks,
            lifetime_end,
            child_exits,
            limits_spinning: request.limits_spinning,
            spinning: None,
            counted_at: now,
            exited: false,
            killing: false,
            signalled: None,
            may_daemonize: false,
            listens_since: None,
        }
    }

    /// Supervises the server until the supervisor's standard input ends. Each byte of that input is
    /// the number of a signal for the server, [`REPLACE`] or [`LISTENS`]. Reaps children and
    /// enforces limits. At the end, if the server's first process has exited, reports the processes
    /// that survived it.
    pub(super) fn run(mut self) -> io::Result<()> {
        let stdin = io::stdin();
        loop {
            let timeout = self.timeout();
            let mut poll_set = vec![
                PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.child_exits.as_fd(), PollFlags::POLLIN),
            ];
            poll_set.extend(
                self.input
                    .iter()
                    .map(|input| PollFd::new(input.writer.as_fd(), PollFlags::POLLOUT)),
            );
            match poll(&mut poll_set, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let stdin_is_readable = poll_set[0].any() == Some(true);
            self.reap()?;
            self.input =
                self.input.take().and_then(|mut input| input.write_more().then_some(input));
            self.enforce_limits()?;
            if stdin_is_readable {
                let mut signals = [0; 16];
                let count = stdin.lock().read(&mut signals)?;
                if count == 0 {
                    break;
                }
                for &byte in &signals[..count] {
                    match byte {
                        REPLACE => self.replace_exited()?,
                        LISTENS => self.listens_since = Some(Instant::now()),
                        number => self.forward(number)?,
                    }
                }
            }
        }
        if self.exited {
            for pid in descendants() {
                let name = proc::name(pid).unwrap_or_default();
                report(&SupervisorEvent::Survivor(Survivor { pid, name }))?;
            }
        }
        Ok(())
    }

    fn forward(&mut self, number: u8) -> io::Result<()> {
        // The exit of a process that leaves a daemon behind may not have been handled yet.
        self.reap()?;
        self.signalled = Signal::try_from(i32::from(number)).ok();
        if !self.exited
            && let Some(signal) = self.signalled
        {
            self.may_daemonize |= !proc::is_asleep(&[self.server.as_raw()]);
            let _ = kill(self.server, signal);
        }
        Ok(())
    }

    /// Reaps children, and reports the exit of the server's first process. If the process has only
    /// put its server into the background, another one replaces it.
    fn reap(&mut self) -> io::Result<()> {
        let Some(exit) = reap(Some(self.server), self.child_exits)? else { return Ok(()) };
        if exit == Exit::Code(0) && self.may_become_daemon() {
            let is_listening = |&pid: &proc::Pid| !proc::listening(&proc::tree(pid)).is_empty();
            let replacement = children().into_iter().find(is_listening);
            if let Some(pid) = replacement {
                self.server = Pid::from_raw(pid);
                self.may_daemonize = true;
                // The signal was for the process that stays.
                if let Some(signal) = self.signalled {
                    let _ = kill(self.server, signal);
                }
                return report(&SupervisorEvent::Replaced(Some(pid)));
            }
        }
        self.exited = true;
        report(&SupervisorEvent::Exited(exit))
    }

    /// Returns whether an exit of the first process may be that of a server that becomes a daemon.
    fn may_become_daemon(&self) -> bool {
        let is_starting = self.listens_since.is_none_or(|since| since.elapsed() < DAEMON_TIME);
        let is_signalled = self.signalled.is_some() && !self.may_daemonize;
        is_starting && !is_signalled && !self.killing
    }

    /// Treats a child as the server's first process, which has exited before the server listened.
    /// The parent of a process that a daemon leaves in the background is the supervisor, the
    /// subreaper.
    fn replace_exited(&mut self) -> io::Result<()> {
        if !self.exited {
            return Ok(());
        }
        let child = children().first().copied();
        if let Some(pid) = child {
            self.server = Pid::from_raw(pid);
            self.exited = false;
        }
        report(&SupervisorEvent::Replaced(child))
    }

    fn timeout(&self) -> PollTimeout {
        let count = self.max_tasks.map(count_interval);
        let left = self.lifetime_end.map(|end| end.saturating_duration_since(Instant::now()));
        let kill = self.killing.then_some(KILL_INTERVAL);
        let Some(soonest) = [count, left, kill].into_iter().flatten().min() else {
            return PollTimeout::NONE;
        };
        // The conversion rounds down to milliseconds; a wait of 0 ms would spin.
        PollTimeout::try_from(soonest + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    }

    /// Returns whether the same threads of the server, many of them, were runnable in each count of
    /// the last seconds. New threads may only wait for their first CPU time. The number of runnable
    /// threads in /proc/loadavg cannot replace this count: it leaves out the threads of a control
    /// group that has used up its share of the CPUs.
    fn is_spinning(&mut self) -> bool {
        let min = spinning_tasks();
        let tree = descendants();
        if proc::threads(&tree).len() < min {
            self.spinning = None;
            return false;
        }
        let now = proc::runnable(&tree);
        let still = self.spinning.take().map(|(since, earlier)| (since, &earlier & &now));
        let (since, threads) =
            still.filter(|(_, threads)| threads.len() >= min).unwrap_or((Instant::now(), now));
        self.spinning = (threads.len() >= min).then_some((since, threads));
        self.spinning.as_ref().is_some_and(|(since, _)| since.elapsed() >= SPINNING_TIME)
    }

    /// Kills the server if it exceeds its limit of threads and processes, or its lifetime.
    fn enforce_limits(&mut self) -> io::Result<()> {
        if let Some(max) = self.max_tasks
            && self.counted_at.elapsed() >= count_interval(max)
        {
            if !self.killing && has_more_tasks(max) {
                report(&SupervisorEvent::TasksExceeded)?;
                self.killing = true;
            }
            if !self.killing && self.limits_spinning && self.is_spinning() {
                report(&SupervisorEvent::Spinning)?;
                self.killing = true;
            }
            self.counted_at = Instant::now();
        }
        if self.lifetime_end.is_some_and(|end| Instant::now() >= end) {
            self.lifetime_end = None;
            if !self.killing && !descendants().is_empty() {
                report(&SupervisorEvent::LifetimeExceeded)?;
                self.killing = true;
            }
        }
        // A process that was being forked appears a moment later, so kill again in the next round.
        self.killing = self.killing && kill_all(self.server, self.scope);
        Ok(())
    }
}

/// Number of runnable threads from which a server takes the CPUs from the harness and from other
/// servers.
pub fn spinning_tasks() -> usize {
    thread::available_parallelism().map_or(1, usize::from) * 16
}

/// Returns the children of the supervisor.
fn children() -> Vec<proc::Pid> {
    proc::children(unistd::getpid().as_raw())
}

fn count_interval(max_tasks: usize) -> Duration {
    if max_tasks < LOW_LIMIT { SHORT_COUNT_INTERVAL } else { COUNT_INTERVAL }
}

/// Returns whether the process tree has more than `max` threads and processes. First checks the
/// total of the machine, which takes only one file. Stops counting at the limit, because the tree
/// may grow faster than it is counted.
fn has_more_tasks(max: usize) -> bool {
    if proc::all_tasks().is_some_and(|all| all <= max) {
        return false;
    }
    let (mut tree, mut next, mut tasks) = (proc::children(unistd::getpid().as_raw()), 0, 0);
    while let Some(&pid) = tree.get(next).filter(|_| tasks <= max) {
        // A process that has just been reaped counts as one task.
        tasks += proc::threads(&[pid]).len().max(1);
        tree.extend(proc::children(pid));
        next += 1;
    }
    tasks > max
}
