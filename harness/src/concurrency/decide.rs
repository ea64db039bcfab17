//! Derives the concurrency model from snapshots.

use std::collections::BTreeSet;

use super::call::Call;
use super::model::Mechanism;
use super::snapshot::{Snapshot, ThreadSeen};
use crate::server::proc::Pid;

/// Programs in which one thread serves and the others belong to the runtime.
const ONE_THREAD_SERVES: &[&str] = &["node", "MainThread", "nodejs", "bun", "deno"];

/// Prefixes of thread names of known runtimes.
const RUNTIMES: &[&str] = &["tokio", "libuv-worker", "V8Worker", "async-std", "smol-"];

/// The derived concurrency model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) mechanism: Mechanism,
    /// Models that look the same from outside, or are also in use.
    pub(super) also: Vec<Mechanism>,
    /// Number of event loops that wait for connections.
    pub(super) loops: usize,
    /// Number of processes that wait for connections.
    pub(super) processes: usize,
    /// Number of threads that wait for connections.
    pub(super) threads: usize,
    /// Those threads were started for their connections.
    pub(super) on_demand: bool,
    /// And stayed after their connections were closed.
    pub(super) kept: bool,
    /// The threads of the single loop wait in turns.
    pub(super) in_turns: bool,
    /// A thread waits for several connections.
    pub(super) serves_several: bool,
}

type Thread<'s> = (Pid, &'s ThreadSeen);

/// The most informative snapshots.
struct Facts<'s> {
    all: &'s [Snapshot],
    /// Before the first connection.
    base: &'s Snapshot,
    /// With the most accepted connections.
    most: &'s Snapshot,
    /// After the connections were closed.
    after: Option<&'s Snapshot>,
}

/// Derives the model from the snapshot with the most accepted connections. Looks at the threads
/// that wait for those, and at the same threads before the connections were opened and after they
/// were closed.
pub(super) fn decide(all: &[Snapshot]) -> Decision {
    let Some(facts) = Facts::of(all) else { return Decision::default() };
    if facts.most.accepted() == 0 {
        return Decision::default();
    }
    let singles: Vec<Thread<'_>> =
        facts.most.threads().filter(|(_, thread)| facts.waits_for_one(thread)).collect();
    let mut loops: Vec<Thread<'_>> = facts
        .most
        .threads()
        .filter(|(_, thread)| watches_clients(thread) && !facts.waits_for_one(thread))
        .collect();
    let in_loops: usize = loops.iter().map(|(_, thread)| clients(thread)).max().unwrap_or(0);
    if !singles.is_empty() && singles.len() >= in_loops {
        return facts.blocking(&singles);
    }
    if loops.len() >= 2 && loops.iter().all(|thread| facts.is_for_one_client(thread)) {
        return facts.blocking(&loops);
    }
    if loops.is_empty() && singles.is_empty() {
        // The kernel does not report what the threads wait for.
        loops = facts.most.threads().filter(|(_, thread)| is_untold_loop(thread)).collect();
    }
    let rings: Vec<Thread<'_>> = facts.most.threads().filter(|(_, thread)| rings(thread)).collect();
    if !loops.is_empty() {
        facts.looping(&loops)
    } else if !rings.is_empty() {
        facts.ringing(&rings)
    } else {
        facts.restless()
    }
}

impl<'s> Facts<'s> {
    fn of(all: &'s [Snapshot]) -> Option<Facts<'s>> {
        let busy = all.iter().filter(|snapshot| !snapshot.finished);
        Some(Facts {
            all,
            base: all.first()?,
            most: busy.max_by_key(|snapshot| snapshot.accepted())?,
            after: all.iter().find(|snapshot| snapshot.finished && snapshot.accepted() == 0),
        })
    }

    /// Returns whether the thread reads from one connection, or waits until it can.
    fn waits_for_one(&self, thread: &ThreadSeen) -> bool {
        match (&thread.call, &thread.watched) {
            (Call::Receive, Some(watched)) => !watched.clients.is_empty(),
            // Descriptor unknown: it waits for a connection only if it was not in this call before.
            (Call::Receive, None) => {
                self.base.thread(thread.tid).is_none_or(|before| before.call != Call::Receive)
            }
            (Call::Select | Call::Poll, Some(watched)) => watched.is_one_client(),
            _ => false,
        }
    }

    /// Returns whether the thread waits for one connection, in a multiplexing call that it was not
    /// in before.
    fn is_for_one_client(&self, (_, thread): &Thread<'_>) -> bool {
        let before = self.base.thread(thread.tid);
        clients(thread) == 1 && before.is_none_or(|before| before.call != thread.call)
    }

    /// Model of threads that wait for one connection each.
    fn blocking(&self, threads: &[Thread<'_>]) -> Decision {
        let pids: BTreeSet<Pid> = threads.iter().map(|(pid, _)| *pid).collect();
        let new_processes = pids.iter().filter(|&&pid| !self.base.has_process(pid)).count();
        let is_new = |(_, thread): &&Thread<'_>| self.base.thread(thread.tid).is_none();
        let new_threads = threads.iter().filter(is_new).count();
        let stays = |(_, thread): &&Thread<'_>| {
            self.after.is_some_and(|after| after.thread(thread.tid).is_some())
        };
        let on_demand = 2 * new_threads > threads.len();
        // A thread that stayed may be about to exit.
        let kept = on_demand && 2 * threads.iter().filter(stays).count() > threads.len();
        let by_process = 2 * new_processes > pids.len();
        let pooled = pids.len() < threads.len();
        let (mechanism, also) = match (by_process, pids.len(), on_demand, kept) {
            (true, .., false) => (Mechanism::Fork, vec![]),
            (true, .., true) => (Mechanism::Prefork, vec![Mechanism::Fork]),
            (false, 2.., false, _) if pooled => (Mechanism::Prefork, vec![Mechanism::ThreadPool]),
            (false, 2.., false, _) => (Mechanism::Prefork, vec![]),
            (false, 2.., true, _) => (Mechanism::Threads, vec![Mechanism::Prefork]),
            (false, _, true, false) => (Mechanism::Threads, vec![]),
            (false, _, true, true) => (Mechanism::ThreadPool, vec![Mechanism::Threads]),
            (false, ..) if threads.len() > 1 => (Mechanism::ThreadPool, vec![]),
            (false, ..) if self.most.accepted() == 1 => (Mechanism::Iterative, vec![]),
            (false, ..) => (Mechanism::ThreadPool, vec![Mechanism::Iterative]),
        };
        let (processes, threads) = (pids.len(), threads.len());
        Decision { mechanism, also, processes, threads, on_demand, kept, ..Decision::default() }
    }

    /// Model of threads that wait for several connections each.
    fn looping(&self, threads: &[Thread<'_>]) -> Decision {
        let call = threads[0].1.call.clone();
        let word = match call {
            Call::Select => Mechanism::Select,
            Call::Poll => Mechanism::Poll,
            _ => Mechanism::Epoll,
        };
        let loops_accept = threads.iter().any(|(_, thread)| accepts(thread));
        let sets = self.sets(&call, loops_accept);
        let pids: BTreeSet<Pid> = sets.iter().map(|(pid, _)| *pid).collect();
        let serves_several = threads.iter().any(|(_, thread)| clients(thread) >= 2)
            || is_untold_loop(threads[0].1) && self.most.accepted() > threads.len();
        let mut decision = Decision {
            mechanism: word,
            loops: sets.len().max(1),
            processes: pids.len().max(1),
            threads: threads.len(),
            serves_several,
            ..Decision::default()
        };
        let shares = threads.len() > 1 && sets.len() == 1;
        decision.in_turns = self.waiters(&call).len() > threads.len() && sets.len() == 1;
        let has_workers = shares || decision.in_turns || !self.workers(threads).is_empty();
        let is_epoll = word == Mechanism::Epoll;
        if is_epoll && self.is_known_runtime() && has_workers {
            decision.mechanism = Mechanism::AsyncRuntime;
            decision.also = vec![Mechanism::Epoll, Mechanism::LoopAndWorkers];
        } else if has_workers && sets.len() <= 1 {
            decision.mechanism = Mechanism::LoopAndWorkers;
            decision.also = vec![word];
        }
        // A runtime without further threads looks like any other event loop.
        if is_epoll && decision.mechanism != Mechanism::AsyncRuntime && !shares {
            decision.also.push(Mechanism::AsyncRuntime);
        }
        if pids.len() > 1 && pids.iter().all(|&pid| self.base.has_process(pid)) {
            decision.also.push(Mechanism::Prefork);
        }
        // It waits for its only connection in a call that could wait for more.
        let most = self.most;
        if !serves_several && most.accepted() == 1 && most.clients.len() > 1 && !loops_accept {
            decision.also.push(Mechanism::Iterative);
        }
        decision
    }

    /// Returns the descriptor sets in which `call` waited for the listener or a connection. An
    /// epoll set is identified by its descriptor, any other by its thread. If loops do not accept
    /// connections themselves, a thread that waits for the listener alone by select or poll is an
    /// acceptor, not a loop.
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

    /// Returns the threads that waited by `call` for the listener or a connection in any snapshot.
    fn waiters(&self, call: &Call) -> BTreeSet<Pid> {
        let threads = self.all.iter().flat_map(|snapshot| snapshot.threads());
        let waits = |thread: &ThreadSeen| {
            let watched = thread.watched.as_ref();
            watched.is_some_and(|watched| watched.listener || !watched.clients.is_empty())
        };
        threads
            .filter(|(_, thread)| thread.call == *call && waits(thread))
            .map(|(_, thread)| thread.tid)
            .collect()
    }

    /// Returns the other threads of the same processes that wait for work. The first thread of a
    /// process is left out, as it usually waits for the others to exit.
    fn workers(&self, beside: &[Thread<'_>]) -> Vec<Pid> {
        self.most
            .threads()
            .filter(|(pid, thread)| {
                thread.call == Call::Futex
                    && thread.tid != *pid
                    && beside.iter().any(|(other, one)| other == pid && one.tid != thread.tid)
            })
            .map(|(_, thread)| thread.tid)
            .collect()
    }

    /// Returns whether a thread has the name of a known runtime.
    fn is_known_runtime(&self) -> bool {
        self.most.threads().any(|(_, thread)| {
            RUNTIMES.iter().any(|name| thread.name.starts_with(name))
                || ONE_THREAD_SERVES.contains(&thread.name.as_str())
        })
    }

    /// Model of threads that wait for completions of the kernel (io_uring).
    fn ringing(&self, threads: &[Thread<'_>]) -> Decision {
        let pids: BTreeSet<Pid> = threads.iter().map(|(pid, _)| *pid).collect();
        Decision {
            mechanism: Mechanism::IoUring,
            also: vec![Mechanism::AsyncRuntime],
            loops: threads.len(),
            processes: pids.len(),
            threads: threads.len(),
            serves_several: self.most.accepted() > threads.len(),
            ..Decision::default()
        }
    }

    /// Model without any thread that waits for the accepted connections: it may poll them in a
    /// loop.
    fn restless(&self) -> Decision {
        let looks = |call: &Call| matches!(call, Call::Running | Call::Pause);
        let threads = self.most.threads().filter(|(_, thread)| looks(&thread.call)).count();
        let looks = threads > 0 || !self.most.steady;
        let mechanism = if looks { Mechanism::BusyLoop } else { Mechanism::Unknown };
        Decision { mechanism, threads, ..Decision::default() }
    }
}

/// Returns whether one thread serves in this snapshot; threads of a single-threaded runtime do not
/// count.
pub(super) fn one_thread_serves(snapshot: &Snapshot) -> bool {
    matches!(snapshot.processes.as_slice(), [one]
        if one.threads.len() == 1 || ONE_THREAD_SERVES.contains(&one.name.as_str()))
}

fn clients(thread: &ThreadSeen) -> usize {
    thread.watched.as_ref().map_or(0, |watched| watched.clients.len())
}

fn accepts(thread: &ThreadSeen) -> bool {
    thread.watched.as_ref().is_some_and(|watched| watched.listener)
}

fn watches_clients(thread: &ThreadSeen) -> bool {
    thread.call.is_multiplexing() && clients(thread) > 0
}

fn is_untold_loop(thread: &ThreadSeen) -> bool {
    thread.call.is_multiplexing() && thread.watched.is_none()
}

/// Returns whether the thread waits for a ring of io_uring, alone or among others.
fn rings(thread: &ThreadSeen) -> bool {
    thread.call == Call::IoUring || thread.watched.as_ref().is_some_and(|watched| watched.ring)
}
