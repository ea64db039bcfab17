//! # io_uring
//!
//! A proactor: the kernel is told what to do rather than asked what could be done. It accepts,
//! receives into buffers that all clients share, and sends; one system call hands over all that
//! is to be done and waits until something is.
//!
//! Accepting and receiving are asked for once and done again and again (multishot), so a request
//! costs one operation, sending its reply, and a busy server makes one system call for many of
//! them. The price is memory that is the kernel's until it is done with it, and clients that
//! cannot be closed before.
//!
//! Used by: Netty's io_uring transport; TigerBeetle, which asks for each receive anew.
//!
//! Good for: many busy clients on few processors, above all where a system call is dear.
//!
//! Breaks: on kernels older than 6.1, and in the containers that forbid it, as many do.
//!
//! Source: Axboe, *Efficient IO with io_uring*, 2019; Schmidt and others, *Pattern-Oriented
//! Software Architecture* volume 2, "Proactor".

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::event_loop::Deadlines;
use crate::event_loop::MOST_LINGERING;
use crate::event_loop::{Admission, Key, drain};
use crate::event_loop::{Connection, Turn};
use crate::io_uring::{Client, Event, Ring};
use crate::pattern::{Capacity, Family, Pattern, WhenFull, Workers};
use crate::sockets::LOOK_EVERY;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "uring",
    summary: "one loop over io_uring: the kernel accepts, receives and sends",
    family: Family::Rings,
    stevens: &[],
    used_by: "Netty (io_uring transport), TigerBeetle",
    workers: Workers::One,
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: WhenFull::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let connections = run(&listener, Admission::new(config), || listener.listen())?;
    drop(listener);
    drain(connections);
    Ok(())
}

/// Serves on one ring, after calling `ready` when there is one. Ends when the server is to stop, and
/// gives the clients that are there then.
pub(super) fn run(
    listener: &Listener,
    admission: Admission,
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<Vec<Connection>> {
    // The kernel waits for clients all the same; this is for accepting without it.
    listener.set_nonblocking()?;
    let stop = listener.stop();
    let mut server = Server::new(listener, admission)?;
    ready()?;
    server.ring.accept();
    while !stop.requested() {
        server.ring.wait(server.timeout())?;
        server.take_events()?;
        server.give_turns();
        server.give_up_overdue();
        server.admit_accepted();
    }
    server.wind_up()
}

struct Server<'l> {
    ring: Ring<'l, Client>,
    listener: &'l Listener,
    admission: Admission,
    /// Whose turn it is.
    turns: Vec<Key>,
    /// Those that have come. They are admitted last: somebody's end may have made room.
    accepted: Vec<TcpStream>,
    /// Those that are refused, the oldest first.
    lingering: VecDeque<Key>,
    deadlines: Deadlines,
}

impl<'l> Server<'l> {
    fn new(listener: &'l Listener, admission: Admission) -> io::Result<Server<'l>> {
        Ok(Server {
            ring: Ring::new(listener, admission.max_connections())?,
            listener,
            admission,
            turns: Vec::new(),
            accepted: Vec::new(),
            lingering: VecDeque::new(),
            deadlines: Deadlines::default(),
        })
    }

    fn timeout(&self) -> Option<Duration> {
        if self.turns.is_empty() { self.deadlines.timeout() } else { Some(Duration::ZERO) }
    }

    /// Learns what the kernel has done.
    fn take_events(&mut self) -> io::Result<()> {
        while let Some(event) = self.ring.next_event() {
            match event {
                Event::Accepted(client) => self.accepted.push(client),
                Event::NotAccepted | Event::Waits => self.accept_without_the_kernel()?,
                Event::Received(key) => {
                    if let Some((client, bytes)) = self.ring.received(key)
                        && client.received(bytes)
                    {
                        self.turns.push(key);
                    }
                }
                Event::Sent(key, count) => {
                    if let Some(client) = self.ring.client(key)
                        && client.sent(count)
                    {
                        self.turns.push(key);
                    }
                }
                Event::Lost(key) => self.close(key),
            }
        }
        Ok(())
    }

    fn admit_accepted(&mut self) {
        for client in std::mem::take(&mut self.accepted) {
            self.admit(client);
        }
    }

    /// Tells the kernel what to do next, for everyone for whom it has done something.
    fn give_turns(&mut self) {
        let called = self.turns.len();
        for index in 0..called {
            let key = self.turns[index];
            let Some(client) = self.ring.client(key) else { continue };
            match client.turn() {
                Turn::Over => {
                    self.close(key);
                    continue;
                }
                Turn::Again => self.turns.push(key),
                Turn::Open => {}
            }
            let (wants_input, quietly) = (client.wants_input(), client.has_time());
            self.ring.send(key, quietly, Client::output);
            self.ring.receive(key, wants_input);
        }
        self.turns.drain(..called);
    }

    fn admit(&mut self, client: TcpStream) {
        // What goes wrong with one client ends with that client.
        let Ok(connection) = self.admission.admit(client) else { return };
        let (is_served, deadline) = (connection.is_served(), connection.deadline());
        let key = self.ring.add(Client::new(connection));
        self.turns.push(key);
        self.deadlines.note(key, deadline);
        if !is_served {
            self.lingering.push_back(key);
            if self.lingering.len() > MOST_LINGERING {
                self.close(self.lingering[0]);
            }
        }
    }

    /// The kernel needs a descriptor before it accepts, and gives up when there is none. The
    /// listener has one to spare; until a client could be served again, each is waited for and
    /// turned away one by one.
    fn accept_without_the_kernel(&mut self) -> io::Result<()> {
        match self.listener.try_accept()? {
            Some(client) => {
                self.admit(client);
                self.ring.accept();
            }
            None => self.ring.watch(),
        }
        Ok(())
    }

    fn give_up_overdue(&mut self) {
        let now = Instant::now();
        while let Some(key) = self.deadlines.due(now) {
            match self.ring.client(key).map(|client| client.connection().deadline()) {
                Some(Some(deadline)) if deadline <= now => self.close(key),
                Some(deadline) => self.deadlines.note(key, deadline),
                None => {}
            }
        }
    }

    fn close(&mut self, key: Key) {
        self.deadlines.forget(key);
        self.lingering.retain(|&one| one != key);
        self.ring.close(key);
    }

    /// Takes back from the kernel what it was told to do. What is left is for calls that anyone
    /// could make.
    fn wind_up(mut self) -> io::Result<Vec<Connection>> {
        self.ring.end();
        while !self.ring.is_idle() {
            self.ring.wait(Some(LOOK_EVERY))?;
            self.take_events()?;
        }
        self.admit_accepted();
        Ok(self.ring.into_clients().into_iter().map(Client::into_connection).collect())
    }
}
