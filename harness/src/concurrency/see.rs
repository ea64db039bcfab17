//! Observation of a running server, and the concurrency model that follows from it.

use std::collections::HashSet;

use serde::Serialize;

use super::clients::{Client, Fate};
use super::model::Mechanism;
use super::snapshot::Snapshot;
use super::{decide, snapshot, words};
use crate::contract::Expected;
use crate::server::Server;

/// Numbers of connections at which a snapshot is taken.
const CLIENTS: &[usize] = &[0, 1, 2, 5];

/// Concurrency model of a server, with its evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// Snapshots that the result follows from.
    pub snapshots: Vec<Snapshot>,
    /// Best matching model.
    pub mechanism: Mechanism,
    /// Further models that match: indistinguishable from outside, or also in use.
    pub also: Vec<Mechanism>,
    /// Number of event loops that wait for connections; a lower bound if there are more loops than
    /// connections.
    pub loops: usize,
    /// A thread waits for several connections at once.
    pub serves_several: bool,
    /// A single thread does all the work; other threads of a single-threaded runtime do not count.
    pub is_single_thread: bool,
    /// The second connection is accepted while the first is open. `None` if the first was not
    /// accepted.
    pub second_is_accepted: Option<bool>,
    /// Observation and conclusion, in a sentence.
    pub words: String,
    /// One line per snapshot.
    pub evidence: Vec<String>,
}

impl Seen {
    /// Checks the server against the expected concurrency model.
    ///
    /// # Errors
    /// A message with the expected and the observed model.
    pub fn meets(&self, expected: Expected) -> Result<(), String> {
        if self.fits(expected) {
            return Ok(());
        }
        Err(format!("expected {expected}, and found {}: {}", self.mechanism, self.words))
    }

    fn fits(&self, expected: Expected) -> bool {
        match expected {
            Expected::Iterative => self.is(Mechanism::Iterative),
            Expected::Fork => self.is(Mechanism::Fork),
            Expected::Prefork => self.is(Mechanism::Prefork),
            Expected::Threads => self.is(Mechanism::Threads),
            Expected::ThreadPool => self.is(Mechanism::ThreadPool),
            Expected::Select => self.is(Mechanism::Select),
            Expected::Poll => self.is(Mechanism::Poll),
            Expected::Epoll => self.is(Mechanism::Epoll),
            Expected::IoUring => self.is(Mechanism::IoUring),
            Expected::Async => self.is(Mechanism::AsyncRuntime),
            Expected::EventLoop => self.serves_several,
            Expected::Processes => self.is(Mechanism::Fork) || self.is(Mechanism::Prefork),
            Expected::SingleThread => self.is_single_thread,
        }
    }
}

impl Seen {
    /// Returns whether this model matches.
    pub fn is(&self, mechanism: Mechanism) -> bool {
        self.mechanism == mechanism || self.also.contains(&mechanism)
    }

    /// Derives the result from the snapshots.
    pub(super) fn of(snapshots: Vec<Snapshot>) -> Seen {
        let decision = decide::decide(&snapshots);
        let words = words::conclusion(&decision, &snapshots);
        let evidence = snapshots.iter().map(words::line).collect();
        let is_single_thread = snapshots.iter().all(|snapshot| {
            snapshot.processes.is_empty() && snapshot.finished
                || decide::one_thread_serves(snapshot)
        });
        let second_is_accepted = second_is_accepted(&snapshots);
        let decide::Decision { mechanism, also, loops, serves_several, .. } = decision;
        Seen {
            snapshots,
            mechanism,
            also,
            loops,
            serves_several,
            is_single_thread,
            second_is_accepted,
            words,
            evidence,
        }
    }
}

/// Observes a server that was just launched and has no connections yet. A server that exits after
/// its first connection has exited afterwards.
pub fn see(server: &Server) -> Seen {
    let mut listeners = HashSet::new();
    let mut clients: Vec<Client> = Vec::new();
    let mut snapshots: Vec<Snapshot> = Vec::new();
    for &number in CLIENTS {
        while clients.len() < number {
            clients.push(Client::connect(server.address));
        }
        let snapshot = snapshot::take(server, &mut clients, &mut listeners, false);
        let is_full = snapshot.accepted() < number;
        snapshots.push(snapshot);
        // Further connections would wait or be rejected like this one.
        if is_full || server.process.exit().is_some() {
            break;
        }
    }
    clients.iter().for_each(Client::finish);
    snapshots.push(snapshot::take(server, &mut clients, &mut listeners, true));
    Seen::of(snapshots)
}

/// Uses the first snapshot of at least two connections of which the first is accepted.
fn second_is_accepted(snapshots: &[Snapshot]) -> Option<bool> {
    snapshots.iter().filter(|snapshot| !snapshot.finished).find_map(|snapshot| {
        match snapshot.clients.as_slice() {
            [Fate::Accepted, second, ..] => Some(*second == Fate::Accepted),
            _ => None,
        }
    })
}
