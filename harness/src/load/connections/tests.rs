//! Tests of connections, event by event, with a known state of the other end.

use std::net::{Shutdown, TcpListener};
use std::time::Instant;

use servers::Service;

use super::super::request_reply::exchanges;
use super::*;

/// One connection, with a controlled other end.
struct Alone {
    connections: Connections,
    events: Events,
    recorder: Recorder,
    /// `None` when it is closed.
    server: Option<TcpStream>,
}

impl Alone {
    /// Connects in the kernel, before any event is handled.
    fn connect() -> Alone {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut connections = none_yet(&listener);
        let mut recorder = Recorder::new();
        connections.connect(0, &mut recorder).expect("it may");
        let (server, _) = listener.accept().expect("a client");
        Alone { connections, events: Events::new(), recorder, server: Some(server) }
    }

    fn server(&self) -> &TcpStream {
        self.server.as_ref().expect("it is open")
    }

    /// Handles events, and sends a request once connected, until the connection ends with this
    /// outcome.
    fn ends(&mut self, outcome: Outcome) {
        self.until(|it| it.connections.is_free(0));
        let expected: Outcomes = [outcome].into_iter().collect();
        assert_eq!(self.connections.outcomes(0), expected);
    }

    fn until(&mut self, holds: impl Fn(&Alone) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{:?}", self.connections.outcomes(0));
            for at in 0..self.connections.wait(&mut self.events, 10).expect("it may") {
                let event = self.events.get(at);
                let happened = self.connections.happen(event, &mut self.recorder);
                if happened.expect("whatever a server does") == Happened::Connected {
                    let now = self.connections.clock.now();
                    self.connections.ask(0, 1, None, now, &mut self.recorder);
                }
            }
        }
    }
}

fn none_yet(listener: &TcpListener) -> Connections {
    let address = listener.local_addr().expect("an address");
    let cycle = Cycle::new(&exchanges(Service::Echo));
    Connections::new(address, vec![cycle], PATIENCE, Clock::start()).expect("it may")
}

#[test]
fn a_silent_connection_takes_less_than_a_hundred_bytes() {
    assert!(size_of::<Connection>() < 100, "{}", size_of::<Connection>());
}

#[test]
fn a_line_that_came_together_with_the_connection_is_read() {
    let mut alone = Alone::connect();
    alone.server().write_all(b"error: busy, later\n").expect("there is room");
    alone.server().shutdown(Shutdown::Write).expect("it can be");
    alone.ends(Outcome::Busy);
    assert_eq!(alone.recorder.current().outcomes.get(Outcome::Busy), 1);
}

#[test]
fn a_server_that_closes_and_then_resets_at_once_is_an_outcome() {
    let mut alone = Alone::connect();
    alone.server().shutdown(Shutdown::Write).expect("it can be");
    linger_no_more(alone.server());
    alone.server = None;
    alone.ends(Outcome::Reset);
}

#[test]
fn a_right_reply_stays_one_though_one_too_many_comes_with_it() {
    let mut alone = Alone::connect();
    alone.until(|it| it.connections.under_way(0) == 1);
    let two: Vec<u8> =
        exchanges(Service::Echo).into_iter().take(2).flat_map(|one| one.reply).collect();
    alone.server().write_all(&two).expect("there is room");
    alone.ends(Outcome::WrongReply);
    let answered: Outcomes = [Outcome::Answered].into_iter().collect();
    assert_eq!(alone.recorder.current().outcomes, answered);
}

#[test]
fn a_connection_that_is_not_made_or_not_asked_does_not_count_as_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    // The accept queue has room for one or two; the kernel does not accept more.
    SockRef::from(&listener).listen(0).expect("it can be");
    let mut connections = none_yet(&listener);
    let (mut recorder, mut events) = (Recorder::new(), Events::new());
    for _ in 0..4 {
        connections.connect(0, &mut recorder).expect("it may");
    }
    while connections.connecting() == 4 {
        for at in 0..connections.wait(&mut events, 10).expect("it may") {
            connections.happen(events.get(at), &mut recorder).expect("it is connected");
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
