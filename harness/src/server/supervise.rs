//! The supervisor: a small process between the harness and one server. It is a role of the same
//! program (`harness supervise`).
//!
//! Standard input: a launch request, then bytes that are the numbers of signals for the server.
//! When the input ends, the supervisor kills the process tree. The kernel closes the pipe even if
//! SIGKILL kills the harness. If the supervisor is killed, the parent-death signal kills the
//! server.
//!
//! Standard output: events, one line of JSON each. Standard error: the output of the server.
//!
//! As a child subreaper (prctl(2)), the supervisor becomes the parent of orphaned descendants, even
//! outside of the process group. So it misses no process of the server, and attributes no process
//! to another server.

mod event;
mod kill;
mod start;
mod watch;

use std::io;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

pub use event::SupervisorEvent;
use event::report;
use kill::{SignalScope, kill_until_gone};
use start::{start, start_error};
use watch::Watch;
pub use watch::{SPINNING_TIME, spinning_tasks};

use super::confinement;
use super::launch_request::LaunchRequest;

/// Default limit of threads and processes, if the launcher limits them. The largest case needs a
/// third of the limit for one thread per client. A machine allows several times the limit.
pub const MAX_TASKS: usize = 4000;

/// Nice value of a supervisor that enforces a limit of threads and processes.
const HIGHEST_PRIORITY: i32 = -20;

/// Runs the launch request from standard input and supervises the process tree until the input
/// ends.
///
/// # Errors
/// The launch request is invalid, or a system call of the supervisor fails. If the command cannot
/// be run, the supervisor reports that as an event instead.
pub fn run() -> io::Result<()> {
    let request = LaunchRequest::read(io::stdin().lock())?;
    if request.unprivileged {
        // The command inherits the bounding set. Without CAP_SETPCAP this fails, but such a process
        // does not have CAP_NET_BIND_SERVICE either.
        let _ = remove_capability_from_bounding_set(CapabilitySet::NET_BIND_SERVICE);
    }
    // The supervisor needs enough CPU time to kill a process tree that keeps growing. Only root can
    // raise the priority; for other users the kernel limits the tree (RLIMIT_NPROC).
    let inherited_priority = getpriority_process(None)?;
    if request.confinement.tasks.is_some() {
        let _ = setpriority_process(None, HIGHEST_PRIORITY);
    }
    let scope = match confinement::signal_descendants_only(&request.confinement) {
        Ok(()) => SignalScope::Descendants,
        Err(_) => SignalScope::Unrestricted,
    };
    prctl::set_child_subreaper(true)?;
    report_exits_of_children()?;
    let mut sigchld = SigSet::empty();
    sigchld.add(Signal::SIGCHLD);
    sigchld.thread_block()?;
    let child_exits =
        SignalFd::with_flags(&sigchld, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;

    match start(&request, inherited_priority) {
        Ok((server, input)) => {
            report(&SupervisorEvent::Started(server.as_raw()))?;
            let result = Watch::begin(server, scope, input, &request, &child_exits).run();
            kill_until_gone(server, scope, &child_exits)?;
            result?;
        }
        // EAGAIN: the machine has reached its limit of processes, so the command is not at fault.
        Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => return Err(error),
        Err(error) => report(&SupervisorEvent::Failed(start_error(&request, &error)))?,
    }
    report(&SupervisorEvent::Ended)
}

/// Restores the default action of SIGCHLD. If a process inherited an ignored SIGCHLD, the kernel
/// discards the exit statuses of its children. Call this before any child exists.
///
/// # Errors
/// The system call fails.
#[allow(unsafe_code, reason = "a signal handler could be unsound; the default action is none")]
pub fn report_exits_of_children() -> io::Result<()> {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl)? };
    Ok(())
}
