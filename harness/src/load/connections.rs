//! The generator's connections: one thread and one epoll instance for all. The owner decides when
//! each connection sends.

mod replies;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::outcome::{Outcome, Outcomes};
use super::recorder::{Clock, Flight, Recorder};
use super::request_reply::{Cycle, MOST_AT_ONCE, RequestReply};

/// Default timeout for connecting, and for each reply.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How often overdue replies are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Size of the receive buffer, in bytes.
const BUFFER: usize = 64 * 1024;

/// Maximum number of events per wait.
const EVENTS: usize = 256;

/// Maximum number of requests in flight on one connection; further requests are not sent.
pub(super) const MOST_UNDER_WAY: u32 = 64 * 1024;

/// Maximum length of an opening, in bytes.
pub(super) const LONGEST_OPENING: usize = 60_000;

/// Connections to one server, in groups.
#[derive(Debug)]
pub(super) struct Connections {
    address: SocketAddr,
    patience: u64,
    pub(super) clock: Clock,
    cycles: Vec<Cycle>,
    connections: Vec<Connection>,
    epoll: Epoll,
    /// Receive buffer. It is reused, because clearing it for each reply would take longer than
    /// comparing the reply.
    buffer: Box<[u8]>,
    under_way: Vec<u64>,
    connecting: usize,
    looked: u64,
    /// Outcomes of closed connections, by group.
    ended: Vec<Outcomes>,
    /// Number of local addresses to connect from, in turn.
    sources: u32,
    next_source: u32,
    /// Bytes sent and received on each connection before its first request.
    opening: RequestReply,
    /// Whether the server may close a connection that has no request in flight.
    may_end: bool,
}

/// A connection, or the free slot of a closed one.
#[derive(Debug)]
struct Connection {
    /// `None` when the connection is closed.
    stream: Option<TcpStream>,
    group: u16,
    is_connecting: bool,
    has_answered: bool,
    /// Whether a request was abandoned.
    is_waiting: bool,
    /// Outcome of the last request; in flight if there was no reply.
    last: Outcome,
    /// Index of the next request to promise; number of promised requests not yet written
    /// completely; and bytes written of the first of them.
    next: u32,
    backlog: u32,
    taken: u32,
    /// Index of the expected reply, and number of its bytes received.
    due: u32,
    received: u32,
    /// Requests in flight.
    under_way: u32,
    flights: VecDeque<Flight>,
    /// Bytes of the opening sent, and received.
    opening_sent: u16,
    opening_received: u16,
    /// Bytes received so far of a reply that differs from the expected one.
    #[expect(clippy::box_collection, reason = "it is rare, and a connection is small")]
    strange: Option<Box<Vec<u8>>>,
    since: u64,
}

/// Buffer for the events of one wait.
#[derive(Debug)]
pub(super) struct Events([EpollEvent; EVENTS]);

impl Events {
    pub(super) fn new() -> Events {
        Events([EpollEvent::empty(); EVENTS])
    }

    /// Returns the event at this index.
    pub(super) fn get(&self, at: usize) -> Event {
        let event = self.0[at];
        let ends = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        let may_have_ended = event.events().intersects(ends);
        let is_readable = may_have_ended || event.events().contains(EpollFlags::EPOLLIN);
        Event { index: event.data() as usize, is_readable, may_have_ended }
    }
}

/// Event on a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) index: usize,
    is_readable: bool,
    may_have_ended: bool,
}

/// Result of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Nothing,
    Connected,
    /// Number of requests completed, with a correct reply or not, and the time. The connection is
    /// still open.
    Replied(u32, u64),
    Ended,
}

impl Connections {
    /// Returns an empty set of connections, with one cycle of requests and replies per group.
    pub(super) fn new(
        address: SocketAddr,
        cycles: Vec<Cycle>,
        patience: Duration,
        clock: Clock,
    ) -> io::Result<Connections> {
        let groups = cycles.len();
        Ok(Connections {
            address,
            patience: patience.as_nanos() as u64,
            clock,
            cycles,
            connections: Vec::new(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            buffer: vec![0; BUFFER].into(),
            under_way: vec![0; groups],
            connecting: 0,
            looked: clock.now(),
            ended: vec![Outcomes::default(); groups],
            sources: 1,
            next_source: 0,
            opening: RequestReply { request: Vec::new(), reply: Vec::new() },
            may_end: false,
        })
    }

    /// Connects from this number of local addresses in turn, each with its own range of ports. The
    /// addresses are in the loopback network (127.0.0.0/8); for other servers there is no effect.
    pub(super) fn connect_from(&mut self, sources: u32) {
        self.sources = sources;
    }

    /// Starts each connection with this opening, of at most [`LONGEST_OPENING`] bytes.
    pub(super) fn open_with(&mut self, opening: RequestReply) {
        self.opening = opening;
    }

    /// Sets whether the server may close a connection that has no request in flight.
    pub(super) fn let_end(&mut self, may_end: bool) {
        self.may_end = may_end;
    }

    /// Adds a slot for a connection and returns its index.
    pub(super) fn place(&mut self, group: u16) -> usize {
        let index = self.connections.len();
        // Neighbouring connections start with different requests.
        let first = index as u32 % self.cycles[usize::from(group)].len();
        self.connections.push(Connection {
            stream: None,
            group,
            is_connecting: false,
            has_answered: false,
            is_waiting: false,
            last: Outcome::InFlight,
            next: first,
            backlog: 0,
            taken: 0,
            due: first,
            received: 0,
            under_way: 0,
            flights: VecDeque::new(),
            opening_sent: 0,
            opening_received: 0,
            strange: None,
            since: 0,
        });
        index
    }

    /// Returns whether a connection of the group timed out while connecting.
    pub(super) fn has_timed_out(&self, group: usize) -> bool {
        self.ended[group].get(Outcome::ConnectTimeout) > 0
    }

    /// Adds a slot and counts its connection as timed out without trying, because others timed out.
    pub(super) fn despair(&mut self, group: u16) {
        self.place(group);
        self.ended[usize::from(group)].add(Outcome::ConnectTimeout);
    }

    /// Opens one more connection and returns its index. A failure is an outcome, not an error.
    pub(super) fn connect(&mut self, group: u16, recorder: &mut Recorder) -> io::Result<usize> {
        let index = self.place(group);
        self.reconnect(index, recorder)?;
        Ok(index)
    }

    /// Connects again in the slot of a closed connection.
    pub(super) fn reconnect(&mut self, index: usize, recorder: &mut Recorder) -> io::Result<()> {
        let (socket, since) = (self.socket()?, self.clock.now());
        let outcome = socket.connect(&self.address.into());
        let connection = &mut self.connections[index];
        connection.since = since;
        (connection.has_answered, connection.last) = (false, Outcome::InFlight);
        connection.is_waiting = false;
        (connection.opening_sent, connection.opening_received) = (0, 0);
        connection.is_connecting = match outcome {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => true,
            Err(error) => {
                let outcome = outcome_of_connect(error)?;
                self.ended[usize::from(connection.group)].add(outcome);
                return Ok(());
            }
        };
        let stream = TcpStream::from(socket);
        self.epoll.add(&stream, what_is_told_of(index))?;
        connection.stream = Some(stream);
        if connection.is_connecting {
            self.connecting += 1;
        } else {
            recorder.connected(since, self.clock.now());
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
            // Without it, the port would be reserved for all destinations (ip(7)).
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, high, low), 0)).into())?;
        }
        Ok(socket)
    }

    /// Returns whether the connection is established and not closed.
    pub(super) fn is_open(&self, index: usize) -> bool {
        let connection = &self.connections[index];
        connection.stream.is_some() && !connection.is_connecting
    }

    /// Returns whether the slot is free: no connection is established or connecting.
    pub(super) fn is_free(&self, index: usize) -> bool {
        self.connections[index].stream.is_none()
    }

    /// Returns the socket of a connection.
    #[cfg(test)]
    pub(super) fn stream(&self, index: usize) -> Option<&TcpStream> {
        self.connections[index].stream.as_ref()
    }

    pub(super) fn group(&self, index: usize) -> usize {
        self.connections[index].group.into()
    }

    /// Returns the number of requests in flight of a group.
    pub(super) fn under_way(&self, group: usize) -> u64 {
        self.under_way[group]
    }

    /// Returns the number of requests in flight on a connection.
    pub(super) fn under_way_on(&self, index: usize) -> u32 {
        self.connections[index].under_way
    }

    /// Returns the number of connections that are connecting.
    pub(super) fn connecting(&self) -> usize {
        self.connecting
    }

    /// Returns the outcomes of a group's connections so far.
    ///
    /// An open connection counts as answered once it got a correct reply. Without any reply it
    /// counts as in flight: it may still be in the kernel's accept queue. A connection without any
    /// request, or still connecting, is not counted.
    pub(super) fn outcomes(&self, group: usize) -> Outcomes {
        let mut outcomes = self.ended[group].clone();
        let of_group = |connection: &&Connection| usize::from(connection.group) == group;
        for connection in self.connections.iter().filter(of_group) {
            if connection.stream.is_some() && connection.was_asked() {
                outcomes.add(connection.outcome_if_it_lasts());
            }
        }
        outcomes
    }

    /// Abandons the requests of a group that have no reply yet, and records them as in flight.
    pub(super) fn abandon(&mut self, group: usize, recorder: &mut Recorder) {
        let now = self.look_at_clock(group, recorder);
        for connection in &mut self.connections {
            if usize::from(connection.group) == group {
                connection.is_waiting |= connection.under_way > 0;
                self.under_way[group] -= u64::from(std::mem::take(&mut connection.under_way));
                for flight in connection.flights.drain(..) {
                    recorder.over(Outcome::InFlight, flight, now);
                }
            }
        }
    }

    /// Sends the next requests on a connection, unless too many are in flight. `intended` is their
    /// due time, if that is not now.
    pub(super) fn ask(
        &mut self,
        index: usize,
        count: u32,
        intended: Option<u64>,
        now: u64,
        recorder: &mut Recorder,
    ) {
        if self.promise(index, count, intended, now, recorder) {
            self.send(index, u32::MAX, recorder);
        }
    }

    /// As [`ask`](Self::ask), but sends nothing yet. Returns whether there is something to send.
    pub(super) fn promise(
        &mut self,
        index: usize,
        count: u32,
        intended: Option<u64>,
        now: u64,
        recorder: &mut Recorder,
    ) -> bool {
        let connection = &mut self.connections[index];
        if connection.under_way + count > MOST_UNDER_WAY {
            recorder.not_sent(Outcome::Stalled, intended.unwrap_or(now), now);
            return false;
        }
        recorder.passed(self.under_way[usize::from(connection.group)], now);
        let cycle = &self.cycles[usize::from(connection.group)];
        connection.next = cycle.after(connection.next, count);
        connection.backlog += count;
        connection.under_way += count;
        self.under_way[usize::from(connection.group)] += u64::from(count);
        let flight = Flight { intended, sent: now, count };
        connection.flights.push_back(flight);
        recorder.sent(flight);
        true
    }

    /// Sends promised requests, at most `most` bytes and as many as the kernel accepts.
    pub(super) fn send(&mut self, index: usize, most: u32, recorder: &mut Recorder) {
        let connection = &mut self.connections[index];
        let Some(mut stream) = connection.stream.as_ref() else { return };
        let cycle = &self.cycles[usize::from(connection.group)];
        let mut most = most as usize;
        while usize::from(connection.opening_sent) < self.opening.request.len() {
            match stream.write(&self.opening.request[usize::from(connection.opening_sent)..]) {
                Ok(written) => connection.opening_sent += written as u16,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.end(index, Outcome::Reset, recorder),
            }
        }
        while connection.backlog > 0 && most > 0 {
            let count = connection.backlog.min(MOST_AT_ONCE as u32);
            let first =
                cycle.after(connection.next, cycle.len() - connection.backlog % cycle.len());
            let bytes = &cycle.requests(first, count)[connection.taken as usize..];
            let bytes = &bytes[..bytes.len().min(most)];
            match stream.write(bytes) {
                Ok(written) => {
                    most -= written;
                    let done = connection.taken + written as u32;
                    (connection.backlog, connection.taken) =
                        cycle.left(first, connection.backlog, done);
                    if written < bytes.len() {
                        return;
                    }
                }
                // Resumed when the kernel reports that the socket is writable.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.end(index, Outcome::Reset, recorder),
            }
        }
    }

    /// Waits for events for at most this many milliseconds, and returns their number. 0 does not
    /// wait.
    pub(super) fn wait(&mut self, events: &mut Events, milliseconds: u16) -> io::Result<usize> {
        match self.epoll.wait(&mut events.0, EpollTimeout::from(milliseconds)) {
            Ok(count) => Ok(count),
            Err(Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Closes connections with overdue replies, at most once per [`LOOK_EVERY`]. `recorders` are by
    /// group.
    pub(super) fn give_up_overdue(&mut self, now: u64, recorders: &mut [Recorder]) {
        if now - self.looked < LOOK_EVERY.as_nanos() as u64 {
            return;
        }
        self.looked = now;
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            let is_overdue = |since: u64| now.saturating_sub(since) > self.patience;
            let outcome = if connection.is_connecting && is_overdue(connection.since) {
                Outcome::ConnectTimeout
            } else if connection.flights.front().is_some_and(|flight| is_overdue(flight.sent)) {
                Outcome::TimedOut
            } else {
                continue;
            };
            let group = usize::from(connection.group);
            self.end(index, outcome, &mut recorders[group]);
        }
    }

    /// Reads the clock, and reports to the recorder the number of requests in flight until now.
    pub(super) fn look_at_clock(&self, group: usize, recorder: &mut Recorder) -> u64 {
        let now = self.clock.now();
        recorder.passed(self.under_way[group], now);
        now
    }

    /// Handles an event. The recorder is that of the connection's group.
    pub(super) fn happen(&mut self, event: Event, recorder: &mut Recorder) -> io::Result<Happened> {
        let index = event.index;
        let connection = &mut self.connections[index];
        let Some(stream) = connection.stream.as_ref() else { return Ok(Happened::Nothing) };
        if connection.is_connecting {
            return match stream.take_error()? {
                Some(error) => {
                    let outcome = outcome_of_connect(error)?;
                    self.end(index, outcome, recorder);
                    Ok(Happened::Ended)
                }
                // The event may belong to the previous connection in this slot.
                None if stream.peer_addr().is_err() => Ok(Happened::Nothing),
                None => {
                    // Re-arms the edge trigger, so that data which arrived before is reported
                    // again.
                    if event.is_readable {
                        self.epoll.modify(stream, &mut what_is_told_of(index))?;
                    }
                    connection.is_connecting = false;
                    self.connecting -= 1;
                    recorder.connected(connection.since, self.clock.now());
                    Ok(Happened::Connected)
                }
            };
        }
        if connection.backlog > 0 {
            self.send(index, u32::MAX, recorder);
        }
        Ok(self.receive(event, recorder))
    }

    /// Receives all bytes that have arrived.
    fn receive(&mut self, event: Event, recorder: &mut Recorder) -> Happened {
        let (index, group) = (event.index, self.group(event.index));
        let (mut over, mut at) = (0, None);
        loop {
            let Some(mut stream) = self.connections[index].stream.as_ref() else {
                return Happened::Ended;
            };
            match stream.read(&mut self.buffer) {
                Ok(0) => {
                    let connection = &self.connections[index];
                    let is_done = connection.under_way == 0 && connection.has_answered;
                    let outcome =
                        if self.may_end && is_done { connection.last } else { Outcome::Closed };
                    self.end(index, outcome, recorder);
                }
                Ok(count) => {
                    let now = self.look_at_clock(group, recorder);
                    over += self.take(index, count, now, recorder);
                    at = Some(now);
                    // A short read has emptied the socket (epoll(7)), except for a close.
                    if count < BUFFER && !event.may_have_ended && !self.is_free(index) {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.end(index, Outcome::Reset, recorder),
            }
        }
        match at {
            Some(at) if over > 0 => Happened::Replied(over, at),
            _ => Happened::Nothing,
        }
    }

    /// Records that `count` requests of a connection are complete.
    fn over(
        &mut self,
        index: usize,
        outcome: Outcome,
        count: u32,
        now: u64,
        recorder: &mut Recorder,
    ) {
        if count == 0 {
            return;
        }
        let connection = &mut self.connections[index];
        connection.last = outcome;
        connection.has_answered |= outcome == Outcome::Answered;
        connection.under_way -= count;
        self.under_way[usize::from(connection.group)] -= u64::from(count);
        let mut left = count;
        while let Some(flight) = connection.flights.front_mut() {
            let these = flight.count.min(left);
            recorder.over(outcome, Flight { count: these, ..*flight }, now);
            flight.count -= these;
            left -= these;
            if flight.count == 0 {
                connection.flights.pop_front();
            }
            if left == 0 {
                break;
            }
        }
    }

    /// Closes a connection and completes its requests in flight with this outcome. Closing the
    /// socket removes it from the epoll set.
    fn end(&mut self, index: usize, outcome: Outcome, recorder: &mut Recorder) {
        let now = self.look_at_clock(self.group(index), recorder);
        let connection = &mut self.connections[index];
        let (under_way, last) = (connection.under_way, connection.last);
        self.over(index, outcome, under_way, now, recorder);
        let connection = &mut self.connections[index];
        if std::mem::take(&mut connection.is_connecting) {
            self.connecting -= 1;
        }
        connection.stream = None;
        connection.strange = None;
        connection.received = 0;
        connection.backlog = 0;
        connection.taken = 0;
        connection.due = connection.next;
        // A client that got a busy line was turned away; that is not a mere close.
        let is_turned_away = last == Outcome::Busy
            && matches!(outcome, Outcome::Closed | Outcome::Reset | Outcome::InFlight);
        let outcome = if is_turned_away { Outcome::Busy } else { outcome };
        self.ended[usize::from(connection.group)].add(outcome);
    }

    /// Closes a connection that is no longer needed. Its outcome is that of its last request.
    pub(super) fn close(&mut self, index: usize, recorder: &mut Recorder) {
        self.end(index, self.connections[index].last, recorder);
    }

    /// Resets a connection, whether or not it has requests in flight.
    pub(super) fn reset(&mut self, index: usize, recorder: &mut Recorder) {
        if let Some(stream) = &self.connections[index].stream {
            linger_no_more(stream);
            let outcome = self.connections[index].outcome_if_it_lasts();
            self.end(index, outcome, recorder);
        }
    }

    /// Makes closing the connections reset them, so that many of them leave no ports in TIME_WAIT,
    /// which lasts a minute.
    pub(super) fn reset_at_the_end(&self) {
        self.connections.iter().filter_map(|it| it.stream.as_ref()).for_each(linger_no_more);
    }
}

impl Connection {
    fn was_asked(&self) -> bool {
        self.is_waiting || self.under_way > 0 || self.last != Outcome::InFlight
    }

    fn outcome_if_it_lasts(&self) -> Outcome {
        if self.is_connecting {
            Outcome::ConnectTimeout
        } else if self.has_answered {
            Outcome::Answered
        } else if self.is_waiting || self.under_way > 0 {
            Outcome::InFlight
        } else {
            self.last
        }
    }
}

/// Makes closing the socket reset the connection.
fn linger_no_more(stream: &TcpStream) {
    // If it fails, only a port stays in TIME_WAIT.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Returns the epoll registration of a connection. It is edge-triggered, so that the kernel does
/// not check each connection a second time.
fn what_is_told_of(index: usize) -> EpollEvent {
    let events =
        EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    EpollEvent::new(events, index as u64)
}

/// Returns the outcome of a failed connect.
///
/// # Errors
/// The cause is this process or its machine, not the server.
fn outcome_of_connect(error: io::Error) -> io::Result<Outcome> {
    match error.kind() {
        ErrorKind::ConnectionRefused => Ok(Outcome::Refused),
        // A reset after a close is reported as a broken pipe.
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Ok(Outcome::Reset)
        }
        ErrorKind::TimedOut => Ok(Outcome::ConnectTimeout),
        ErrorKind::AddrNotAvailable => Err(io::Error::new(
            error.kind(),
            "the generator has no port left: those of recent connections wait for a minute \
             (TIME_WAIT); widen net.ipv4.ip_local_port_range, or make fewer connections",
        )),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests;
