//! Idle connections: many connections held open, with a bounded number of requests in flight.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use servers::Service;

use super::connections::{Connections, Events, PATIENCE};
use super::lost_time::Gaps;
use super::outcome::{Outcome, Outcomes};
use super::recorder::{Clock, Recorder};
use super::request_reply::{Cycle, different};

/// Maximum number of requests in flight. An event loop whose turn costs time per connection has
/// this many requests to answer in a turn. The accept queue is longer, so it never overflows.
pub const WINDOW: usize = 256;

/// Maximum time between two checks for overdue replies, in milliseconds.
const LOOK_EVERY_MS: u16 = 100;

/// Time limit for connecting all clients. The remaining ones are then not tried.
const CONNECT_DEADLINE: Duration = Duration::from_secs(60);

/// Connections held open. Dropping them resets them, so that none of their ports stays in TIME_WAIT
/// for a minute.
#[derive(Debug)]
pub struct IdleConnections {
    connections: Connections,
    /// Order in which the clients send.
    order: Vec<usize>,
    events: Events,
    gaps: Gaps,
}

impl IdleConnections {
    /// Connects one client after the other; each sends a request at once.
    ///
    /// All requests differ, so a reply to another client's request is detected. A connection that
    /// fails is an outcome, and the last attempt. Stops waiting as soon as `goes_on` returns false.
    ///
    /// # Errors
    /// The kernel denies the generator a resource.
    pub fn connect(
        address: SocketAddr,
        service: Service,
        clients: usize,
        recorder: &mut Recorder,
        goes_on: &dyn Fn() -> bool,
    ) -> io::Result<IdleConnections> {
        let cycle = Cycle::new(&different(service, clients as i64));
        let clock = Clock::start();
        let connections = Connections::new(address, vec![cycle], PATIENCE, clock)?;
        let mut herd = IdleConnections {
            connections,
            order: Vec::new(),
            events: Events::new(),
            gaps: Gaps::default(),
        };
        let deadline = Instant::now() + CONNECT_DEADLINE;
        for number in 0..clients {
            let index = herd.connections.connect(0, recorder)?;
            while herd.connections.connecting() > 0 && goes_on() {
                herd.take_in(recorder)?;
            }
            if !herd.connections.is_open(index) {
                break;
            }
            herd.order.push(index);
            herd.send(index, recorder, goes_on)?;
            if Instant::now() > deadline {
                (number + 1..clients).for_each(|_| herd.connections.despair(0));
                break;
            }
            if !goes_on() {
                break;
            }
        }
        herd.receive_the_rest(recorder, goes_on)?;
        Ok(herd)
    }

    /// Returns the gaps of the loop since the last call.
    pub(super) fn take_gaps(&mut self) -> Gaps {
        std::mem::take(&mut self.gaps)
    }

    /// Returns the outcomes of the connections so far. Open connections with a correct reply count
    /// as answered.
    pub fn connection_outcomes(&self) -> Outcomes {
        self.connections.outcomes(0)
    }

    /// Returns the number of open connections with a correct reply.
    pub fn living(&self) -> u64 {
        self.connection_outcomes().get(Outcome::Answered)
    }

    /// Sends one request on every open connection, in random order.
    ///
    /// No two requests are the same, and none repeats the previous one of its connection. When
    /// `goes_on` returns false, the remaining requests are not sent, and those in flight are
    /// recorded as such.
    ///
    /// # Errors
    /// The kernel does not let the generator wait.
    pub fn ask_all(
        &mut self,
        recorder: &mut Recorder,
        goes_on: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        self.order.shuffle(&mut rand::rng());
        for position in 0..self.order.len() {
            let index = self.order[position];
            if self.connections.is_open(index) && !self.send(index, recorder, goes_on)? {
                break;
            }
        }
        self.receive_the_rest(recorder, goes_on)
    }

    /// Sends a request when fewer than [`WINDOW`] are in flight. Returns whether that happened.
    fn send(
        &mut self,
        index: usize,
        recorder: &mut Recorder,
        goes_on: &dyn Fn() -> bool,
    ) -> io::Result<bool> {
        if !self.receive_while_more_than(WINDOW as u64 - 1, recorder, goes_on)? {
            return Ok(false);
        }
        // The connection may have been closed while waiting.
        if self.connections.is_open(index) {
            self.connections.ask(index, 1, None, self.connections.clock.now(), recorder);
        }
        Ok(true)
    }

    fn receive_the_rest(
        &mut self,
        recorder: &mut Recorder,
        goes_on: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        if !self.receive_while_more_than(0, recorder, goes_on)? {
            self.connections.abandon(0, recorder);
        }
        Ok(())
    }

    /// Receives until at most `most` requests are in flight. Returns whether that happened.
    fn receive_while_more_than(
        &mut self,
        most: u64,
        recorder: &mut Recorder,
        goes_on: &dyn Fn() -> bool,
    ) -> io::Result<bool> {
        while self.connections.under_way(0) > most {
            if !goes_on() {
                return Ok(false);
            }
            self.take_in(recorder)?;
        }
        Ok(true)
    }

    fn take_in(&mut self, recorder: &mut Recorder) -> io::Result<()> {
        let count = self.connections.wait(&mut self.events, LOOK_EVERY_MS)?;
        for at in 0..count {
            self.connections.happen(self.events.get(at), recorder)?;
        }
        let now = self.connections.clock.now();
        self.gaps.look(now, u64::from(LOOK_EVERY_MS) * 1_000_000, 0);
        self.connections.give_up_overdue(now, std::slice::from_mut(recorder));
        Ok(())
    }
}

impl Drop for IdleConnections {
    fn drop(&mut self) {
        self.connections.reset_at_the_end();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;

    /// Runs a server for two clients that answers each line with `answer` of it and the line
    /// before.
    fn two_clients(answer: fn(String, String) -> String) -> (IdleConnections, Recorder) {
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
                client.get_mut().write_all(reply.as_bytes()).expect("it is taken");
            }
            clients
        });
        let mut recorder = Recorder::new();
        let herd = IdleConnections::connect(address, Service::Echo, 2, &mut recorder, &|| true)
            .expect("it");
        drop(server.join().expect("the server ends"));
        (herd, recorder)
    }

    #[test]
    fn a_client_that_gets_its_own_answer_is_held() {
        let (herd, recorder) = two_clients(|line, _| line);
        assert_eq!(recorder.current().outcomes.get(Outcome::Answered), 2);
        assert_eq!(herd.living(), 2);
    }

    #[test]
    fn a_client_that_gets_the_answer_of_another_is_not() {
        let (herd, recorder) =
            two_clients(|line, before| if before.is_empty() { line } else { before });
        assert_eq!(recorder.current().outcomes.get(Outcome::Answered), 1);
        assert_eq!(recorder.current().outcomes.get(Outcome::WrongReply), 1);
        assert_eq!(herd.living(), 1);
    }

    #[test]
    fn where_nobody_listens_one_client_tries_and_no_more() {
        let port = crate::server::Port::take([127, 0, 0, 1].into()).expect("a port");
        let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let mut recorder = Recorder::new();
        let herd = IdleConnections::connect(address, Service::Echo, 1_000, &mut recorder, &|| true);
        let herd = herd.expect("it");
        assert_eq!(herd.connection_outcomes().get(Outcome::Refused), 1);
        assert_eq!(herd.living(), 0);
    }

    #[test]
    fn a_herd_whose_server_is_silent_is_given_up_when_that_is_wanted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (looks, mut recorder) = (std::cell::Cell::new(0), Recorder::new());
        // Returns false at the third check.
        let goes_on = || looks.replace(looks.get() + 1) < 2;
        let began = Instant::now();
        let herd = IdleConnections::connect(address, Service::Echo, 2, &mut recorder, &goes_on)
            .expect("it");
        assert!(began.elapsed() < PATIENCE);
        assert_eq!(herd.living(), 0);
        let recorded = recorder.current();
        assert_eq!(recorded.outcomes.get(Outcome::InFlight), recorded.asked);
    }
}
