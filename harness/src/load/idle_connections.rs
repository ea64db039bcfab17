//! Idle connections: many connections held open, with a bounded number of requests in flight.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use servers::Service;

use super::clock::Clock;
use super::connections::Connections;
use super::connections::events::Events;
use super::lost_time::gaps::Gaps;
use super::recorder::Recorder;
use super::request_reply::{Cycle, distinct_exchanges};
use crate::results::{LocalErrors, Outcome, Outcomes};

/// Maximum number of requests in flight. An event loop whose iterations cost time per connection
/// (select, poll) answers that many requests per iteration. Smaller than usual listen backlogs, so
/// that the accept queue does not overflow.
pub const WINDOW: usize = 256;

/// Maximum time between two checks for overdue replies, in milliseconds.
const MAX_WAIT_MS: u16 = 100;

/// Time limit for connecting all clients. After it, the remaining clients count as timed out.
const CONNECT_DEADLINE: Duration = Duration::from_secs(60);

/// Many open connections to one server. Drop resets them, so that no ports stay in TIME_WAIT for a
/// minute.
#[derive(Debug)]
pub struct IdleConnections {
    connections: Connections,
    /// Order in which the clients send.
    order: Vec<usize>,
    events: Events,
    gaps: Gaps,
}

impl IdleConnections {
    /// Connects the clients in turn; each client sends a request when it is connected.
    ///
    /// All requests differ, so a reply to another client's request is detected. A failed connection
    /// is an outcome, not an error; the remaining clients then do not connect. Returns early when
    /// `keep_going` returns false. Calls `on_connected` with the number of connections whenever
    /// another one is established.
    ///
    /// # Errors
    /// The kernel denies the generator a resource.
    pub fn connect(
        address: SocketAddr,
        (service, timeout): (Service, Duration),
        clients: usize,
        recorder: &mut Recorder,
        keep_going: &dyn Fn() -> bool,
        on_connected: &mut dyn FnMut(usize),
    ) -> io::Result<IdleConnections> {
        let cycle = Cycle::new(&distinct_exchanges(service, clients as i64));
        let clock = Clock::start();
        let connections = Connections::new(address, vec![cycle], timeout, clock)?;
        let mut idle = IdleConnections {
            connections,
            order: Vec::new(),
            events: Events::new(),
            gaps: Gaps::default(),
        };
        let deadline = Instant::now() + CONNECT_DEADLINE;
        for number in 0..clients {
            let index = idle.connections.connect(0, recorder)?;
            while idle.connections.connecting() > 0 && keep_going() {
                idle.handle_events(recorder)?;
            }
            if !idle.connections.is_open(index) {
                break;
            }
            idle.order.push(index);
            idle.send(index, recorder, keep_going)?;
            on_connected(idle.order.len());
            if Instant::now() > deadline {
                (number + 1..clients).for_each(|_| idle.connections.count_as_timed_out(0));
                break;
            }
            if !keep_going() {
                break;
            }
        }
        idle.receive_missing(recorder, keep_going)?;
        Ok(idle)
    }

    /// Returns the gaps in the loop since the last call.
    pub(super) fn take_gaps(&mut self) -> Gaps {
        std::mem::take(&mut self.gaps)
    }

    /// Returns the outcomes of the connections so far. An open connection with a correct reply
    /// counts as answered.
    pub fn connection_outcomes(&self) -> Outcomes {
        self.connections.outcomes(0)
    }

    /// Returns the errors of this machine and of the network so far.
    pub(super) fn local_errors(&self) -> &LocalErrors {
        self.connections.local_errors()
    }

    /// Returns the number of open connections with a correct reply.
    pub fn answered_and_open(&self) -> u64 {
        self.connection_outcomes().get(Outcome::Answered)
    }

    /// Sends one request on every open connection, in random order.
    ///
    /// All requests in a round differ, and each differs from the previous request of its
    /// connection. When `keep_going` returns false, the remaining requests are not sent, and the
    /// requests without a reply are recorded as in flight.
    ///
    /// # Errors
    /// Waiting for events fails.
    pub fn request_all(
        &mut self,
        recorder: &mut Recorder,
        keep_going: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        self.order.shuffle(&mut rand::rng());
        for position in 0..self.order.len() {
            let index = self.order[position];
            if self.connections.is_open(index) && !self.send(index, recorder, keep_going)? {
                break;
            }
        }
        self.receive_missing(recorder, keep_going)
    }

    /// Waits until fewer than [`WINDOW`] requests are in flight, then sends a request. Returns
    /// false if `keep_going` did before.
    fn send(
        &mut self,
        index: usize,
        recorder: &mut Recorder,
        keep_going: &dyn Fn() -> bool,
    ) -> io::Result<bool> {
        if !self.receive_until_at_most(WINDOW as u64 - 1, recorder, keep_going)? {
            return Ok(false);
        }
        // The connection may have been closed while waiting.
        if self.connections.is_open(index) {
            self.connections.send_requests(index, 1, None, self.connections.clock.now(), recorder);
        }
        Ok(true)
    }

    fn receive_missing(
        &mut self,
        recorder: &mut Recorder,
        keep_going: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        if !self.receive_until_at_most(0, recorder, keep_going)? {
            self.connections.abandon(0, recorder);
        }
        Ok(())
    }

    /// Receives replies until at most `limit` requests are in flight. Returns false if `keep_going`
    /// did before.
    fn receive_until_at_most(
        &mut self,
        limit: u64,
        recorder: &mut Recorder,
        keep_going: &dyn Fn() -> bool,
    ) -> io::Result<bool> {
        while self.connections.in_flight(0) > limit {
            if !keep_going() {
                return Ok(false);
            }
            self.handle_events(recorder)?;
        }
        Ok(true)
    }

    fn handle_events(&mut self, recorder: &mut Recorder) -> io::Result<()> {
        let count = self.connections.wait(&mut self.events, MAX_WAIT_MS)?;
        for at in 0..count {
            self.connections.handle(self.events.get(at), recorder)?;
        }
        let now = self.connections.clock.now();
        self.gaps.check(now, u64::from(MAX_WAIT_MS) * 1_000_000, 0);
        self.connections.close_overdue(now, std::slice::from_mut(recorder));
        Ok(())
    }
}

impl Drop for IdleConnections {
    fn drop(&mut self) {
        self.connections.reset_all_on_close();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::super::timeouts::REPLY_TIMEOUT;
    use super::*;

    /// Connects two clients to a server. The server answers each line with the result of `answer`,
    /// which gets the line and the previous line.
    fn connect_two(answer: fn(String, String) -> String) -> (IdleConnections, Recorder) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let mut clients: Vec<BufReader<TcpStream>> = Vec::new();
            let mut before = String::new();
            for _ in 0..2 {
                clients.push(BufReader::new(listener.accept().expect("a client").0));
            }
            for client in &mut clients {
                let mut line = String::new();
                client.read_line(&mut line).expect("a line");
                let reply = answer(line.clone(), std::mem::replace(&mut before, line));
                client.get_mut().write_all(reply.as_bytes()).expect("room in the send buffer");
            }
            clients
        });
        let mut recorder = Recorder::new();
        let idle = IdleConnections::connect(
            address,
            (Service::Echo, REPLY_TIMEOUT),
            2,
            &mut recorder,
            &|| true,
            &mut |_| (),
        )
        .expect("a set of connections");
        drop(server.join().expect("the server ends"));
        (idle, recorder)
    }

    #[test]
    fn a_connection_with_a_correct_reply_stays_open() {
        let (idle, recorder) = connect_two(|line, _| line);
        assert_eq!(recorder.current().outcomes.get(Outcome::Answered), 2);
        assert_eq!(idle.answered_and_open(), 2);
    }

    #[test]
    fn a_connection_with_the_reply_of_another_client_does_not_count() {
        let (idle, recorder) =
            connect_two(|line, before| if before.is_empty() { line } else { before });
        assert_eq!(recorder.current().outcomes.get(Outcome::Answered), 1);
        assert_eq!(recorder.current().outcomes.get(Outcome::WrongReply), 1);
        assert_eq!(idle.answered_and_open(), 1);
    }

    #[test]
    fn no_further_client_connects_after_a_refused_connection() {
        let port = crate::server::PortLease::take([127, 0, 0, 1].into()).expect("a port");
        let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let mut recorder = Recorder::new();
        let idle = IdleConnections::connect(
            address,
            (Service::Echo, REPLY_TIMEOUT),
            1_000,
            &mut recorder,
            &|| true,
            &mut |_| (),
        );
        let idle = idle.expect("a set of connections");
        assert_eq!(idle.connection_outcomes().get(Outcome::Refused), 1);
        assert_eq!(idle.answered_and_open(), 0);
    }

    #[test]
    fn waiting_for_a_silent_server_ends_when_keep_going_returns_false() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (checks, mut recorder) = (std::cell::Cell::new(0), Recorder::new());
        // Returns false at the third check.
        let keep_going = || checks.replace(checks.get() + 1) < 2;
        let began = Instant::now();
        let idle = IdleConnections::connect(
            address,
            (Service::Echo, REPLY_TIMEOUT),
            2,
            &mut recorder,
            &keep_going,
            &mut |_| (),
        )
        .expect("a set of connections");
        assert!(began.elapsed() < REPLY_TIMEOUT);
        assert_eq!(idle.answered_and_open(), 0);
        let recorded = recorder.current();
        assert_eq!(recorded.outcomes.get(Outcome::InFlight), recorded.requests);
    }
}
