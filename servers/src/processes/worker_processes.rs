//! Child processes that serve: forked to run a part of the server, told to end with it, and waited
//! for.
//!
//! A child is a copy of its parent that must not go on as its parent. It keeps the descriptors
//! that it was given and closes all others, or clients of its siblings would stay connected as
//! long as it lives. It has a request to stop of its own. It runs what it was forked for and
//! leaves by `_exit`, never back into the code of its parent. When its parent dies, whatever the
//! reason, the kernel kills it.
//!
//! The parent learns of an end by a descriptor (a signalfd for SIGCHLD) that is waited for beside
//! its sockets. A child that is done says so before it ends, so that its place is free by the time
//! that its client sees the end; a child that dies says nothing, and its place is free when it is
//! reaped.

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
use crate::sockets::until;

/// How long a thread that has been joined may take to leave /proc.
const LAST_THREAD_DEADLINE: Duration = Duration::from_secs(1);

const LOST: &str = "a child process did not drain: replies may be lost\n";

/// The child processes of a server.
#[derive(Debug)]
pub struct WorkerProcesses {
    shutdown: Shutdown,
    /// The signals that were blocked before this blocked SIGCHLD.
    mask: SigSet,
    ends: SignalFd,
    /// A pipe into which each child that is done writes its number, and one that is ready the same
    /// less than 0.
    done: (OwnedFd, Arc<OwnedFd>),
    alive: BTreeMap<Pid, Child>,
    backoff: RestartBackoff,
    has_lost_replies: bool,
}

#[derive(Debug)]
struct Child {
    since: Instant,
    /// It has all it needs to serve.
    is_ready: bool,
    is_done: bool,
}

impl WorkerProcesses {
    /// None yet.
    ///
    /// # Errors
    /// When this process has several threads, of which a child would have only one, with the
    /// locks of the others held for ever; and what the kernel refuses.
    pub fn new(shutdown: Shutdown) -> io::Result<WorkerProcesses> {
        wait_to_be_the_only_thread()?;
        let sigchld = SigSet::from(Signal::SIGCHLD);
        // Where it was inherited as ignored, nobody would learn how a child ended.
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

    /// How many there are that are not done. [`reap`](Self::reap) brings it up to date.
    pub fn active(&self) -> usize {
        self.alive.values().filter(|child| !child.is_done).count()
    }

    /// Forks a child that runs `body` and ends. Of the parent's descriptors it has the standard
    /// ones and those in `kept_fds`; `body` must use no other.
    ///
    /// # Errors
    /// The kernel refuses a process. What goes wrong in the child ends the child.
    pub fn fork(
        &mut self,
        kept_fds: &[RawFd],
        body: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Pid> {
        let parent = getpid();
        // A signal is to find the parent's handler in the parent and the child's in the child.
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

    /// The rest of a child's life.
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
                // It died before it could be asked for.
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
            // The panic has said what it had to say. Its payload may panic again when dropped.
            Err(payload) => {
                std::mem::forget(payload);
                1
            }
        };
        // If there is no room the parent will learn it from the end.
        let _ = write(&self.done.1, &getpid().as_raw().to_ne_bytes());
        exit(code)
    }

    /// Takes notice of the children that are done, and of those that have ended, which it gives.
    /// Never blocks.
    pub fn reap(&mut self) -> Vec<Pid> {
        while let Ok(Some(_)) = self.ends.read_signal() {}
        let mut ended = Vec::new();
        loop {
            let (pid, is_well) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code == 0),
                Ok(WaitStatus::Signaled(pid, ..)) => (pid, false),
                _ => break,
            };
            // This process may have had children before it became a server.
            let Some(child) = self.alive.remove(&pid) else { continue };
            self.has_lost_replies |= self.shutdown.is_requested() && !is_well;
            self.backoff.ended(child.since.elapsed(), Instant::now());
            ended.push(pid);
        }
        self.read_notices();
        ended
    }

    /// To be called after those that have ended were reaped: their numbers, which may become those
    /// of others, are no longer in the pipe then.
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

    /// Waits until one of the descriptors can be read, a child ends, one is due to be forked, or
    /// the server is to end. Says which of the descriptors can be read.
    ///
    /// # Errors
    /// What poll(2) says, other than that a signal came.
    pub fn wait(&self, descriptors: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
        let mut waited: Vec<PollFd<'_>> = [self.shutdown.fd(), self.ends.as_fd()]
            .iter()
            .chain(descriptors)
            .map(|&descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        match poll(&mut waited, until(self.backoff.not_before)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(vec![false; descriptors.len()]),
            Err(error) => return Err(error.into()),
        }
        Ok(waited[2..].iter().map(|one| one.any() == Some(true)).collect())
    }

    /// How many to fork now, where there should be `number`: all that are missing, or none for a
    /// while, if children ended as soon as they were forked.
    ///
    /// # Errors
    /// They did so again and again, and none is left.
    pub fn missing(&mut self, number: usize) -> io::Result<usize> {
        let missing = number.saturating_sub(self.alive.len());
        if missing == 0 || !self.backoff.may_restart(Instant::now()) {
            return Ok(0);
        }
        if self.alive.is_empty() && self.backoff.has_given_up() {
            return Err(io::Error::other(
                "child processes cannot be forked, or end as soon as they are, again and again",
            ));
        }
        Ok(missing)
    }

    /// A child could not be forked: it is tried again after a while.
    pub fn delay_restart(&mut self) {
        self.backoff.record_failure(Instant::now());
    }

    /// Keeps `number` children, which all run `body`: one that ends is replaced. Calls `listen` as
    /// soon as all are there and ready, and none runs `body` before. Returns when the server is to
    /// end.
    ///
    /// # Errors
    /// That of `listen`. WorkerProcesses end as soon as they are forked, or cannot be forked, again and
    /// again, and none is left that serves.
    pub fn maintain(
        &mut self,
        number: usize,
        kept_fds: &[RawFd],
        listen: impl FnOnce() -> io::Result<()>,
        body: impl Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        let (shutdown, say) = (self.shutdown, Arc::clone(&self.done.1));
        // WorkerProcesses wait for its end, which comes when this process closes it.
        let (gate, open) = io::pipe()?;
        let mut listen = Some((listen, open));
        while !shutdown.is_requested() {
            for _ in 0..self.missing(number)? {
                let gate = gate.try_clone()?;
                let kept_fds = [kept_fds, &[gate.as_raw_fd()]].concat();
                let wait_and_serve = || {
                    write(&say, &(-getpid().as_raw()).to_ne_bytes())?;
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

    /// Ends the server: tells the children, and returns when all have drained. Nobody listens any
    /// more then. If one dies over it, replies may be lost, and the server ends with exit code 1.
    pub fn shut_down(mut self, listener: Listener) {
        // Its timer bounds the wait, also where the server ends because it cannot go on.
        self.shutdown.request();
        for &pid in self.alive.keys() {
            // It fails for none, as none was waited for.
            let _ = kill(pid, Signal::SIGTERM);
        }
        // Only now: a child that has not been told would take it for an error. One that blocks in
        // accept is through at once.
        let _ = listener.stop_listening();
        drop(listener);
        while !self.alive.is_empty() {
            let _ = poll(&mut [PollFd::new(self.ends.as_fd(), PollFlags::POLLIN)], until(None));
            self.reap();
        }
        if self.has_lost_replies {
            self.shutdown.abort(LOST);
        }
    }
}

impl AsFd for WorkerProcesses {
    /// Readable when one has ended.
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

/// Waits for the end of the pipe. Whether it has come, and not the request to stop.
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
    // SAFETY: this is the only thread of the process, so that no lock is held by another.
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
        // This test runs in a thread beside the main one.
        let shutdown = Shutdown::install().expect("handlers");
        let error = WorkerProcesses::new(shutdown).expect_err("a test is a thread among others");
        assert!(error.to_string().contains("only thread"), "{error}");
    }
}
