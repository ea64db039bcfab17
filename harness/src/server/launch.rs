//! Launching a server and holding on to it: one way for all servers.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::port::{Port, STARTING};
use super::proc::{self, Holdings};
use super::spec::Spec;
use super::supervise::{Event, Exit, Survivor};

/// How long a server may take until it listens. Interpreters on a busy machine need seconds.
pub const READY_DEADLINE: Duration = Duration::from_secs(20);

/// How long a supervisor may take to be up, and to clean up.
const SUPERVISOR_DEADLINE: Duration = Duration::from_secs(10);

/// How long a server that listens somewhere may take to listen where it was told to. Some open a
/// port of their own first.
const ELSEWHERE_DEADLINE: Duration = Duration::from_secs(5);

/// Pauses between two looks at whether a server listens: short for those that are up at once,
/// longer for interpreters, which need the processor more than the harness does.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// How much of the end of a server's output is kept, in bytes.
const LOG_KEPT: usize = 16 * 1024;

/// How many of the last pieces of a server's output are kept with the time they came at. A piece is
/// what one read gave.
const PIECES_KEPT: usize = 32;

/// Starts servers, by way of a program that has the supervising and the serving role.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
    unprivileged: bool,
    bounded: bool,
}

/// A command that runs below its supervisor. Dropping it ends whatever is left of it.
#[derive(Debug)]
pub struct Process {
    supervisor: Child,
    /// Closing it is what ends the server.
    signals: Option<ChildStdin>,
    shared: Arc<Shared>,
    /// The port that it was told; 0 for any.
    asked: u16,
    port: Option<Port>,
}

/// A process that listens.
#[derive(Debug)]
pub struct Server {
    /// What was started.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// How long it took until it did.
    pub listened_after: Duration,
}

/// How a server's life went.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How it ended by itself; `None` if it had to be killed.
    pub exit: Option<Exit>,
    /// Processes that were still there when the server's first process had ended.
    pub survivors: Vec<Survivor>,
    /// When that was.
    pub exited_at: Option<Instant>,
    /// It was killed for having more than [`MOST_TASKS`](super::MOST_TASKS).
    pub overgrown: bool,
    /// The end of what it wrote to standard output and standard error.
    pub log: String,
    /// The last pieces of that, and when each came.
    pub wrote: Vec<(Instant, Vec<u8>)>,
}

/// Why there is no server to talk to.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No port to give it.
    #[error("no port for the server: {0}")]
    NoPort(io::Error),
    /// The harness could not start its own supervisor.
    #[error("cannot start the supervisor: {0}")]
    Supervisor(io::Error),
    /// The harness could not start a thread that attends to it.
    #[error("the machine has no thread left to attend to the server: {0}")]
    NoThread(io::Error),
    /// The command does not run.
    #[error("{0}")]
    NotRun(String),
    /// It ended before it listened.
    #[error("the server ended before it listened, with {exit}{}", said(log))]
    Exited {
        /// How it ended.
        exit: Exit,
        /// The end of its output.
        log: String,
    },
    /// It listens, and not where it was told to.
    #[error("the server was told to listen on port {asked}, and listens on {found}")]
    Elsewhere {
        /// The port in its command.
        asked: u16,
        /// Where it listens.
        found: SocketAddr,
    },
    /// It runs and does not listen.
    #[error("the server did not listen within {} ms{}", waited.as_millis(), said(log))]
    NotListening {
        /// How long was waited.
        waited: Duration,
        /// The end of its output.
        log: String,
    },
}

fn said(log: &str) -> String {
    match last_lines(log).as_str() {
        "" => ", saying nothing".to_owned(),
        words => format!("; it said: {words}"),
    }
}

/// The last lines of a log, cut where they are long.
pub fn last_lines(log: &str) -> String {
    let mut lines: Vec<String> =
        log.lines().rev().take(5).map(|line| line.chars().take(200).collect()).collect();
    lines.reverse();
    lines.join("\n")
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    log: Mutex<Log>,
}

/// What a server wrote.
#[derive(Debug, Default)]
struct Log {
    end: VecDeque<u8>,
    pieces: VecDeque<(Instant, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct State {
    pid: Option<proc::Pid>,
    failed: Option<String>,
    exit: Option<Exit>,
    exited_at: Option<Instant>,
    survivors: Vec<Survivor>,
    overgrown: bool,
    over: bool,
    /// Nobody is left who could write to the log.
    log_is_whole: bool,
}

impl Launcher {
    /// A launcher that runs `program`, which must take the roles of this crate first of all, as
    /// the harness binary does.
    pub fn new(program: impl AsRef<Path>) -> Launcher {
        let program = program.as_ref().to_path_buf();
        Launcher { program, unprivileged: false, bounded: false }
    }

    /// The same for servers that may not listen on the system's ports, even if this process may.
    pub fn unprivileged(&self) -> Launcher {
        Launcher { unprivileged: true, ..self.clone() }
    }

    /// The same for servers that are killed when they have more than [`MOST_TASKS`](super::MOST_TASKS), before the
    /// machine has none left for anybody else.
    pub fn bounded(&self) -> Launcher {
        Launcher { bounded: true, ..self.clone() }
    }

    /// A launcher that runs the program that is running.
    ///
    /// # Errors
    /// When the kernel does not say which that is.
    pub fn this_program() -> io::Result<Launcher> {
        std::env::current_exe().map(Launcher::new)
    }

    /// The path of the program.
    pub fn program(&self) -> String {
        self.program.display().to_string()
    }

    /// Launches a server on a free port and waits until it listens.
    ///
    /// # Errors
    /// Why there is no server.
    pub fn launch(&self, spec: &Spec) -> Result<Server, LaunchError> {
        let host = IpAddr::from([127, 0, 0, 1]);
        let port = Port::take(host).map_err(LaunchError::NoPort)?;
        let began = Instant::now();
        let mut process = self.start(spec, &host.to_string(), &port.number().to_string())?;
        process.port = Some(port);
        let address = process.wait_until_listening(READY_DEADLINE)?;
        Ok(Server { process, address, listened_after: began.elapsed() })
    }

    /// Starts a server at the place that the words tell it, which may be none, and does not wait
    /// for more than its process.
    ///
    /// # Errors
    /// Why there is no process.
    pub fn start(&self, spec: &Spec, host: &str, port: &str) -> Result<Process, LaunchError> {
        let mut supervisor = Command::new(&self.program);
        supervisor
            .arg("supervise")
            .args(self.unprivileged.then_some("--unprivileged"))
            .args(self.bounded.then_some("--bounded"))
            .arg("--")
            .args(spec.words(host, port))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the harness; the supervisor learns of its end and cleans up.
            .process_group(0);
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
        let asked = port.parse().unwrap_or(0);
        let process = Process { supervisor, signals, shared, asked, port: None };
        if let Err(error) = attended {
            // Nobody is there to hear of it.
            process.shared.state().over = true;
            return Err(LaunchError::NoThread(error));
        }
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

/// Takes down what is told of a server and what it writes.
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
    /// Waits until the process tree has a listening socket, without connecting to it: that would
    /// occupy a server of one client, and end some.
    ///
    /// # Errors
    /// It ended before, or did not listen in time.
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

    /// Where the process tree listens now.
    pub fn listening(&self) -> Vec<SocketAddr> {
        proc::listening(&self.tree())
    }

    /// What the process tree holds now.
    pub fn holdings(&self) -> Holdings {
        proc::holdings(&self.tree())
    }

    /// The server's processes, its first one first.
    pub fn tree(&self) -> Vec<proc::Pid> {
        let pid = self.shared.state().pid.expect("a process is started before it is handed out");
        // Those that escaped are children of the supervisor.
        let mut tree = proc::tree(self.supervisor()).split_off(1);
        tree.sort_by_key(|&other| other != pid);
        tree
    }

    /// The process whose descendants are the server.
    pub fn supervisor(&self) -> proc::Pid {
        self.supervisor.id() as proc::Pid
    }

    /// Sends a signal to the server's first process, if it has not ended.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(signals) = &mut self.signals {
            // It fails when the supervisor is gone, and the server with it.
            let _ = signals.write_all(&[signal as u8]).and_then(|()| signals.flush());
        }
    }

    /// How the server's first process ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        self.shared.state().exit
    }

    /// Waits for the server's first process to end.
    pub fn wait_for_exit(&self, deadline: Duration) -> Option<Exit> {
        self.shared.wait(deadline, |state| state.exit.is_some() || state.over).exit
    }

    /// The end of what the server has written so far. Control characters are made visible, so
    /// that it can do nothing to a terminal.
    pub fn log(&self) -> String {
        let log = self.shared.log();
        let (front, back) = log.end.as_slices();
        let text = String::from_utf8_lossy(&[front, back].concat()).trim_end().to_owned();
        let is_plain = |letter: char| !letter.is_control() || letter == '\n';
        text.chars()
            .map(|letter| if is_plain(letter) { letter } else { char::REPLACEMENT_CHARACTER })
            .collect()
    }

    /// The log of a server that has ended: its last words may still be in the pipe.
    fn settled_log(&self) -> String {
        let end = Instant::now() + Duration::from_millis(200);
        while self.log().is_empty() && Instant::now() < end {
            thread::sleep(FIRST_PAUSE);
        }
        self.log()
    }

    /// Ends what is left of the server and says how its life went.
    pub fn end(mut self) -> Ended {
        self.clean_up();
        let state = self.shared.wait(SUPERVISOR_DEADLINE, |state| state.log_is_whole);
        Ended {
            exit: state.exit,
            exited_at: state.exited_at,
            survivors: state.survivors.clone(),
            overgrown: state.overgrown,
            log: self.log(),
            wrote: self.shared.log().pieces.drain(..).collect(),
        }
    }

    fn clean_up(&mut self) {
        if self.signals.take().is_none() {
            return;
        }
        let over = self.shared.wait(SUPERVISOR_DEADLINE, |state| state.over).over;
        if !over {
            // Its own death ends the server's first process at least.
            let _ = self.supervisor.kill();
        }
        let _ = self.supervisor.wait();
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
                Ok(Event::Over) => state.over = true,
                Err(_) => state.failed = Some(format!("the supervisor said `{line}`")),
            }
            drop(state);
            self.changed.notify_all();
        }
        self.state().over = true;
        self.changed.notify_all();
    }

    fn keep(&self, mut output: impl Read) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            let mut log = self.log();
            log.end.extend(&buffer[..count]);
            let excess = log.end.len().saturating_sub(LOG_KEPT);
            log.end.drain(..excess);
            if log.pieces.len() == PIECES_KEPT {
                log.pieces.pop_front();
            }
            log.pieces.push_back((Instant::now(), buffer[..count].to_vec()));
        }
        self.state().log_is_whole = true;
        self.changed.notify_all();
    }
}
