//! Sockets that a waiting thread waits for: the descriptors in the arguments of its call, looked up
//! in its process.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use serde::Serialize;

use super::call::{Call, Waiting};
use crate::server::proc::Pid;

/// Maximum number of descriptors of a select or poll that are read.
const MOST_DESCRIPTORS: u64 = 4096;

/// Size of `struct pollfd`, which starts with the descriptor.
const POLLFD: usize = 8;

/// Sockets of a server, by inode.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets {
    /// Sockets that listen, or have listened.
    pub(super) listeners: HashSet<u64>,
    /// The server's ends of the connections, each with the number of its connection.
    pub(super) clients: HashMap<u64, usize>,
}

/// Targets of a waiting thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// The listener: new connections.
    pub listener: bool,
    /// Connections, by their number in the order in which they were opened.
    pub clients: BTreeSet<usize>,
    /// Number of other descriptors: pipes, timers, sockets of its own.
    pub others: usize,
    /// A ring of io_uring.
    pub ring: bool,
    /// The epoll descriptor, by which threads that share it are recognised.
    pub epoll: Option<u64>,
}

/// Target of a descriptor.
enum Target {
    Listener,
    Client(usize),
    Ring,
    Other,
}

/// Open descriptors of a process.
#[derive(Debug, Default)]
pub(super) struct Descriptors(HashMap<u64, String>);

impl Sockets {
    fn target(&self, inode: u64) -> Target {
        match self.clients.get(&inode) {
            Some(&client) => Target::Client(client),
            None if self.listeners.contains(&inode) => Target::Listener,
            None => Target::Other,
        }
    }
}

impl Watched {
    /// Returns whether it waits for one connection only, like a call that reads.
    pub(super) fn is_one_client(&self) -> bool {
        self.clients.len() == 1 && !self.listener && self.others == 0 && !self.ring
    }

    fn add(&mut self, target: Target) {
        match target {
            Target::Listener => self.listener = true,
            Target::Client(client) => drop(self.clients.insert(client)),
            Target::Ring => self.ring = true,
            Target::Other => self.others += 1,
        }
    }
}

impl Descriptors {
    pub(super) fn of(pid: Pid) -> Descriptors {
        let Ok(folder) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Self::default() };
        let link = |entry: fs::DirEntry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.to_str()?.to_owned()))
        };
        Descriptors(folder.flatten().filter_map(link).collect())
    }

    /// Returns whether the process holds the listener or a connection.
    pub(super) fn serves(&self, sockets: &Sockets) -> bool {
        self.0
            .values()
            .filter_map(|link| socket_inode(link))
            .any(|inode| sockets.listeners.contains(&inode) || sockets.clients.contains_key(&inode))
    }

    fn target(&self, descriptor: u64, sockets: &Sockets) -> Target {
        let Some(link) = self.0.get(&descriptor) else { return Target::Other };
        match socket_inode(link) {
            Some(inode) => sockets.target(inode),
            None if link == "anon_inode:[io_uring]" => Target::Ring,
            None => Target::Other,
        }
    }
}

fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Returns the targets of a thread's call. `None` if it waits for no descriptor, or the descriptors
/// are unknown.
pub(super) fn watched(
    pid: Pid,
    waiting: &Waiting,
    descriptors: &Descriptors,
    sockets: &Sockets,
) -> Option<Watched> {
    let arguments = waiting.arguments?;
    let mut watched = Watched::default();
    match waiting.call {
        Call::Accept | Call::Receive | Call::Send | Call::IoUring => {
            watched.add(descriptors.target(arguments[0], sockets));
        }
        Call::Poll => {
            let count = arguments[1].min(MOST_DESCRIPTORS) as usize;
            let table = memory(pid, arguments[0], count * POLLFD)?;
            for entry in table.chunks_exact(POLLFD) {
                let descriptor = i32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]);
                // The kernel ignores negative descriptors too.
                if let Ok(descriptor) = u64::try_from(descriptor) {
                    watched.add(descriptors.target(descriptor, sockets));
                }
            }
        }
        Call::Select => {
            for descriptor in in_sets(pid, arguments)? {
                watched.add(descriptors.target(descriptor, sockets));
            }
        }
        Call::Epoll => {
            watched.epoll = Some(arguments[0]);
            let list = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", arguments[0])).ok()?;
            for (descriptor, inode) in list.lines().filter_map(registered) {
                // The socket may be registered under a descriptor that has been closed since.
                watched.add(match sockets.target(inode) {
                    Target::Other => descriptors.target(descriptor, sockets),
                    socket => socket,
                });
            }
        }
        _ => return None,
    }
    Some(watched)
}

/// Returns the descriptors in the sets of a select: bits in 64-bit words.
fn in_sets(pid: Pid, [count, sets @ ..]: [u64; 4]) -> Option<BTreeSet<u64>> {
    let count = count.min(MOST_DESCRIPTORS);
    let length = count.div_ceil(64) as usize * 8;
    let mut found = BTreeSet::new();
    for address in sets.into_iter().filter(|&address| address != 0) {
        let words = memory(pid, address, length)?;
        let words = words.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
        for (index, word) in words.enumerate() {
            let numbers =
                (0..64).filter(|bit| word >> bit & 1 == 1).map(|bit| index as u64 * 64 + bit);
            found.extend(numbers.filter(|&number| number < count));
        }
    }
    Some(found)
}

/// Parses descriptor and inode of `tfd: 5 events: 19 data: 5 pos:0 ino:1a2b sdev:8`
/// (proc_pid_fdinfo(5)).
fn registered(line: &str) -> Option<(u64, u64)> {
    let mut words = line.strip_prefix("tfd:")?.split_whitespace();
    let descriptor = words.next()?.parse().ok()?;
    let inode = words.find_map(|word| word.strip_prefix("ino:"))?;
    Some((descriptor, u64::from_str_radix(inode, 16).ok()?))
}

/// Reads memory of a sleeping process, which is unchanged since its call.
fn memory(pid: Pid, address: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    memory.read_exact_at(&mut bytes, address).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_epoll_waits_for_is_read_from_its_list() {
        let line = "tfd:        5 events:       19 data:  5  pos:0 ino:1a2b sdev:8";
        assert_eq!(registered(line), Some((5, 0x1a2b)));
        assert_eq!(registered("pos:\t0"), None);
    }

    #[test]
    fn a_set_of_descriptors_is_read_from_memory() {
        let set = [1_u64 << 3 | 1 << 63, 1 << 1 | 1 << 5];
        let pid = std::process::id() as Pid;
        let found = in_sets(pid, [67, set.as_ptr() as u64, 0, 0]).expect("its own memory");
        assert_eq!(found, BTreeSet::from([3, 63, 65]), "69 is beyond the count");
    }

    #[test]
    fn a_table_of_descriptors_is_read_from_memory() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&listener) as u64;
        let pid = std::process::id() as Pid;
        let descriptors = Descriptors::of(pid);
        let inode = descriptors.0.get(&descriptor).and_then(|link| socket_inode(link));
        let sockets =
            Sockets { listeners: HashSet::from([inode.expect("a socket")]), ..Sockets::default() };
        let table = [descriptor, u64::MAX];
        let arguments = Some([table.as_ptr() as u64, 2, 0, 0]);
        let waiting = Waiting { call: Call::Poll, arguments };
        let watched = watched(pid, &waiting, &descriptors, &sockets).expect("its own memory");
        assert_eq!(watched, Watched { listener: true, ..Watched::default() });
    }
}
