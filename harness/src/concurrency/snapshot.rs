//! One look at a server: its processes, their threads, and what each of those waits by.
//!
//! What is read of many threads one after the other is true of one moment only if nothing happened
//! meanwhile. So it counts how often each thread was given a processor, before and after: if none
//! was, the look is as good as a photograph, on a loaded machine too.

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

/// How long a server that works may take until it rests.
const REST: Duration = Duration::from_secs(2);

/// How much it must have worked meanwhile, or else it lacked a processor and is given more time.
const WORKED: Duration = Duration::from_millis(500);

/// How long it is waited for at most.
const LONGEST: Duration = Duration::from_secs(20);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// In so many looks in a row it must rest; in more where clients are waiting that it might be about
/// to accept.
const LOOKS: usize = 2;
const LOOKS_IF_CLIENTS_WAIT: usize = 6;

/// A server at rest with so many clients.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// What became of each client so far, in the order in which they connected.
    pub clients: Vec<Fate>,
    /// The clients have said that nothing will come from them.
    pub finished: bool,
    /// Nothing moved while it was taken. Otherwise the server never rests.
    pub steady: bool,
    /// The processes that have to do with the listener or its clients.
    pub processes: Vec<ProcessSeen>,
}

/// A process of a server.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessSeen {
    /// Its id.
    pub pid: Pid,
    /// Its name in the kernel.
    pub name: String,
    /// Its threads; those that the kernel has for itself left out.
    pub threads: Vec<ThreadSeen>,
}

/// A thread of a server.
#[derive(Clone, Debug, Serialize)]
pub struct ThreadSeen {
    /// Its id; the first thread's is that of its process.
    pub tid: Pid,
    /// Its name in the kernel.
    pub name: String,
    /// What it sleeps in.
    pub call: Call,
    /// For what, if that is told.
    pub watched: Option<Watched>,
}

impl Snapshot {
    /// How many clients the server holds.
    pub fn accepted(&self) -> usize {
        self.clients.iter().filter(|&&fate| fate == Fate::Accepted).count()
    }

    /// Its threads, and the process of each.
    pub fn threads(&self) -> impl Iterator<Item = (Pid, &ThreadSeen)> {
        self.processes.iter().flat_map(|one| one.threads.iter().map(|thread| (one.pid, thread)))
    }

    /// Whether it has a process of this id.
    pub(super) fn has_process(&self, pid: Pid) -> bool {
        self.processes.iter().any(|process| process.pid == pid)
    }

    /// The thread of this id, if it has it.
    pub(super) fn thread(&self, tid: Pid) -> Option<&ThreadSeen> {
        self.threads().map(|(_, thread)| thread).find(|thread| thread.tid == tid)
    }
}

/// Looks at the server until it rests, or is seen not to.
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
        // One that sleeps again and again for a short time is asleep in most looks.
        let naps = restful_looks >= LOOKS_IF_CLIENTS_WAIT;
        if waited > LONGEST || waited > REST && (naps || worked >= WORKED) {
            return snapshot;
        }
        thread::sleep(PAUSE);
    }
}

/// What a thread was doing, and how often it was given a processor before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moment {
    tid: Pid,
    pub(super) sleeps: bool,
    switches: Vec<u64>,
}

/// All threads of the processes. One that has ended is asleep for ever.
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
    // Some are added while it starts; one that has stopped to listen for a while is still the one.
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

/// Those that have the listener or a client, and what descends from them; not the shell or the
/// package runner that started them. All, where nobody is seen to have any.
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
            // One that has ended; and those by which io_uring works, which are the kernel's.
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
