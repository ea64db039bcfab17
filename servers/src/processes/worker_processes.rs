//! Worker processes: forked to run a part of the server, shut down with the server, and reaped.
//!
//! A child must not continue as its parent. It closes all descriptors except those that it was
//! given, or it would keep the connections of its siblings open. It gets a separate shutdown
//! request, runs its body, and ends with `_exit`, so it never returns into the parent's code. If
//! the parent dies for any reason, the kernel kills the child (PR_SET_PDEATHSIG).
//!
//! The parent waits for its sockets and for children, with a signalfd for SIGCHLD. A child reports
//! that it is done before it exits, so that its slot is free when its client sees the close. If a
//! child dies without a report, its slot is free when the child is reaped.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, getpid, getppid, pipe2, read, write};

use super::descriptors::close_all_but;
use super::restart_backoff::RestartBackoff;
use crate::shutdown::Shutdown;
use crate::sockets::Listener;
use crate::sockets::poll_timeout;

/// Deadline for a joined thread to disappear from /proc.
const LAST_THREAD_DEADLINE: Duration = Duration::from_secs(1);

const DRAIN_FAILED: &str = "a child process did not drain; replies may be lost\n";

/// The worker processes of a server.
#[derive(Debug)]
pub struct WorkerProcesses {
    shutdown: Shutdown,
    /// The signal mask before SIGCHLD was blocked.
    mask: SigSet,
    /// Readable when a child has exited.
    sigchld: SignalFd,
    /// Read end of a pipe. A child writes its negated process id when it is ready to serve, and its
    /// process id when it is done.
    reports: OwnedFd,
    report_writer: Arc<OwnedFd>,
    children: BTreeMap<Pid, Child>,
    backoff: RestartBackoff,
    /// Whether a child failed during the drain.
    has_lost_replies: bool,
}

#[derive(Debug)]
struct Child {
    forked_at: Instant,
    is_ready: bool,
    is_done: bool,
}

impl WorkerProcesses {
    /// Returns a set without children.
    ///
    /// # Errors
    /// The kernel refuses a resource, or this process has several threads. A child has only the
    /// forking thread, and locks of the other threads would stay locked for ever.
    pub fn new(shutdown: Shutdown) -> io::Result<WorkerProcesses> {
        wait_to_be_the_only_thread()?;
        let signals = SigSet::from(Signal::SIGCHLD);
        // If this process inherited an ignored SIGCHLD, exit statuses would be lost.
        set_default(Signal::SIGCHLD)?;
        let mask = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let (reports, report_writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok(WorkerProcesses {
            shutdown,
            mask,
            sigchld: SignalFd::with_flags(
                &signals,
                SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
            )?,
            reports,
            report_writer: Arc::new(report_writer),
            children: BTreeMap::new(),
            backoff: RestartBackoff::default(),
            has_lost_replies: false,
        })
    }

    /// Returns the number of children that are not done. [`reap`](Self::reap) updates it.
    pub fn active(&self) -> usize {
        self.children.values().filter(|child| !child.is_done).count()
    }

    /// Forks a child that runs `body` and exits. The child keeps the standard descriptors and
    /// `kept_fds`; `body` must use no others.
    ///
    /// # Errors
    /// fork(2) fails. An error of `body` only ends the child.
    pub fn fork(
        &mut self,
        kept_fds: &[RawFd],
        body: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Pid> {
        let parent = getpid();
        // Signals must stay pending until the child has installed its handlers.
        let mask = Shutdown::signals().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let forked = fork();
        if let Ok(ForkResult::Child) = forked {
            self.run_child(parent, kept_fds, body);
        }
        mask.thread_set_mask()?;
        let ForkResult::Parent { child } = forked? else { unreachable!("a child does not return") };
        self.children
            .insert(child, Child { forked_at: Instant::now(), is_ready: false, is_done: false });
        Ok(child)
    }

    /// Runs `body` in the child and exits.
    fn run_child(
        &self,
        parent: Pid,
        kept_fds: &[RawFd],
        body: impl FnOnce() -> io::Result<()>,
    ) -> ! {
        let prepare = || {
            let shared_fds = [self.shutdown.fd().as_raw_fd(), self.report_writer.as_raw_fd()];
            close_all_but(kept_fds.iter().chain(&shared_fds).copied())?;
            self.shutdown.reset_in_child()?;
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != parent {
                // The parent died before PR_SET_PDEATHSIG took effect.
                return Err(io::Error::from(Errno::ESRCH));
            }
            self.mask.thread_set_mask()?;
            Ok(())
        };
        let code = match catch_unwind(AssertUnwindSafe(|| prepare().and_then(|()| body()))) {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => {
                let _ = writeln!(io::stderr(), "child process {}: {error}", getpid());
                1
            }
            // The panic message is already printed. Dropping the payload might panic again.
            Err(payload) => {
                std::mem::forget(payload);
                1
            }
        };
        // If the pipe is full, the parent notices the end of the child when it reaps the child.
        let _ = write(&self.report_writer, &getpid().as_raw().to_ne_bytes());
        exit(code)
    }

    /// Reaps exited children and returns their process ids. Reads the reports of the others. Never
    /// blocks.
    pub fn reap(&mut self) -> Vec<Pid> {
        while let Ok(Some(_)) = self.sigchld.read_signal() {}
        let mut exited = Vec::new();
        loop {
            let (pid, has_succeeded) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code == 0),
                Ok(WaitStatus::Signaled(pid, ..)) => (pid, false),
                _ => break,
            };
            // An unknown process, for example a child of a program that called exec(2), is not a
            // worker.
            let Some(child) = self.children.remove(&pid) else { continue };
            self.has_lost_replies |= self.shutdown.is_requested() && !has_succeeded;
            self.backoff.record_exit(child.forked_at.elapsed(), Instant::now());
            exited.push(pid);
        }
        self.read_reports();
        exited
    }

    /// Reads the reports of the children. Call it after exited children are removed, and before the
    /// next fork. It then discards the reports of exited children, so that an old report cannot
    /// match a reused process id.
    fn read_reports(&mut self) {
        let mut numbers = [0; 1024];
        while let Ok(count @ 1..) = read(&self.reports, &mut numbers) {
            for number in numbers[..count].as_chunks().0.iter().map(|&id| i32::from_ne_bytes(id)) {
                if let Some(child) = self.children.get_mut(&Pid::from_raw(number.abs())) {
                    child.is_ready = true;
                    child.is_done |= number > 0;
                }
            }
        }
    }

    /// Waits until a descriptor is readable, a child exits, a restart delay ends, or the server
    /// shuts down. Returns for each descriptor whether it is readable.
    ///
    /// # Errors
    /// Those of poll(2) other than EINTR.
    pub fn wait(&self, descriptors: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
        let mut waited: Vec<PollFd<'_>> = [self.shutdown.fd(), self.sigchld.as_fd()]
            .iter()
            .chain(descriptors)
            .map(|&descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        match poll(&mut waited, poll_timeout(self.backoff.not_before)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(vec![false; descriptors.len()]),
            Err(error) => return Err(error.into()),
        }
        Ok(waited[2..].iter().map(|fd| fd.any() == Some(true)).collect())
    }

    /// Returns how many children must be forked now to reach `number`, or 0 during a restart delay.
    ///
    /// # Errors
    /// Children failed repeatedly, and no child is left.
    pub fn missing(&mut self, number: usize) -> io::Result<usize> {
        let missing = number.saturating_sub(self.children.len());
        if missing == 0 || !self.backoff.may_restart(Instant::now()) {
            return Ok(0);
        }
        if self.children.is_empty() && self.backoff.has_given_up() {
            return Err(io::Error::other(
                "worker processes exit at once or cannot be forked; giving up",
            ));
        }
        Ok(missing)
    }

    /// Records that a fork failed, which delays the next one.
    pub fn delay_restart(&mut self) {
        self.backoff.record_failure(Instant::now());
    }

    /// Keeps `number` children running, and replaces those that exit. Once all children are ready,
    /// calls `listen`; then the children run `body`. Returns at shutdown.
    ///
    /// # Errors
    /// `listen` fails, or children repeatedly exit at once or cannot be forked and no child is
    /// left.
    pub fn maintain(
        &mut self,
        number: usize,
        kept_fds: &[RawFd],
        listen: impl FnOnce() -> io::Result<()>,
        body: impl Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        let (shutdown, report_writer) = (self.shutdown, Arc::clone(&self.report_writer));
        // The children wait for the end of this pipe. The parent closes the write end after
        // `listen`.
        let (gate, gate_opener) = io::pipe()?;
        let mut listen = Some((listen, gate_opener));
        while !shutdown.is_requested() {
            for _ in 0..self.missing(number)? {
                let gate = gate.try_clone()?;
                let kept_fds = [kept_fds, &[gate.as_raw_fd()]].concat();
                let wait_and_serve = || {
                    write(&report_writer, &(-getpid().as_raw()).to_ne_bytes())?;
                    if wait_until_open(gate, shutdown)? { body() } else { Ok(()) }
                };
                if self.fork(&kept_fds, wait_and_serve).is_err() {
                    self.delay_restart();
                    break;
                }
            }
            self.wait(&[self.reports.as_fd()])?;
            self.reap();
            let ready = self.children.values().filter(|child| child.is_ready).count();
            if let Some((listen, _gate_opener)) = listen.take_if(|_| ready == number) {
                listen()?;
            }
        }
        Ok(())
    }

    /// Shuts the server down: signals the children and returns when all have drained. If a child
    /// fails while it drains, replies may be lost, and the server exits with code 1.
    pub fn shut_down(mut self, listener: Listener) {
        // Starts the drain timer, which bounds the wait, even if no signal caused the shutdown.
        self.shutdown.request();
        for &pid in self.children.keys() {
            // Cannot fail, because the children are not reaped yet.
            let _ = kill(pid, Signal::SIGTERM);
        }
        // Unblocks accept in the children. It must follow the signals, because a child without a
        // shutdown request would report the stopped listener as an error.
        let _ = listener.stop_listening();
        drop(listener);
        while !self.children.is_empty() {
            let _ = poll(
                &mut [PollFd::new(self.sigchld.as_fd(), PollFlags::POLLIN)],
                poll_timeout(None),
            );
            self.reap();
        }
        if self.has_lost_replies {
            self.shutdown.abort(DRAIN_FAILED);
        }
    }
}

impl AsFd for WorkerProcesses {
    /// Readable when a child has exited.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sigchld.as_fd()
    }
}

impl Drop for WorkerProcesses {
    fn drop(&mut self) {
        for &pid in self.children.keys() {
            let _ = kill(pid, Signal::SIGKILL);
            while waitpid(pid, None) == Err(Errno::EINTR) {}
        }
        let _ = self.mask.thread_set_mask();
    }
}

/// Waits for the end of the pipe. Returns false if the shutdown was requested before.
fn wait_until_open(mut gate: PipeReader, shutdown: Shutdown) -> io::Result<bool> {
    while !shutdown.is_requested() {
        match gate.read(&mut [0]) {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn wait_to_be_the_only_thread() -> io::Result<()> {
    let deadline = Instant::now() + LAST_THREAD_DEADLINE;
    while fs::read_dir("/proc/self/task")?.count() > 1 {
        if Instant::now() > deadline {
            return Err(io::Error::other(
                "a server that forks must be the only thread of its process",
            ));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[allow(unsafe_code, reason = "fork(2)")]
fn fork() -> nix::Result<ForkResult> {
    // SAFETY: this is the only thread of the process, so no other thread holds a lock.
    unsafe { nix::unistd::fork() }
}

#[allow(unsafe_code, reason = "_exit(2): a child must not run the parent's exit handlers")]
fn exit(code: i32) -> ! {
    // SAFETY: _exit(2) takes no pointer and runs no code of this process.
    unsafe { libc::_exit(code) }
}

#[allow(unsafe_code, reason = "signal(2)")]
fn set_default(signal: Signal) -> io::Result<()> {
    // SAFETY: the default action runs no code of this process.
    unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_several_threads_does_not_fork() {
        // A test runs in a thread, while the main thread waits for it.
        let shutdown = Shutdown::install().expect("handlers");
        let error = WorkerProcesses::new(shutdown).expect_err("several threads");
        assert!(error.to_string().contains("only thread"), "{error}");
    }
}
