//! Snapshots of a server: its processes, their threads, and the call that each thread waits in.
//!
//! Threads are read one after the other, so a snapshot is consistent only if no thread ran in
//! between. The number of context switches of each thread is read before and after. If it has not
//! changed, the snapshot is consistent, even on a loaded machine.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::call::{self, Call};
use super::clients::{Client, Fate};
use super::descriptors::{self, Descriptors, Sockets, Watched};
use crate::server::proc::{self, Pid};
use crate::server::{Process, Server};
use crate::text::visible;

/// Time limit for a server that does not become idle.
const REST: Duration = Duration::from_secs(2);

/// CPU time that it must have used by then; with less it was starved and gets more time.
const WORKED: Duration = Duration::from_millis(500);

/// Time limit in any case.
const LONGEST: Duration = Duration::from_secs(20);

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Number of consecutive attempts in which it must be idle. More are needed while connections wait
/// that it may be about to accept.
const LOOKS: usize = 2;
const LOOKS_IF_CLIENTS_WAIT: usize = 6;

/// State of an idle server with some connections.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// State of each connection, in the order in which they were opened.
    pub clients: Vec<Fate>,
    /// The clients have shut down their sending sides.
    pub finished: bool,
    /// No thread ran while the snapshot was taken; otherwise the server does not become idle.
    pub steady: bool,
    /// Processes that hold the listener or connections.
    pub processes: Vec<ProcessSeen>,
}

/// A process of a server.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessSeen {
    /// Process id.
    pub pid: Pid,
    /// Name in the kernel.
    pub name: String,
    /// Threads, without kernel threads.
    pub threads: Vec<ThreadSeen>,
}

/// A thread of a server.
#[derive(Clone, Debug, Serialize)]
pub struct ThreadSeen {
    /// Thread id; that of the first thread is the process id.
    pub tid: Pid,
    /// Name in the kernel.
    pub name: String,
    /// System call that it sleeps in.
    pub call: Call,
    /// Descriptors that the call waits for, if known.
    pub watched: Option<Watched>,
}

impl Snapshot {
    /// Returns the number of accepted connections.
    pub fn accepted(&self) -> usize {
        self.clients.iter().filter(|&&fate| fate == Fate::Accepted).count()
    }

    /// Returns all threads, each with its process id.
    pub fn threads(&self) -> impl Iterator<Item = (Pid, &ThreadSeen)> {
        self.processes.iter().flat_map(|one| one.threads.iter().map(|thread| (one.pid, thread)))
    }

    /// Returns whether there is a process with this id.
    pub(super) fn has_process(&self, pid: Pid) -> bool {
        self.processes.iter().any(|process| process.pid == pid)
    }

    /// Returns the thread with this id.
    pub(super) fn thread(&self, tid: Pid) -> Option<&ThreadSeen> {
        self.threads().map(|(_, thread)| thread).find(|thread| thread.tid == tid)
    }
}

/// Takes snapshots until the server is idle, or a time limit shows that it does not become idle.
pub(super) fn take(
    Server { process, address, .. }: &Server,
    clients: &mut [Client],
    listeners: &mut HashSet<u64>,
    finished: bool,
) -> Snapshot {
    let began = Instant::now();
    let worked_before = proc::cpu_time(&process.tree());
    let mut steady_looks = 0;
    let mut restful_looks = 0;
    loop {
        let under_way = clients.iter().any(Client::is_under_way);
        let before = moment(&process.tree());
        let mut snapshot = look(process, address.port(), clients, listeners, finished);
        let after = moment(&process.tree());
        let rests = after.iter().all(|thread| thread.sleeps);
        snapshot.steady = rests && before == after;
        steady_looks = if snapshot.steady && !under_way { steady_looks + 1 } else { 0 };
        restful_looks = if rests { restful_looks + 1 } else { 0 };
        let clients_wait = snapshot.clients.contains(&Fate::Waiting);
        if steady_looks >= if clients_wait { LOOKS_IF_CLIENTS_WAIT } else { LOOKS } {
            return snapshot;
        }
        let waited = began.elapsed();
        let worked = proc::cpu_time(&process.tree()).saturating_sub(worked_before);
        // A thread that sleeps repeatedly for a short time is asleep in most attempts.
        let naps = restful_looks >= LOOKS_IF_CLIENTS_WAIT;
        if waited > LONGEST || waited > REST && (naps || worked >= WORKED) {
            return snapshot;
        }
        thread::sleep(PAUSE);
    }
}

/// State of a thread and its number of context switches.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moment {
    tid: Pid,
    pub(super) sleeps: bool,
    switches: Vec<u64>,
}

/// Returns the state of all threads of the processes. A thread that has exited counts as asleep.
pub(super) fn moment(tree: &[Pid]) -> Vec<Moment> {
    let mut threads = Vec::new();
    for pid in tree {
        for tid in proc::threads(&[*pid]) {
            let path = format!("/proc/{pid}/task/{tid}/status");
            let Ok(status) = fs::read_to_string(path) else { continue };
            let names = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
            threads.push(Moment {
                tid,
                sleeps: matches!(proc::field(&status, "State:"), Some("S" | "Z" | "X")),
                switches: names.iter().flat_map(|name| proc::number(&status, name)).collect(),
            });
        }
    }
    threads
}

fn look(
    process: &Process,
    port: u16,
    clients: &mut [Client],
    listeners: &mut HashSet<u64>,
    finished: bool,
) -> Snapshot {
    // Listeners may be added during the start, and one that has paused listening still counts.
    listeners.extend(proc::listeners(port));
    let mut sockets = Sockets { listeners: listeners.clone(), ..Sockets::default() };
    let mut fates = Vec::new();
    for (index, client) in clients.iter_mut().enumerate() {
        let (fate, inode) = client.fate();
        fates.push(fate);
        sockets.clients.extend(inode.map(|inode| (inode, index)));
    }
    let tree = process.tree();
    let described: Vec<(Pid, Descriptors)> =
        tree.iter().map(|&pid| (pid, Descriptors::of(pid))).collect();
    let serving = serving(&described, &sockets);
    let processes = described
        .iter()
        .filter(|(pid, _)| serving.contains(pid))
        .map(|(pid, descriptors)| seen(*pid, descriptors, &sockets))
        .filter(|process| !process.threads.is_empty())
        .collect();
    Snapshot { clients: fates, finished, steady: false, processes }
}

/// Returns the processes that hold the listener or a connection, and their descendants. This
/// excludes a shell or package runner that started them. Returns all if none holds any.
fn serving(described: &[(Pid, Descriptors)], sockets: &Sockets) -> BTreeSet<Pid> {
    let mut serving = BTreeSet::new();
    for (pid, descriptors) in described {
        if !serving.contains(pid) && descriptors.serves(sockets) {
            serving.extend(proc::tree(*pid));
        }
    }
    if serving.is_empty() {
        serving.extend(described.iter().map(|(pid, _)| pid));
    }
    serving
}

fn seen(pid: Pid, descriptors: &Descriptors, sockets: &Sockets) -> ProcessSeen {
    let threads = proc::threads(&[pid])
        .into_iter()
        .filter_map(|tid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
            let (_, rest) = stat.rsplit_once(") ")?;
            let name = fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).ok()?;
            let name = visible(name.trim_end()).into_owned();
            // Exited threads, and the kernel's worker threads of io_uring.
            if rest.starts_with(['Z', 'X']) || name.starts_with("iou-") {
                return None;
            }
            let waiting = call::of(pid, tid)?;
            let watched = descriptors::watched(pid, &waiting, descriptors, sockets);
            Some(ThreadSeen { tid, name, call: waiting.call, watched })
        })
        .collect();
    ProcessSeen { pid, name: proc::name(pid).unwrap_or_default(), threads }
}
