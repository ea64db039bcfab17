//! Connections of several threads that wait on one epoll with EPOLLONESHOT (epoll_ctl(2)): each
//! event goes to one thread.
//!
//! Each connection has its own lock, which is never contended, because the kernel gives a
//! connection to one thread at a time. A common lock would be held during a system call for each
//! event, and a benchmark would measure that lock. Deadlines are needed rarely and share one lock;
//! a timerfd in the interest list signals the earliest deadline.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::acceptor::{ACCEPT_BATCH, Acceptor, ConnectionSource};
use super::connection::{Connection, Progress};
use super::connection_slots::ConnectionSlots;
use super::epoll::{SHUTDOWN_KEY, SOURCE_KEY, armed};
use super::key::Key;
use super::limits::MAX_LINGERING;
use super::timer_queue::TimerQueue;
use crate::config::Config;
use crate::sockets::Listener;

/// An interest list whose events go to one thread each.
pub(crate) struct SharedEpoll<'l> {
    /// The threads wait on it.
    pub(crate) epoll: Epoll,
    listener: &'l Listener,
    acceptor: Acceptor,
    clients: ConnectionSlots,
    /// Connections with a deadline: refused ones, and all of them if there is an idle timeout.
    waiting: Mutex<Waiting>,
    /// Expires at the earliest deadline.
    timer: TimerFd,
}

#[derive(Default)]
struct Waiting {
    timers: TimerQueue,
    /// Connections in lingering close, oldest first.
    lingering: VecDeque<Key>,
}

/// Key of the timer's events.
const TIMER_KEY: u64 = u64::MAX - 2;

/// The listener and the timer, too, go to one thread at a time.
fn once(key: u64) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, key)
}

impl<'l> SharedEpoll<'l> {
    /// Returns a list that contains only the listener.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new(listener: &'l Listener, config: &Config) -> io::Result<SharedEpoll<'l>> {
        listener.set_nonblocking()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
        )?;
        epoll.add(listener, once(SOURCE_KEY))?;
        epoll.add(&timer, once(TIMER_KEY))?;
        epoll.add(listener.shutdown().fd(), EpollEvent::new(EpollFlags::EPOLLIN, SHUTDOWN_KEY))?;
        let (acceptor, waiting) = (Acceptor::new(config), Mutex::default());
        Ok(SharedEpoll {
            epoll,
            listener,
            acceptor,
            clients: ConnectionSlots::new(),
            waiting,
            timer,
        })
    }

    /// Handles an event. Until it returns, the connection belongs to this thread.
    ///
    /// # Errors
    /// The kernel refuses a resource that the whole server needs.
    pub(crate) fn handle(&self, event: &EpollEvent, scratch: &mut [u8]) -> io::Result<()> {
        match event.data() {
            SHUTDOWN_KEY => Ok(()),
            SOURCE_KEY => self.accept(),
            TIMER_KEY => self.close_expired(),
            key => self.advance(key as Key, scratch),
        }
    }

    fn advance(&self, key: Key, scratch: &mut [u8]) -> io::Result<()> {
        let mut slot = self.clients.lock(key);
        let Some(connection) = &mut *slot else { return Ok(()) };
        let is_served = connection.is_served();
        match connection.advance(scratch) {
            Progress::Open | Progress::Again => {
                self.epoll.modify(&*connection, &mut armed(key, connection))?
            }
            Progress::Closed => {
                // Closing removes it from the interest list; its key may be reused from now on.
                *slot = None;
                drop(slot);
                if !is_served {
                    self.waiting().lingering.retain(|&one| one != key);
                }
            }
        }
        Ok(())
    }

    fn accept(&self) -> io::Result<()> {
        for _ in 0..ACCEPT_BATCH {
            let Some(connection) = self.listener.next(&self.acceptor)? else { break };
            self.insert(connection)?;
        }
        self.epoll.modify(self.listener, &mut once(SOURCE_KEY))?;
        Ok(())
    }

    fn insert(&self, connection: Connection) -> io::Result<()> {
        // The kernel assigns the lowest free number, so keys are dense and unique.
        let key = connection.as_fd().as_raw_fd() as Key;
        if key >= ConnectionSlots::MOST {
            connection.reject();
            return Ok(());
        }
        let (is_served, deadline) = (connection.is_served(), connection.deadline());
        let mut slot = self.clients.lock(key);
        let connection = slot.insert(connection);
        if self.epoll.add(&*connection, armed(key, connection)).is_err() {
            // A connection that cannot be watched is closed.
            *slot = None;
            return Ok(());
        }
        drop(slot);
        if deadline.is_some() {
            self.note(key, is_served, deadline)?;
        }
        Ok(())
    }

    fn note(&self, key: Key, is_served: bool, deadline: Option<Instant>) -> io::Result<()> {
        let mut waiting = self.waiting();
        waiting.timers.insert(key, deadline);
        self.set_timer(&waiting)?;
        let mut oldest = None;
        if !is_served {
            waiting.lingering.push_back(key);
            if waiting.lingering.len() > MAX_LINGERING {
                oldest = waiting.lingering.pop_front();
            }
        }
        drop(waiting);
        if let Some(oldest) = oldest {
            self.clients.lock(oldest).take_if(|connection| !connection.is_served());
        }
        Ok(())
    }

    /// Closes connections whose deadline has passed, and sets the timer to the next deadline.
    fn close_expired(&self) -> io::Result<()> {
        let _ = self.timer.wait();
        let now = Instant::now();
        loop {
            let Some(key) = self.waiting().timers.pop_expired(now) else { break };
            let mut slot = self.clients.lock(key);
            let deadline = slot.as_ref().and_then(Connection::deadline);
            if deadline.is_some_and(|deadline| deadline <= now) {
                *slot = None;
            }
            drop(slot);
            self.waiting().timers.insert(key, deadline.filter(|&deadline| deadline > now));
        }
        self.set_timer(&self.waiting())?;
        self.epoll.modify(&self.timer, &mut once(TIMER_KEY))?;
        Ok(())
    }

    /// The caller holds the lock, so a later deadline never replaces an earlier one.
    fn set_timer(&self, waiting: &Waiting) -> io::Result<()> {
        let Some(first) = waiting.timers.next_deadline() else { return Ok(()) };
        // A time of 0 would disarm the timer.
        let left = first.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.timer.set(Expiration::OneShot(left.into()), TimerSetTimeFlags::empty())?;
        Ok(())
    }

    /// Returns all connections.
    pub(crate) fn into_connections(self) -> Vec<Connection> {
        self.clients.into_connections()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::event_loop::connection::READ_SIZE;
    use crate::event_loop::epoll::wait;
    use crate::protocol::Service;

    fn config(max_connections: usize) -> Config {
        let (service, max_line) = (Service::Echo, 4096);
        Config { service, max_line, max_connections, workers: 2, idle_timeout: None }
    }

    /// Handles events until `holds`.
    fn handle_until(shared: &SharedEpoll<'_>, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut events = [EpollEvent::empty()];
        while !holds() {
            assert!(Instant::now() < deadline, "timed out");
            let patience = Some(Duration::from_millis(10));
            for event in wait(&shared.epoll, &mut events, patience).expect("events") {
                shared.handle(event, &mut [0; READ_SIZE]).expect("a handled event");
            }
        }
    }

    /// Returns the keys of all connections. Blocks on a slot that another thread has locked.
    fn keys(shared: &SharedEpoll<'_>) -> Vec<Key> {
        (3..64).filter(|&key| shared.clients.lock(key).is_some()).collect()
    }

    fn listener() -> Listener {
        let listener = Listener::bind("127.0.0.1", 0, 8).expect("a free port");
        listener.with_nonblocking_clients()
    }

    /// Connects, sends a request, and handles events until the reply has arrived.
    fn ask(shared: &SharedEpoll<'_>, request: &[u8]) -> (TcpStream, Vec<u8>) {
        let mut client = TcpStream::connect(shared.listener.address()).expect("a connection");
        client.write_all(request).expect("a complete write");
        client.set_nonblocking(true).expect("a non-blocking socket");
        let mut reply = Vec::new();
        handle_until(shared, || {
            let mut part = [0; 64];
            let count = client.read(&mut part).unwrap_or(0);
            reply.extend_from_slice(&part[..count]);
            reply.ends_with(b"\n")
        });
        (client, reply)
    }

    #[test]
    fn clients_are_served_while_another_thread_serves_one() {
        let listener = listener();
        let shared = SharedEpoll::new(&listener, &config(2)).expect("descriptors");
        listener.listen().expect("listening");
        let (_first, reply) = ask(&shared, b"40\n");
        assert_eq!(reply, b"40\n");
        // As if another thread were still serving the first connection.
        let _served = shared.clients.lock(keys(&shared)[0]);
        let (second, reply) = ask(&shared, b"41\n");
        assert_eq!(reply, b"41\n");
        let (_third, reply) = ask(&shared, b"42\n");
        assert!(reply.starts_with(b"error: busy"), "there are two slots");
        drop(second);
        // A slot becomes free, and the next client gets it.
        handle_until(&shared, || ask(&shared, b"43\n").1 == b"43\n");
    }

    #[test]
    fn a_refused_client_is_closed_at_its_deadline() {
        let listener = listener();
        let shared = SharedEpoll::new(&listener, &config(0)).expect("descriptors");
        listener.listen().expect("listening");
        let _client = TcpStream::connect(listener.address()).expect("a connection");
        handle_until(&shared, || keys(&shared).len() == 1);
        handle_until(&shared, || keys(&shared).is_empty());
    }
}
