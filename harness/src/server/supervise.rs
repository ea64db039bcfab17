//! The supervisor: a small process between the harness and one server. It is a role of the same
//! program (`harness supervise`), and first reads a launch request from its standard input.
//!
//! It owns the whole process tree of the command. As a child subreaper (prctl(2)) it becomes the
//! parent of orphaned descendants, even outside the process group. So no process is missed, and
//! none is attributed to another server. When its standard input ends, it kills the process tree.
//! The kernel closes that pipe even when the harness is killed by SIGKILL. If the supervisor itself
//! is killed, the parent-death signal kills the server. Each byte after the launch request is the
//! number of a signal to send to the server. The supervisor writes events to standard output, one
//! line of JSON each. The server writes to the supervisor's standard error.

use std::collections::HashSet;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::resource::setrlimit;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{self, Pid};
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde::{Deserialize, Serialize};

use super::confinement::{self, Scope};
use super::launch_request::LaunchRequest;
use super::launcher::ROLE;
use super::proc;
use crate::exit::Exit;

/// Timeout until a process tree is gone after SIGKILL.
const KILL_DEADLINE: Duration = Duration::from_secs(5);

/// Limit on the threads and processes of a bounded server. One thread per client of the largest
/// case makes a third of it, and a machine allows several times as many.
pub const MOST_TASKS: usize = 4000;

/// Interval between two counts of threads and processes. Most servers do not live that long.
const COUNTED_EVERY: Duration = Duration::from_millis(250);

/// Interval for limits below [`FEW`], which are reached soon and counted fast.
const FEW_COUNTED_EVERY: Duration = Duration::from_millis(50);
const FEW: usize = 2000;

/// Nice value of a supervisor that counts.
const URGENT: i32 = -20;

/// Pause between two attempts to kill the rest of a process tree.
const KILLED_EVERY: Duration = Duration::from_millis(10);

/// An event that the supervisor reports to the harness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The command runs, with this process id.
    Started(proc::Pid),
    /// The command could not be run.
    Failed(String),
    /// The server's first process exited.
    Exited(Exit),
    /// A process survived the server's first process.
    Survivor(Survivor),
    /// The server is being killed: it exceeded its limit of threads and processes.
    Overgrown,
    /// The server is being killed: it exceeded its lifetime limit.
    Outlived,
    /// This isolation could not be applied.
    Unconfined(String),
    /// No process of the server is left.
    Over,
}

/// A process that survived the server's first process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivor {
    /// Process id.
    pub pid: proc::Pid,
    /// Name in the kernel.
    pub name: String,
}

/// Runs the launch request from standard input and supervises the process tree until the input
/// ends.
///
/// # Errors
/// There is no valid launch request, or a system call of the supervisor fails. A command that
/// cannot be run is reported as an event instead.
pub fn run() -> io::Result<()> {
    let order = LaunchRequest::read(io::stdin().lock())?;
    if order.unprivileged {
        // The command inherits the bounding set. Dropping fails for a process without CAP_SETPCAP,
        // which does not have this capability either.
        let _ = remove_capability_from_bounding_set(CapabilitySet::NET_BIND_SERVICE);
    }
    // The supervisor needs enough CPU time to kill a process tree that keeps growing. A user other
    // than root cannot raise the priority, but is bounded by the kernel.
    let usual = getpriority_process(None)?;
    if order.limits.tasks.is_some() {
        let _ = setpriority_process(None, URGENT);
    }
    let reach = match confinement::signal_descendants_only(&order.limits) {
        Ok(()) => Reach::Descendants,
        Err(_) => Reach::Others,
    };
    prctl::set_child_subreaper(true)?;
    let mut chld = SigSet::empty();
    chld.add(Signal::SIGCHLD);
    chld.thread_block()?;
    let deaths = SignalFd::with_flags(&chld, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;

    match start(&order, usual) {
        Ok((server, feed)) => {
            tell(&Event::Started(server.as_raw()))?;
            let watched = Watch::begin(server, reach, feed, &order, &deaths).until_asked();
            end_all(server, reach, &deaths)?;
            watched?;
        }
        // EAGAIN: the machine has no process left, so the command is not at fault.
        Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => return Err(error),
        Err(error) => tell(&Event::Failed(why_not_run(&order, &error)))?,
    }
    tell(&Event::Over)
}

/// Starts the command. The caller writes the text for its standard input.
fn start(order: &LaunchRequest, priority: i32) -> io::Result<(Pid, Option<Feed>)> {
    let (program, arguments) = order.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = match &order.folder {
        Some(folder) => folder.canonicalize()?,
        // It may have been removed, which is for the server to handle.
        None => std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
    };
    let shut = confinement::shut_in(&order.limits, &folder, &order.command);
    shut.undone.into_iter().try_for_each(|words| tell(&Event::Unconfined(words)))?;
    let log = io::stderr().as_fd().try_clone_to_owned()?;
    let mut server = Command::new(program);
    server.args(arguments).stdin(Stdio::null()).stdout(log);
    if order.folder.is_some() {
        server.current_dir(&folder);
    }
    if order.limits.read_only {
        server.env("TMPDIR", "/tmp");
    }
    NOT_INHERITED.iter().for_each(|name| {
        server.env_remove(name);
    });
    server.envs(order.environment.iter().map(|(name, value)| (name, value)));
    let mut feed = None;
    if let Some(input) = &order.input {
        let (reader, writer) = io::pipe()?;
        // The supervisor must not block on a server that does not read.
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        server.stdin(reader);
        feed = Some(Feed { writer, rest: input.clone().into_bytes() });
    }
    let limits = order.limits.resources();
    let processors = order.processors.as_deref().map(set).transpose()?;
    before_it_is_one(&mut server, move || {
        setpriority_process(None, priority)?;
        if let Some(processors) = &processors {
            // Before exec: a server with one worker per CPU counts the CPUs when it starts.
            sched_setaffinity(Pid::from_raw(0), processors)?;
        }
        if let Some(scope) = &shut.scope {
            Scope::enter(scope)?;
        }
        limits.iter().try_for_each(|&(what, soft, hard)| Ok(setrlimit(what, soft, hard)?))
    });
    Ok((Pid::from_raw(server.spawn()?.id() as proc::Pid), feed))
}

/// Variables that a server does not inherit from the harness. They change how an interpreter writes
/// its output, checks the program or exits. Results would then depend on the environment of the
/// harness. The `environment` of a manifest, or `env` in the command, still sets them.
const NOT_INHERITED: &[&str] = &[
    ROLE,
    "PYTHONUNBUFFERED",
    "PYTHONINSPECT",
    "PYTHONDEVMODE",
    "PYTHONASYNCIODEBUG",
    "PYTHONTRACEMALLOC",
    "PYTHONMALLOC",
    "NODE_DEBUG",
];

/// Returns the CPUs as a kernel CPU set.
fn set(processors: &[usize]) -> io::Result<CpuSet> {
    let mut set = CpuSet::new();
    processors.iter().try_for_each(|&number| set.set(number))?;
    Ok(set)
}

/// Returns the error message for a command that cannot be run.
fn why_not_run(order: &LaunchRequest, error: &io::Error) -> String {
    let command = order.command.join(" ");
    let program = order.command.first().map_or("", String::as_str);
    match &order.folder {
        Some(folder) if !folder.is_dir() => {
            let folder = folder.display();
            return format!(
                "cannot run `{command}` in {folder}: there is no such folder, or it may not be entered: create it, or name another"
            );
        }
        _ => {}
    }
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied if program.contains('/') => {
            format!("; make `{program}` executable (chmod +x), or name its interpreter first")
        }
        // EACCES: PATH may contain directories that the user may not search.
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => format!(
            "; is `{program}` installed, and are its path and that of its interpreter (`#!`) right?"
        ),
        _ => String::new(),
    };
    let folder = order.folder.as_ref().map(|folder| format!(" in {}", folder.display()));
    format!("cannot run `{command}`{}: {error}{advice}", folder.unwrap_or_default())
}

/// Registers the setup of the server's process between fork and exec. `limit` must not allocate or
/// take a lock.
#[allow(unsafe_code, reason = "CommandExt::pre_exec is the kernel's moment between fork and exec")]
fn before_it_is_one(
    server: &mut Command,
    limit: impl Fn() -> io::Result<()> + Send + Sync + 'static,
) {
    let supervisor = unistd::getpid();
    // SAFETY: between fork and exec only prctl(2), sigprocmask(2), signal(2), getppid(2), setsid(2)
    // and the system calls of `limit` are made. Those are sched_setaffinity(2), setpriority(2),
    // landlock_restrict_self(2) and setrlimit(2). None of them allocates or takes a lock.
    unsafe {
        server.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // Signals that a parent blocks would stay blocked after exec.
            SigSet::empty().thread_set_mask()?;
            // A shell starts background commands with SIGINT ignored, and exec inherits that.
            for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
                nix::sys::signal::signal(signal, SigHandler::SigDfl)?;
            }
            // The supervisor may have died before the parent-death signal was set.
            if unistd::getppid() != supervisor {
                return Err(Errno::ESRCH.into());
            }
            // A separate session and process group. In the harness's session the server could
            // insert commands into the input of the user's terminal (TIOCSTI of ioctl_tty(2)).
            unistd::setsid()?;
            limit()
        });
    }
}

/// Text for the server's standard input, which ends when this is dropped.
struct Feed {
    writer: PipeWriter,
    rest: Vec<u8>,
}

impl Feed {
    /// Writes as much as the pipe accepts. Returns whether there is more to write.
    fn goes_on(&mut self) -> bool {
        match self.writer.write(&self.rest) {
            Ok(count) => {
                self.rest.drain(..count);
                !self.rest.is_empty()
            }
            // On any other error the server has closed its end.
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
            }
        }
    }
}

/// State of the supervision of one server.
struct Watch<'a> {
    server: Pid,
    reach: Reach,
    feed: Option<Feed>,
    most_tasks: Option<usize>,
    /// End of its permitted lifetime.
    end: Option<Instant>,
    deaths: &'a SignalFd,
    counted: Instant,
    exited: bool,
    /// It is being killed, and no process of it may stay.
    doomed: bool,
}

impl<'a> Watch<'a> {
    fn begin(
        server: Pid,
        reach: Reach,
        feed: Option<Feed>,
        order: &LaunchRequest,
        deaths: &'a SignalFd,
    ) -> Watch<'a> {
        let (most_tasks, now) = (order.limits.tasks, Instant::now());
        let end = order.limits.lifetime.and_then(|lifetime| now.checked_add(lifetime));
        Watch {
            server,
            reach,
            feed,
            most_tasks,
            end,
            deaths,
            counted: now,
            exited: false,
            doomed: false,
        }
    }

    /// Forwards signals and reaps children until standard input ends.
    fn until_asked(mut self) -> io::Result<()> {
        let stdin = io::stdin();
        loop {
            let timeout = self.timeout();
            let mut waited = vec![
                PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.deaths.as_fd(), PollFlags::POLLIN),
            ];
            waited.extend(
                self.feed.iter().map(|feed| PollFd::new(feed.writer.as_fd(), PollFlags::POLLOUT)),
            );
            match poll(&mut waited, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let asked = waited[0].any() == Some(true);
            self.exited |= reap(Some(self.server), self.deaths)?;
            self.feed = self.feed.take().and_then(|mut feed| feed.goes_on().then_some(feed));
            self.keep_within_limits()?;
            if asked {
                let mut signals = [0; 16];
                let count = stdin.lock().read(&mut signals)?;
                if count == 0 {
                    break;
                }
                self.pass_on(&signals[..count]);
            }
        }
        if self.exited {
            for pid in descendants() {
                let name = proc::name(pid).unwrap_or_default();
                tell(&Event::Survivor(Survivor { pid, name }))?;
            }
        }
        Ok(())
    }

    fn pass_on(&self, signals: &[u8]) {
        for &number in signals.iter().filter(|_| !self.exited) {
            if let Ok(signal) = Signal::try_from(i32::from(number)) {
                let _ = kill(self.server, signal);
            }
        }
    }

    fn timeout(&self) -> PollTimeout {
        let count = self.most_tasks.map(count_every);
        let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
        let kill = self.doomed.then_some(KILLED_EVERY);
        let Some(soonest) = [count, left, kill].into_iter().flatten().min() else {
            return PollTimeout::NONE;
        };
        // The conversion rounds down to milliseconds; a wait of 0 ms would spin.
        PollTimeout::try_from(soonest + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    }

    /// Kills the server if it exceeds its limit of tasks or its lifetime.
    fn keep_within_limits(&mut self) -> io::Result<()> {
        if let Some(most) = self.most_tasks
            && self.counted.elapsed() >= count_every(most)
        {
            if !self.doomed && has_more_tasks(most) {
                tell(&Event::Overgrown)?;
                self.doomed = true;
            }
            self.counted = Instant::now();
        }
        if self.end.is_some_and(|end| Instant::now() >= end) {
            self.end = None;
            if !self.doomed && !descendants().is_empty() {
                tell(&Event::Outlived)?;
                self.doomed = true;
            }
        }
        // A process that was being forked appears a moment later, so kill again on the next round.
        self.doomed = self.doomed && kill_all(self.server, self.reach);
        Ok(())
    }
}

fn count_every(most: usize) -> Duration {
    if most < FEW { FEW_COUNTED_EVERY } else { COUNTED_EVERY }
}

/// Reaps all children that have exited. Returns whether the server's first process was one of them.
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

/// Kills all descendants repeatedly until none is left: a process may fork while its parent is
/// being killed.
fn end_all(server: Pid, reach: Reach, deaths: &SignalFd) -> io::Result<()> {
    let deadline = Instant::now() + KILL_DEADLINE;
    loop {
        kill_all(server, reach);
        reap(None, deaths)?;
        let everybody_gone = waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD);
        if everybody_gone || Instant::now() > deadline {
            return Ok(());
        }
        let mut waited = [PollFd::new(deaths.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut waited, PollTimeout::try_from(KILLED_EVERY).unwrap_or(PollTimeout::ZERO));
    }
}

/// The processes that the supervisor is able to signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Descendants only.
    Descendants,
    /// Other processes too.
    Others,
}

impl Reach {
    /// Kills all processes that can be signalled with a single call, which no fork outruns. Does so
    /// only if no process other than a descendant can be signalled. Returns whether it did.
    fn kill_everybody(self) -> bool {
        // The parent is no descendant. It is checked on each call, because a mistake would kill
        // unrelated processes.
        let is_sure =
            self == Reach::Descendants && kill(unistd::getppid(), None) == Err(Errno::EPERM);
        if is_sure {
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        }
        is_sure
    }
}

/// Kills the current descendants. Returns whether there was one.
fn kill_all(server: Pid, reach: Reach) -> bool {
    if reach.kill_everybody() {
        return !proc::children(unistd::getpid().as_raw()).is_empty();
    }
    let mut tree = proc::children(unistd::getpid().as_raw());
    let (mut seen, mut groups, mut next) = (HashSet::new(), HashSet::new(), 0);
    while let Some(&pid) = tree.get(next).filter(|_| next < proc::MOST_PROCESSES) {
        seen.insert(pid);
        let process = Pid::from_raw(pid);
        // A signal to a group also reaches processes that are being forked in it. Killing one
        // process at a time would never catch up with a fast enough fork loop. A group that none of
        // the descendants leads may contain other processes.
        if let Ok(group) = unistd::getpgid(Some(process))
            && (group == server || seen.contains(&group.as_raw()))
            && groups.insert(group)
        {
            let _ = killpg(group, Signal::SIGKILL);
        }
        // Before its children are listed, so that it forks no more of them.
        let _ = kill(process, Signal::SIGKILL);
        tree.extend(proc::children(pid));
        next += 1;
    }
    next > 0
}

fn descendants() -> Vec<proc::Pid> {
    proc::tree(unistd::getpid().as_raw()).split_off(1)
}

/// Returns whether the process tree exceeds this number of threads and processes. Checks the total
/// of the machine first: that is one small file, while the tree takes one per thread. Stops
/// counting at the limit, because the tree may grow faster than it is counted.
fn has_more_tasks(most: usize) -> bool {
    if proc::tasks_of_all().is_some_and(|all| all <= most) {
        return false;
    }
    let (mut tree, mut next, mut tasks) = (proc::children(unistd::getpid().as_raw()), 0, 0);
    while let Some(&pid) = tree.get(next).filter(|_| tasks <= most) {
        // A process that has exited counts as one.
        tasks += proc::threads(&[pid]).len().max(1);
        tree.extend(proc::children(pid));
        next += 1;
    }
    tasks > most
}

fn tell(event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    match io::stdout().lock().write_all(&line).and_then(|()| io::stdout().flush()) {
        // EPIPE: the harness has exited, and only the cleanup remains.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
