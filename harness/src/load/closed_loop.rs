//! The closed loop: every connection asks again as soon as it is answered.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connections::{Connections, Events, Recorder};
use super::exchange::Exchange;
use super::outcome::Outcomes;

/// Connections that each have one request under way.
#[derive(Debug)]
pub struct ClosedLoop(Connections);

/// When to stop sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When so much time has passed.
    Past(Duration),
    /// When so many requests have been sent.
    Sent(u64),
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
        let mut load = Connections::new(exchanges)?;
        for _ in 0..connections {
            load.connect(address)?;
        }
        Ok(ClosedLoop(load))
    }

    /// What became of the connections so far; those that live count as answered.
    pub fn connection_outcomes(&self) -> Outcomes {
        self.0.outcomes()
    }

    /// Sends on every connection as soon as its last request is answered, until told; then waits
    /// for the replies that are due.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub fn run(&mut self, until: Until, recorder: &mut Recorder) -> io::Result<()> {
        let mut quota = Quota { until, began: Instant::now(), sent: 0 };
        for index in 0..self.0.len() {
            let now = Instant::now();
            if self.0.is_open(index) && quota.take(now) {
                self.0.send(index, now, recorder);
            }
        }
        let mut events = Events::new();
        while self.0.under_way() > 0 {
            let count = self.0.wait(&mut events, recorder)?;
            for index in events.first(count) {
                if let Some(now) = self.0.receive(index, recorder)
                    && quota.take(now)
                {
                    self.0.send(index, now, recorder);
                }
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    use servers::Service;

    use super::*;
    use crate::load::{Outcome, exchanges};

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
