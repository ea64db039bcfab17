//! The generator: one thread, one epoll, all connections.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use super::exchange::Exchange;
use super::outcome::{Outcome, Outcomes};

/// How long a connection, and a reply, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often overdue replies are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// Connections that each have one request under way.
#[derive(Debug)]
pub struct ClosedLoop {
    exchanges: Vec<Exchange>,
    connections: Vec<Connection>,
    epoll: Epoll,
    /// What became of those that are no more.
    ended: Vec<Outcome>,
}

#[derive(Debug)]
struct Connection {
    /// None once it has ended.
    stream: Option<TcpStream>,
    /// Which exchange is under way, or is the next.
    exchange: usize,
    sent: Option<Instant>,
    /// The beginning of a reply.
    received: Vec<u8>,
}

/// When to stop sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When so much time has passed.
    Past(Duration),
    /// When so many requests have been sent.
    Sent(u64),
}

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

impl ClosedLoop {
    /// Connects. Connections that fail are outcomes, not errors.
    ///
    /// # Errors
    /// The kernel refuses the generator what it needs.
    pub fn connect(
        address: SocketAddr,
        exchanges: Vec<Exchange>,
        connections: usize,
    ) -> io::Result<ClosedLoop> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut load = ClosedLoop { exchanges, connections: Vec::new(), epoll, ended: Vec::new() };
        for number in 0..connections {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => load.admit(number, stream)?,
                Err(error) => load.ended.push(match error.kind() {
                    ErrorKind::ConnectionRefused => Outcome::Refused,
                    ErrorKind::ConnectionReset => Outcome::Reset,
                    ErrorKind::TimedOut => Outcome::ConnectTimeout,
                    _ => return Err(error),
                }),
            }
        }
        Ok(load)
    }

    fn admit(&mut self, number: usize, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let index = self.connections.len() as u64;
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index))?;
        self.connections.push(Connection {
            stream: Some(stream),
            // No two begin with the same request.
            exchange: number % self.exchanges.len(),
            sent: None,
            received: Vec::new(),
        });
        Ok(())
    }

    /// What became of the connections so far; those that live count as answered.
    pub fn connection_outcomes(&self) -> Outcomes {
        let living = self.connections.iter().filter(|connection| connection.stream.is_some());
        self.ended.iter().copied().chain(living.map(|_| Outcome::Answered)).collect()
    }

    /// Sends on every connection as soon as its last request is answered, until told; then waits
    /// for the replies that are due.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub fn run(&mut self, until: Until, recorder: &mut Recorder) -> io::Result<()> {
        let began = Instant::now();
        let mut quota = Quota { until, began, sent: 0 };
        for index in 0..self.connections.len() {
            self.send(index, Instant::now(), &mut quota, recorder);
        }
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut looked = began;
        while self.connections.iter().any(|connection| connection.sent.is_some()) {
            let timeout = EpollTimeout::from(LOOK_EVERY.as_millis() as u16);
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..count] {
                self.receive(event.data() as usize, &mut quota, recorder);
            }
            let now = Instant::now();
            if now - looked > LOOK_EVERY {
                looked = now;
                self.give_up_overdue(now, recorder);
            }
        }
        Ok(())
    }

    fn send(&mut self, index: usize, now: Instant, quota: &mut Quota, recorder: &mut Recorder) {
        let connection = &mut self.connections[index];
        let Some(mut stream) = connection.stream.as_ref() else { return };
        if !quota.take(now) {
            return;
        }
        connection.sent = Some(now);
        let request = &self.exchanges[connection.exchange].request;
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

    fn receive(&mut self, index: usize, quota: &mut Quota, recorder: &mut Recorder) {
        let mut buffer = [0; 8192];
        let connection = &mut self.connections[index];
        let Some(mut stream) = connection.stream.as_ref() else { return };
        let read = match stream.read(&mut buffer) {
            Ok(0) => return self.end(index, Outcome::Closed, recorder),
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => return self.end(index, Outcome::Reset, recorder),
        };
        let now = Instant::now();
        let reply = &self.exchanges[connection.exchange].reply;
        let outcome = if connection.received.is_empty() && read == reply {
            Outcome::Answered
        } else {
            connection.received.extend_from_slice(read);
            match judge(&connection.received, reply) {
                Some(outcome) => outcome,
                None => return,
            }
        };
        connection.received.clear();
        match (outcome, connection.sent.take()) {
            (Outcome::Answered, Some(sent)) => {
                let latency = (now - sent).as_nanos() as u64;
                recorder.latency.saturating_record(latency);
                recorder.outcomes.add(outcome);
                connection.exchange = (connection.exchange + 1) % self.exchanges.len();
                self.send(index, now, quota, recorder);
            }
            (outcome, sent) => {
                // Replies may be out of step from here on.
                connection.sent = sent;
                self.end(
                    index,
                    if sent.is_some() { outcome } else { Outcome::WrongReply },
                    recorder,
                );
            }
        }
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
            recorder.outcomes.add(outcome);
        }
        connection.stream = None;
        self.ended.push(outcome);
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

struct Quota {
    until: Until,
    began: Instant,
    sent: u64,
}

impl Quota {
    fn take(&mut self, now: Instant) -> bool {
        let granted = match self.until {
            Until::Past(time) => now - self.began < time,
            Until::Sent(requests) => self.sent < requests,
        };
        self.sent += u64::from(granted);
        granted
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::thread;

    use servers::Service;

    use super::*;
    use crate::load::exchanges;

    /// A server that answers the requests of its only client with what `answer` makes of each
    /// number, and closes when that is nothing.
    fn loaded(
        answer: fn(usize, Vec<u8>) -> Option<Vec<u8>>,
        requests: u64,
    ) -> (Recorder, Outcomes) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("the generator");
            let mut lines = BufReader::new(stream.try_clone().expect("a clone"));
            for number in 0.. {
                let mut line = Vec::new();
                if lines.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                    break;
                }
                let Some(reply) = answer(number, line) else { break };
                for byte in reply {
                    let _ = (&stream).write_all(&[byte]);
                }
            }
        });
        let mut load = ClosedLoop::connect(address, exchanges(Service::Echo), 1).expect("it");
        let mut recorder = Recorder::new();
        load.run(Until::Sent(requests), &mut recorder).expect("a run");
        let connections = load.connection_outcomes();
        drop(load);
        server.join().expect("the server ends");
        (recorder, connections)
    }

    #[test]
    fn only_right_replies_are_latencies() {
        let (recorder, connections) = loaded(|_, line| Some(line), 20);
        assert_eq!(recorder.outcomes.get(Outcome::Answered), 20);
        assert_eq!(recorder.latency.len(), 20);
        assert_eq!(connections.get(Outcome::Answered), 1);
    }

    #[test]
    fn a_wrong_reply_is_an_outcome_and_no_latency() {
        let (recorder, connections) =
            loaded(|number, line| Some(if number == 5 { b"wrong\n".to_vec() } else { line }), 20);
        assert_eq!(recorder.outcomes.get(Outcome::Answered), 5);
        assert_eq!(recorder.outcomes.get(Outcome::WrongReply), 1);
        assert_eq!(recorder.latency.len(), 5);
        assert_eq!(connections.get(Outcome::WrongReply), 1);
    }

    #[test]
    fn a_lost_reply_and_a_busy_line_are_outcomes_and_no_latencies() {
        let (recorder, _) = loaded(|number, line| (number < 3).then_some(line), 20);
        assert_eq!(recorder.outcomes.get(Outcome::Answered), 3);
        let lost = recorder.outcomes.get(Outcome::Closed) + recorder.outcomes.get(Outcome::Reset);
        assert_eq!((lost, recorder.latency.len()), (1, 3));

        let (recorder, _) = loaded(|_, _| Some(b"error: busy, later\n".to_vec()), 20);
        assert_eq!(recorder.outcomes.get(Outcome::Busy), 1);
        assert_eq!(recorder.latency.len(), 0);
    }

    #[test]
    fn a_connection_that_is_refused_is_an_outcome() {
        let port = crate::server::Port::take([127, 0, 0, 1].into()).expect("a port");
        let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let mut load = ClosedLoop::connect(address, exchanges(Service::Echo), 3).expect("it");
        let mut recorder = Recorder::new();
        load.run(Until::Sent(10), &mut recorder).expect("a run");
        assert_eq!(load.connection_outcomes().get(Outcome::Refused), 3);
        assert_eq!(recorder.outcomes, Outcomes::default());
    }
}
