//! Launches servers, built-in and external ones alike, and controls them through the supervisor.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;

use super::confinement::Confinement;
use super::diag;
use super::interpreter;
use super::launch_error::{LaunchError, said};
use super::launch_request::LaunchRequest;
use super::launch_spec::{LaunchSpec, filled};
use super::launcher::{Launcher, ROLE};
use super::log::{self, Log};
use super::network;
use super::place::Place;
use super::port::{self, Port, STARTING};
use super::proc::{self, ResourceUsage};
use super::supervise::{Event, MOST_TASKS, Survivor};
use crate::exit::Exit;

/// Timeout until a server listens. Interpreters on a busy machine need seconds.
pub const READY_DEADLINE: Duration = Duration::from_secs(20);

/// Timeout for the supervisor to start, and to clean up.
const SUPERVISOR_DEADLINE: Duration = Duration::from_secs(10);

/// Timeout until a server that listens on another port listens on the requested one. Some servers
/// open a port of their own first.
const ELSEWHERE_DEADLINE: Duration = Duration::from_secs(5);

/// Pauses between two checks for a listening socket. They start short for servers that start at
/// once. They grow for interpreters, which need the CPU more than the harness does.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// Default capacity of a pipe, in bytes.
const PIPE: usize = 64 * 1024;

/// A command that runs below its supervisor. Dropping it kills the process tree.
#[derive(Debug)]
pub struct Process {
    /// `None` for an external server, whose processes are unknown.
    supervisor: Option<Child>,
    /// Standard input of the supervisor. Closing it ends the server.
    signals: Option<ChildStdin>,
    shared: Arc<Shared>,
    /// Requested port; 0 for any.
    asked: u16,
    /// CPUs that it was started on; `None` for all.
    processors: Option<Vec<usize>>,
    port: Option<Port>,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    /// The launched command.
    pub process: Process,
    /// Address for clients: the listening address, or a loopback address for a wildcard one.
    pub address: SocketAddr,
    /// Listening address.
    pub listens_on: SocketAddr,
    /// Time from the start of the command until it listened.
    pub listened_after: Duration,
    /// Network namespace or port lease of this server, if it needs one and the thread holds none.
    _place: Place,
}

/// Exit status, surviving processes and output of a server that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit status; `None` if the server did not exit by itself and was killed.
    pub exit: Option<Exit>,
    /// Processes that survived the server's first process.
    pub survivors: Vec<Survivor>,
    /// Time of the exit.
    pub exited_at: Option<Instant>,
    /// Killed because it exceeded its limit of threads and processes.
    pub overgrown: bool,
    /// Killed because it exceeded its lifetime limit.
    pub outlived: bool,
    /// Isolation that could not be applied.
    pub unconfined: Vec<String>,
    /// End of its standard output and standard error.
    pub log: String,
    /// Last chunks of that output, each with its time of arrival.
    pub wrote: Vec<(Instant, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct State {
    pid: Option<proc::Pid>,
    failed: Option<String>,
    exit: Option<Exit>,
    exited_at: Option<Instant>,
    survivors: Vec<Survivor>,
    overgrown: bool,
    outlived: bool,
    unconfined: Vec<String>,
    over: bool,
    /// No process has the log open for writing any more.
    log_is_whole: bool,
}

impl Launcher {
    /// Launches a server on a free port, or on its fixed port, and waits until it listens.
    ///
    /// A [`Place`] is needed for a server with a fixed port, or with an isolated network. It is the
    /// calling thread's, or a new one that lasts as long as the server.
    ///
    /// # Errors
    /// The server could not be launched, or did not listen in time.
    pub fn launch(&self, spec: &LaunchSpec) -> Result<Server, LaunchError> {
        if let Some(address) = spec.elsewhere {
            return Ok(Server {
                process: Process::elsewhere(),
                address,
                listens_on: address,
                listened_after: Duration::ZERO,
                _place: Place::default(),
            });
        }
        let place = Place::take(spec)?;
        let host = IpAddr::from([127, 0, 0, 1]);
        let port = match spec.fixed_port {
            None => Some(Port::take(host).map_err(LaunchError::NoPort)?),
            Some(number) => {
                port::wait_until_free(number).map_err(LaunchError::NoPort)?;
                None
            }
        };
        let number = port.as_ref().map(Port::number).or(spec.fixed_port).unwrap_or(0);
        let began = Instant::now();
        let mut process = self.start(spec, &host.to_string(), &number.to_string())?;
        process.port = port;
        let listens_on = process.wait_until_listening(READY_DEADLINE)?;
        Ok(Server {
            process,
            address: reached_at(listens_on),
            listens_on,
            listened_after: began.elapsed(),
            _place: place,
        })
    }

    /// Starts a server with this host and port, which need not be valid, and waits only for its
    /// process. A server with a fixed port is expected to listen there.
    ///
    /// # Errors
    /// The process could not be started.
    pub fn start(&self, spec: &LaunchSpec, host: &str, port: &str) -> Result<Process, LaunchError> {
        let fill = |text: &String| filled(text, host, port);
        let environment = spec.environment.iter();
        let mut limits = spec.limits.clone();
        limits.tasks = limits.tasks.or(self.bounded.then_some(MOST_TASKS));
        let mut command = spec.words(host, port);
        if let Some(interpreter) = interpreter::behind_shim(spec).as_deref().and_then(Path::to_str)
        {
            command[0] = interpreter.to_owned();
        }
        let order = LaunchRequest {
            command,
            folder: spec.folder.clone(),
            environment: environment.map(|(name, value)| (name.clone(), fill(value))).collect(),
            input: spec.input.as_ref().map(fill),
            processors: self.processors.clone(),
            unprivileged: self.unprivileged,
            limits,
        };
        let asked = spec.fixed_port.or(port.parse().ok()).unwrap_or(0);
        self.supervise(&order, asked)
    }

    /// Returns a description of the isolation that this machine cannot apply.
    ///
    /// # Errors
    /// The trial process could not be started.
    pub fn unconfined(&self, limits: &Confinement) -> Result<Vec<String>, LaunchError> {
        let mut words = Vec::new();
        if limits.network_alone {
            words.extend(network::available().err());
        }
        // Tried on this program: it surely exists, and exits at once.
        let command = vec![self.program(), "--version".to_owned()];
        let limits = Confinement {
            network_alone: limits.network_alone,
            read_only: limits.read_only,
            ..Confinement::default()
        };
        let trial =
            self.supervise(&LaunchRequest { command, limits, ..LaunchRequest::default() }, 0)?;
        trial.wait_for_exit(SUPERVISOR_DEADLINE);
        words.extend(trial.end().unconfined);
        Ok(words)
    }

    fn supervise(&self, order: &LaunchRequest, asked: u16) -> Result<Process, LaunchError> {
        let not_run = |error: io::Error| {
            LaunchError::NotRun(format!("cannot run `{}`: {error}", order.command.join(" ")))
        };
        let line = order.line().map_err(not_run)?;
        let mut supervisor = Command::new(&self.program);
        supervisor
            .arg("supervise")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the harness; the supervisor sees the end of its input and cleans up.
            .process_group(0);
        if self.by_environment {
            supervisor.env(ROLE, "supervise");
        }
        let started = {
            let _no_port_is_tried = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
            supervisor.spawn()
        };
        let mut supervisor = started.map_err(LaunchError::Supervisor)?;
        let shared = Arc::<Shared>::default();
        let events = supervisor.stdout.take().expect("it is piped");
        let log = supervisor.stderr.take().expect("it is piped");
        let attended = attend(&shared, events, log);
        let signals = supervisor.stdin.take();
        let processors = order.processors.clone();
        let supervisor = Some(supervisor);
        let mut process = Process { supervisor, signals, shared, asked, processors, port: None };
        if let Err(error) = attended {
            // No thread reads the events that would end a wait for the supervisor.
            process.shared.state().over = true;
            return Err(LaunchError::NoThread(error));
        }
        process.order(&line).map_err(LaunchError::Supervisor)?;
        let up = |state: &State| state.pid.is_some() || state.over;
        let state = process.shared.wait(SUPERVISOR_DEADLINE, up);
        match (&state.pid, &state.failed) {
            (Some(_), _) => {}
            (None, Some(words)) => return Err(LaunchError::NotRun(words.clone())),
            (None, None) => {
                let log = process.log();
                let words = format!("it did not start the command{}", said(&log));
                return Err(LaunchError::Supervisor(io::Error::other(words)));
            }
        }
        drop(state);
        Ok(process)
    }
}

/// Returns the loopback address of a socket that listens on all addresses. `::` usually accepts
/// IPv4 too. Where IPv6 is disabled, IPv4 is the only way to reach it.
fn reached_at(listens_on: SocketAddr) -> SocketAddr {
    let is_ipv6_only = || {
        diag::is_ipv6_only(listens_on.port()).unwrap_or_else(|| {
            // The kernel does not report it. A machine with ::1 reaches both kinds through it.
            TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
        })
    };
    let host = match listens_on.ip() {
        IpAddr::V6(host) if host.is_unspecified() && is_ipv6_only() => Ipv6Addr::LOCALHOST.into(),
        host if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, listens_on.port())
}

/// Starts the threads that read the supervisor's events and the server's output.
fn attend(
    shared: &Arc<Shared>,
    events: impl Read + Send + 'static,
    log: impl Read + Send + 'static,
) -> io::Result<()> {
    let (follower, keeper) = (Arc::clone(shared), Arc::clone(shared));
    thread::Builder::new().spawn(move || follower.follow(events))?;
    thread::Builder::new().spawn(move || keeper.keep(log))?;
    Ok(())
}

impl Process {
    /// Returns a stand-in for the processes of an external server.
    fn elsewhere() -> Process {
        let shared = Arc::<Shared>::default();
        let nothing = State { over: true, log_is_whole: true, ..State::default() };
        *shared.state() = nothing;
        let (supervisor, signals, processors) = (None, None, None);
        Process { supervisor, signals, shared, asked: 0, processors, port: None }
    }

    /// Waits until the process tree has a listening socket, without connecting to it. A connection
    /// would occupy an iterative server, and makes some servers exit.
    ///
    /// # Errors
    /// The server exited before, listens on another port, or did not listen in time.
    pub fn wait_until_listening(&self, deadline: Duration) -> Result<SocketAddr, LaunchError> {
        let end = Instant::now() + deadline;
        let end_elsewhere = Instant::now() + deadline.min(ELSEWHERE_DEADLINE);
        let mut pause = FIRST_PAUSE;
        loop {
            let listening = self.listening();
            if let Some(address) =
                listening.iter().find(|one| [0, one.port()].contains(&self.asked))
            {
                return Ok(*address);
            }
            if let Some(exit) = self.wait_for_exit(pause) {
                return Err(LaunchError::Exited { exit, log: self.settled_log() });
            }
            let now = Instant::now();
            match listening.first() {
                Some(&found) if now > end_elsewhere => {
                    return Err(LaunchError::Elsewhere { asked: self.asked, found });
                }
                None if now > end => {
                    return Err(LaunchError::NotListening { waited: deadline, log: self.log() });
                }
                _ => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Returns the addresses that the process tree listens on.
    pub fn listening(&self) -> Vec<SocketAddr> {
        proc::listening(&self.tree())
    }

    /// Returns the resource usage of the process tree.
    pub fn holdings(&self) -> ResourceUsage {
        proc::holdings(&self.tree())
    }

    /// Returns the server's processes, with the first process in front.
    pub fn tree(&self) -> Vec<proc::Pid> {
        let (Some(supervisor), Some(pid)) = (self.supervisor(), self.shared.state().pid) else {
            return Vec::new();
        };
        // Orphaned descendants are children of the supervisor.
        let mut tree = proc::tree(supervisor).split_off(1);
        tree.sort_by_key(|&other| other != pid);
        tree
    }

    /// Returns the CPUs that it was started on, by kernel number; `None` for all CPUs of the
    /// harness.
    pub fn processors(&self) -> Option<&[usize]> {
        self.processors.as_deref()
    }

    /// Returns the process id of the supervisor, whose descendants are the server.
    pub fn supervisor(&self) -> Option<proc::Pid> {
        self.supervisor.as_ref().map(|supervisor| supervisor.id() as proc::Pid)
    }

    /// Writes the launch request to the supervisor.
    fn order(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(pipe) = &mut self.signals else { return Ok(()) };
        if line.len() > PIPE {
            // The write must not block on a supervisor that does not read.
            fcntl(&*pipe, FcntlArg::F_SETPIPE_SZ(line.len() as i32))?;
        }
        match pipe.write_all(line).and_then(|()| pipe.flush()) {
            // The supervisor has exited, and its last output says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Sends a signal to the server's first process, if that has not exited.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(signals) = &mut self.signals {
            // It fails when the supervisor is gone, and the server with it.
            let _ = signals.write_all(&[signal as u8]).and_then(|()| signals.flush());
        }
    }

    /// Returns the exit status of the server's first process, if it has exited.
    pub fn exit(&self) -> Option<Exit> {
        self.shared.state().exit
    }

    /// Waits for the server's first process to exit.
    pub fn wait_for_exit(&self, deadline: Duration) -> Option<Exit> {
        self.shared.wait(deadline, |state| state.exit.is_some() || state.over).exit
    }

    /// Returns the end of the server's output so far. Control characters are escaped, so that they
    /// cannot affect a terminal.
    pub fn log(&self) -> String {
        self.shared.log().text()
    }

    /// Returns the log of a server that has exited; its last output may still be in the pipe.
    fn settled_log(&self) -> String {
        let end = Instant::now() + Duration::from_millis(200);
        while self.log().is_empty() && Instant::now() < end {
            thread::sleep(FIRST_PAUSE);
        }
        self.log()
    }

    /// Kills the process tree. The accessors still work.
    pub fn stop(&mut self) {
        self.clean_up();
    }

    /// Kills the process tree and returns the exit status, surviving processes and output.
    pub fn end(mut self) -> Ended {
        self.clean_up();
        let state = self.shared.wait(SUPERVISOR_DEADLINE, |state| state.log_is_whole);
        Ended {
            exit: state.exit,
            exited_at: state.exited_at,
            survivors: state.survivors.clone(),
            overgrown: state.overgrown,
            outlived: state.outlived,
            unconfined: state.unconfined.clone(),
            log: self.log(),
            wrote: self.shared.log().take_pieces(),
        }
    }

    fn clean_up(&mut self) {
        if self.signals.take().is_none() {
            return;
        }
        let over = self.shared.wait(SUPERVISOR_DEADLINE, |state| state.over).over;
        if !over {
            // If the supervisor dies, the kernel kills at least the server's first process.
            let _ = self.supervisor.as_mut().map(Child::kill);
        }
        let _ = self.supervisor.as_mut().map(Child::wait);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.clean_up();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, deadline: Duration, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), deadline, |state| !done(state))
            .unwrap_or_else(PoisonError::into_inner);
        state
    }

    fn follow(&self, events: impl Read) {
        for line in BufReader::new(events).lines().map_while(Result::ok) {
            let mut state = self.state();
            match serde_json::from_str(&line) {
                Ok(Event::Started(pid)) => state.pid = Some(pid),
                Ok(Event::Failed(words)) => state.failed = Some(words),
                Ok(Event::Exited(exit)) => {
                    state.exit = Some(exit);
                    state.exited_at = Some(Instant::now());
                }
                Ok(Event::Survivor(survivor)) => state.survivors.push(survivor),
                Ok(Event::Overgrown) => state.overgrown = true,
                Ok(Event::Outlived) => state.outlived = true,
                Ok(Event::Unconfined(words)) => state.unconfined.push(words),
                Ok(Event::Over) => state.over = true,
                Err(_) => state.failed = Some(format!("the supervisor said `{line}`")),
            }
            drop(state);
            self.changed.notify_all();
        }
        self.state().over = true;
        self.changed.notify_all();
    }

    fn keep(&self, output: impl Read) {
        log::read(output, |add| add(&mut self.log()));
        self.state().log_is_whole = true;
        self.changed.notify_all();
    }
}
