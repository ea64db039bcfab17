//! Derives the concurrency model from snapshots.

use std::collections::BTreeSet;

use super::call::Call;
use super::snapshot::{Snapshot, ThreadSnapshot};
use crate::results::ConcurrencyModel;
use crate::server::proc::Pid;

/// Process and thread names of runtimes in which one thread serves all connections.
const SINGLE_THREADED_RUNTIMES: &[&str] = &["node", "MainThread", "nodejs", "bun", "deno"];

/// Prefixes of thread names of asynchronous runtimes.
const RUNTIME_THREADS: &[&str] = &["tokio", "libuv-worker", "V8Worker", "async-std", "smol-"];

/// Beginnings of the names of the threads that a Java virtual machine starts for itself (OpenJDK
/// 17), as the kernel shows them: at most 15 bytes. `java` runs `main`, or waits for it.
const VIRTUAL_MACHINE_THREADS: &[&str] = &[
    "Attach Listener",
    "C1 Compiler",
    "C2 Compiler",
    "Common-Cleaner",
    "Finalizer",
    "G1 ",
    "GC Thread",
    "Monitor Deflati",
    "Notification Th",
    "Reference Handl",
    "Service Thread",
    "Signal Dispatch",
    "Sweeper thread",
    "VM Periodic Tas",
    "VM Thread",
    "java",
];

/// The derived concurrency model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) model: ConcurrencyModel,
    /// Other models: they look the same from outside, or the server uses them too.
    pub(super) also: Vec<ConcurrencyModel>,
    /// Number of event loops that wait for connections.
    pub(super) loops: usize,
    /// Number of processes that wait for connections.
    pub(super) processes: usize,
    /// Number of threads that wait for connections.
    pub(super) threads: usize,
    /// Whether those threads were started after the first snapshot, for their connections.
    pub(super) on_demand: bool,
    /// Whether threads started on demand stayed after their connections were closed.
    pub(super) kept: bool,
    /// Whether several threads take turns to run one event loop: different threads wait for events
    /// in different snapshots.
    pub(super) in_turns: bool,
    /// Whether a thread waits for several connections.
    pub(super) serves_several: bool,
}

type Thread<'s> = (Pid, &'s ThreadSnapshot);

/// The snapshots that the decision uses.
struct Facts<'s> {
    all: &'s [Snapshot],
    /// Snapshot before the first connection.
    base: &'s Snapshot,
    /// Snapshot with the most accepted connections.
    fullest: &'s Snapshot,
    /// Snapshot after the connections were closed.
    after: Option<&'s Snapshot>,
}

/// Derives the model from the snapshot with the most accepted connections: from the threads that
/// wait for these connections, and from the states of the same threads before the connections were
/// opened and after they were closed.
pub(super) fn decide(all: &[Snapshot]) -> Decision {
    let Some(facts) = Facts::of(all) else { return Decision::default() };
    if facts.fullest.accepted() == 0 {
        return Decision::default();
    }
    let singles: Vec<Thread<'_>> =
        facts.fullest.threads().filter(|(_, thread)| facts.reads_one_client(thread)).collect();
    let mut loops: Vec<Thread<'_>> = facts
        .fullest
        .threads()
        .filter(|(_, thread)| watches_clients(thread) && !facts.reads_one_client(thread))
        .collect();
    let clients_per_loop = loops.iter().map(|(_, thread)| clients(thread)).max().unwrap_or(0);
    if !singles.is_empty() && singles.len() >= clients_per_loop {
        return facts.one_client_per_thread(&singles);
    }
    if loops.len() >= 2 && loops.iter().all(|thread| facts.is_for_one_client(thread)) {
        return facts.one_client_per_thread(&loops);
    }
    if loops.is_empty() && singles.is_empty() {
        // No thread has a known set of watched descriptors. So every thread in a multiplexing call
        // counts as a loop.
        loops = facts.fullest.threads().filter(|(_, thread)| may_be_loop(thread)).collect();
    }
    let rings: Vec<Thread<'_>> =
        facts.fullest.threads().filter(|(_, thread)| waits_for_ring(thread)).collect();
    if !loops.is_empty() {
        facts.event_loops(&loops)
    } else if !rings.is_empty() {
        facts.io_uring(&rings)
    } else {
        facts.no_waiters()
    }
}

impl<'s> Facts<'s> {
    fn of(all: &'s [Snapshot]) -> Option<Facts<'s>> {
        let connected = all.iter().filter(|snapshot| !snapshot.finished);
        Some(Facts {
            all,
            base: all.first()?,
            fullest: connected.max_by_key(|snapshot| snapshot.accepted())?,
            after: all.iter().find(|snapshot| snapshot.finished && snapshot.accepted() == 0),
        })
    }

    /// Returns whether the thread waits for data of one connection: in a read, or in a select or
    /// poll of that connection alone.
    fn reads_one_client(&self, thread: &ThreadSnapshot) -> bool {
        match (&thread.call, &thread.watched) {
            (Call::Receive, Some(watched)) => !watched.clients.is_empty(),
            // Unknown descriptor: assume a connection, unless the thread was also in a read in the
            // first snapshot.
            (Call::Receive, None) => {
                self.base.thread(thread.tid).is_none_or(|before| before.call != Call::Receive)
            }
            (Call::Select | Call::Poll, Some(watched)) => watched.is_one_client(),
            _ => false,
        }
    }

    /// Returns whether the thread waits for one connection, in a multiplexing call that started
    /// after the first snapshot.
    fn is_for_one_client(&self, (_, thread): &Thread<'_>) -> bool {
        let before = self.base.thread(thread.tid);
        clients(thread) == 1 && before.is_none_or(|before| before.call != thread.call)
    }

    /// Returns the model of threads that wait for one connection each.
    fn one_client_per_thread(&self, threads: &[Thread<'_>]) -> Decision {
        let pids: BTreeSet<Pid> = threads.iter().map(|(pid, _)| *pid).collect();
        let new_processes = pids.iter().filter(|&&pid| !self.base.has_process(pid)).count();
        let is_new = |(_, thread): &&Thread<'_>| self.base.thread(thread.tid).is_none();
        let new_threads = threads.iter().filter(is_new).count();
        let stayed = |(_, thread): &&Thread<'_>| {
            self.after.is_some_and(|after| after.thread(thread.tid).is_some())
        };
        let on_demand = 2 * new_threads > threads.len();
        // A few threads may be about to exit, so more than half of them must have stayed.
        let kept = on_demand && 2 * threads.iter().filter(stayed).count() > threads.len();
        let by_process = 2 * new_processes > pids.len();
        let pooled = pids.len() < threads.len();
        let (model, also) = match (by_process, pids.len(), on_demand, kept) {
            (true, .., false) => (ConcurrencyModel::Fork, vec![]),
            (true, .., true) => (ConcurrencyModel::Prefork, vec![ConcurrencyModel::Fork]),
            (false, 2.., false, _) if pooled => {
                (ConcurrencyModel::Prefork, vec![ConcurrencyModel::ThreadPool])
            }
            (false, 2.., false, _) => (ConcurrencyModel::Prefork, vec![]),
            (false, 2.., true, _) => (ConcurrencyModel::Threads, vec![ConcurrencyModel::Prefork]),
            (false, _, true, false) => (ConcurrencyModel::Threads, vec![]),
            (false, _, true, true) => {
                (ConcurrencyModel::ThreadPool, vec![ConcurrencyModel::Threads])
            }
            (false, ..) if threads.len() > 1 => (ConcurrencyModel::ThreadPool, vec![]),
            (false, ..) if self.fullest.accepted() == 1 => (ConcurrencyModel::Iterative, vec![]),
            (false, ..) => (ConcurrencyModel::ThreadPool, vec![ConcurrencyModel::Iterative]),
        };
        let (processes, threads) = (pids.len(), threads.len());
        Decision { model, also, processes, threads, on_demand, kept, ..Decision::default() }
    }

    /// Returns the model of threads that wait in multiplexing calls.
    fn event_loops(&self, threads: &[Thread<'_>]) -> Decision {
        let call = threads[0].1.call.clone();
        let multiplexer = match call {
            Call::Select => ConcurrencyModel::Select,
            Call::Poll => ConcurrencyModel::Poll,
            _ => ConcurrencyModel::Epoll,
        };
        let loops_accept = threads.iter().any(|(_, thread)| accepts(thread));
        let sets = self.sets(&call, loops_accept);
        let pids: BTreeSet<Pid> = sets.iter().map(|(pid, _)| *pid).collect();
        let serves_several = threads.iter().any(|(_, thread)| clients(thread) >= 2)
            || may_be_loop(threads[0].1) && self.fullest.accepted() > threads.len();
        let mut decision = Decision {
            model: multiplexer,
            loops: sets.len().max(1),
            processes: pids.len().max(1),
            threads: threads.len(),
            serves_several,
            ..Decision::default()
        };
        let shares = threads.len() > 1 && sets.len() == 1;
        decision.in_turns = self.waiters(&call).len() > threads.len() && sets.len() == 1;
        let has_workers = shares || decision.in_turns || !self.workers(threads).is_empty();
        let is_epoll = multiplexer == ConcurrencyModel::Epoll;
        if is_epoll && self.is_known_runtime() && has_workers {
            decision.model = ConcurrencyModel::AsyncRuntime;
            decision.also = vec![ConcurrencyModel::Epoll, ConcurrencyModel::LoopAndWorkers];
        } else if has_workers && sets.len() <= 1 {
            decision.model = ConcurrencyModel::LoopAndWorkers;
            decision.also = vec![multiplexer];
        }
        // A runtime without further threads looks like any other event loop.
        if is_epoll && decision.model != ConcurrencyModel::AsyncRuntime && !shares {
            decision.also.push(ConcurrencyModel::AsyncRuntime);
        }
        if pids.len() > 1 && pids.iter().all(|&pid| self.base.has_process(pid)) {
            decision.also.push(ConcurrencyModel::Prefork);
        }
        // Several clients are connected, but the server has accepted one. It may be iterative,
        // although its call could wait for several connections.
        let fullest = self.fullest;
        let is_full = fullest.accepted() == 1 && fullest.clients.len() > 1;
        if !serves_several && is_full && !loops_accept {
            decision.also.push(ConcurrencyModel::Iterative);
        }
        decision
    }

    /// Returns the descriptor sets that threads waited for in `call`, and that contain the listener
    /// or a connection. An epoll set is identified by its descriptor, any other set by its thread.
    /// If the loops do not accept connections, a thread that waits for the listener alone by select
    /// or poll is an acceptor, not a loop.
    fn sets(&self, call: &Call, loops_accept: bool) -> BTreeSet<(Pid, u64)> {
        self.all
            .iter()
            .filter(|snapshot| !snapshot.finished)
            .flat_map(|snapshot| snapshot.threads())
            .filter(|(_, thread)| thread.call == *call)
            .filter_map(|(pid, thread)| {
                let watched = thread.watched.as_ref()?;
                let set = watched.epoll.unwrap_or(thread.tid as u64);
                let accepts = watched.listener && (watched.epoll.is_some() || loops_accept);
                (accepts || !watched.clients.is_empty()).then_some((pid, set))
            })
            .collect()
    }

    /// Returns the threads that waited in `call` for the listener or a connection, in any snapshot.
    fn waiters(&self, call: &Call) -> BTreeSet<Pid> {
        let threads = self.all.iter().flat_map(|snapshot| snapshot.threads());
        let waits = |thread: &ThreadSnapshot| {
            let watched = thread.watched.as_ref();
            watched.is_some_and(|watched| watched.listener || !watched.clients.is_empty())
        };
        threads
            .filter(|(_, thread)| thread.call == *call && waits(thread))
            .map(|(_, thread)| thread.tid)
            .collect()
    }

    /// Returns the other threads of the event loops' processes that wait in a futex. Excludes the
    /// first thread of a process, which usually waits until the other threads exit, and the threads
    /// of a virtual machine.
    fn workers(&self, loops: &[Thread<'_>]) -> Vec<Pid> {
        self.fullest
            .threads()
            .filter(|(pid, thread)| {
                thread.call == Call::Futex
                    && thread.tid != *pid
                    && !VIRTUAL_MACHINE_THREADS.iter().any(|name| thread.name.starts_with(name))
                    && loops.iter().any(|(other, one)| other == pid && one.tid != thread.tid)
            })
            .map(|(_, thread)| thread.tid)
            .collect()
    }

    /// Returns whether a thread has the name of a known runtime.
    fn is_known_runtime(&self) -> bool {
        self.fullest.threads().any(|(_, thread)| {
            RUNTIME_THREADS.iter().any(|name| thread.name.starts_with(name))
                || SINGLE_THREADED_RUNTIMES.contains(&thread.name.as_str())
        })
    }

    /// Returns the model of threads that wait for io_uring completions.
    fn io_uring(&self, threads: &[Thread<'_>]) -> Decision {
        let pids: BTreeSet<Pid> = threads.iter().map(|(pid, _)| *pid).collect();
        Decision {
            model: ConcurrencyModel::IoUring,
            also: vec![ConcurrencyModel::AsyncRuntime],
            loops: threads.len(),
            processes: pids.len(),
            threads: threads.len(),
            serves_several: self.fullest.accepted() > threads.len(),
            ..Decision::default()
        }
    }

    /// Returns the model if no thread waits for the accepted connections. A thread that runs, or
    /// pauses in nanosleep(2), suggests a loop that tries non-blocking reads.
    fn no_waiters(&self) -> Decision {
        let may_poll = |call: &Call| matches!(call, Call::Running | Call::Pause);
        let threads = self.fullest.threads().filter(|(_, thread)| may_poll(&thread.call)).count();
        let is_busy = threads > 0 || !self.fullest.steady;
        let model = if is_busy { ConcurrencyModel::BusyLoop } else { ConcurrencyModel::Unknown };
        Decision { model, threads, ..Decision::default() }
    }
}

/// Returns whether the server has one process with one thread. Helper threads of a runtime that
/// runs programs on one thread, such as Node's, do not count.
pub(super) fn is_single_thread(snapshot: &Snapshot) -> bool {
    matches!(snapshot.processes.as_slice(), [process]
        if process.threads.len() == 1
            || SINGLE_THREADED_RUNTIMES.contains(&process.name.as_str()))
}

fn clients(thread: &ThreadSnapshot) -> usize {
    thread.watched.as_ref().map_or(0, |watched| watched.clients.len())
}

fn accepts(thread: &ThreadSnapshot) -> bool {
    thread.watched.as_ref().is_some_and(|watched| watched.listener)
}

fn watches_clients(thread: &ThreadSnapshot) -> bool {
    thread.call.is_multiplexing() && clients(thread) > 0
}

fn may_be_loop(thread: &ThreadSnapshot) -> bool {
    thread.call.is_multiplexing() && thread.watched.is_none()
}

/// Returns whether the thread waits for an io_uring, alone or with other descriptors.
fn waits_for_ring(thread: &ThreadSnapshot) -> bool {
    thread.call == Call::IoUring || thread.watched.as_ref().is_some_and(|watched| watched.ring)
}
