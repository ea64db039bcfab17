//! Looking at a running server, and what follows.

use std::collections::HashSet;

use serde::Serialize;

use super::clients::{Client, Fate};
use super::model::Mechanism;
use super::snapshot::Snapshot;
use super::{decide, snapshot, words};
use crate::contract::Expected;
use crate::server::Server;

/// With how many clients the server is looked at.
const CLIENTS: &[usize] = &[0, 1, 2, 5];

/// How a server was seen to be built.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// What it rests on.
    pub snapshots: Vec<Snapshot>,
    /// The word that fits best.
    pub mechanism: Mechanism,
    /// Words that fit too, because they look the same from outside or are the case as well.
    pub also: Vec<Mechanism>,
    /// How many event loops wait for clients; at least so many, where there are more than clients.
    pub loops: usize,
    /// A thread waits for several clients at once.
    pub serves_several: bool,
    /// All is done by one thread; those of a runtime whose programs have one thread do not count.
    pub is_single_thread: bool,
    /// Whether the second client is accepted while the first is held. `None` if none was held.
    pub second_is_accepted: Option<bool>,
    /// What was seen and what follows, in a sentence.
    pub words: String,
    /// A line for each snapshot.
    pub evidence: Vec<String>,
}

impl Seen {
    /// Whether the server is built as expected.
    ///
    /// # Errors
    /// In words: what was expected, and what was seen.
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
    /// Whether this word fits.
    pub fn is(&self, mechanism: Mechanism) -> bool {
        self.mechanism == mechanism || self.also.contains(&mechanism)
    }

    /// What follows from the snapshots.
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

/// Looks at a server that was just launched and has no clients. It has had some afterwards: one
/// that ends after its first client is gone.
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
        // More would wait, or be turned away, as this one.
        if is_full || server.process.exit().is_some() {
            break;
        }
    }
    clients.iter().for_each(Client::finish);
    snapshots.push(snapshot::take(server, &mut clients, &mut listeners, true));
    Seen::of(snapshots)
}

/// Of the snapshots with two clients or more, of which the first is held.
fn second_is_accepted(snapshots: &[Snapshot]) -> Option<bool> {
    snapshots.iter().filter(|snapshot| !snapshot.finished).find_map(|snapshot| {
        match snapshot.clients.as_slice() {
            [Fate::Accepted, second, ..] => Some(*second == Fate::Accepted),
            _ => None,
        }
    })
}
