//! The supervisor: a small process between the harness and one server, in a role of its own of
//! the same program (`harness supervise -- COMMAND`).
//!
//! It owns all that the command starts. As a child subreaper it becomes the parent of whoever
//! escapes from the process group, so nothing is lost sight of and nothing is mistaken for
//! another server's. When its standard input ends, which the kernel sees to even when the harness
//! is killed by SIGKILL, it ends the whole tree; should it be killed itself, the parent-death
//! signal ends the server. A byte on its input is a signal to be sent to the server. What happens
//! it tells as one JSON line each on standard output; the server writes to its standard error.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{self, Pid};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde::{Deserialize, Serialize};

use super::proc;

/// How long a tree may take to be gone after SIGKILL.
const KILL_DEADLINE: Duration = Duration::from_secs(5);

/// How many threads and processes a bounded server may have at a time. A thread for each client of
/// any case makes a third of them, and a machine has several times as many.
pub const MOST_TASKS: usize = 4000;

/// How often they are counted. Most servers do not live that long.
const COUNTED_EVERY_MS: u8 = 250;

/// What a supervisor tells the harness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The command runs.
    Started(proc::Pid),
    /// The command could not be run.
    Failed(String),
    /// The server's first process ended.
    Exited(Exit),
    /// This process was still there when the server's first process had ended.
    Survivor(Survivor),
    /// The server is killed: it has more than [`MOST_TASKS`].
    Overgrown,
    /// Nothing of the server is left.
    Over,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A process that outlived its server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivor {
    /// Its id.
    pub pid: proc::Pid,
    /// Its name in the kernel.
    pub name: String,
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Exit::Code(code) => write!(formatter, "exit code {code}"),
            Exit::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => write!(formatter, "killed by {signal}"),
                Err(_) => write!(formatter, "killed by signal {number}"),
            },
        }
    }
}

/// Runs `command` and looks after it until standard input ends. A bounded one may not have more than
/// [`MOST_TASKS`].
///
/// # Errors
/// When the kernel refuses what supervising takes. A command that does not run is told as an
/// event.
pub fn run(command: &[String], unprivileged: bool, bounded: bool) -> io::Result<()> {
    if unprivileged {
        // What the command runs inherits the bounding set. It fails for those who may not change
        // theirs, and who have not got the capability either.
        let _ = remove_capability_from_bounding_set(CapabilitySet::NET_BIND_SERVICE);
    }
    prctl::set_child_subreaper(true)?;
    let mut chld = SigSet::empty();
    chld.add(Signal::SIGCHLD);
    chld.thread_block()?;
    let deaths = SignalFd::with_flags(&chld, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;

    match start(command) {
        Ok(server) => {
            tell(&Event::Started(server.as_raw()))?;
            let watched = watch(server, bounded, &deaths);
            end_all(&deaths)?;
            watched?;
        }
        // The machine is at fault, not the command: it has no process left.
        Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => return Err(error),
        Err(error) => {
            let words = format!("cannot run `{}`: {error}", command.join(" "));
            tell(&Event::Failed(words))?;
        }
    }
    tell(&Event::Over)
}

fn start(command: &[String]) -> io::Result<Pid> {
    let (program, arguments) = command.split_first().expect("the command line asks for one");
    let log = io::stderr().as_fd().try_clone_to_owned()?;
    let mut server = Command::new(program);
    server.args(arguments).stdin(Stdio::null()).stdout(log).process_group(0);
    die_with_this_process(&mut server);
    Ok(Pid::from_raw(server.spawn()?.id() as proc::Pid))
}

#[allow(unsafe_code, reason = "CommandExt::pre_exec is the kernel's moment between fork and exec")]
fn die_with_this_process(server: &mut Command) {
    let supervisor = unistd::getpid();
    // SAFETY: between fork and exec only prctl(2), signal(2) and getppid(2) are called, which
    // allocate nothing and take no lock.
    unsafe {
        server.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // A shell starts what runs in the background with SIGINT ignored, and that is
            // inherited.
            for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
                nix::sys::signal::signal(signal, SigHandler::SigDfl)?;
            }
            // It may have died before the signal was asked for.
            if unistd::getppid() == supervisor { Ok(()) } else { Err(Errno::ESRCH.into()) }
        });
    }
}

/// Passes signals on and reaps, until standard input ends.
fn watch(server: Pid, bounded: bool, deaths: &SignalFd) -> io::Result<()> {
    let stdin = io::stdin();
    let mut exited = false;
    let timeout = if bounded { PollTimeout::from(COUNTED_EVERY_MS) } else { PollTimeout::NONE };
    let mut counted = Instant::now();
    let mut overgrown = false;
    loop {
        let mut waited = [
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
            PollFd::new(deaths.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waited, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let asked = waited[0].any() == Some(true);
        exited |= reap(Some(server), deaths)?;
        if bounded && counted.elapsed() >= Duration::from_millis(COUNTED_EVERY_MS.into()) {
            if has_too_many_tasks() {
                if !overgrown {
                    tell(&Event::Overgrown)?;
                }
                overgrown = true;
                kill_all();
            }
            counted = Instant::now();
        }
        if asked {
            let mut signals = [0; 16];
            let count = stdin.lock().read(&mut signals)?;
            if count == 0 {
                break;
            }
            for &number in signals[..count].iter().filter(|_| !exited) {
                if let Ok(signal) = Signal::try_from(i32::from(number)) {
                    let _ = kill(server, signal);
                }
            }
        }
    }
    if exited {
        for pid in descendants() {
            let name = proc::name(pid).unwrap_or_default();
            tell(&Event::Survivor(Survivor { pid, name }))?;
        }
    }
    Ok(())
}

/// Waits for whoever has ended. Says whether the server's first process was among them.
fn reap(server: Option<Pid>, deaths: &SignalFd) -> io::Result<bool> {
    while let Ok(Some(_)) = deaths.read_signal() {}
    let mut server_ended = false;
    loop {
        let (pid, exit) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Exit::Signal(signal as i32)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(server_ended),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if Some(pid) == server {
            server_ended = true;
            tell(&Event::Exited(exit))?;
        }
    }
}

/// Kills all descendants, again and again, until there is none: one may fork while its parent is
/// being killed.
fn end_all(deaths: &SignalFd) -> io::Result<()> {
    let deadline = Instant::now() + KILL_DEADLINE;
    loop {
        kill_all();
        reap(None, deaths)?;
        let everybody_gone = waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD);
        if everybody_gone || Instant::now() > deadline {
            return Ok(());
        }
        let mut waited = [PollFd::new(deaths.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut waited, 10u8);
    }
}

fn kill_all() {
    for pid in descendants() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn descendants() -> Vec<proc::Pid> {
    proc::tree(unistd::getpid().as_raw()).split_off(1)
}

/// The whole machine is asked first: that is one small file, where a tree is one for each thread.
fn has_too_many_tasks() -> bool {
    proc::tasks_of_all().is_none_or(|all| all > MOST_TASKS)
        && proc::threads(&descendants()).len() > MOST_TASKS
}

fn tell(event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    match io::stdout().lock().write_all(&line).and_then(|()| io::stdout().flush()) {
        // The harness is gone. What remains is to clean up.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
