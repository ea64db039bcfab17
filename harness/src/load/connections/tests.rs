//! Tests of single connections, with a server end that the test controls.

use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::time::Instant;

use servers::Service;

use super::super::request_reply::exchanges;
use super::events::{Events, Handled};
use socket2::SockRef;

use super::closing::reset_on_close;
use super::*;
use crate::load::timeouts::REPLY_TIMEOUT;
use crate::results::{Outcome, Outcomes};

/// One connection, with a server end that the test controls.
struct SingleConnection {
    connections: Connections,
    events: Events,
    recorder: Recorder,
    /// Server end; `None` when closed.
    server: Option<TcpStream>,
}

impl SingleConnection {
    /// Connects. The kernel has completed the handshake, but no event is handled yet.
    fn connect() -> SingleConnection {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut connections = no_connections(&listener);
        let mut recorder = Recorder::new();
        connections.connect(0, &mut recorder).expect("a connect");
        let (server, _) = listener.accept().expect("a client");
        SingleConnection { connections, events: Events::new(), recorder, server: Some(server) }
    }

    fn server(&self) -> &TcpStream {
        self.server.as_ref().expect("an open server end")
    }

    /// Handles events until the connection is closed, and checks its outcome.
    fn assert_closes_with(&mut self, outcome: Outcome) {
        self.handle_events_until(|single| single.connections.is_free(0));
        let expected: Outcomes = [outcome].into_iter().collect();
        assert_eq!(self.connections.outcomes(0), expected);
    }

    /// Handles events until the condition holds. Sends a request when connected.
    fn handle_events_until(&mut self, holds: impl Fn(&SingleConnection) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{:?}", self.connections.outcomes(0));
            for index in 0..self.connections.wait(&mut self.events, 10).expect("a wait") {
                let event = self.events.get(index);
                let handled = self.connections.handle(event, &mut self.recorder);
                if handled.expect("faults of the server are not errors") == Handled::Connected {
                    let now = self.connections.clock.now();
                    self.connections.send_requests(0, 1, None, now, &mut self.recorder);
                }
            }
        }
    }
}

fn no_connections(listener: &TcpListener) -> Connections {
    let address = listener.local_addr().expect("an address");
    let cycle = Cycle::new(&exchanges(Service::Echo));
    Connections::new(address, vec![cycle], REPLY_TIMEOUT, Clock::start())
        .expect("an epoll instance")
}

#[test]
fn an_idle_connection_takes_less_than_a_hundred_bytes() {
    assert!(size_of::<Connection>() < 100, "{}", size_of::<Connection>());
}

#[test]
fn a_line_that_arrives_before_the_connect_event_is_read() {
    let mut single = SingleConnection::connect();
    single.server().write_all(b"error: busy, later\n").expect("room in the send buffer");
    single.server().shutdown(Shutdown::Write).expect("an open connection");
    single.assert_closes_with(Outcome::Busy);
    assert_eq!(single.recorder.current().outcomes.get(Outcome::Busy), 1);
}

#[test]
fn a_close_followed_at_once_by_a_reset_counts_as_a_reset() {
    let mut single = SingleConnection::connect();
    single.server().shutdown(Shutdown::Write).expect("an open connection");
    reset_on_close(single.server());
    single.server = None;
    single.assert_closes_with(Outcome::Reset);
}

#[test]
fn a_correct_reply_still_counts_if_an_extra_reply_follows() {
    let mut single = SingleConnection::connect();
    single.handle_events_until(|single| single.connections.in_flight(0) == 1);
    let two: Vec<u8> =
        exchanges(Service::Echo).into_iter().take(2).flat_map(|exchange| exchange.reply).collect();
    single.server().write_all(&two).expect("room in the send buffer");
    single.assert_closes_with(Outcome::WrongReply);
    let answered: Outcomes = [Outcome::Answered].into_iter().collect();
    assert_eq!(single.recorder.current().outcomes, answered);
}

#[test]
fn a_pending_or_unused_connection_does_not_count_as_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    // The accept queue has room for one or two connections; the others stay connecting.
    SockRef::from(&listener).listen(0).expect("a listening socket");
    let mut connections = no_connections(&listener);
    let (mut recorder, mut events) = (Recorder::new(), Events::new());
    for _ in 0..4 {
        connections.connect(0, &mut recorder).expect("a connect");
    }
    while connections.connecting() == 4 {
        for index in 0..connections.wait(&mut events, 10).expect("a wait") {
            connections.handle(events.get(index), &mut recorder).expect("a handled event");
        }
    }
    assert!(connections.connecting() > 0);
    assert_eq!(connections.outcomes(0), Outcomes::default());
    let connecting = connections.connecting() as u64;
    (0..4).for_each(|index| connections.reset(index, &mut recorder));
    let outcomes = connections.outcomes(0);
    assert_eq!(outcomes.get(Outcome::ConnectTimeout), connecting);
    assert_eq!(outcomes.get(Outcome::InFlight), 4 - connecting);
}
