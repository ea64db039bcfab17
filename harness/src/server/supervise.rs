//! The supervisor: a small process between the harness and one server, in a role of its own of
//! the same program (`harness supervise`). What to do it reads from its standard input, first of all
//! (an order).
//!
//! It owns all that the command starts. As a child subreaper it becomes the parent of whoever
//! escapes from the process group, so nothing is lost sight of and nothing is mistaken for
//! another server's. When its standard input ends, which the kernel sees to even when the harness
//! is killed by SIGKILL, it ends the whole tree; should it be killed itself, the parent-death
//! signal ends the server. A byte on its input, after the order, is a signal to be sent to the server.
//! What happens it tells as one JSON line each on standard output; the server writes to its standard error.

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

/// How long a tree may take to be gone after SIGKILL.
const KILL_DEADLINE: Duration = Duration::from_secs(5);

/// How many threads and processes a bounded server may have at a time. A thread for each client of
/// any case makes a third of them, and a machine has several times as many.
pub const MOST_TASKS: usize = 4000;

/// How often they are counted. Most servers do not live that long.
const COUNTED_EVERY: Duration = Duration::from_millis(250);

/// The same where few are allowed: so many are soon there, and soon counted.
const FEW_COUNTED_EVERY: Duration = Duration::from_millis(50);
const FEW: usize = 2000;

/// The nice value of a supervisor that counts.
const URGENT: i32 = -20;

/// Pause between two tries to end all that is left.
const KILLED_EVERY: Duration = Duration::from_millis(10);

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
    /// The server is killed: it has more threads and processes than it may.
    Overgrown,
    /// The server is killed: it has lived as long as it may.
    Outlived,
    /// This part of its confinement could not be had.
    Unconfined(String),
    /// Nothing of the server is left.
    Over,
}

/// A process that outlived its server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivor {
    /// Its id.
    pub pid: proc::Pid,
    /// Its name in the kernel.
    pub name: String,
}

/// Runs what the order says and looks after it until standard input ends.
///
/// # Errors
/// There is no order, or the kernel refuses what supervising takes. A command that does not run is
/// told as an event.
pub fn run() -> io::Result<()> {
    let order = LaunchRequest::read(io::stdin().lock())?;
    if order.unprivileged {
        // What the command runs inherits the bounding set. It fails for those who may not change
        // theirs, and who have not got the capability either.
        let _ = remove_capability_from_bounding_set(CapabilitySet::NET_BIND_SERVICE);
    }
    // A tree that grows must leave it time enough to end it. Who is not root cannot, and is bounded
    // by the kernel.
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
        // The machine is at fault, not the command: it has no process left.
        Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => return Err(error),
        Err(error) => tell(&Event::Failed(why_not_run(&order, &error)))?,
    }
    tell(&Event::Over)
}

/// Starts the command. What it is to be given on its standard input is still to be written.
fn start(order: &LaunchRequest, priority: i32) -> io::Result<(Pid, Option<Feed>)> {
    let (program, arguments) = order.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = match &order.folder {
        Some(folder) => folder.canonicalize()?,
        // It may have been removed. That is the server's problem.
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
        // A server that does not read is not waited for.
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        server.stdin(reader);
        feed = Some(Feed { writer, rest: input.clone().into_bytes() });
    }
    let limits = order.limits.resources();
    let processors = order.processors.as_deref().map(set).transpose()?;
    before_it_is_one(&mut server, move || {
        setpriority_process(None, priority)?;
        if let Some(processors) = &processors {
            // Before exec: a server with a worker for each processor counts them when it starts.
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
/// its output, checks the program or ends, so that verdicts would depend on who runs the harness. The
/// `environment` of a manifest, or `env` in the command, sets them all the same.
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

/// Processors by the kernel's numbers, as the kernel takes them.
fn set(processors: &[usize]) -> io::Result<CpuSet> {
    let mut set = CpuSet::new();
    processors.iter().try_for_each(|&number| set.set(number))?;
    Ok(set)
}

/// Says what to do about a command that does not run.
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
        // Folders of PATH may be ones that are not to be entered.
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => format!(
            "; is `{program}` installed, and are its path and that of its interpreter (`#!`) right?"
        ),
        _ => String::new(),
    };
    let folder = order.folder.as_ref().map(|folder| format!(" in {}", folder.display()));
    format!("cannot run `{command}`{}: {error}{advice}", folder.unwrap_or_default())
}

/// The moment between fork and exec: all that a server's process is must be made of it there.
/// `limit` may allocate nothing and take no lock.
#[allow(unsafe_code, reason = "CommandExt::pre_exec is the kernel's moment between fork and exec")]
fn before_it_is_one(
    server: &mut Command,
    limit: impl Fn() -> io::Result<()> + Send + Sync + 'static,
) {
    let supervisor = unistd::getpid();
    // SAFETY: between fork and exec only prctl(2), sigprocmask(2), signal(2), getppid(2), setsid(2) and what `limit`
    // needs, sched_setaffinity(2), setpriority(2), landlock_restrict_self(2) and setrlimit(2), are
    // called, which allocate nothing and take no lock.
    unsafe {
        server.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // Those that a parent blocks stay blocked.
            SigSet::empty().thread_set_mask()?;
            // A shell starts what runs in the background with SIGINT ignored, and that is
            // inherited.
            for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
                nix::sys::signal::signal(signal, SigHandler::SigDfl)?;
            }
            // It may have died before the signal was asked for.
            if unistd::getppid() != supervisor {
                return Err(Errno::ESRCH.into());
            }
            // A session and process group of its own. In the harness's session it could put
            // commands into the input of the user's terminal (TIOCSTI of ioctl_tty(2)).
            unistd::setsid()?;
            limit()
        });
    }
}

/// What a server is given on its standard input, which ends when this is dropped.
struct Feed {
    writer: PipeWriter,
    rest: Vec<u8>,
}

impl Feed {
    /// Writes what there is room for. Whether there is more.
    fn goes_on(&mut self) -> bool {
        match self.writer.write(&self.rest) {
            Ok(count) => {
                self.rest.drain(..count);
                !self.rest.is_empty()
            }
            // It has closed its end otherwise.
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
            }
        }
    }
}

/// A server that is looked after.
struct Watch<'a> {
    server: Pid,
    reach: Reach,
    feed: Option<Feed>,
    most_tasks: Option<usize>,
    /// When it has lived long enough.
    end: Option<Instant>,
    deaths: &'a SignalFd,
    counted: Instant,
    exited: bool,
    /// It is being killed, and nothing of it may stay.
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

    /// Passes signals on and reaps, until standard input ends.
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
        // Its milliseconds are rounded down, and a wait that is too short would be none.
        PollTimeout::try_from(soonest + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    }

    /// Kills it if it has more, or has lived longer, than it may.
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
        // One that was being forked is there a moment later.
        self.doomed = self.doomed && kill_all(self.server, self.reach);
        Ok(())
    }
}

fn count_every(most: usize) -> Duration {
    if most < FEW { FEW_COUNTED_EVERY } else { COUNTED_EVERY }
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

/// Whom this process can send signals to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Nobody but its descendants.
    Descendants,
    /// Others, too.
    Others,
}

impl Reach {
    /// Kills whoever can be reached, all at the same moment: nobody forks faster than that. Whether
    /// that was done, as it must be if, and only if, nobody else can be reached.
    fn kill_everybody(self) -> bool {
        // The parent is no descendant. It is asked for each time: this is nothing to be wrong about.
        let is_sure =
            self == Reach::Descendants && kill(unistd::getppid(), None) == Err(Errno::EPERM);
        if is_sure {
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        }
        is_sure
    }
}

/// Kills all descendants that are there now. Whether there was one.
fn kill_all(server: Pid, reach: Reach) -> bool {
    if reach.kill_everybody() {
        return !proc::children(unistd::getpid().as_raw()).is_empty();
    }
    let mut tree = proc::children(unistd::getpid().as_raw());
    let (mut seen, mut groups, mut next) = (HashSet::new(), HashSet::new(), 0);
    while let Some(&pid) = tree.get(next).filter(|_| next < proc::MOST_PROCESSES) {
        seen.insert(pid);
        let process = Pid::from_raw(pid);
        // A signal to a group also reaches those that are being forked in it: one by one, who forks
        // fast enough would never be got hold of. In a group that none of them leads there may be
        // others.
        if let Ok(group) = unistd::getpgid(Some(process))
            && (group == server || seen.contains(&group.as_raw()))
            && groups.insert(group)
        {
            let _ = killpg(group, Signal::SIGKILL);
        }
        // First of all, so that it has no more children than are found now.
        let _ = kill(process, Signal::SIGKILL);
        tree.extend(proc::children(pid));
        next += 1;
    }
    next > 0
}

fn descendants() -> Vec<proc::Pid> {
    proc::tree(unistd::getpid().as_raw()).split_off(1)
}

/// The whole machine is asked first: that is one small file, where a tree is one for each thread. It
/// is not looked at any further than it takes: it may grow faster.
fn has_more_tasks(most: usize) -> bool {
    if proc::tasks_of_all().is_some_and(|all| all <= most) {
        return false;
    }
    let (mut tree, mut next, mut tasks) = (proc::children(unistd::getpid().as_raw()), 0, 0);
    while let Some(&pid) = tree.get(next).filter(|_| tasks <= most) {
        // One that has ended was there, too.
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
        // The harness is gone. What remains is to clean up.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
