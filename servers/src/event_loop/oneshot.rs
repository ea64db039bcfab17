//! Several threads that wait on one epoll instance with EPOLLONESHOT (epoll_ctl(2)): each event
//! goes to one thread.
//!
//! Each connection has a separate lock. The lock is never contended, because the kernel gives a
//! connection to one thread at a time. A common lock would be held during a system call for each
//! event, and a benchmark would measure that lock. All deadlines share one lock, because they
//! change rarely. A timerfd in the interest list signals the earliest deadline.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::acceptor::{ACCEPT_BATCH, Acceptor, ConnectionSource};
use super::connection::{Connection, Progress};
use super::connection_table::ConnectionTable;
use super::epoll::{SHUTDOWN_KEY, SOURCE_KEY, oneshot_event};
use super::key::Key;
use super::linger::MAX_LINGERING;
use super::timer_queue::TimerQueue;
use crate::config::Config;
use crate::sockets::Listener;

/// An epoll instance that several threads wait on, and its connections. Each event goes to one
/// thread.
pub(crate) struct SharedEpoll<'l> {
    pub(crate) epoll: Epoll,
    listener: &'l Listener,
    acceptor: Acceptor,
    clients: ConnectionTable,
    /// The deadlines of rejected connections and, if there is an idle timeout, of served ones.
    deadlines: Mutex<Deadlines>,
    /// Expires at the earliest deadline.
    timer: TimerFd,
}

#[derive(Default)]
struct Deadlines {
    timers: TimerQueue,
    /// Connections in lingering close, oldest first.
    lingering: VecDeque<Key>,
}

/// Key of the timer's events.
const TIMER_KEY: u64 = u64::MAX - 2;

/// Returns the event that arms the listener or the timer once.
fn oneshot_input(key: u64) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, key)
}

impl<'l> SharedEpoll<'l> {
    /// Returns an instance without connections.
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
        epoll.add(listener, oneshot_input(SOURCE_KEY))?;
        epoll.add(&timer, oneshot_input(TIMER_KEY))?;
        epoll.add(listener.shutdown().fd(), EpollEvent::new(EpollFlags::EPOLLIN, SHUTDOWN_KEY))?;
        let (acceptor, deadlines) = (Acceptor::new(config), Mutex::default());
        Ok(SharedEpoll {
            epoll,
            listener,
            acceptor,
            clients: ConnectionTable::new(),
            deadlines,
            timer,
        })
    }

    /// Handles an event. The connection of the event belongs to this thread until the call returns.
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
        let mut entry = self.clients.lock(key);
        let Some(connection) = &mut *entry else { return Ok(()) };
        let is_served = connection.is_served();
        match connection.advance(scratch) {
            Progress::Open | Progress::ShortRead | Progress::Again => {
                self.epoll.modify(&*connection, &mut oneshot_event(key, connection))?
            }
            Progress::Closed => {
                // Closing removes the connection from the interest list and frees its key.
                *entry = None;
                drop(entry);
                if !is_served {
                    self.deadlines().lingering.retain(|&lingering| lingering != key);
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
        self.epoll.modify(self.listener, &mut oneshot_input(SOURCE_KEY))?;
        Ok(())
    }

    fn insert(&self, connection: Connection) -> io::Result<()> {
        // Descriptor numbers are unique and dense, as the kernel assigns the lowest free number.
        let key = connection.as_fd().as_raw_fd() as Key;
        if key >= ConnectionTable::MAX {
            connection.reject_without_linger();
            return Ok(());
        }
        let (is_served, deadline) = (connection.is_served(), connection.deadline());
        let mut entry = self.clients.lock(key);
        let connection = entry.insert(connection);
        if self.epoll.add(&*connection, oneshot_event(key, connection)).is_err() {
            // A connection that cannot be watched is closed.
            *entry = None;
            return Ok(());
        }
        drop(entry);
        if deadline.is_some() {
            self.add_deadline(key, is_served, deadline)?;
        }
        Ok(())
    }

    /// Adds the deadline of a new connection, and closes the oldest rejected connection if there
    /// are too many.
    fn add_deadline(&self, key: Key, is_served: bool, deadline: Option<Instant>) -> io::Result<()> {
        let mut deadlines = self.deadlines();
        deadlines.timers.insert(key, deadline);
        self.set_timer(&deadlines)?;
        let mut oldest = None;
        if !is_served {
            deadlines.lingering.push_back(key);
            if deadlines.lingering.len() > MAX_LINGERING {
                oldest = deadlines.lingering.pop_front();
            }
        }
        drop(deadlines);
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
            let Some(key) = self.deadlines().timers.pop_expired(now) else { break };
            let mut entry = self.clients.lock(key);
            let deadline = entry.as_ref().and_then(Connection::deadline);
            if deadline.is_some_and(|deadline| deadline <= now) {
                *entry = None;
            }
            drop(entry);
            self.deadlines().timers.insert(key, deadline.filter(|&deadline| deadline > now));
        }
        self.set_timer(&self.deadlines())?;
        self.epoll.modify(&self.timer, &mut oneshot_input(TIMER_KEY))?;
        Ok(())
    }

    /// Sets the timer to the earliest deadline. The caller holds the lock, so no other thread can set
    /// the timer to an older value.
    fn set_timer(&self, deadlines: &Deadlines) -> io::Result<()> {
        let Some(first) = deadlines.timers.next_deadline() else { return Ok(()) };
        // A time of 0 would disarm the timer.
        let left = first.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.timer.set(Expiration::OneShot(left.into()), TimerSetTimeFlags::empty())?;
        Ok(())
    }

    /// Returns all connections.
    pub(crate) fn into_connections(self) -> Vec<Connection> {
        self.clients.into_connections()
    }

    fn deadlines(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Handles events until `holds` returns true.
    fn handle_until(shared: &SharedEpoll<'_>, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut events = [EpollEvent::empty()];
        while !holds() {
            assert!(Instant::now() < deadline, "timed out");
            let timeout = Some(Duration::from_millis(10));
            for event in wait(&shared.epoll, &mut events, timeout).expect("events") {
                shared.handle(event, &mut [0; READ_SIZE]).expect("a handled event");
            }
        }
    }

    /// Returns the keys of all connections. Blocks on an entry that is locked.
    fn keys(shared: &SharedEpoll<'_>) -> Vec<Key> {
        (3..64).filter(|&key| shared.clients.lock(key).is_some()).collect()
    }

    fn listener() -> Listener {
        let listener = Listener::bind("127.0.0.1", 0, 8).expect("a free port");
        listener.with_nonblocking_clients()
    }

    /// Connects, sends a request, and handles events until the reply has arrived.
    fn request(shared: &SharedEpoll<'_>, line: &[u8]) -> (TcpStream, Vec<u8>) {
        let mut client = TcpStream::connect(shared.listener.address()).expect("a connection");
        client.write_all(line).expect("a complete write");
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
    fn clients_are_served_while_another_thread_holds_a_connection() {
        let listener = listener();
        let shared = SharedEpoll::new(&listener, &config(2)).expect("descriptors");
        listener.listen().expect("listening");
        let (_first, reply) = request(&shared, b"40\n");
        assert_eq!(reply, b"40\n");
        // The lock stands for another thread that is still serving the first connection.
        let _served = shared.clients.lock(keys(&shared)[0]);
        let (second, reply) = request(&shared, b"41\n");
        assert_eq!(reply, b"41\n");
        let (_third, reply) = request(&shared, b"42\n");
        assert!(reply.starts_with(b"error: busy"), "both connection slots are in use");
        drop(second);
        // The connection slot of the second client becomes free.
        handle_until(&shared, || request(&shared, b"43\n").1 == b"43\n");
    }

    #[test]
    fn a_rejected_client_is_closed_at_its_deadline() {
        let listener = listener();
        let shared = SharedEpoll::new(&listener, &config(0)).expect("descriptors");
        listener.listen().expect("listening");
        let _client = TcpStream::connect(listener.address()).expect("a connection");
        handle_until(&shared, || keys(&shared).len() == 1);
        handle_until(&shared, || keys(&shared).is_empty());
    }
}
