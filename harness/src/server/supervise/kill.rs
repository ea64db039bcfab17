//! Reaps and kills the process tree.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{self, Pid};

use super::super::proc;
use crate::exit::Exit;

/// Timeout for a process tree to exit after SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two attempts to kill the rest of a process tree.
pub(super) const KILL_INTERVAL: Duration = Duration::from_millis(10);

/// Reaps all children that have exited. Returns the exit status of the server's first process, if
/// it was one of them.
pub(super) fn reap(server: Option<Pid>, child_exits: &SignalFd) -> io::Result<Option<Exit>> {
    while let Ok(Some(_)) = child_exits.read_signal() {}
    let mut server_exit = None;
    loop {
        let (pid, exit) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Exit::Signal(signal as i32)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(server_exit),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if Some(pid) == server {
            server_exit = Some(exit);
        }
    }
}

/// Kills all descendants repeatedly until none is left, because a process may fork while the tree
/// is being killed. Gives up after 5 s.
pub(super) fn kill_until_gone(
    server: Pid,
    scope: SignalScope,
    child_exits: &SignalFd,
) -> io::Result<()> {
    let deadline = Instant::now() + KILL_TIMEOUT;
    loop {
        kill_all(server, scope);
        reap(None, child_exits)?;
        let none_left = waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD);
        if none_left || Instant::now() > deadline {
            return Ok(());
        }
        let mut poll_set = [PollFd::new(child_exits.as_fd(), PollFlags::POLLIN)];
        let _ =
            poll(&mut poll_set, PollTimeout::try_from(KILL_INTERVAL).unwrap_or(PollTimeout::ZERO));
    }
}

/// Processes that the supervisor can signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalScope {
    /// Only its descendants.
    Descendants,
    /// All processes that its user may signal.
    Unrestricted,
}

impl SignalScope {
    /// Kills all descendants by a single call, so that no process escapes by forking. Does nothing
    /// if the supervisor can signal other processes. Returns whether it made the call.
    fn kill_at_once(self) -> bool {
        // The parent is not a descendant. Check each time that it cannot be signalled, because a
        // mistake would kill unrelated processes.
        let is_restricted =
            self == SignalScope::Descendants && kill(unistd::getppid(), None) == Err(Errno::EPERM);
        if is_restricted {
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        }
        is_restricted
    }
}

/// Kills the current descendants. Returns whether any descendant was left.
pub(super) fn kill_all(server: Pid, scope: SignalScope) -> bool {
    if scope.kill_at_once() {
        return !proc::children(unistd::getpid().as_raw()).is_empty();
    }
    let mut tree = proc::children(unistd::getpid().as_raw());
    let (mut visited, mut groups, mut next) = (HashSet::new(), HashSet::new(), 0);
    while let Some(&pid) = tree.get(next).filter(|_| next < proc::MAX_PROCESSES) {
        visited.insert(pid);
        let process = Pid::from_raw(pid);
        // A signal to a process group also reaches processes that are being forked in the group.
        // Killing one process at a time would never catch up with a fast enough fork loop. Skip
        // groups whose leader is not a descendant: they may contain other processes.
        if let Ok(group) = unistd::getpgid(Some(process))
            && (group == server || visited.contains(&group.as_raw()))
            && groups.insert(group)
        {
            let _ = killpg(group, Signal::SIGKILL);
        }
        // Kill the process before listing its children, so that it cannot fork more.
        let _ = kill(process, Signal::SIGKILL);
        tree.extend(proc::children(pid));
        next += 1;
    }
    next > 0
}

/// Returns the descendants of the supervisor: the processes of the server.
pub(super) fn descendants() -> Vec<proc::Pid> {
    proc::tree(unistd::getpid().as_raw()).split_off(1)
}
