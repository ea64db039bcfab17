//! Instances of the probed server: each experiment has one of its own, so that they run side by side
//! and none meets what another has left. A server that runs already is the same one for all of them.

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

/// After how much silence nothing more is expected of a server that sleeps, but may wake up by
/// itself.
const QUIET: Duration = Duration::from_millis(250);

/// After how much silence at least nothing more is expected of a server that cannot wake up by itself,
/// and how many times as long as its slowest reply took.
const SOON: Duration = Duration::from_millis(10);
const SLOWER: u32 = 6;

/// How long a server is waited for that does not sleep; less, once it has had this much of a
/// processor.
const WORKING: Duration = Duration::from_secs(10);
const WORKED: Duration = Duration::from_millis(500);

/// How long it may go on talking, and how much it may say.
const TALKING: Duration = Duration::from_secs(5);
const MOST_HEARD: usize = 256 * 1024;

/// How long a server may take to end that was seen to end before.
const ENDING: Duration = Duration::from_secs(3);

/// How long a connection may take, and how often it is tried again meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
const TRY_EVERY: Duration = Duration::from_millis(20);

/// Pauses between two looks at what a client hears.
const FIRST_PAUSE: Duration = Duration::from_millis(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

/// How long a server may take that has been told no port, until it is told one on standard input.
const SILENT_START: Duration = Duration::from_secs(10);

/// Experiments at a time. They mostly wait for interpreters to start.
const AT_ONCE: usize = 8;

/// How instances come about, and what is known of all of them.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) launcher: Launcher,
    pub(super) spec: LaunchSpec,
    /// It ends when its first client has left.
    pub(super) is_mortal: bool,
    /// The slowest reply so far; none while nothing was answered.
    pub(super) slowest: Option<Duration>,
    /// It serves several clients at once.
    pub(super) serves_several: bool,
}

/// An instance, which is launched again when it has ended.
pub(super) struct Instance<'o> {
    origin: &'o Origin,
    server: Option<Server>,
    transcript: Transcript,
    clients: usize,
    /// Of them, those of the server that is there now.
    of_this_life: usize,
    is_mortal: bool,
    slowest: Cell<Option<Duration>>,
    /// It is kept until the server is gone.
    place: Place,
}

/// What came, and whether the server ended the connection then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) is_over: bool,
}

impl Origin {
    /// That of a command. How the server takes its port is found out if the command has no place for
    /// it.
    ///
    /// # Errors
    /// It cannot be a command, or does not become a server that listens.
    pub(super) fn of_command(launcher: Launcher, command: &str) -> Result<Origin> {
        let contract = || Contract::undeclared(Service::Calc);
        let usage = |error: crate::server::LaunchSpecError| UsageError(error.to_string());
        let spec = if command.contains("{port}") {
            LaunchSpec::foreign(command, contract()).map_err(usage)?
        } else {
            let told =
                Surroundings { input: Some("{port}\n".to_owned()), ..Surroundings::default() };
            let told = LaunchSpec::foreign_in(command, told, contract()).map_err(usage)?;
            // Before there is another thread. Where it cannot be, instances take turns.
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

    /// That of a server that runs already.
    ///
    /// # Errors
    /// Nobody can connect to it.
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

    /// How it takes its port, in words.
    pub(super) fn words(&self) -> String {
        match (self.spec.fixed_port, &self.spec.input, self.spec.elsewhere) {
            (Some(port), ..) => format!("it always listens on port {port}"),
            (None, Some(_), _) => "it reads its port from standard input".to_owned(),
            (None, None, Some(address)) => format!("it listens on {address}"),
            (None, None, None) => "it listens where its command says".to_owned(),
        }
    }

    /// A fresh instance, for this thread.
    ///
    /// # Errors
    /// It does not start, or does not listen.
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

    /// Runs an experiment on each of these, several at a time, and returns the results in their
    /// order. One server that serves a client at a time is met by one experiment after the other.
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
        // Each on a thread of its own, which may be in a network of its own. Where none is to be had,
        // fewer run at a time.
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
    /// The server, which is launched afresh if it is not there.
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

    /// Ends the server: the next client meets another one.
    pub(super) fn forget(&mut self) -> Result<(), LaunchError> {
        self.server = None;
        self.of_this_life = 0;
        self.place.clear()
    }

    /// How this life ended by itself, if it does within a moment: until the server can do nothing by
    /// itself any more.
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

    /// Whether it was seen to end when its first client had left.
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

    /// Connects, again and again where one client more is turned away, and launches the server
    /// afresh where nobody listens.
    pub(super) fn connect(&mut self) -> Option<Client> {
        if self.of_this_life > 0 && (self.clients == 1 || self.is_mortal) {
            // The client before this one has left.
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

    /// The client leaves, and the server has heard of it.
    pub(super) fn leave(&self, mut client: Client) {
        if client.half_close().is_ok() {
            self.hear(&mut client);
        }
    }

    /// What comes until the server has nothing more to say.
    pub(super) fn hear(&self, client: &mut Client) -> Heard {
        self.hear_since(client, Instant::now())
    }

    /// As [`hear`](Self::hear), where the server has had time since then.
    pub(super) fn hear_since(&self, client: &mut Client, since: Instant) -> Heard {
        self.hear_until(client, since, |_| false)
    }

    /// What a client is greeted with, until that is enough or all.
    pub(super) fn greeting(&self, client: &mut Client, is_enough: impl Fn(&[u8]) -> bool) -> Heard {
        self.hear_until(client, Instant::now(), is_enough)
    }

    /// Asks, and hears what comes until that is enough or all. `None` if the server takes no request.
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

    /// What comes until that is enough, or the server has nothing more to say: it has ended the
    /// connection; it can do nothing by itself any more; or it sleeps, and is silent.
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

    /// Whether the server can do nothing by itself any more about what this client has sent. While
    /// it is not known how long a reply takes, that is not asked of one that has said nothing.
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

/// The port that a server takes without being told; none if it takes none until it is told one on
/// standard input.
fn own_port(launcher: &Launcher, told: &LaunchSpec) -> Result<Option<u16>> {
    // Whoever else has its port is not in this network.
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
    // It may only be slow to start: then it does not listen where it is told either.
    drop(process);
    let process = launcher.start(told, "127.0.0.1", "0")?;
    let _ = process.wait_until_listening(READY_DEADLINE)?;
    Ok(None)
}
