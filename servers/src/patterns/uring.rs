//! # io_uring
//!
//! A proactor: the program submits operations instead of waiting for readiness. The kernel accepts,
//! receives into buffers that all connections share, and sends. One system call submits all queued
//! operations and waits for completions.
//!
//! Accept and receive are multishot: submitted once, they complete repeatedly. So a request costs
//! one submission, the send of its reply, and a busy server serves many requests with one system
//! call. In return, the kernel owns the memory of an operation until the operation completes, and a
//! connection cannot be closed before its operations have ended.
//!
//! Used by: Netty's io_uring transport; TigerBeetle, without multishot receive.
//!
//! Good for: many busy connections on few cores, above all where a system call is expensive.
//!
//! Weakness: the pattern needs Linux 6.1, and many containers forbid io_uring. A burst that
//! exhausts the shared buffers ends multishot receives with ENOBUFS, and the server must submit
//! them again.
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
use crate::io_uring::{Completion, Ring, RingConnection};
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

/// Serves on one ring until shutdown and returns the open connections. Calls `ready` once the ring
/// exists.
pub(super) fn run(
    listener: &Listener,
    acceptor: Acceptor,
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<Vec<Connection>> {
    // Needed for `accept_with_spare` only.
    listener.set_nonblocking()?;
    let shutdown = listener.shutdown();
    let mut server = Server::new(listener, acceptor)?;
    ready()?;
    server.ring.accept();
    while !shutdown.is_requested() {
        server.ring.wait(server.timeout())?;
        server.handle_completions()?;
        server.advance_runnable();
        server.close_expired();
        server.admit_accepted();
    }
    server.shut_down()
}

struct Server<'l> {
    ring: Ring<'l, RingConnection>,
    listener: &'l Listener,
    acceptor: Acceptor,
    /// The connections to advance.
    runnable: Vec<Key>,
    /// Accepted connections. They are admitted last, after other connections may have freed slots.
    accepted: Vec<TcpStream>,
    /// Connections in lingering close, oldest first.
    lingering: VecDeque<Key>,
    timers: TimerQueue,
}

impl<'l> Server<'l> {
    fn new(listener: &'l Listener, acceptor: Acceptor) -> io::Result<Server<'l>> {
        Ok(Server {
            ring: Ring::new(listener, acceptor.max_connections())?,
            listener,
            acceptor,
            runnable: Vec::new(),
            accepted: Vec::new(),
            lingering: VecDeque::new(),
            timers: TimerQueue::default(),
        })
    }

    fn timeout(&self) -> Option<Duration> {
        if self.runnable.is_empty() { self.timers.timeout() } else { Some(Duration::ZERO) }
    }

    fn handle_completions(&mut self) -> io::Result<()> {
        while let Some(completion) = self.ring.next_completion() {
            match completion {
                Completion::Accepted(client) => self.accepted.push(client),
                Completion::AcceptEnded | Completion::Acceptable => self.accept_with_spare()?,
                Completion::Received(key) => {
                    if let Some((client, bytes)) = self.ring.received(key)
                        && client.received(bytes)
                    {
                        self.runnable.push(key);
                    }
                }
                Completion::Sent(key, count) => {
                    if let Some(client) = self.ring.client(key)
                        && client.sent(count)
                    {
                        self.runnable.push(key);
                    }
                }
                Completion::Lost(key) => self.close(key),
            }
        }
        Ok(())
    }

    fn admit_accepted(&mut self) {
        for client in std::mem::take(&mut self.accepted) {
            self.admit(client);
        }
    }

    /// Advances the runnable connections and queues their next operations.
    fn advance_runnable(&mut self) {
        let count = self.runnable.len();
        for index in 0..count {
            let key = self.runnable[index];
            let Some(client) = self.ring.client(key) else { continue };
            match client.advance() {
                Progress::Closed => {
                    self.close(key);
                    continue;
                }
                Progress::Again => self.runnable.push(key),
                Progress::Open | Progress::ShortRead => {}
            }
            let (wants_input, skip_success) = (client.wants_input(), client.can_skip_success());
            self.ring.send(key, skip_success, RingConnection::output);
            self.ring.receive(key, wants_input);
        }
        self.runnable.drain(..count);
    }

    fn admit(&mut self, client: TcpStream) {
        // An error of one client closes only its connection.
        let Ok(connection) = self.acceptor.admit(client) else { return };
        let (is_served, deadline) = (connection.is_served(), connection.deadline());
        let key = self.ring.add(RingConnection::new(connection));
        self.runnable.push(key);
        self.timers.insert(key, deadline);
        if !is_served {
            self.lingering.push_back(key);
            if self.lingering.len() > MAX_LINGERING {
                self.close(self.lingering[0]);
            }
        }
    }

    /// Accepts without the ring when descriptors run out, because the multishot accept then ends
    /// with an error. The listener has a spare descriptor, with which it accepts and rejects one
    /// client at a time until descriptors are free again.
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
        self.lingering.retain(|&lingering| lingering != key);
        self.ring.close(key);
    }

    /// Cancels all operations and returns the connections, to be drained with ordinary system
    /// calls.
    fn shut_down(mut self) -> io::Result<Vec<Connection>> {
        self.ring.cancel_all();
        while !self.ring.is_idle() {
            self.ring.wait(Some(DRAIN_POLL_INTERVAL))?;
            self.handle_completions()?;
        }
        self.admit_accepted();
        Ok(self.ring.into_connections().into_iter().map(RingConnection::into_connection).collect())
    }
}
