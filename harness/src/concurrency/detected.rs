//! Observation of a running server, and the detected concurrency model.

use std::collections::HashSet;

use serde::Serialize;

use super::clients::{ConnectionState, IdleConnection};
use super::snapshot::Snapshot;
use super::{decide, description, snapshot};
use crate::contract::RequiredModel;
use crate::results::ConcurrencyModel;
use crate::server::Server;

/// Numbers of connections at which a snapshot is taken.
const CLIENTS: &[usize] = &[0, 1, 2, 5];

/// Concurrency model of a server, with its evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Detected {
    /// Snapshots of the server, in order.
    pub snapshots: Vec<Snapshot>,
    /// Best matching model.
    pub model: ConcurrencyModel,
    /// Other models: they look the same from outside, or the server uses them too.
    pub also: Vec<ConcurrencyModel>,
    /// Number of event loops. A lower bound: a loop without a connection may not be counted.
    pub loops: usize,
    /// Whether one thread waits for events on several connections.
    pub serves_several: bool,
    /// Whether one thread runs the program. Helper threads of a runtime that runs programs on one
    /// thread, such as Node's, do not count.
    pub is_single_thread: bool,
    /// Whether the second connection is accepted while the first is open. `None` if the first was
    /// not accepted.
    pub second_is_accepted: Option<bool>,
    /// Observation and conclusion, in one sentence.
    pub description: String,
    /// One line per snapshot.
    pub evidence: Vec<String>,
}

impl Detected {
    /// Returns whether the server has the required concurrency model.
    pub fn meets(&self, required: RequiredModel) -> bool {
        match required {
            RequiredModel::Iterative => self.is(ConcurrencyModel::Iterative),
            RequiredModel::Fork => self.is(ConcurrencyModel::Fork),
            RequiredModel::Prefork => self.is(ConcurrencyModel::Prefork),
            RequiredModel::Threads => self.is(ConcurrencyModel::Threads),
            RequiredModel::ThreadPool => self.is(ConcurrencyModel::ThreadPool),
            RequiredModel::Select => self.is(ConcurrencyModel::Select),
            RequiredModel::Poll => self.is(ConcurrencyModel::Poll),
            RequiredModel::Epoll => self.is(ConcurrencyModel::Epoll),
            RequiredModel::IoUring => self.is(ConcurrencyModel::IoUring),
            RequiredModel::AsyncRuntime => self.is(ConcurrencyModel::AsyncRuntime),
            RequiredModel::EventLoop => self.serves_several,
            RequiredModel::Processes => {
                self.is(ConcurrencyModel::Fork) || self.is(ConcurrencyModel::Prefork)
            }
            RequiredModel::SingleThread => self.is_single_thread,
        }
    }
}

impl Detected {
    /// Returns whether this is the best matching model, or one of the other models.
    pub fn is(&self, model: ConcurrencyModel) -> bool {
        self.model == model || self.also.contains(&model)
    }

    /// Derives the result from the snapshots.
    pub(super) fn of(snapshots: Vec<Snapshot>) -> Detected {
        let decision = decide::decide(&snapshots);
        let description = description::conclusion(&decision, &snapshots);
        let evidence = snapshots.iter().map(description::line).collect();
        let is_single_thread = snapshots.iter().all(|snapshot| {
            snapshot.processes.is_empty() && snapshot.finished || decide::is_single_thread(snapshot)
        });
        let second_is_accepted = second_is_accepted(&snapshots);
        let decide::Decision { model, also, loops, serves_several, .. } = decision;
        Detected {
            snapshots,
            model,
            also,
            loops,
            serves_several,
            is_single_thread,
            second_is_accepted,
            description,
            evidence,
        }
    }
}

/// Detects the concurrency model of a server that was just launched and has no connections yet. A
/// server that exits after its first connection does so during the detection.
pub fn detect(server: &Server) -> Detected {
    let mut listeners = HashSet::new();
    let mut clients: Vec<IdleConnection> = Vec::new();
    let mut snapshots: Vec<Snapshot> = Vec::new();
    for &number in CLIENTS {
        while clients.len() < number {
            clients.push(IdleConnection::connect(server.address));
        }
        let snapshot = snapshot::take(server, &mut clients, &mut listeners, false, &snapshots);
        let is_full = snapshot.accepted() < number;
        snapshots.push(snapshot);
        // The server would reject or queue further connections too.
        if is_full || server.process.exit().is_some() {
            break;
        }
    }
    clients.iter().for_each(IdleConnection::finish);
    let finished = snapshot::take(server, &mut clients, &mut listeners, true, &snapshots);
    snapshots.push(finished);
    Detected::of(snapshots)
}

/// Returns whether the second connection is accepted, in the first snapshot that has at least two
/// connections and in which the first is accepted.
fn second_is_accepted(snapshots: &[Snapshot]) -> Option<bool> {
    snapshots.iter().filter(|snapshot| !snapshot.finished).find_map(|snapshot| {
        match snapshot.clients.as_slice() {
            [ConnectionState::Accepted, second, ..] => Some(*second == ConnectionState::Accepted),
            _ => None,
        }
    })
}
