//! Opening connections.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, Socket, Type};

use super::Connections;
use super::closing::reset_on_close;
use super::events::{Event, Handled};
use crate::load::recorder::Recorder;
use crate::results::{LocalError, Outcome};
use crate::server::is_self_connection;

impl Connections {
    /// Connects from many local addresses in turn, which multiplies the available ports. No effect
    /// if the server has no IPv4 loopback address.
    pub(in crate::load) fn connect_from_all(&mut self) {
        self.sources.rotate();
    }

    /// Returns the address of the server.
    pub(in crate::load) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns whether a connection of the group timed out while connecting.
    pub(in crate::load) fn has_timed_out(&self, group: usize) -> bool {
        self.closed_outcomes[group].get(Outcome::ConnectTimeout) > 0
    }

    /// Adds a slot and counts its connection as timed out, without an attempt to connect.
    pub(in crate::load) fn count_as_timed_out(&mut self, group: u16) {
        self.add_slot(group);
        self.closed_outcomes[usize::from(group)].add(Outcome::ConnectTimeout);
    }

    /// Returns the error of this machine or of the network with which each further attempt to
    /// connect would fail, if any.
    pub(in crate::load) fn lasting_error(&self) -> Option<LocalError> {
        self.lasting_error
    }

    /// Adds a slot and counts a local error, without an attempt to connect.
    pub(in crate::load) fn count_as_failed(&mut self, group: u16, error: LocalError) {
        self.add_slot(group);
        self.local_errors.add_many(error, 1);
    }

    /// Opens one more connection and returns its index. A failure is an outcome or a local error,
    /// and leaves the slot free.
    pub(in crate::load) fn connect(
        &mut self,
        group: u16,
        recorder: &mut Recorder,
    ) -> io::Result<usize> {
        let index = self.add_slot(group);
        self.reconnect(index, recorder)?;
        Ok(index)
    }

    /// Connects again in the slot of a closed connection.
    pub(in crate::load) fn reconnect(
        &mut self,
        index: usize,
        recorder: &mut Recorder,
    ) -> io::Result<()> {
        let since = self.clock.now();
        let connection = &mut self.connections[index];
        connection.since = since;
        (connection.has_answered, connection.last_outcome) = (false, Outcome::InFlight);
        connection.has_abandoned = false;
        (connection.opening_sent, connection.opening_received) = (0, 0);
        if let Some(reconnecting) = &mut self.reconnecting {
            reconnecting.slots[index].enqueued = 0;
        }
        let opened = self.open_socket().and_then(|(stream, is_connecting)| {
            self.epoll.add(&stream, interest(index))?;
            Ok((stream, is_connecting))
        });
        let (stream, is_connecting) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.fail_connect(index, error, recorder),
        };
        let is_self = !is_connecting && is_self_connection(&stream);
        let connection = &mut self.connections[index];
        (connection.stream, connection.is_connecting) = (Some(stream), true);
        self.connecting += 1;
        match is_connecting {
            true => {}
            false if is_self => self.refuse_self_connection(index, recorder),
            false => self.complete_connect(index, recorder),
        }
        Ok(())
    }

    /// Opens a socket that connects to the server. Returns whether it is still connecting.
    ///
    /// If no local port is free, tries further local addresses.
    fn open_socket(&mut self) -> io::Result<(TcpStream, bool)> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let opened =
                self.socket().and_then(|socket| match socket.connect(&self.address.into()) {
                    Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => {
                        Err(error)
                    }
                    connected => Ok((TcpStream::from(socket), connected.is_err())),
                });
            match opened {
                Err(error) if LocalError::of(&error) == Some(LocalError::NoLocalPort) => {
                    let is_loopback = self.address.is_ipv4() && self.address.ip().is_loopback();
                    if !is_loopback || !self.sources.advance(attempts) {
                        return Err(error);
                    }
                }
                opened => {
                    if opened.is_ok() {
                        self.sources.note_free_port();
                    }
                    return opened;
                }
            }
        }
    }

    fn socket(&mut self) -> io::Result<Socket> {
        let domain = Domain::for_address(self.address);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if self.address.ip().is_loopback()
            && self.address.is_ipv4()
            && let Some(source) = self.sources.next()
        {
            // Without this option, bind would reserve the port for all destinations (ip(7)).
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        Ok(socket)
    }

    /// Records a failed attempt to connect, and frees the slot.
    ///
    /// # Errors
    /// The reason is neither the server nor a known error of this machine or the network.
    fn fail_connect(
        &mut self,
        index: usize,
        error: io::Error,
        recorder: &mut Recorder,
    ) -> io::Result<()> {
        let outcome = outcome_of_connect(&error);
        let local = LocalError::of(&error);
        if outcome.is_none() && local.is_none() {
            let message = format!("cannot connect to {}: {error}", self.address);
            return Err(io::Error::new(error.kind(), message));
        }
        // The attempt ends like one that was in progress.
        let connection = &mut self.connections[index];
        if !std::mem::replace(&mut connection.is_connecting, true) {
            self.connecting += 1;
        }
        match (outcome, local) {
            (Some(outcome), _) => self.close_with(index, outcome, recorder),
            (None, Some(local)) => {
                self.release(index, Outcome::InFlight, recorder);
                self.local_errors.add_many(local, 1);
                self.lasting_error =
                    self.lasting_error.or(Some(local).filter(|it| it.is_lasting()));
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Closes a socket that is connected to itself: no process listens on the port.
    fn refuse_self_connection(&mut self, index: usize, recorder: &mut Recorder) {
        self.connections[index].stream.iter().for_each(reset_on_close);
        self.close_with(index, Outcome::Refused, recorder);
    }

    fn complete_connect(&mut self, index: usize, recorder: &mut Recorder) {
        let connection = &mut self.connections[index];
        connection.is_connecting = false;
        self.connecting -= 1;
        recorder.record_connect(connection.since, self.clock.now());
    }

    /// Handles an event on a connection that is connecting.
    pub(super) fn handle_connect(
        &mut self,
        event: Event,
        recorder: &mut Recorder,
    ) -> io::Result<Handled> {
        let connection = &mut self.connections[event.index];
        let Some(stream) = &connection.stream else { return Ok(Handled::Nothing) };
        if let Some(error) = stream.take_error()? {
            self.fail_connect(event.index, error, recorder)?;
            return Ok(Handled::Closed);
        }
        if stream.peer_addr().is_err() {
            // The event belongs to the previous connection in this slot.
            return Ok(Handled::Nothing);
        }
        if is_self_connection(stream) {
            self.refuse_self_connection(event.index, recorder);
            return Ok(Handled::Closed);
        }
        if event.is_readable {
            // Re-arms the edge trigger, so that epoll reports again the data that has arrived.
            self.epoll.modify(stream, &mut interest(event.index))?;
        }
        self.complete_connect(event.index, recorder);
        Ok(Handled::Connected)
    }
}

/// Returns the epoll registration of a connection: edge-triggered, because level-triggered epoll
/// checks each reported socket again at the next wait.
fn interest(index: usize) -> EpollEvent {
    let events =
        EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    EpollEvent::new(events, index as u64)
}

/// Returns the outcome of a failed connect; `None` if the server is not the cause.
fn outcome_of_connect(error: &io::Error) -> Option<Outcome> {
    match error.kind() {
        ErrorKind::ConnectionRefused => Some(Outcome::Refused),
        // The kernel reports a reset after a close as EPIPE.
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Some(Outcome::Reset)
        }
        ErrorKind::TimedOut => Some(Outcome::ConnectTimeout),
        _ => None,
    }
}
