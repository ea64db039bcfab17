//! Waits until a server is ready: finds the process that listens on the requested port.
//!
//! While the processes of the command are visible, no connection is made: it would occupy an
//! iterative server, and makes some servers exit. A connection is the last resort, if the kernel
//! shows neither the processes nor the sockets, or if no process of the command can listen any
//! more.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use super::launch_error::LaunchError;
use super::launch_request::{LISTENS, REPLACE};
use super::proc;
use super::process::Process;
use super::self_connection::accepts;
use super::shared::MAX_EXTENSION;
use super::starvation::Period;
use crate::exit::Exit;
use crate::results::{HiddenBy, LaunchFindings, ProcessView};

/// Timeout for a server that listens on another port to listen on the requested port. Some servers
/// open another port first.
const WRONG_PORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout for a server to listen after a command has exited with 0 and left no process: a daemon,
/// such as that of `docker run --detach`, may still start the server.
const DETACHED_TIMEOUT: Duration = Duration::from_secs(5);

/// First and longest pause between two checks for a listening socket. The first pauses are short,
/// for servers that start at once. The later pauses leave the CPU to interpreters that start
/// slowly.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(16);

/// Number of checks, and their pause, that must find a listener outside of the process tree. In one
/// check, a process that is being forked may be missed.
const OUTSIDE_CHECKS: u32 = 3;
const OUTSIDE_PAUSE: Duration = Duration::from_millis(20);

/// Timeout of a connection that tests a port of this machine.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// Pause after such a connection, in which a server for one client notices that it has ended.
const AFTER_CONNECTION: Duration = Duration::from_millis(200);

/// Timeout for the supervisor to replace the first process of a daemon.
const REPLACE_TIMEOUT: Duration = Duration::from_secs(5);

/// A listening socket.
#[derive(Clone, Copy, Debug)]
struct Found {
    address: SocketAddr,
    view: ProcessView,
    /// Inode of the socket, if it is not of a visible process.
    inode: Option<u64>,
    connected: bool,
}

impl Process {
    /// Waits until the server is ready: until it listens, and has printed the declared text.
    ///
    /// # Errors
    /// As [`wait_until_listening`](Self::wait_until_listening), or the text was not printed in
    /// time.
    pub fn wait_until_ready(&mut self) -> Result<SocketAddr, LaunchError> {
        let period = Period::begin();
        let timeout = self.readiness.timeout;
        let found = self.find_listener(timeout, &period)?;
        self.findings = LaunchFindings {
            processes: found.view,
            connected: found.connected,
            ..LaunchFindings::default()
        };
        self.listener = found.inode.map(|inode| (found.address.port(), inode));
        self.write(LISTENS);
        self.command_had_exited = found.view == ProcessView::Outside && self.exit().is_some();
        let Some(text) = self.readiness.text.clone() else { return Ok(found.address) };
        let is_over = self.command_had_exited;
        let state = self.shared.wait_usable(&period, timeout, |state| {
            state.has_ready_text || state.log_is_complete || !is_over && state.exit.is_some()
        });
        let (is_ready, exit) = (state.has_ready_text, state.exit.filter(|_| !is_over));
        let log_is_complete = state.log_is_complete;
        drop(state);
        match exit {
            _ if is_ready => Ok(found.address),
            Some(exit) => Err(self.exited(exit)),
            None => Err(LaunchError::NotReady {
                waited: period.usable(),
                overload: period.overload().filter(|_| !log_is_complete),
                text: text.as_str().to_owned(),
                log: self.log(),
            }),
        }
    }

    /// Waits until the server listens.
    ///
    /// # Errors
    /// The server exited, listens on another port, or did not listen in time, or the harness cannot
    /// see whether it listens.
    pub fn wait_until_listening(&self, timeout: Duration) -> Result<SocketAddr, LaunchError> {
        Ok(self.find_listener(timeout, &Period::begin())?.address)
    }

    /// Waits until the server listens. The timeout begins with the period.
    fn find_listener(&self, timeout: Duration, period: &Period) -> Result<Found, LaunchError> {
        let (mut pause, mut detached_at) = (FIRST_PAUSE, None::<Instant>);
        loop {
            let listening = proc::listening(&self.command_tree());
            if let Some(&address) = listening.iter().find(|one| self.is_requested(one.port())) {
                let view = ProcessView::Visible;
                return Ok(Found { address, view, inode: None, connected: false });
            }
            if let Some(found) = self.find_other_listener() {
                return Ok(found);
            }
            if let Some(exit) = self.wait_for_exit(pause)
                && (exit != Exit::Code(0) || !self.replace_first_process())
            {
                let detached_at = *detached_at.get_or_insert_with(Instant::now);
                let is_detached = exit == Exit::Code(0) && self.requested_port != 0;
                if !is_detached || detached_at.elapsed() > DETACHED_TIMEOUT.min(timeout) {
                    return Err(self.exited(exit));
                }
                // The server may have begun to listen while the command exited.
                let found = self.find_other_listener().or_else(|| self.connect_to_other());
                if let Some(found) = found {
                    return Ok(found);
                }
                thread::sleep(MAX_PAUSE);
            }
            // A server on an overloaded machine may lack the CPU time to start.
            let usable = period.usable();
            let overload = period.overload();
            let is_over =
                usable > timeout && (overload.is_none() || proc::is_asleep(&self.command_tree()));
            match listening.first() {
                Some(&found) if usable > timeout.min(WRONG_PORT_TIMEOUT) => {
                    return Err(LaunchError::WrongPort { requested: self.requested_port, found });
                }
                None if is_over || period.elapsed() > timeout * MAX_EXTENSION => {
                    return self.not_listening(usable.max(timeout), overload);
                }
                _ => {}
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    fn is_requested(&self, port: u16) -> bool {
        [0, port].contains(&self.requested_port)
    }

    /// Looks for a socket that listens on the requested port, but belongs to no visible process of
    /// the command. Connects only if the kernel lists no sockets.
    fn find_other_listener(&self) -> Option<Found> {
        if self.requested_port == 0 {
            return None;
        }
        let (address, inode) = match proc::listening_on(self.requested_port) {
            Some(listening) => self.new_listener(&listening)?,
            None => {
                let found = self.connect()?;
                let view = ProcessView::Hidden(HiddenBy::NoSockets);
                return Some(Found { view, ..found });
            }
        };
        // Read the sockets of the processes after the listeners, so that the socket of a process
        // that has just begun to listen is found.
        for _ in 0..OUTSIDE_CHECKS {
            let tree = self.command_tree();
            if proc::inodes(&tree).contains(&inode) {
                return None;
            }
            if let Some(reason) = proc::hidden_by(&tree) {
                let view = ProcessView::Hidden(reason);
                return Some(Found { address, view, inode: Some(inode), connected: false });
            }
            thread::sleep(OUTSIDE_PAUSE);
        }
        let still_listens = proc::listeners(self.requested_port).contains(&inode);
        let view = ProcessView::Outside;
        still_listens.then_some(Found { address, view, inode: Some(inode), connected: false })
    }

    /// Returns a socket that listens on the requested port, and did not before the start.
    fn new_listener(&self, listening: &[(SocketAddr, u64)]) -> Option<(SocketAddr, u64)> {
        listening.iter().find(|(_, inode)| !self.earlier_listeners.contains(inode)).copied()
    }

    /// Connects to the requested port if no process of the command is left that could listen. A
    /// port may be forwarded without a socket that listens.
    fn connect_to_other(&self) -> Option<Found> {
        if self.command_tree().is_empty() { self.connect() } else { None }
    }

    fn connect(&self) -> Option<Found> {
        if self.answered_before {
            return None;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.requested_port));
        if !accepts(address, CONNECT_TIMEOUT) {
            return None;
        }
        thread::sleep(AFTER_CONNECTION);
        Some(Found { address, view: ProcessView::Outside, inode: None, connected: true })
    }

    /// Lets the supervisor treat a process that the first process left in the background as the
    /// server. Returns whether there is one.
    fn replace_first_process(&self) -> bool {
        self.shared.state().has_no_daemon = false;
        if !self.write(REPLACE) {
            return false;
        }
        let state = self.shared.wait(REPLACE_TIMEOUT, |state| {
            state.exit.is_none() || state.has_no_daemon || state.ended
        });
        state.exit.is_none()
    }

    /// Writes a byte to the supervisor. Returns false if the supervisor has exited.
    fn write(&self, byte: u8) -> bool {
        let Some(mut signals) = self.signals.as_ref() else { return false };
        signals.write_all(&[byte]).and_then(|()| signals.flush()).is_ok()
    }

    fn exited(&self, exit: Exit) -> LaunchError {
        let log = self.log_after_exit();
        match self.exceeded_limit() {
            Some(limit) => LaunchError::Killed { limit, log },
            None => LaunchError::Exited { exit, log },
        }
    }

    /// Returns the error of a server that did not listen in time, unless the harness could not see
    /// it, or a last connection shows that it listens.
    fn not_listening(&self, waited: Duration, overload: Option<f64>) -> Result<Found, LaunchError> {
        let tree = self.command_tree();
        let is_in_other_network = || proc::is_in_other_network(&tree);
        // For a requested port, the sockets of all processes of the machine were examined.
        let hidden = match proc::hidden_by(&tree) {
            Some(reason) if self.requested_port == 0 => Some(reason),
            _ if is_in_other_network() => Some(HiddenBy::OtherNetwork),
            _ if proc::listening_on(self.requested_port).is_none() => Some(HiddenBy::NoSockets),
            _ => None,
        };
        if self.requested_port != 0
            && proc::listening(&tree).is_empty()
            && let Some(found) = self.connect()
        {
            return Ok(found);
        }
        Err(match hidden {
            Some(reason) => LaunchError::NotVisible { reason, waited },
            None => LaunchError::NotListening { waited, overload, log: self.log() },
        })
    }
}
