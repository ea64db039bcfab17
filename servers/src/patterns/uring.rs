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
use crate::event_loop::MAX_LINGERING;
use crate::event_loop::TimerQueue;
use crate::event_loop::{Acceptor, Key, drain};
use crate::event_loop::{Connection, Progress};
use crate::io_uring::{Event, Ring, RingConnection};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::sockets::DRAIN_POLL_INTERVAL;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "uring",
    summary: "one loop over io_uring: the kernel accepts, receives and sends",
    family: Family::Rings,
    stevens: &[],
    used_by: "Netty (io_uring transport), TigerBeetle",
    workers: Workers::One,
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let connections = run(&listener, Acceptor::new(config), || listener.listen())?;
    drop(listener);
    drain(connections);
    Ok(())
}

/// Serves on one ring, after calling `ready` when there is one. Ends when the server is to stop, and
/// gives the clients that are there then.
pub(super) fn run(
    listener: &Listener,
    acceptor: Acceptor,
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<Vec<Connection>> {
    // The kernel waits for clients all the same; this is for accepting without it.
    listener.set_nonblocking()?;
    let shutdown = listener.shutdown();
    let mut server = Server::new(listener, acceptor)?;
    ready()?;
    server.ring.accept();
    while !shutdown.is_requested() {
        server.ring.wait(server.timeout())?;
        server.handle_events()?;
        server.run_ready();
        server.close_expired();
        server.admit_accepted();
    }
    server.shut_down()
}

struct Server<'l> {
    ring: Ring<'l, RingConnection>,
    listener: &'l Listener,
    acceptor: Acceptor,
    /// Whose turn it is.
    turns: Vec<Key>,
    /// Those that have come. They are admitted last: somebody's end may have made room.
    accepted: Vec<TcpStream>,
    /// Those that are refused, the oldest first.
    lingering: VecDeque<Key>,
    timers: TimerQueue,
}

impl<'l> Server<'l> {
    fn new(listener: &'l Listener, acceptor: Acceptor) -> io::Result<Server<'l>> {
        Ok(Server {
            ring: Ring::new(listener, acceptor.max_connections())?,
            listener,
            acceptor,
            turns: Vec::new(),
            accepted: Vec::new(),
            lingering: VecDeque::new(),
            timers: TimerQueue::default(),
        })
    }

    fn timeout(&self) -> Option<Duration> {
        if self.turns.is_empty() { self.timers.timeout() } else { Some(Duration::ZERO) }
    }

    /// Learns what the kernel has done.
    fn handle_events(&mut self) -> io::Result<()> {
        while let Some(event) = self.ring.next_event() {
            match event {
                Event::Accepted(client) => self.accepted.push(client),
                Event::AcceptEnded | Event::Acceptable => self.accept_with_spare()?,
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
    fn run_ready(&mut self) {
        let called = self.turns.len();
        for index in 0..called {
            let key = self.turns[index];
            let Some(client) = self.ring.client(key) else { continue };
            match client.advance() {
                Progress::Closed => {
                    self.close(key);
                    continue;
                }
                Progress::Again => self.turns.push(key),
                Progress::Open => {}
            }
            let (wants_input, silently) = (client.wants_input(), client.can_send_silently());
            self.ring.send(key, silently, RingConnection::output);
            self.ring.receive(key, wants_input);
        }
        self.turns.drain(..called);
    }

    fn admit(&mut self, client: TcpStream) {
        // What goes wrong with one client ends with that client.
        let Ok(connection) = self.acceptor.admit(client) else { return };
        let (is_served, deadline) = (connection.is_served(), connection.deadline());
        let key = self.ring.add(RingConnection::new(connection));
        self.turns.push(key);
        self.timers.insert(key, deadline);
        if !is_served {
            self.lingering.push_back(key);
            if self.lingering.len() > MAX_LINGERING {
                self.close(self.lingering[0]);
            }
        }
    }

    /// The kernel needs a descriptor before it accepts, and gives up when there is none. The
    /// listener has one to spare; until a client could be served again, each is waited for and
    /// turned away one by one.
    fn accept_with_spare(&mut self) -> io::Result<()> {
        match self.listener.try_accept()? {
            Some(client) => {
                self.admit(client);
                self.ring.accept();
            }
            None => self.ring.watch(),
        }
        Ok(())
    }

    fn close_expired(&mut self) {
        let now = Instant::now();
        while let Some(key) = self.timers.pop_expired(now) {
            match self.ring.client(key).map(|client| client.connection().deadline()) {
                Some(Some(deadline)) if deadline <= now => self.close(key),
                Some(deadline) => self.timers.insert(key, deadline),
                None => {}
            }
        }
    }

    fn close(&mut self, key: Key) {
        self.timers.remove(key);
        self.lingering.retain(|&one| one != key);
        self.ring.close(key);
    }

    /// Takes back from the kernel what it was told to do. What is left is for calls that anyone
    /// could make.
    fn shut_down(mut self) -> io::Result<Vec<Connection>> {
        self.ring.cancel_all();
        while !self.ring.is_idle() {
            self.ring.wait(Some(DRAIN_POLL_INTERVAL))?;
            self.handle_events()?;
        }
        self.admit_accepted();
        Ok(self.ring.into_clients().into_iter().map(RingConnection::into_connection).collect())
    }
}
