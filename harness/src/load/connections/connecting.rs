//! Opening connections.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, Socket, Type};

use super::Connections;
use super::events::{Event, Handled};
use crate::load::recorder::Recorder;
use crate::results::Outcome;

impl Connections {
    /// Connects from this number of local addresses in turn, which multiplies the available ports.
    /// The addresses are in 127.0.0.0/8. No effect if the server has no IPv4 loopback address.
    pub(in crate::load) fn connect_from(&mut self, sources: u32) {
        self.sources = sources;
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

    /// Opens one more connection and returns its index. A failure is an outcome, not an error.
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
        let (socket, since) = (self.socket()?, self.clock.now());
        let outcome = socket.connect(&self.address.into());
        let connection = &mut self.connections[index];
        connection.since = since;
        (connection.has_answered, connection.last_outcome) = (false, Outcome::InFlight);
        connection.has_abandoned = false;
        (connection.opening_sent, connection.opening_received) = (0, 0);
        connection.is_connecting = match outcome {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => true,
            Err(error) => {
                let outcome = outcome_of_connect(error)?;
                self.closed_outcomes[usize::from(connection.group)].add(outcome);
                return Ok(());
            }
        };
        let stream = TcpStream::from(socket);
        self.epoll.add(&stream, interest(index))?;
        connection.stream = Some(stream);
        if connection.is_connecting {
            self.connecting += 1;
        } else {
            recorder.record_connect(since, self.clock.now());
        }
        Ok(())
    }

    fn socket(&mut self) -> io::Result<Socket> {
        let domain = Domain::for_address(self.address);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if self.sources > 1 && self.address.ip().is_loopback() && self.address.is_ipv4() {
            self.next_source = (self.next_source + 1) % self.sources;
            let [high, low] = ((self.next_source + 1) as u16).to_be_bytes();
            // Without this option, bind would reserve the port for all destinations (ip(7)).
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, high, low), 0)).into())?;
        }
        Ok(socket)
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
            let outcome = outcome_of_connect(error)?;
            self.close_with(event.index, outcome, recorder);
            return Ok(Handled::Closed);
        }
        if stream.peer_addr().is_err() {
            // The event belongs to the previous connection in this slot.
            return Ok(Handled::Nothing);
        }
        if event.is_readable {
            // Re-arms the edge trigger, so that epoll reports again the data that has arrived.
            self.epoll.modify(stream, &mut interest(event.index))?;
        }
        connection.is_connecting = false;
        self.connecting -= 1;
        recorder.record_connect(connection.since, self.clock.now());
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

/// Returns the outcome of a failed connect.
///
/// # Errors
/// The error is due to this process or the machine, not to the server.
fn outcome_of_connect(error: io::Error) -> io::Result<Outcome> {
    match error.kind() {
        ErrorKind::ConnectionRefused => Ok(Outcome::Refused),
        // The kernel reports a reset after a close as EPIPE.
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Ok(Outcome::Reset)
        }
        ErrorKind::TimedOut => Ok(Outcome::ConnectTimeout),
        ErrorKind::AddrNotAvailable => Err(io::Error::new(
            error.kind(),
            "the generator has no free port: ports of recent connections stay in TIME_WAIT for 1 \
             min; widen net.ipv4.ip_local_port_range, or open fewer connections",
        )),
        _ => Err(error),
    }
}
