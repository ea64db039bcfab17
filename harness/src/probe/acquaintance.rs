//! A server that is only just met: launched again when it dies, however it takes its port.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use servers::Service;

use crate::client::{Client, Transcript, Trouble, Window};
use crate::role::Usage;
use crate::server::{
    Contract, Exit, LaunchError, Launcher, Place, READY_DEADLINE, Server, Spec, Surroundings, proc,
};

/// After how much silence nothing more is expected of a server that rests.
const QUIET: Duration = Duration::from_millis(250);

/// How long one is waited for that works.
const WORKING: Duration = Duration::from_secs(3);

/// How long a connection may take, and how often it is tried again meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
const TRY_EVERY: Duration = Duration::from_millis(20);

/// How long a server may take that has been told no port, until it is told one on standard input.
const SILENT_START: Duration = Duration::from_secs(10);

/// A server, and how it is launched.
pub(super) struct Acquaintance {
    pub(super) spec: Spec,
    launcher: Launcher,
    server: Option<Server>,
    transcript: Transcript,
    clients: usize,
    /// Whether it ends when its first client has left.
    is_mortal: bool,
    /// How its lives ended so far.
    pub(super) exits: Vec<Exit>,
    /// It is kept until the server is gone.
    place: Place,
}

/// What came, and whether the server ended the connection then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) is_over: bool,
}

impl Acquaintance {
    /// Launches a server, and finds out where it listens if it is not told.
    pub(super) fn launch(launcher: Launcher, command: &str) -> Result<Acquaintance> {
        let contract = || Contract::undeclared(Service::Calc);
        let usage = |error: crate::server::SpecError| Usage(error.to_string());
        let spec = if command.contains("{port}") {
            Spec::foreign(command, contract()).map_err(usage)?
        } else {
            let told =
                Surroundings { input: Some("{port}\n".to_owned()), ..Surroundings::default() };
            let told = Spec::foreign_in(command, told, contract()).map_err(usage)?;
            match own_port(&launcher, &told)? {
                None => told,
                Some(port) => {
                    let fixed = Surroundings { fixed_port: Some(port), ..Surroundings::default() };
                    Spec::foreign_in(command, fixed, contract()).map_err(usage)?
                }
            }
        };
        let mut met = Acquaintance::of(launcher, spec);
        met.place = Place::take(&met.spec)?;
        met.server()?;
        Ok(met)
    }

    pub(super) fn elsewhere(launcher: Launcher, address: SocketAddr) -> Acquaintance {
        let contract = Contract::undeclared(Service::Calc);
        Acquaintance::of(launcher, Spec::elsewhere(address, contract))
    }

    fn of(launcher: Launcher, spec: Spec) -> Acquaintance {
        Acquaintance {
            spec,
            launcher,
            server: None,
            transcript: Transcript::begin(),
            clients: 0,
            is_mortal: false,
            exits: Vec::new(),
            place: Place::default(),
        }
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

    /// The server, which is launched afresh if it is not there.
    pub(super) fn server(&mut self) -> Result<&Server, LaunchError> {
        let exit = self.server.as_ref().and_then(|server| server.process.exit());
        if let Some(exit) = exit {
            self.exits.push(exit);
            self.forget()?;
        }
        if self.server.is_none() {
            self.server = Some(self.launcher.launch(&self.spec)?);
        }
        Ok(self.server.as_ref().expect("it was just launched"))
    }

    /// Ends the server: the next client meets another one.
    pub(super) fn forget(&mut self) -> Result<(), LaunchError> {
        self.server = None;
        self.place.clear()
    }

    /// How this life ended by itself, if it does within a moment.
    pub(super) fn exit(&self) -> Option<Exit> {
        let patience = if self.is_mortal { WORKING } else { QUIET };
        self.server.as_ref()?.process.wait_for_exit(patience)
    }

    /// Connects, again and again where one client more is turned away, and launches the server
    /// afresh where nobody listens.
    pub(super) fn connect(&mut self) -> Option<Client> {
        if self.clients == 1 || self.is_mortal {
            // The client before this one has left.
            self.is_mortal |= self.exit().is_some();
        }
        for life in 0..2 {
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline {
                let address = self.server().ok()?.address;
                self.clients += 1;
                let (number, transcript) = (self.clients, &self.transcript);
                match Client::connect(number, address, Window::Usual, PATIENCE, transcript) {
                    Ok(client) => return Some(client),
                    Err(Trouble::Refused | Trouble::Reset) => sleep(TRY_EVERY),
                    Err(_) => break,
                }
            }
            if life == 0 && !self.is_elsewhere() {
                self.forget().ok()?;
            }
        }
        None
    }

    /// What comes until the server has nothing more to say: it rests, and is silent.
    pub(super) fn hear(&self, client: &mut Client) -> Heard {
        let (began, mut bytes) = (Instant::now(), Vec::new());
        loop {
            match client.listen(QUIET) {
                Ok(more) => {
                    let is_silent = more.is_empty();
                    bytes.extend(more);
                    let is_at_rest = self.is_asleep() || began.elapsed() > WORKING;
                    if is_silent && is_at_rest {
                        return Heard { bytes, is_over: false };
                    }
                }
                Err(Trouble::Closed(more)) => {
                    bytes.extend(more);
                    return Heard { bytes, is_over: true };
                }
                Err(_) => return Heard { bytes, is_over: true },
            }
        }
    }

    fn is_asleep(&self) -> bool {
        self.server.as_ref().is_none_or(|server| proc::is_asleep(&server.process.tree()))
    }
}

/// The port that a server takes without being told; none if it takes none until it is told one on
/// standard input.
fn own_port(launcher: &Launcher, told: &Spec) -> Result<Option<u16>> {
    let untold = Spec { input: None, ..told.clone() };
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
