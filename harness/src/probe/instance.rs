//! Instances of the probed server. Each experiment has its own, so that experiments run in parallel
//! without side effects on each other. They share an external server.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::Result;
use servers::Service;

use crate::client::{Client, ClientError, Transcript, Window};
use crate::concurrency;
use crate::contract::Contract;
use crate::exit::Exit;
use crate::server::{
    LaunchError, LaunchSpec, Launcher, Network, Place, READY_DEADLINE, Server, Surroundings, diag,
    network, proc,
};
use crate::usage_error::UsageError;

/// Silence after which a sleeping server with timers is not expected to send any more.
const QUIET: Duration = Duration::from_millis(250);

/// Silence after which a server without timers is not expected to send any more. It is also at
/// least the given multiple of the slowest reply.
const SOON: Duration = Duration::from_millis(10);
const SLOWER: u32 = 6;

/// Time limit for a server that is not asleep, and the CPU time after which silence is final.
const WORKING: Duration = Duration::from_secs(10);
const WORKED: Duration = Duration::from_millis(500);

/// Time limit and size limit for a server that keeps sending.
const TALKING: Duration = Duration::from_secs(5);
const MOST_HEARD: usize = 256 * 1024;

/// Timeout for the exit of a server that has exited before.
const ENDING: Duration = Duration::from_secs(3);

/// Timeout for connecting, and the pause between two attempts.
const PATIENCE: Duration = Duration::from_secs(2);
const TRY_EVERY: Duration = Duration::from_millis(20);

/// Pauses between two checks of a client's input.
const FIRST_PAUSE: Duration = Duration::from_millis(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

/// Timeout until a server listens without having been given a port; then it gets one on standard
/// input.
const SILENT_START: Duration = Duration::from_secs(10);

/// Number of parallel experiments. They mostly wait for interpreters to start.
const AT_ONCE: usize = 8;

/// Source of instances, and what is known about all of them.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) launcher: Launcher,
    pub(super) spec: LaunchSpec,
    /// It exits after its first connection.
    pub(super) is_mortal: bool,
    /// Slowest reply so far; `None` before the first reply.
    pub(super) slowest: Option<Duration>,
    /// It serves several connections at once.
    pub(super) serves_several: bool,
}

/// An instance, which is launched again after it has exited.
pub(super) struct Instance<'o> {
    origin: &'o Origin,
    server: Option<Server>,
    transcript: Transcript,
    clients: usize,
    /// Number of connections since the last launch.
    of_this_life: usize,
    is_mortal: bool,
    slowest: Cell<Option<Duration>>,
    /// Dropped after the server: its network namespace or port lease.
    place: Place,
}

/// Received bytes, and whether the server closed the connection after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) is_over: bool,
}

impl Origin {
    /// Returns the source for a command. If the command has no `{port}`, detects how the server
    /// gets its port.
    ///
    /// # Errors
    /// The command is invalid, or does not start a server that listens.
    pub(super) fn of_command(launcher: Launcher, command: &str) -> Result<Origin> {
        let contract = || Contract::undeclared(Service::Calc);
        let usage = |error: crate::server::LaunchSpecError| UsageError(error.to_string());
        let spec = if command.contains("{port}") {
            LaunchSpec::foreign(command, contract()).map_err(usage)?
        } else {
            let told =
                Surroundings { input: Some("{port}\n".to_owned()), ..Surroundings::default() };
            let told = LaunchSpec::foreign_in(command, told, contract()).map_err(usage)?;
            // Before any other thread exists. If it fails, the instances take turns.
            let _ = network::prepare();
            match own_port(&launcher, &told)? {
                None => told,
                Some(port) => {
                    let fixed = Surroundings { fixed_port: Some(port), ..Surroundings::default() };
                    LaunchSpec::foreign_in(command, fixed, contract()).map_err(usage)?
                }
            }
        };
        Ok(Origin::of(launcher, spec))
    }

    /// Returns the source for a server that already runs.
    ///
    /// # Errors
    /// The connection failed.
    pub(super) fn elsewhere(launcher: Launcher, address: SocketAddr) -> Result<Origin> {
        let transcript = Transcript::begin();
        let connected = Client::connect(1, address, Window::Usual, PATIENCE, &transcript);
        if let Err(trouble) = connected {
            let words = format!(
                "cannot connect to {address}: {trouble}; start the server, or check host and port"
            );
            return Err(anyhow::Error::msg(words));
        }
        let contract = Contract::undeclared(Service::Calc);
        Ok(Origin::of(launcher, LaunchSpec::elsewhere(address, contract)))
    }

    fn of(launcher: Launcher, spec: LaunchSpec) -> Origin {
        Origin { launcher, spec, is_mortal: false, slowest: None, serves_several: false }
    }

    pub(super) fn is_elsewhere(&self) -> bool {
        self.spec.elsewhere.is_some()
    }

    /// Describes how the server gets its port.
    pub(super) fn words(&self) -> String {
        match (self.spec.fixed_port, &self.spec.input, self.spec.elsewhere) {
            (Some(port), ..) => format!("it always listens on port {port}"),
            (None, Some(_), _) => "it reads its port from standard input".to_owned(),
            (None, None, Some(address)) => format!("it listens on {address}"),
            (None, None, None) => "it listens where its command says".to_owned(),
        }
    }

    /// Launches a fresh instance for this thread.
    ///
    /// # Errors
    /// The server does not start, or does not listen.
    pub(super) fn instance(&self) -> Result<Instance<'_>, LaunchError> {
        let mut instance = Instance {
            origin: self,
            server: None,
            transcript: Transcript::begin(),
            clients: 0,
            of_this_life: 0,
            is_mortal: self.is_mortal,
            slowest: Cell::new(self.slowest),
            place: Place::take(&self.spec)?,
        };
        instance.server()?;
        Ok(instance)
    }

    /// Runs an experiment on each item, several in parallel, and returns the results in order.
    /// Experiments on an external server that serves one connection at a time run in sequence.
    pub(super) fn each<I: Sync, T: Send>(
        &self,
        items: &[I],
        experiment: impl Fn(&I) -> T + Sync,
    ) -> Vec<T> {
        let is_alone = self.is_elsewhere() && !self.serves_several;
        let at_once = if is_alone { 1 } else { AT_ONCE.min(items.len()) };
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(items.len()));
        let work = || {
            loop {
                let index = next.fetch_add(1, Relaxed);
                let Some(item) = items.get(index) else { break };
                let result = experiment(item);
                results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
            }
        };
        // Each on a separate thread, which may have its own network namespace. If no thread can be
        // started, fewer run in parallel.
        thread::scope(|scope| {
            for _ in 1..at_once {
                if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

impl Instance<'_> {
    /// Returns the server, which is launched again if it has exited.
    pub(super) fn server(&mut self) -> Result<&Server, LaunchError> {
        if self.server.as_ref().is_some_and(|server| server.process.exit().is_some()) {
            self.is_mortal = true;
            self.forget()?;
        }
        if self.server.is_none() {
            self.server = Some(self.origin.launcher.launch(&self.origin.spec)?);
        }
        Ok(self.server.as_ref().expect("it was just launched"))
    }

    /// Ends the server; the next connection launches a new one.
    pub(super) fn forget(&mut self) -> Result<(), LaunchError> {
        self.server = None;
        self.of_this_life = 0;
        self.place.clear()
    }

    /// Returns the exit status if the server exits by itself soon. The wait ends when the server
    /// can no longer act without input.
    pub(super) fn exit(&self) -> Option<Exit> {
        let process = &self.server.as_ref().filter(|_| !self.origin.is_elsewhere())?.process;
        let patience = if self.is_mortal { ENDING } else { QUIET };
        let began = Instant::now();
        let mut still = 0;
        while began.elapsed() < patience && still < 3 {
            if let Some(exit) = process.wait_for_exit(FIRST_PAUSE * 2) {
                return Some(exit);
            }
            let is_still = !self.is_mortal && concurrency::is_still(&process.tree());
            still = if is_still { still + 1 } else { 0 };
        }
        process.exit()
    }

    /// Returns whether it has exited after its first connection.
    pub(super) fn is_mortal(&self) -> bool {
        self.is_mortal
    }

    pub(super) fn slowest(&self) -> Option<Duration> {
        self.slowest.get()
    }

    /// Connects once.
    pub(super) fn try_connect(&mut self) -> Result<Client, ClientError> {
        let address =
            self.server().map_err(|it| ClientError::NotConnected(it.to_string()))?.address;
        self.clients += 1;
        self.of_this_life += 1;
        Client::connect(self.clients, address, Window::Usual, PATIENCE, &self.transcript)
    }

    /// Connects; retries while the connection is refused or reset, and launches the server again if
    /// that does not help.
    pub(super) fn connect(&mut self) -> Option<Client> {
        if self.of_this_life > 0 && (self.clients == 1 || self.is_mortal) {
            // The previous client has disconnected.
            self.is_mortal |= self.exit().is_some();
        }
        for life in 0..2 {
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline {
                match self.try_connect() {
                    Ok(client) => return Some(client),
                    Err(ClientError::Refused | ClientError::Reset) => sleep(TRY_EVERY),
                    Err(_) => break,
                }
            }
            if life == 0 && !self.origin.is_elsewhere() {
                self.forget().ok()?;
            }
        }
        None
    }

    /// Disconnects the client and waits until the server has seen it.
    pub(super) fn leave(&self, mut client: Client) {
        if client.half_close().is_ok() {
            self.hear(&mut client);
        }
    }

    /// Returns the bytes that arrive until the server is not expected to send any more.
    pub(super) fn hear(&self, client: &mut Client) -> Heard {
        self.hear_since(client, Instant::now())
    }

    /// Like [`hear`](Self::hear), for a server that has had time since `since`.
    pub(super) fn hear_since(&self, client: &mut Client, since: Instant) -> Heard {
        self.hear_until(client, since, |_| false)
    }

    /// Returns the greeting, until it is complete or the server is silent.
    pub(super) fn greeting(&self, client: &mut Client, is_enough: impl Fn(&[u8]) -> bool) -> Heard {
        self.hear_until(client, Instant::now(), is_enough)
    }

    /// Sends a request and returns the bytes that arrive until they are complete or the server is
    /// silent. `None` if the request cannot be sent.
    pub(super) fn ask(
        &self,
        client: &mut Client,
        request: &[u8],
        is_enough: impl Fn(&[u8]) -> bool,
    ) -> Option<Heard> {
        client.send(request).ok()?;
        let (asked, first) = (Instant::now(), Cell::new(None));
        let heard = self.hear_until(client, asked, |bytes| {
            first.set(first.get().or_else(|| Some(asked.elapsed())));
            is_enough(bytes)
        });
        self.slowest.set(self.slowest.get().max(first.get()));
        Some(heard)
    }

    /// Returns the bytes that arrive until they are complete or no more are expected. That is so
    /// once the server closes the connection, cannot act without input, or sleeps in silence.
    fn hear_until(
        &self,
        client: &mut Client,
        since: Instant,
        is_enough: impl Fn(&[u8]) -> bool,
    ) -> Heard {
        let began = Instant::now();
        let worked_before = self.worked();
        let (mut bytes, mut last, mut pause) = (Vec::new(), since, FIRST_PAUSE);
        loop {
            let heard = client.listen(pause);
            match heard {
                Ok(more) if more.is_empty() => pause = (pause * 2).min(LONGEST_PAUSE),
                Ok(more) => {
                    bytes.extend(more);
                    (last, pause) = (Instant::now(), FIRST_PAUSE);
                    if is_enough(&bytes) {
                        return Heard { bytes, is_over: false };
                    }
                }
                Err(ClientError::Closed(more)) => {
                    bytes.extend(more);
                    return Heard { bytes, is_over: true };
                }
                Err(_) => return Heard { bytes, is_over: true },
            }
            let silent = last.elapsed();
            let is_too_much = bytes.len() > MOST_HEARD
                || began.elapsed() > if bytes.is_empty() { WORKING } else { TALKING };
            let has_worked = silent >= QUIET
                && silent > WORKED
                && self.worked().saturating_sub(worked_before) >= WORKED;
            if is_too_much
                || has_worked
                || self.is_still(client, silent, &bytes)
                || silent >= QUIET && self.is_asleep()
            {
                return Heard { bytes, is_over: false };
            }
        }
    }

    /// Returns whether the server can no longer act on this client's data without further input.
    /// False for a silent server whose reply time is unknown.
    fn is_still(&self, client: &Client, silent: Duration, bytes: &[u8]) -> bool {
        let least = match (self.slowest.get(), bytes) {
            (Some(slowest), _) => SOON.max(slowest * SLOWER),
            (None, [_, ..]) => SOON,
            (None, []) => return false,
        };
        let is_delivered =
            || client.ends().is_some_and(|(own, server)| diag::is_delivered(server, own));
        let Some(server) = &self.server else { return false };
        silent >= least && concurrency::is_still(&server.process.tree()) && is_delivered()
    }

    fn is_asleep(&self) -> bool {
        self.server.as_ref().is_none_or(|server| proc::is_asleep(&server.process.tree()))
    }

    fn worked(&self) -> Duration {
        self.server.as_ref().map_or(Duration::ZERO, |server| proc::cpu_time(&server.process.tree()))
    }
}

/// Returns the port that a server chooses by itself, or `None` if it first reads one from standard
/// input.
fn own_port(launcher: &Launcher, told: &LaunchSpec) -> Result<Option<u16>> {
    // A process that uses the server's port is outside this network namespace.
    let _network = Network::of_its_own();
    let untold = LaunchSpec { input: None, ..told.clone() };
    let process = launcher.start(&untold, "127.0.0.1", "0")?;
    let deadline = Instant::now() + SILENT_START;
    while Instant::now() < deadline && process.exit().is_none() {
        if let Some(address) = process.listening().first() {
            return Ok(Some(address.port()));
        }
        sleep(TRY_EVERY);
    }
    // It may only be slow to start: then it does not listen on the given port either.
    drop(process);
    let process = launcher.start(told, "127.0.0.1", "0")?;
    let _ = process.wait_until_listening(READY_DEADLINE)?;
    Ok(None)
}
