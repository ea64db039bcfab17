//! A server with one thread per connection and one selectable fault. Each fault is in one place.
//! The comment there says how real servers get the fault.

mod connection;
mod lines;
mod replies;
mod socket;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use nix::sys::signal::{SigSet, Signal};

use super::fault::{Fault, Shape};
use lines::LineBuffer;
use socket::wait_for;

/// Connection limit.
const CAPACITY: usize = 3;

/// Longest request in bytes, without the line end.
const MAX_LINE: usize = 4096;

const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum duration of the drain.
const DRAIN: Duration = Duration::from_secs(30);

/// Maximum wait for the FIN of a rejected client.
const LINGER: Duration = Duration::from_millis(300);

/// Pause after a failed accept, and between two checks for a free connection slot.
const PAUSE: Duration = Duration::from_millis(10);

/// Runs the server and exits, if this process was started as one: `broken FAULT SHAPE HOST PORT`.
pub(crate) fn take_role() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, fault, shape, host, port] = &arguments[..] else { return };
    if role != "broken" {
        return;
    }
    let fault = Fault::from_str(fault, false).expect("a fault");
    let shape = Shape::from_str(shape, false).expect("a shape");
    let served = address(host, port)
        .and_then(|address| Server::start(fault, shape, address))
        .and_then(Server::serve);
    let code = served.unwrap_or_else(|error| {
        eprintln!("cannot serve on {host}, port {port}: {error}");
        // A program that catches and prints every error at the top may forget the exit code.
        if fault == Fault::ExitsWith0AfterAFailedStart { 0 } else { 1 }
    });
    std::process::exit(code);
}

fn address(host: &str, port: &str) -> io::Result<SocketAddr> {
    let invalid = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let host: IpAddr = host.parse().map_err(|error| invalid(&error))?;
    let port = port.parse().map_err(|error| invalid(&error))?;
    Ok(SocketAddr::new(host, port))
}

struct Server {
    fault: Fault,
    shape: Shape,
    address: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
    /// Read end of a pipe. Shutdown closes the write end, so this becomes readable.
    shutdown: OwnedFd,
    /// Number of used connection slots.
    slots: AtomicUsize,
    /// Number of connections with a running thread.
    connections: AtomicUsize,
    /// Input buffer of all connections, for [`Fault::OneBufferForAll`].
    shared_buffer: Mutex<LineBuffer>,
    /// Whether the accepting thread spins, for [`Fault::SpinsAfterFin`] and
    /// [`Fault::SpinsAfterReset`].
    spins: AtomicBool,
    /// Connection of another client, for the faults that send replies to the wrong client.
    other: Mutex<Option<TcpStream>>,
    /// Connections of all clients, for [`Fault::Broadcasts`].
    all: Mutex<Vec<TcpStream>>,
    /// Lock for the faults by which one connection blocks all others.
    turn: Mutex<()>,
}

impl Server {
    fn start(fault: Fault, shape: Shape, address: SocketAddr) -> io::Result<&'static Server> {
        if fault == Fault::DiesOfSigpipe {
            socket::restore_sigpipe();
        }
        // Block the signals before any thread starts, so that only `handle_signals` receives them.
        let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        signals.thread_block()?;
        let (shutdown, write_end) = nix::unistd::pipe()?;
        let listener = socket::listen(fault, address)?;
        // With port 0, only this line contains the real port.
        println!("listening on {}", listener.local_addr()?);
        thread::spawn(move || socket::handle_signals(fault, signals, write_end));
        Ok(Box::leak(Box::new(Server {
            fault,
            shape,
            address,
            listener: Mutex::new(Some(listener)),
            shutdown,
            slots: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            shared_buffer: Mutex::default(),
            spins: AtomicBool::new(false),
            other: Mutex::default(),
            all: Mutex::default(),
            turn: Mutex::default(),
        })))
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Serves until a signal arrives, and returns the exit code.
    fn serve(&'static self) -> io::Result<i32> {
        let mut ignored = Vec::new();
        loop {
            let full = self.is_full();
            if full && self.shape == Shape::Refuse && !self.has(Fault::QueuesInsteadOfRefusing) {
                // listen(0) does not refuse connections; only a closed listener does.
                lock(&self.listener).take();
            }
            if full && matches!(self.shape, Shape::Refuse | Shape::Wait) {
                if wait_for(&[&self.shutdown], PAUSE)?[0] {
                    break;
                }
                continue;
            }
            match self.next_connection()? {
                Accepted::Shutdown => break,
                Accepted::Nothing => {}
                Accepted::Client(client) => self.admit(client, full, &mut ignored)?,
            }
        }
        lock(&self.listener).take();
        self.drain()
    }

    /// Waits for a connection or for the shutdown.
    fn next_connection(&self) -> io::Result<Accepted> {
        let mut listener = lock(&self.listener);
        let listener = match &mut *listener {
            Some(listener) => listener,
            none => none.insert(socket::listen(self.fault, self.address)?),
        };
        match wait_for(&[listener, &self.shutdown], self.accept_timeout())?[..] {
            [true, false] => {}
            [false, false] => return Ok(Accepted::Nothing),
            _ => return Ok(Accepted::Shutdown),
        }
        if self.has(Fault::CrashesOnAnEarlyReset) {
            // The client can reset while the server does something else.
            thread::sleep(PAUSE);
        }
        let client = match listener.accept() {
            Ok((client, _)) => client,
            // A server that only expects the errors of a single client exits.
            Err(error) if self.has(Fault::ExitsWithoutDescriptors) => return Err(error),
            // An immediate retry fails again: the connection and the shortage are still there.
            Err(_) if self.has(Fault::SpinsWithoutDescriptors) => return Ok(Accepted::Nothing),
            Err(_) => {
                thread::sleep(PAUSE * 5);
                return Ok(Accepted::Nothing);
            }
        };
        if self.has(Fault::CrashesOnAnEarlyReset) {
            // getpeername fails for a socket that was reset.
            client.peer_addr().expect("an accepted socket has a peer");
        }
        client.set_nodelay(true)?;
        Ok(Accepted::Client(client))
    }

    /// Returns the timeout of a wait for a connection: zero for a server that spins.
    fn accept_timeout(&self) -> Duration {
        match self.has(Fault::SpinsWithoutClients) || self.spins.load(SeqCst) {
            true => Duration::ZERO,
            false => Duration::MAX,
        }
    }

    /// Serves a connection, or rejects it if the server is full.
    fn admit(
        &'static self,
        client: TcpStream,
        mut full: bool,
        ignored: &mut Vec<TcpStream>,
    ) -> io::Result<()> {
        if self.has(Fault::IgnoresClientsOverTheLimit) {
            // Connections that are about to close get time, so that later clients are not ignored.
            let deadline = Instant::now() + LINGER;
            while self.is_full() && Instant::now() < deadline {
                thread::sleep(PAUSE / 5);
            }
            full = self.is_full();
        }
        if full && self.has(Fault::IgnoresClientsOverTheLimit) {
            // The program has no code for this case.
            ignored.push(client);
        } else if full && !self.has(Fault::IgnoresTheConnectionLimit) {
            thread::spawn(move || self.reject(&client));
        } else {
            self.spawn(client)?;
        }
        Ok(())
    }

    /// Waits until all connections are closed, and returns the exit code.
    fn drain(&self) -> io::Result<i32> {
        if self.has(Fault::LeavesAChild) {
            // A helper process that gets no signal.
            Command::new("sleep").arg("600").spawn()?;
        }
        let deadline = Instant::now() + DRAIN;
        while self.connections.load(SeqCst) > 0 && Instant::now() < deadline {
            // The exit of the process kills its threads in the middle of their work.
            if self.has(Fault::DropsReceivedRequests) {
                break;
            }
            thread::sleep(PAUSE);
        }
        let drained = self.connections.load(SeqCst) == 0 || self.has(Fault::DropsReceivedRequests);
        // Many scripts and runtimes exit with an error after a signal.
        let failed = !drained || self.has(Fault::ExitsWith1AtSigterm);
        Ok(i32::from(failed))
    }

    fn is_full(&self) -> bool {
        let limit = match self.fault {
            // The counter is incremented on accept, and again when the thread starts.
            Fault::CountsAClientTwice => CAPACITY - 1,
            _ => CAPACITY,
        };
        self.slots.load(SeqCst) >= limit
    }

    /// Returns whether the fault keeps a copy of a socket after the connection has ended.
    fn keeps_sockets(&self) -> bool {
        use Fault::*;
        matches!(self.fault, RepliesToTheLastClient | SendsTheBusyReplyToAnother | LeaksDescriptors)
    }

    /// Serves a connection in a new thread.
    fn spawn(&'static self, client: TcpStream) -> io::Result<()> {
        if self.keeps_sockets() {
            let mut other = lock(&self.other);
            if other.is_none() || self.has(Fault::RepliesToTheLastClient) {
                *other = Some(client.try_clone()?);
            }
        }
        if self.has(Fault::Broadcasts) {
            lock(&self.all).push(client.try_clone()?);
        }
        self.slots.fetch_add(1, SeqCst);
        self.connections.fetch_add(1, SeqCst);
        if self.has(Fault::OneAtATime) {
            // The simplest server: it serves a client in the accept loop.
            self.run_connection(&client);
        } else {
            thread::spawn(move || {
                self.run_connection(&client);
                drop(client);
                if self.has(Fault::LeaksThreads) {
                    // The thread waits for work that never comes.
                    thread::park_timeout(DRAIN * 10);
                }
            });
        }
        Ok(())
    }
}

/// Result of a wait for a connection.
enum Accepted {
    Client(TcpStream),
    Nothing,
    Shutdown,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
