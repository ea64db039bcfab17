//! Snapshots of a server: its processes, their threads, and the call that each thread waits in.
//!
//! The threads are read one after the other, so a snapshot is consistent only if no thread ran in
//! the meantime. To check this, the number of context switches of each thread is read before and
//! after the snapshot. If no number has changed, the snapshot is consistent, even on a loaded
//! machine.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::call::{self, Call};
use super::clients::{ConnectionState, IdleConnection};
use super::descriptors::{self, Descriptors, Sockets, Watched};
use crate::server::proc::{self, Pid};
use crate::server::{Process, Server};
use crate::text::visible;

/// Timeout for a server to become idle. It applies only to a server that has used [`MIN_CPU_TIME`],
/// or that sleeps repeatedly for a short time: all its threads were asleep in each of the last
/// [`CONSISTENT_SNAPSHOTS_IF_QUEUED`] attempts.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// The same timeout for a server that did not become idle in an earlier snapshot.
const REPEATED_IDLE_TIMEOUT: Duration = Duration::from_millis(500);

/// CPU time after which [`IDLE_TIMEOUT`] applies. A server that has used less may be starved of CPU
/// time, and gets up to [`MAX_TIMEOUT`].
const MIN_CPU_TIME: Duration = Duration::from_millis(500);

/// Timeout for every server to become idle.
const MAX_TIMEOUT: Duration = Duration::from_secs(20);

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Number of consecutive consistent snapshots after which the server is idle.
const CONSISTENT_SNAPSHOTS: usize = 2;

/// Number of consecutive consistent snapshots after which the server is idle, if connections are in
/// the accept queue. The server may be about to accept them.
const CONSISTENT_SNAPSHOTS_IF_QUEUED: usize = 6;

/// State of an idle server with some connections.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// State of each connection, in the order in which the connections were opened.
    pub clients: Vec<ConnectionState>,
    /// Whether the clients have shut down their sending sides.
    pub finished: bool,
    /// Whether no thread ran while the snapshot was taken. `false` if the server did not become
    /// idle.
    pub steady: bool,
    /// Processes that hold the listener or connections.
    pub processes: Vec<ProcessSnapshot>,
}

/// A process of a server.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessSnapshot {
    /// Process id.
    pub pid: Pid,
    /// Name of the process in the kernel.
    pub name: String,
    /// Threads, without kernel threads.
    pub threads: Vec<ThreadSnapshot>,
}

/// A thread of a server.
#[derive(Clone, Debug, Serialize)]
pub struct ThreadSnapshot {
    /// Thread id. The id of the first thread is the process id.
    pub tid: Pid,
    /// Name of the thread in the kernel.
    pub name: String,
    /// System call that the thread sleeps in.
    pub call: Call,
    /// Descriptors that the call waits for, if known.
    pub watched: Option<Watched>,
}

impl Snapshot {
    /// Returns the number of accepted connections.
    pub fn accepted(&self) -> usize {
        self.clients.iter().filter(|&&state| state == ConnectionState::Accepted).count()
    }

    /// Returns all threads, each with its process id.
    pub fn threads(&self) -> impl Iterator<Item = (Pid, &ThreadSnapshot)> {
        self.processes
            .iter()
            .flat_map(|process| process.threads.iter().map(|thread| (process.pid, thread)))
    }

    /// Returns whether the server has a process with this id.
    pub(super) fn has_process(&self, pid: Pid) -> bool {
        self.processes.iter().any(|process| process.pid == pid)
    }

    /// Returns the thread with this id.
    pub(super) fn thread(&self, tid: Pid) -> Option<&ThreadSnapshot> {
        self.threads().map(|(_, thread)| thread).find(|thread| thread.tid == tid)
    }
}

/// Takes snapshots until the server is idle or a timeout expires. Returns the last snapshot.
/// `earlier`: the results of earlier calls for this server.
pub(super) fn take(
    Server { process, address, .. }: &Server,
    clients: &mut [IdleConnection],
    listeners: &mut HashSet<u64>,
    finished: bool,
    earlier: &[Snapshot],
) -> Snapshot {
    let idle_timeout = match earlier.iter().all(|snapshot| snapshot.steady) {
        true => IDLE_TIMEOUT,
        false => REPEATED_IDLE_TIMEOUT,
    };
    let began = Instant::now();
    let cpu_time_before = proc::cpu_time(&process.tree());
    let mut consistent = 0;
    let mut asleep = 0;
    loop {
        let is_connecting = clients.iter().any(IdleConnection::is_connecting);
        let before = thread_states(&process.tree());
        let mut snapshot = take_once(process, address.port(), clients, listeners, finished);
        let after = thread_states(&process.tree());
        let all_sleep = after.iter().all(|thread| thread.sleeps);
        snapshot.steady = all_sleep && before == after;
        consistent = if snapshot.steady && !is_connecting { consistent + 1 } else { 0 };
        asleep = if all_sleep { asleep + 1 } else { 0 };
        let is_queued = snapshot.clients.contains(&ConnectionState::Queued);
        let required =
            if is_queued { CONSISTENT_SNAPSHOTS_IF_QUEUED } else { CONSISTENT_SNAPSHOTS };
        if consistent >= required {
            return snapshot;
        }
        let waited = began.elapsed();
        let used = proc::cpu_time(&process.tree()).saturating_sub(cpu_time_before);
        // A thread that sleeps repeatedly for a short time is asleep in most attempts.
        let sleeps_repeatedly = asleep >= CONSISTENT_SNAPSHOTS_IF_QUEUED;
        let idle_timeout_applies = sleeps_repeatedly || used >= MIN_CPU_TIME;
        if waited > MAX_TIMEOUT || waited > idle_timeout && idle_timeout_applies {
            return snapshot;
        }
        thread::sleep(PAUSE);
    }
}

/// Whether a thread sleeps, and its number of context switches.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ThreadState {
    tid: Pid,
    pub(super) sleeps: bool,
    context_switches: Vec<u64>,
}

/// Returns the states of all threads of the processes. A thread that has exited counts as asleep.
pub(super) fn thread_states(tree: &[Pid]) -> Vec<ThreadState> {
    let mut threads = Vec::new();
    for pid in tree {
        for tid in proc::threads(&[*pid]) {
            let path = format!("/proc/{pid}/task/{tid}/status");
            let Ok(status) = fs::read_to_string(path) else { continue };
            let names = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
            threads.push(ThreadState {
                tid,
                sleeps: matches!(proc::field(&status, "State:"), Some("S" | "Z" | "X")),
                context_switches: names
                    .iter()
                    .flat_map(|name| proc::number(&status, name))
                    .collect(),
            });
        }
    }
    threads
}

/// Takes a snapshot, whether or not the server is idle.
fn take_once(
    process: &Process,
    port: u16,
    clients: &mut [IdleConnection],
    listeners: &mut HashSet<u64>,
    finished: bool,
) -> Snapshot {
    // Add to the earlier listeners: a server may open more while it starts, and may stop listening
    // for a while.
    listeners.extend(proc::listeners(port));
    let mut sockets = Sockets { listeners: listeners.clone(), ..Sockets::default() };
    let mut states = Vec::new();
    for (index, client) in clients.iter_mut().enumerate() {
        let (state, inode) = client.state();
        states.push(state);
        sockets.clients.extend(inode.map(|inode| (inode, index)));
    }
    let tree = process.tree();
    let open_descriptors: Vec<(Pid, Descriptors)> =
        tree.iter().map(|&pid| (pid, Descriptors::of(pid))).collect();
    let serving = serving(&open_descriptors, &sockets);
    let processes = open_descriptors
        .iter()
        .filter(|(pid, _)| serving.contains(pid))
        .map(|(pid, descriptors)| process_snapshot(*pid, descriptors, &sockets))
        .filter(|process| !process.threads.is_empty())
        .collect();
    Snapshot { clients: states, finished, steady: false, processes }
}

/// Returns the processes that hold the listener or a connection, and their descendants. This
/// excludes a shell or package runner that started them. If no process holds the listener or a
/// connection, returns all processes.
fn serving(open_descriptors: &[(Pid, Descriptors)], sockets: &Sockets) -> BTreeSet<Pid> {
    let mut serving = BTreeSet::new();
    for (pid, descriptors) in open_descriptors {
        if !serving.contains(pid) && descriptors.serves(sockets) {
            serving.extend(proc::tree(*pid));
        }
    }
    if serving.is_empty() {
        serving.extend(open_descriptors.iter().map(|(pid, _)| pid));
    }
    serving
}

fn process_snapshot(pid: Pid, descriptors: &Descriptors, sockets: &Sockets) -> ProcessSnapshot {
    let threads = proc::threads(&[pid])
        .into_iter()
        .filter_map(|tid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
            let fields = proc::stat_fields(&stat)?;
            let name = fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).ok()?;
            let name = visible(name.trim_end()).into_owned();
            // Skip exited threads, and the kernel's worker threads for io_uring.
            if fields.starts_with(['Z', 'X']) || name.starts_with("iou-") {
                return None;
            }
            let waiting = call::of(pid, tid)?;
            let watched = descriptors::watched(pid, &waiting, descriptors, sockets);
            Some(ThreadSnapshot { tid, name, call: waiting.call, watched })
        })
        .collect();
    ProcessSnapshot { pid, name: proc::name(pid).unwrap_or_default(), threads }
}
