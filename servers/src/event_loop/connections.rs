//! The connections of one event loop: admission, keys, idle timeouts.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::acceptor::{ACCEPT_BATCH, Acceptor, ConnectionSource};
use super::connection::{Connection, Progress};
use super::drain::drain;
use super::key::Key;
use super::linger::MAX_LINGERING;
use super::timer_queue::TimerQueue;

/// The connections of an event loop.
#[derive(Debug)]
pub struct Connections {
    acceptor: Acceptor,
    /// `None` if the slot is free, or while its connection is [taken](Connections::take).
    slots: Vec<Option<Connection>>,
    free: Vec<Key>,
    /// Connections in lingering close, oldest first.
    lingering: VecDeque<Key>,
    timers: TimerQueue,
}

impl Connections {
    /// Returns an empty set.
    pub fn new(acceptor: Acceptor) -> Connections {
        Connections {
            acceptor,
            slots: Vec::new(),
            free: Vec::new(),
            lingering: VecDeque::new(),
            timers: TimerQueue::default(),
        }
    }

    /// Accepts a batch of connections and calls `watch` for each. Further connections stay queued.
    ///
    /// # Errors
    /// `source` returns an error. A connection that cannot be watched is closed.
    pub fn accept<E>(
        &mut self,
        source: &impl ConnectionSource,
        mut watch: impl FnMut(Key, &Connection) -> Result<(), E>,
    ) -> io::Result<()> {
        for _ in 0..ACCEPT_BATCH {
            let Some(connection) = source.next(&self.acceptor)? else { break };
            let key = self.insert(connection);
            if let Some(connection) = self.get(key)
                && watch(key, connection).is_err()
            {
                self.remove(key);
            }
        }
        Ok(())
    }

    fn insert(&mut self, connection: Connection) -> Key {
        let is_served = connection.is_served();
        if !is_served && self.lingering.len() >= MAX_LINGERING {
            // A taken connection belongs to another thread and keeps its key.
            let oldest = self.lingering.iter().copied().find(|&key| self.get(key).is_some());
            oldest.into_iter().for_each(|key| self.remove(key));
        }
        let key = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if !is_served {
            self.lingering.push_back(key);
        }
        self.put(key, connection);
        key
    }

    /// Returns a connection unless it is taken or removed.
    pub fn get(&self, key: Key) -> Option<&Connection> {
        self.slots.get(key)?.as_ref()
    }

    /// Iterates over all connections.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Connection)> {
        self.slots.iter().enumerate().filter_map(|(key, slot)| Some((key, slot.as_ref()?)))
    }

    /// Advances a connection. Returns [`Progress::Closed`] if the connection is taken or removed.
    pub fn advance(&mut self, key: Key, scratch: &mut [u8]) -> Progress {
        let slot = self.slots.get_mut(key).and_then(Option::as_mut);
        let Some(connection) = slot else { return Progress::Closed };
        let progress = connection.advance(scratch);
        if progress == Progress::Closed {
            self.remove(key);
        }
        progress
    }

    /// Takes out a connection, for another thread to serve. The key stays reserved until the
    /// connection is put back or removed.
    pub fn take(&mut self, key: Key) -> Option<Connection> {
        self.slots.get_mut(key)?.take()
    }

    /// Puts a taken connection back.
    pub fn put(&mut self, key: Key, connection: Connection) -> &Connection {
        self.timers.insert(key, connection.deadline());
        self.slots[key].insert(connection)
    }

    /// Frees the key of a connection, and closes the connection unless it is taken.
    pub fn remove(&mut self, key: Key) {
        self.slots[key] = None;
        self.timers.remove(key);
        self.lingering.retain(|&lingering| lingering != key);
        self.free.push(key);
    }

    /// Returns the earliest deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Returns the time until the earliest deadline.
    pub fn timeout(&self) -> Option<Duration> {
        self.timers.timeout()
    }

    /// Closes connections whose deadline has passed.
    pub fn close_expired(&mut self) {
        let now = Instant::now();
        while let Some(key) = self.timers.pop_expired(now) {
            // A taken connection gets a new deadline when it is put back.
            match self.slots[key].as_ref().map(Connection::deadline) {
                Some(Some(deadline)) if deadline <= now => self.remove(key),
                Some(deadline) => self.timers.insert(key, deadline),
                None => {}
            }
        }
    }

    /// Drains the connections (see [`drain`]).
    pub fn drain(self) {
        drain(self);
    }
}

impl IntoIterator for Connections {
    type Item = Connection;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Option<Connection>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.slots.into_iter().flatten()
    }
}
