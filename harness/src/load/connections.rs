//! The generator's connections: one thread, one epoll for all. Who asks when is decided by whoever
//! owns them.

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

/// How long a connection, and a reply, may take, unless told otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How often overdue replies are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Bytes received at once.
const BUFFER: usize = 64 * 1024;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// The most requests under way on one connection. More are not sent.
pub(super) const MOST_UNDER_WAY: u32 = 64 * 1024;

/// The longest opening, in bytes.
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
    /// Where replies are received: kept, because to clear so much for each would take longer than
    /// to compare it.
    buffer: Box<[u8]>,
    under_way: Vec<u64>,
    connecting: usize,
    looked: u64,
    /// By group: what became of connections that are no more.
    ended: Vec<Outcomes>,
    /// By how many addresses of this machine it connects, one after the other.
    sources: u32,
    next_source: u32,
    /// What is sent and received on each connection before the first request.
    opening: RequestReply,
    /// The server may end a connection that is owed nothing.
    may_end: bool,
}

/// A connection, or the place of one that has ended.
#[derive(Debug)]
struct Connection {
    /// None once it has ended.
    stream: Option<TcpStream>,
    group: u16,
    is_connecting: bool,
    has_answered: bool,
    /// A request was given up for now.
    is_waiting: bool,
    /// What the last reply was; in flight, if there was none.
    last: Outcome,
    /// Which exchange is the next to be asked; how many before it were not yet taken by the
    /// kernel, and how much of the first of those was.
    next: u32,
    backlog: u32,
    taken: u32,
    /// Whose reply is due, and how much of it has come.
    due: u32,
    received: u32,
    /// Requests under way.
    under_way: u32,
    flights: VecDeque<Flight>,
    /// How much of the opening was sent, and received.
    opening_sent: u16,
    opening_received: u16,
    /// A reply that differs from the one that is due, as far as it has come.
    #[expect(clippy::box_collection, reason = "it is rare, and a connection is small")]
    strange: Option<Box<Vec<u8>>>,
    since: u64,
}

/// Room for what the kernel tells at once.
#[derive(Debug)]
pub(super) struct Events([EpollEvent; EVENTS]);

impl Events {
    pub(super) fn new() -> Events {
        Events([EpollEvent::empty(); EVENTS])
    }

    /// The one at this place.
    pub(super) fn get(&self, at: usize) -> Event {
        let event = self.0[at];
        let ends = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        let may_have_ended = event.events().intersects(ends);
        let is_readable = may_have_ended || event.events().contains(EpollFlags::EPOLLIN);
        Event { index: event.data() as usize, is_readable, may_have_ended }
    }
}

/// Something has happened to a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) index: usize,
    is_readable: bool,
    may_have_ended: bool,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Nothing,
    Connected,
    /// So many requests are over, rightly answered or not, and the connection lasts. It was looked
    /// at the clock then.
    Replied(u32, u64),
    Ended,
}

impl Connections {
    /// None yet, in groups of one cycle of exchanges each.
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

    /// Connects from so many addresses in turn, each of which has ports of its own. They are those
    /// of the loopback network (127.0.0.0/8), and without effect for other servers.
    pub(super) fn connect_from(&mut self, sources: u32) {
        self.sources = sources;
    }

    /// Begins each connection by this, which has [`LONGEST_OPENING`] bytes at the most.
    pub(super) fn open_with(&mut self, opening: RequestReply) {
        self.opening = opening;
    }

    /// Whether it is no fault of the server's to end a connection that is owed nothing.
    pub(super) fn let_end(&mut self, may_end: bool) {
        self.may_end = may_end;
    }

    /// A place for one connection more: its index.
    pub(super) fn place(&mut self, group: u16) -> usize {
        let index = self.connections.len();
        // No two begin with the same request.
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

    /// Whether a connection of a group was not made in time.
    pub(super) fn has_timed_out(&self, group: usize) -> bool {
        self.ended[group].get(Outcome::ConnectTimeout) > 0
    }

    /// A place whose connection is not even tried, because others were not made in time.
    pub(super) fn despair(&mut self, group: u16) {
        self.place(group);
        self.ended[usize::from(group)].add(Outcome::ConnectTimeout);
    }

    /// One connection more, and its index. One that fails is an outcome, not an error.
    pub(super) fn connect(&mut self, group: u16, recorder: &mut Recorder) -> io::Result<usize> {
        let index = self.place(group);
        self.reconnect(index, recorder)?;
        Ok(index)
    }

    /// Connects in the place of a connection that has ended.
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
            // Otherwise a port is reserved for all destinations (ip(7)).
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, high, low), 0)).into())?;
        }
        Ok(socket)
    }

    /// Whether a connection lasts, and is one.
    pub(super) fn is_open(&self, index: usize) -> bool {
        let connection = &self.connections[index];
        connection.stream.is_some() && !connection.is_connecting
    }

    /// Whether a place has no connection, nor will have.
    pub(super) fn is_free(&self, index: usize) -> bool {
        self.connections[index].stream.is_none()
    }

    /// The socket of a connection.
    #[cfg(test)]
    pub(super) fn stream(&self, index: usize) -> Option<&TcpStream> {
        self.connections[index].stream.as_ref()
    }

    pub(super) fn group(&self, index: usize) -> usize {
        self.connections[index].group.into()
    }

    /// How many requests of a group wait for their replies.
    pub(super) fn under_way(&self, group: usize) -> u64 {
        self.under_way[group]
    }

    /// How many requests of a connection wait for their replies.
    pub(super) fn under_way_on(&self, index: usize) -> u32 {
        self.connections[index].under_way
    }

    /// How many are being connected.
    pub(super) fn connecting(&self) -> usize {
        self.connecting
    }

    /// What became of a group's connections so far. One that lasts counts as answered, unless its
    /// first request never was: it may be connected in the kernel's queue only, and is in flight. Of
    /// one that was asked nothing, or is being connected, nothing is known, and nothing said.
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

    /// Requests that wait for their replies are given up for now, and are over as in flight.
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

    /// Asks a connection's next requests, as far as there may be more under way. `intended` is
    /// when they were due, where that is not now.
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

    /// As [`ask`](Self::ask), but nothing is sent yet. Says whether something is to be.
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

    /// Sends what was promised, so many bytes of it at the most, as far as the kernel takes it.
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
                // It goes on when the kernel tells that there is room.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.end(index, Outcome::Reset, recorder),
            }
        }
    }

    /// Waits for something to happen, for so many milliseconds at the most; not at all for zero.
    /// Says how many events there are.
    pub(super) fn wait(&mut self, events: &mut Events, milliseconds: u16) -> io::Result<usize> {
        match self.epoll.wait(&mut events.0, EpollTimeout::from(milliseconds)) {
            Ok(count) => Ok(count),
            Err(Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives up what is overdue, if it was not looked for just now. `recorders` are by group.
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

    /// Looks at the clock, and tells the recorder how many requests of its group were under way
    /// until then.
    pub(super) fn look_at_clock(&self, group: usize, recorder: &mut Recorder) -> u64 {
        let now = self.clock.now();
        recorder.passed(self.under_way[group], now);
        now
    }

    /// Does what an event is about. The recorder is that of the connection's group.
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
                // The event may have been of the connection that was here before.
                None if stream.peer_addr().is_err() => Ok(Happened::Nothing),
                None => {
                    // What has come already is told once more, when it is of interest.
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

    /// Receives what has arrived.
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
                    // A short read has emptied the socket (epoll(7)), but for its end.
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

    /// So many of a connection's requests are over.
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

    /// Ends a connection, and with it the requests that are under way. Closing the socket takes it
    /// out of the epoll set.
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
        // Whoever was told that the server is busy was turned away, and not closed.
        let is_turned_away = last == Outcome::Busy
            && matches!(outcome, Outcome::Closed | Outcome::Reset | Outcome::InFlight);
        let outcome = if is_turned_away { Outcome::Busy } else { outcome };
        self.ended[usize::from(connection.group)].add(outcome);
    }

    /// Closes a connection that is done: what became of it is what it was answered last.
    pub(super) fn close(&mut self, index: usize, recorder: &mut Recorder) {
        self.end(index, self.connections[index].last, recorder);
    }

    /// Resets a connection, whatever is under way on it.
    pub(super) fn reset(&mut self, index: usize, recorder: &mut Recorder) {
        if let Some(stream) = &self.connections[index].stream {
            linger_no_more(stream);
            let outcome = self.connections[index].outcome_if_it_lasts();
            self.end(index, outcome, recorder);
        }
    }

    /// Lets closing the connections reset them, so that a great many leave no port behind that
    /// waits for a minute (TIME_WAIT).
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

/// Closing the socket resets the connection then.
fn linger_no_more(stream: &TcpStream) {
    // Where it fails, a port waits.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// What the kernel is to tell of a connection. Edge-triggered, so that it does not look at each a
/// second time.
fn what_is_told_of(index: usize) -> EpollEvent {
    let events =
        EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    EpollEvent::new(events, index as u64)
}

/// What became of a connection that could not be made.
///
/// # Errors
/// It was not for the server: this process may not.
fn outcome_of_connect(error: io::Error) -> io::Result<Outcome> {
    match error.kind() {
        ErrorKind::ConnectionRefused => Ok(Outcome::Refused),
        // A reset after an end is told as a broken pipe.
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
