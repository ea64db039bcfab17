//! Support for running as the first process of a PID namespace (pid_namespaces(7)), such as the
//! command of a container.
//!
//! The kernel does not deliver a signal to the first process unless the process has a handler for
//! the signal, so SIGTERM would have no effect. The first process also becomes the parent of every
//! orphan. It therefore starts this program again as a worker, forwards signals to the worker, and
//! reaps all children.

use std::io;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Returns whether this process is the first process of its PID namespace.
pub fn is_first() -> bool {
    std::process::id() == 1
}

const FORWARDED: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// Unblocks the signals that end a program. This process inherits the signal mask of its parent,
/// which may have blocked them.
pub fn unblock_signals() {
    // Unblocking valid signals cannot fail.
    let _ = SigSet::from_iter(FORWARDED).thread_unblock();
}

/// Runs this program again with the same arguments, as the worker. Returns the worker's exit code,
/// or 128 plus the number of the signal that killed the worker, like a shell. When this process
/// exits, the kernel kills all other processes of the namespace.
///
/// # Errors
/// The worker cannot be started, or the signals cannot be received.
pub fn run() -> io::Result<ExitCode> {
    let signals = SigSet::from_iter(FORWARDED.into_iter().chain([Signal::SIGCHLD]));
    signals.thread_block()?;
    let received = SignalFd::new(&signals)?;
    // The worker inherits the mask, and unblocks the signals when it starts.
    let worker =
        Command::new(std::env::current_exe()?).args(std::env::args_os().skip(1)).spawn()?;
    let worker = Pid::from_raw(worker.id() as i32);
    loop {
        if let Some(code) = reap(worker) {
            return Ok(ExitCode::from(code));
        }
        let mut poll_set = [PollFd::new(received.as_fd(), PollFlags::POLLIN)];
        match poll(&mut poll_set, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let Some(signal) = received.read_signal()? else { continue };
        // A signal from the terminal (SI_KERNEL of sigaction(2)) has reached the worker too.
        if signal.ssi_code != libc::SI_KERNEL
            && let Ok(signal) = Signal::try_from(signal.ssi_signo as i32)
            && signal != Signal::SIGCHLD
        {
            // The worker has not been reaped, so its process id is valid.
            let _ = kill(worker, signal);
        }
    }
}

/// Reaps all exited children. Returns the exit code of the worker, if the worker was among them.
fn reap(worker: Pid) -> Option<u8> {
    let mut code = None;
    loop {
        let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
            // No further child has exited, or no child exists.
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return code,
            _ => continue,
        };
        if pid == worker {
            code = Some(u8::try_from(status).unwrap_or(u8::MAX));
        }
    }
}
