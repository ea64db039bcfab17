//! The clients of one event loop: who is admitted, who is whose key, whose patience has ended.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::acceptor::{ACCEPT_BATCH, Acceptor, ConnectionSource};
use super::connection::{Connection, Progress};
use super::drain::drain;
use super::key::Key;
use super::limits::MAX_LINGERING;
use super::timer_queue::TimerQueue;

/// The clients of a loop.
#[derive(Debug)]
pub struct Connections {
    acceptor: Acceptor,
    /// None if it is free, or while the client is [taken](Connections::take) out.
    slots: Vec<Option<Connection>>,
    free: Vec<Key>,
    /// Those that are refused, the oldest first.
    lingering: VecDeque<Key>,
    timers: TimerQueue,
}

impl Connections {
    /// Nobody yet.
    pub fn new(acceptor: Acceptor) -> Connections {
        Connections {
            acceptor,
            slots: Vec::new(),
            free: Vec::new(),
            lingering: VecDeque::new(),
            timers: TimerQueue::default(),
        }
    }

    /// Takes in some of the clients that wait, and tells of each; the others are still there the
    /// next time.
    ///
    /// # Errors
    /// What the source says. A client that cannot be waited for (`watch` fails) is let go.
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
            // One that was taken out is another thread's, and keeps its key.
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

    /// A client that is there.
    pub fn get(&self, key: Key) -> Option<&Connection> {
        self.slots.get(key)?.as_ref()
    }

    /// All that are there.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Connection)> {
        self.slots.iter().enumerate().filter_map(|(key, slot)| Some((key, slot.as_ref()?)))
    }

    /// Gives a client its turn. [`Progress::Closed`] if it is not there any more.
    pub fn advance(&mut self, key: Key, scratch: &mut [u8]) -> Progress {
        let slot = self.slots.get_mut(key).and_then(Option::as_mut);
        let Some(connection) = slot else { return Progress::Closed };
        let turn = connection.advance(scratch);
        if turn == Progress::Closed {
            self.remove(key);
        }
        turn
    }

    /// Takes a client out, to be served elsewhere. It keeps its key, and is put back or removed.
    pub fn take(&mut self, key: Key) -> Option<Connection> {
        self.slots.get_mut(key)?.take()
    }

    /// Puts a client back that was taken out.
    pub fn put(&mut self, key: Key, connection: Connection) -> &Connection {
        self.timers.insert(key, connection.deadline());
        self.slots[key].insert(connection)
    }

    /// Forgets a client, and closes it unless it was taken out.
    pub fn remove(&mut self, key: Key) {
        self.slots[key] = None;
        self.timers.remove(key);
        self.lingering.retain(|&one| one != key);
        self.free.push(key);
    }

    /// When the first client is to be looked at, even if nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// How long to wait for something to happen.
    pub fn timeout(&self) -> Option<Duration> {
        self.timers.timeout()
    }

    /// Gives up those whose patience has ended.
    pub fn close_expired(&mut self) {
        let now = Instant::now();
        while let Some(key) = self.timers.pop_expired(now) {
            // Whoever has taken a client out will put it back, with a deadline.
            match self.slots[key].as_ref().map(Connection::deadline) {
                Some(Some(deadline)) if deadline <= now => self.remove(key),
                Some(deadline) => self.timers.insert(key, deadline),
                None => {}
            }
        }
    }

    /// As [`drain`] for these alone.
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
