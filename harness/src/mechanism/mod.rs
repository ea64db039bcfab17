//! How a running server is built, told from outside: what its threads sleep in while silent clients
//! are connected.
//!
//! [`see`] connects clients one after the other. With 0, 1, 2 and 5 of them, and after they have
//! said that nothing will come, it waits until the server rests and takes a [`Snapshot`]: of every
//! thread the system call, and which sockets that waits for. From what waits for the clients, and
//! what that did before they came, the [`Mechanism`] follows. No request is sent, so what a server
//! would do with one is not seen: a thread that sleeps may be a worker, or a garbage collector.

mod call;
mod clients;
mod decide;
mod descriptors;
mod snapshot;
mod stillness;
#[cfg(test)]
mod tests;
mod words;

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use crate::server::Server;
use clients::Client;

pub use crate::contract::{Expected, NoSuchWord};
pub use call::Call;
pub use clients::Fate;
pub use descriptors::Watched;
pub use snapshot::{ProcessSeen, Snapshot, ThreadSeen};
pub use stillness::is_still;

/// With how many clients the server is looked at.
const CLIENTS: &[usize] = &[0, 1, 2, 5];

/// How a server is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// One client at a time.
    Iterative,
    /// A process for each connection.
    Fork,
    /// Processes that serve a client each, or have a loop each, and are there before the clients.
    Prefork,
    /// A thread for each connection.
    Threads,
    /// A pool of threads that serve a client each.
    ThreadPool,
    /// One or several event loops over select.
    Select,
    /// The same over poll.
    Poll,
    /// The same over epoll.
    Epoll,
    /// The same over io_uring.
    #[serde(rename = "io_uring")]
    IoUring,
    /// An event loop and the threads of a runtime.
    AsyncRuntime,
    /// An event loop and other threads, or one for which several threads wait: half-sync/half-async,
    /// stages, leader and followers.
    LoopAndWorkers,
    /// It asks again and again instead of waiting.
    BusyLoop,
    /// It cannot be told.
    #[default]
    Unknown,
}

impl Mechanism {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Iterative => "iterative",
            Mechanism::Fork => "fork",
            Mechanism::Prefork => "prefork",
            Mechanism::Threads => "threads",
            Mechanism::ThreadPool => "thread-pool",
            Mechanism::Select => "select",
            Mechanism::Poll => "poll",
            Mechanism::Epoll => "epoll",
            Mechanism::IoUring => "io_uring",
            Mechanism::AsyncRuntime => "async-runtime",
            Mechanism::LoopAndWorkers => "loop-and-workers",
            Mechanism::BusyLoop => "busy-loop",
            Mechanism::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

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
    fn of(snapshots: Vec<Snapshot>) -> Seen {
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
