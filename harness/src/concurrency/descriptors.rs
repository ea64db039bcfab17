//! Descriptors that a sleeping thread waits for: the arguments of its system call, looked up among
//! the open descriptors of its process.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use serde::Serialize;

use super::call::{Call, Waiting};
use crate::server::proc::Pid;

/// Maximum number of descriptors that are read from the arguments of a select or poll.
const MAX_DESCRIPTORS: u64 = 4096;

/// Size of `struct pollfd`, which starts with the descriptor.
const POLLFD: usize = 8;

/// Inodes of a server's sockets.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets {
    /// Listeners, including sockets that no longer listen.
    pub(super) listeners: HashSet<u64>,
    /// The server's ends of the connections, with the number of the connection.
    pub(super) clients: HashMap<u64, usize>,
}

/// Descriptors that a thread waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// Whether the thread waits for the listener.
    pub listener: bool,
    /// Numbers of the connections, in the order in which they were opened.
    pub clients: BTreeSet<usize>,
    /// Number of other descriptors, such as pipes, timers, and other sockets.
    pub others: usize,
    /// Whether the thread waits for an io_uring.
    pub ring: bool,
    /// Epoll descriptor. Threads of a process with the same one share an epoll set.
    pub epoll: Option<u64>,
}

/// Kind of file that a descriptor refers to.
enum DescriptorKind {
    Listener,
    Client(usize),
    Ring,
    Other,
}

/// Open descriptors of a process.
#[derive(Debug, Default)]
pub(super) struct Descriptors(HashMap<u64, String>);

impl Sockets {
    fn kind(&self, inode: u64) -> DescriptorKind {
        match self.clients.get(&inode) {
            Some(&client) => DescriptorKind::Client(client),
            None if self.listeners.contains(&inode) => DescriptorKind::Listener,
            None => DescriptorKind::Other,
        }
    }
}

impl Watched {
    /// Returns whether the thread waits only for one connection.
    pub(super) fn is_one_client(&self) -> bool {
        self.clients.len() == 1 && !self.listener && self.others == 0 && !self.ring
    }

    fn add(&mut self, kind: DescriptorKind) {
        match kind {
            DescriptorKind::Listener => self.listener = true,
            DescriptorKind::Client(client) => drop(self.clients.insert(client)),
            DescriptorKind::Ring => self.ring = true,
            DescriptorKind::Other => self.others += 1,
        }
    }
}

impl Descriptors {
    /// Reads /proc/PID/fd. Returns no descriptors if the kernel denies access.
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

    fn kind(&self, descriptor: u64, sockets: &Sockets) -> DescriptorKind {
        let Some(link) = self.0.get(&descriptor) else { return DescriptorKind::Other };
        match socket_inode(link) {
            Some(inode) => sockets.kind(inode),
            None if link == "anon_inode:[io_uring]" => DescriptorKind::Ring,
            None => DescriptorKind::Other,
        }
    }
}

fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Returns the descriptors that a thread's call waits for. Returns `None` if the call does not wait
/// for descriptors, or if the descriptors are unknown.
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
            watched.add(descriptors.kind(arguments[0], sockets));
        }
        Call::Poll => {
            let count = arguments[1].min(MAX_DESCRIPTORS) as usize;
            let table = memory(pid, arguments[0], count * POLLFD)?;
            for entry in table.chunks_exact(POLLFD) {
                let descriptor = i32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]);
                // The kernel ignores negative descriptors.
                if let Ok(descriptor) = u64::try_from(descriptor) {
                    watched.add(descriptors.kind(descriptor, sockets));
                }
            }
        }
        Call::Select => {
            for descriptor in fd_sets(pid, arguments)? {
                watched.add(descriptors.kind(descriptor, sockets));
            }
        }
        Call::Epoll => {
            watched.epoll = Some(arguments[0]);
            let list = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", arguments[0])).ok()?;
            for (descriptor, inode) in list.lines().filter_map(parse_registered) {
                // The socket may have been registered by a descriptor that is now closed.
                watched.add(match sockets.kind(inode) {
                    DescriptorKind::Other => descriptors.kind(descriptor, sockets),
                    socket => socket,
                });
            }
        }
        _ => return None,
    }
    Some(watched)
}

/// Returns the descriptors in the sets of a select. Each set is an array of 64-bit words, with one
/// bit per descriptor.
fn fd_sets(pid: Pid, [count, sets @ ..]: [u64; 4]) -> Option<BTreeSet<u64>> {
    let count = count.min(MAX_DESCRIPTORS);
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
fn parse_registered(line: &str) -> Option<(u64, u64)> {
    let mut words = line.strip_prefix("tfd:")?.split_whitespace();
    let descriptor = words.next()?.parse().ok()?;
    let inode = words.find_map(|word| word.strip_prefix("ino:"))?;
    Some((descriptor, u64::from_str_radix(inode, 16).ok()?))
}

/// Reads memory of a process. Its thread sleeps in the call, so the arguments are unchanged.
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
    fn descriptors_watched_by_epoll_are_parsed_from_fdinfo() {
        let line = "tfd:        5 events:       19 data:  5  pos:0 ino:1a2b sdev:8";
        assert_eq!(parse_registered(line), Some((5, 0x1a2b)));
        assert_eq!(parse_registered("pos:\t0"), None);
    }

    #[test]
    fn an_fd_set_is_read_from_process_memory() {
        let set = [1_u64 << 3 | 1 << 63, 1 << 1 | 1 << 5];
        let pid = std::process::id() as Pid;
        let found =
            fd_sets(pid, [67, set.as_ptr() as u64, 0, 0]).expect("readable memory of this process");
        assert_eq!(found, BTreeSet::from([3, 63, 65]), "69 is not below the count");
    }

    #[test]
    fn a_pollfd_array_is_read_from_process_memory() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&listener) as u64;
        let pid = std::process::id() as Pid;
        let descriptors = Descriptors::of(pid);
        let inode = descriptors.0.get(&descriptor).and_then(|link| socket_inode(link));
        let sockets = Sockets {
            listeners: HashSet::from([inode.expect("the inode of the listener")]),
            ..Sockets::default()
        };
        let table = [descriptor, u64::MAX];
        let arguments = Some([table.as_ptr() as u64, 2, 0, 0]);
        let waiting = Waiting { call: Call::Poll, arguments };
        let watched = watched(pid, &waiting, &descriptors, &sockets)
            .expect("readable memory of this process");
        assert_eq!(watched, Watched { listener: true, ..Watched::default() });
    }
}
