//! The generator's connections: one thread, one epoll for all, each with at most one request under
//! way. Who asks next is decided by whoever owns them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use socket2::SockRef;

use super::exchange::Exchange;
use super::outcome::{Outcome, Outcomes};

/// How long a connection, and a reply, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often overdue replies are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Bytes received at once: more than any reply has.
const BUFFER: usize = 8192;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// What is recorded of a run.
#[derive(Debug)]
pub struct Recorder {
    /// Of right replies, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Of all requests.
    pub outcomes: Outcomes,
}

impl Recorder {
    /// Nothing recorded yet.
    pub fn new() -> Recorder {
        let longest = 2 * PATIENCE.as_nanos() as u64;
        let latency = Histogram::new_with_bounds(1, longest, 3).expect("the bounds are in order");
        Recorder { latency, outcomes: Outcomes::default() }
    }
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new()
    }
}

/// Connections to one server.
#[derive(Debug)]
pub(super) struct Connections {
    exchanges: Vec<Exchange>,
    connections: Vec<Connection>,
    epoll: Epoll,
    /// Where a reply is received: kept, because to clear so much for each would take longer than
    /// to compare it.
    buffer: Box<[u8; BUFFER]>,
    under_way: usize,
    looked: Instant,
    /// What became of those that are no more.
    ended: Vec<Outcome>,
}

#[derive(Debug)]
struct Connection {
    /// None once it has ended.
    stream: Option<TcpStream>,
    /// Which exchange is under way, or is the next.
    exchange: u32,
    sent: Option<Instant>,
    /// The beginning of a reply.
    received: Vec<u8>,
}

/// Room for what the kernel tells at once.
#[derive(Debug)]
pub(super) struct Events([EpollEvent; EVENTS]);

impl Events {
    pub(super) fn new() -> Events {
        Events([EpollEvent::empty(); EVENTS])
    }

    /// Which connections have something to be received, of the first so many events.
    pub(super) fn first(&self, count: usize) -> impl Iterator<Item = usize> {
        self.0[..count].iter().map(|event| event.data() as usize)
    }
}

impl Connections {
    /// None yet.
    pub(super) fn new(exchanges: Vec<Exchange>) -> io::Result<Connections> {
        Ok(Connections {
            exchanges,
            connections: Vec::new(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            buffer: Box::new([0; BUFFER]),
            under_way: 0,
            looked: Instant::now(),
            ended: Vec::new(),
        })
    }

    /// One connection more, and its index. One that fails is an outcome, not an error.
    pub(super) fn connect(&mut self, address: SocketAddr) -> io::Result<Option<usize>> {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => self.admit(stream).map(Some),
            Err(error) => {
                self.ended.push(match error.kind() {
                    ErrorKind::ConnectionRefused => Outcome::Refused,
                    ErrorKind::ConnectionReset => Outcome::Reset,
                    ErrorKind::TimedOut => Outcome::ConnectTimeout,
                    _ => return Err(error),
                });
                Ok(None)
            }
        }
    }

    fn admit(&mut self, stream: TcpStream) -> io::Result<usize> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let index = self.connections.len();
        // Edge-triggered, so that the kernel does not look at each a second time. That much is
        // read at once that what remains is no reply: such a connection is ended.
        let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        self.epoll.add(&stream, EpollEvent::new(events, index as u64))?;
        self.connections.push(Connection {
            stream: Some(stream),
            // No two begin with the same request.
            exchange: (index % self.exchanges.len()) as u32,
            sent: None,
            received: Vec::new(),
        });
        Ok(index)
    }

    /// How many there have been.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether a connection lasts.
    pub(super) fn is_open(&self, index: usize) -> bool {
        self.connections[index].stream.is_some()
    }

    /// How many requests wait for their replies.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// What became of the connections so far; those that live count as answered.
    pub(super) fn outcomes(&self) -> Outcomes {
        let living = self.connections.iter().filter(|connection| connection.stream.is_some());
        self.ended.iter().copied().chain(living.map(|_| Outcome::Answered)).collect()
    }

    /// Sends a connection's next request. It has none under way.
    pub(super) fn send(&mut self, index: usize, now: Instant, recorder: &mut Recorder) {
        let connection = &mut self.connections[index];
        let Some(mut stream) = connection.stream.as_ref() else { return };
        connection.sent = Some(now);
        self.under_way += 1;
        let request = &self.exchanges[connection.exchange as usize].request;
        match stream.write(request) {
            Ok(count) if count == request.len() => {}
            // With one short request under way, the kernel's buffer is never full.
            Ok(_) => self.end(index, Outcome::Stalled, recorder),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.end(index, Outcome::Stalled, recorder);
            }
            Err(_) => self.end(index, Outcome::Reset, recorder),
        }
    }

    /// Waits until something can be received, or for a moment, and gives up what is overdue. Says
    /// how many events there are.
    pub(super) fn wait(
        &mut self,
        events: &mut Events,
        recorder: &mut Recorder,
    ) -> io::Result<usize> {
        let timeout = EpollTimeout::from(LOOK_EVERY.as_millis() as u16);
        let count = match self.epoll.wait(&mut events.0, timeout) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        if now - self.looked > LOOK_EVERY {
            self.looked = now;
            self.give_up_overdue(now, recorder);
        }
        Ok(count)
    }

    /// Receives what has arrived, and says when, if that was the right reply.
    pub(super) fn receive(&mut self, index: usize, recorder: &mut Recorder) -> Option<Instant> {
        let connection = &mut self.connections[index];
        let mut stream = connection.stream.as_ref()?;
        let read = match stream.read(&mut self.buffer[..]) {
            Ok(0) => {
                self.end(index, Outcome::Closed, recorder);
                return None;
            }
            Ok(count) => &self.buffer[..count],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(_) => {
                self.end(index, Outcome::Reset, recorder);
                return None;
            }
        };
        let now = Instant::now();
        let reply = &self.exchanges[connection.exchange as usize].reply;
        let outcome = if connection.received.is_empty() && read == reply {
            Outcome::Answered
        } else {
            connection.received.extend_from_slice(read);
            judge(&connection.received, reply)?
        };
        connection.received.clear();
        match (outcome, connection.sent) {
            (Outcome::Answered, Some(sent)) => {
                connection.sent = None;
                self.under_way -= 1;
                recorder.latency.saturating_record((now - sent).as_nanos() as u64);
                recorder.outcomes.add(outcome);
                connection.exchange = (connection.exchange + 1) % self.exchanges.len() as u32;
                return Some(now);
            }
            // Replies may be out of step from here on.
            (outcome, Some(_)) => self.end(index, outcome, recorder),
            (_, None) => self.end(index, Outcome::WrongReply, recorder),
        }
        None
    }

    fn give_up_overdue(&mut self, now: Instant, recorder: &mut Recorder) {
        for index in 0..self.connections.len() {
            if self.connections[index].sent.is_some_and(|sent| now - sent > PATIENCE) {
                self.end(index, Outcome::TimedOut, recorder);
            }
        }
    }

    /// Ends a connection, and with it the request that is under way. Closing the socket takes it
    /// out of the epoll set.
    fn end(&mut self, index: usize, outcome: Outcome, recorder: &mut Recorder) {
        let connection = &mut self.connections[index];
        if connection.sent.take().is_some() {
            self.under_way -= 1;
            recorder.outcomes.add(outcome);
        }
        connection.stream = None;
        self.ended.push(outcome);
    }

    /// Lets closing the connections reset them, so that a great many leave no port behind that
    /// waits for a minute (TIME_WAIT).
    pub(super) fn reset_at_the_end(&self) {
        for stream in self.connections.iter().filter_map(|connection| connection.stream.as_ref()) {
            // Where it fails, a port waits.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

/// What a reply is that differs from the right one; `None` while it may still become right.
fn judge(received: &[u8], reply: &[u8]) -> Option<Outcome> {
    if received == reply {
        Some(Outcome::Answered)
    } else if reply.starts_with(received) || !received.contains(&b'\n') && received.len() < 4096 {
        None
    } else if received.starts_with(b"error: busy") {
        Some(Outcome::Busy)
    } else if received.starts_with(b"error") {
        Some(Outcome::ErrorReply)
    } else {
        Some(Outcome::WrongReply)
    }
}

/// Processor time that this thread has used.
pub(super) fn thread_cpu_time() -> Duration {
    let time = |time: TimeVal| {
        Duration::new(time.tv_sec() as u64, 0) + Duration::from_micros(time.tv_usec() as u64)
    };
    getrusage(UsageWho::RUSAGE_THREAD)
        .map(|usage| time(usage.user_time()) + time(usage.system_time()))
        .unwrap_or_default()
}
