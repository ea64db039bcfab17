//! Worker processes: forked to run a part of the server, shut down with it, and reaped.
//!
//! A child must not continue as its parent. It closes all descriptors but those it was given;
//! otherwise it would keep its siblings' connections open. It gets a shutdown request of its own,
//! runs its body and leaves by `_exit`, never returning into the parent's code. When the parent
//! dies for any reason, the kernel kills the child (PR_SET_PDEATHSIG).
//!
//! The parent waits for children with a signalfd for SIGCHLD, next to its sockets. A child reports
//! that it is done before it exits, so that its slot is free when its client sees the close. The
//! slot of a child that dies without a report is free when the child is reaped.

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

/// Time for a joined thread to disappear from /proc.
const LAST_THREAD_DEADLINE: Duration = Duration::from_secs(1);

const DRAIN_FAILED: &str = "a child process did not drain; replies may be lost\n";

/// The worker processes of a server.
#[derive(Debug)]
pub struct WorkerProcesses {
    shutdown: Shutdown,
    /// The signal mask before SIGCHLD was blocked.
    mask: SigSet,
    ends: SignalFd,
    /// A pipe: a child writes its process id when it is done, and the negated id when it is ready.
    done: (OwnedFd, Arc<OwnedFd>),
    alive: BTreeMap<Pid, Child>,
    backoff: RestartBackoff,
    has_lost_replies: bool,
}

#[derive(Debug)]
struct Child {
    since: Instant,
    /// It is ready to serve.
    is_ready: bool,
    is_done: bool,
}

impl WorkerProcesses {
    /// Returns a set without children.
    ///
    /// # Errors
    /// This process has several threads (a child has only the forking thread, and locks held by
    /// others would stay locked for ever), or the kernel refuses a resource.
    pub fn new(shutdown: Shutdown) -> io::Result<WorkerProcesses> {
        wait_to_be_the_only_thread()?;
        let sigchld = SigSet::from(Signal::SIGCHLD);
        // If SIGCHLD is ignored, as it may be inherited, exit statuses are lost.
        set_default(Signal::SIGCHLD)?;
        let mask = sigchld.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let (done, is_done) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok(WorkerProcesses {
            shutdown,
            mask,
            ends: SignalFd::with_flags(&sigchld, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
            done: (done, Arc::new(is_done)),
            alive: BTreeMap::new(),
            backoff: RestartBackoff::default(),
            has_lost_replies: false,
        })
    }

    /// Returns the number of children that are not done. [`reap`](Self::reap) updates it.
    pub fn active(&self) -> usize {
        self.alive.values().filter(|child| !child.is_done).count()
    }

    /// Forks a child that runs `body` and exits. It keeps the standard descriptors and `kept_fds`;
    /// `body` must use no other.
    ///
    /// # Errors
    /// fork(2) fails. Errors in the child end the child.
    pub fn fork(
        &mut self,
        kept_fds: &[RawFd],
        body: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Pid> {
        let parent = getpid();
        // Until the child has installed its own handlers, signals must stay pending.
        let mask = Shutdown::signals().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let forked = fork();
        if let Ok(ForkResult::Child) = forked {
            self.be_child(parent, kept_fds, body);
        }
        mask.thread_set_mask()?;
        let ForkResult::Parent { child } = forked? else { unreachable!("a child does not return") };
        self.alive.insert(child, Child { since: Instant::now(), is_ready: false, is_done: false });
        Ok(child)
    }

    /// Runs the child to its end.
    fn be_child(
        &self,
        parent: Pid,
        kept_fds: &[RawFd],
        body: impl FnOnce() -> io::Result<()>,
    ) -> ! {
        let begin = || {
            let own = [self.shutdown.fd().as_raw_fd(), self.done.1.as_raw_fd()];
            close_all_but(kept_fds.iter().chain(&own).copied())?;
            self.shutdown.reset_in_child()?;
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != parent {
                // The parent died before PR_SET_PDEATHSIG took effect.
                return Err(io::Error::from(Errno::ESRCH));
            }
            self.mask.thread_set_mask()?;
            Ok(())
        };
        let code = match catch_unwind(AssertUnwindSafe(|| begin().and_then(|()| body()))) {
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
        // If the pipe is full, the parent learns it when it reaps the child.
        let _ = write(&self.done.1, &getpid().as_raw().to_ne_bytes());
        exit(code)
    }

    /// Reaps exited children and returns them; reads the reports of the others. Never blocks.
    pub fn reap(&mut self) -> Vec<Pid> {
        while let Ok(Some(_)) = self.ends.read_signal() {}
        let mut ended = Vec::new();
        loop {
            let (pid, has_succeeded) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code == 0),
                Ok(WaitStatus::Signaled(pid, ..)) => (pid, false),
                _ => break,
            };
            // A child from before this process became a server.
            let Some(child) = self.alive.remove(&pid) else { continue };
            self.has_lost_replies |= self.shutdown.is_requested() && !has_succeeded;
            self.backoff.ended(child.since.elapsed(), Instant::now());
            ended.push(pid);
        }
        self.read_notices();
        ended
    }

    /// Called after exited children are removed: their ids, which may be reused, are no longer in
    /// the pipe then.
    fn read_notices(&mut self) {
        let mut numbers = [0; 1024];
        while let Ok(count @ 1..) = read(&self.done.0, &mut numbers) {
            for number in numbers[..count].as_chunks().0.iter().map(|&it| i32::from_ne_bytes(it)) {
                if let Some(child) = self.alive.get_mut(&Pid::from_raw(number.abs())) {
                    child.is_ready = true;
                    child.is_done |= number > 0;
                }
            }
        }
    }

    /// Waits until a descriptor is readable, a child exits, a restart is due, or the server shuts
    /// down. Returns which descriptors are readable.
    ///
    /// # Errors
    /// Those of poll(2) other than EINTR.
    pub fn wait(&self, descriptors: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
        let mut waited: Vec<PollFd<'_>> = [self.shutdown.fd(), self.ends.as_fd()]
            .iter()
            .chain(descriptors)
            .map(|&descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        match poll(&mut waited, poll_timeout(self.backoff.not_before)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(vec![false; descriptors.len()]),
            Err(error) => return Err(error.into()),
        }
        Ok(waited[2..].iter().map(|one| one.any() == Some(true)).collect())
    }

    /// Returns how many children to fork now to reach `number`; 0 during a restart delay.
    ///
    /// # Errors
    /// Children failed repeatedly, and none is left.
    pub fn missing(&mut self, number: usize) -> io::Result<usize> {
        let missing = number.saturating_sub(self.alive.len());
        if missing == 0 || !self.backoff.may_restart(Instant::now()) {
            return Ok(0);
        }
        if self.alive.is_empty() && self.backoff.has_given_up() {
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

    /// Keeps `number` children running, which all run `body`; replaces those that exit. Calls
    /// `listen` once all are ready, and no child runs `body` before. Returns at shutdown.
    ///
    /// # Errors
    /// That of `listen`. Children repeatedly exit at once or cannot be forked, and none is left.
    pub fn maintain(
        &mut self,
        number: usize,
        kept_fds: &[RawFd],
        listen: impl FnOnce() -> io::Result<()>,
        body: impl Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        let (shutdown, notices) = (self.shutdown, Arc::clone(&self.done.1));
        // The children wait for the end of this pipe, which the parent closes.
        let (gate, open) = io::pipe()?;
        let mut listen = Some((listen, open));
        while !shutdown.is_requested() {
            for _ in 0..self.missing(number)? {
                let gate = gate.try_clone()?;
                let kept_fds = [kept_fds, &[gate.as_raw_fd()]].concat();
                let wait_and_serve = || {
                    write(&notices, &(-getpid().as_raw()).to_ne_bytes())?;
                    if wait_until_open(gate, shutdown)? { body() } else { Ok(()) }
                };
                if self.fork(&kept_fds, wait_and_serve).is_err() {
                    self.delay_restart();
                    break;
                }
            }
            self.wait(&[self.done.0.as_fd()])?;
            self.reap();
            let ready = self.alive.values().filter(|child| child.is_ready).count();
            if let Some((listen, _open)) = listen.take_if(|_| ready == number) {
                listen()?;
            }
        }
        Ok(())
    }

    /// Shuts the server down: signals the children and returns when all have drained. If one dies
    /// while draining, replies may be lost, and the server exits with code 1.
    pub fn shut_down(mut self, listener: Listener) {
        // Starts the drain timer, which bounds the wait also if the server shuts down by itself.
        self.shutdown.request();
        for &pid in self.alive.keys() {
            // Cannot fail: the children are not reaped yet.
            let _ = kill(pid, Signal::SIGTERM);
        }
        // Only now: a child without the signal would report an error. This also ends a blocking
        // accept.
        let _ = listener.stop_listening();
        drop(listener);
        while !self.alive.is_empty() {
            let _ =
                poll(&mut [PollFd::new(self.ends.as_fd(), PollFlags::POLLIN)], poll_timeout(None));
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
        self.ends.as_fd()
    }
}

impl Drop for WorkerProcesses {
    fn drop(&mut self) {
        for &pid in self.alive.keys() {
            let _ = kill(pid, Signal::SIGKILL);
            while waitpid(pid, None) == Err(Errno::EINTR) {}
        }
        let _ = self.mask.thread_set_mask();
    }
}

/// Waits for the end of the pipe. Returns whether it came before the shutdown request.
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

#[allow(unsafe_code, reason = "a child ends without what the parent registered for its end")]
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
        // Tests run in threads beside the main thread.
        let shutdown = Shutdown::install().expect("handlers");
        let error = WorkerProcesses::new(shutdown).expect_err("a test is a thread among others");
        assert!(error.to_string().contains("only thread"), "{error}");
    }
}
