//! Being the first process of a PID namespace (pid_namespaces(7)), as a container's command is. To
//! that one the kernel delivers no signal that it has no handler for, so SIGTERM would do nothing,
//! and every orphan of the namespace becomes its child. So the work is done by a child, which is a
//! process like any other; the first one passes signals on, and waits for whoever ends.

use std::io;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Whether this process is the first one of its namespace.
pub fn is_first() -> bool {
    std::process::id() == 1
}

const PASSED_ON: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// Unblocks the signals that end a program. Whoever started this one may have blocked them, and the
/// mask is inherited.
pub fn let_signals_in() {
    // It fails for no set.
    let _ = SigSet::from_iter(PASSED_ON).thread_unblock();
}

/// Runs this program once more, with the same arguments, and gives its exit code, as a shell would
/// where a signal ended it. When this process ends, the kernel kills all others of the namespace.
///
/// # Errors
/// The kernel refuses a process or the signals.
pub fn run() -> io::Result<ExitCode> {
    let signals = SigSet::from_iter(PASSED_ON.into_iter().chain([Signal::SIGCHLD]));
    signals.thread_block()?;
    let received = SignalFd::new(&signals)?;
    // It inherits the mask, and lets signals in when it begins.
    let worker =
        Command::new(std::env::current_exe()?).args(std::env::args_os().skip(1)).spawn()?;
    let worker = Pid::from_raw(worker.id() as i32);
    loop {
        if let Some(code) = reap(worker) {
            return Ok(ExitCode::from(code));
        }
        let mut waited = [PollFd::new(received.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waited, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let Some(signal) = received.read_signal()? else { continue };
        // What the terminal sends (SI_KERNEL of sigaction(2)) has reached the worker too.
        if signal.ssi_code != libc::SI_KERNEL
            && let Ok(signal) = Signal::try_from(signal.ssi_signo as i32)
            && signal != Signal::SIGCHLD
        {
            // It fails for none: the worker has not been waited for.
            let _ = kill(worker, signal);
        }
    }
}

/// Waits for whoever has ended. The worker's exit code, if it is among them.
fn reap(worker: Pid) -> Option<u8> {
    let mut code = None;
    loop {
        let (pid, ended) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
            // Nobody else has ended, or nobody else is there.
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return code,
            _ => continue,
        };
        if pid == worker {
            code = Some(u8::try_from(ended).unwrap_or(u8::MAX));
        }
    }
}
