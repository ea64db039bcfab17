//! Reads the state of a running process tree from /proc and sock_diag(7). Only `reset_peak` and
//! `exhaust_descriptors` change anything.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{AddAssign, Sub};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit};
use serde::Serialize;

use super::diag::{self, TcpSocket};
use crate::text::visible;

/// A process id.
pub type Pid = i32;

/// Resource usage of a process tree at one moment, summed over its processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResourceUsage {
    /// Processes, zombies included.
    pub processes: usize,
    /// Zombies: processes that have exited and were not waited for.
    pub zombies: usize,
    /// Threads.
    pub threads: usize,
    /// Open descriptors.
    pub descriptors: usize,
    /// Resident anonymous memory in bytes (`RssAnon`). Pages of the program's file are left out:
    /// all built-in servers share them.
    pub anonymous_bytes: u64,
}

/// Maximum number of processes of a tree that are visited: a tree may grow faster than the walk.
pub const MOST_PROCESSES: usize = 10_000;

/// Returns the process and its descendants, in breadth-first order. A process that exits during the
/// walk may be left out.
pub fn tree(root: Pid) -> Vec<Pid> {
    let mut tree = vec![root];
    let mut next = 0;
    while next < tree.len().min(MOST_PROCESSES) {
        tree.extend(children(tree[next]));
        next += 1;
    }
    tree
}

/// Returns the children of all threads of a process.
pub fn children(parent: Pid) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().flat_map(str::parse).collect::<Vec<Pid>>())
        .collect()
}

/// Returns the ids of the threads of the processes.
pub fn threads(tree: &[Pid]) -> Vec<Pid> {
    tree.iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok())
        .flat_map(|tasks| tasks.flatten())
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}

/// Returns the number of threads of all processes on the machine.
pub fn tasks_of_all() -> Option<usize> {
    let loads = fs::read_to_string("/proc/loadavg").ok()?;
    loads.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

/// Returns the kernel's name of a process. A process may give itself any name.
pub fn name(pid: Pid) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(visible(name.trim_end()).into_owned())
}

/// Returns the sum of the processes' resource usage.
pub fn holdings(tree: &[Pid]) -> ResourceUsage {
    let mut sum = ResourceUsage::default();
    for &pid in tree {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        sum.processes += 1;
        sum.zombies += usize::from(field(&status, "State:") == Some("Z"));
        sum.threads += number(&status, "Threads:").unwrap_or(0) as usize;
        sum.anonymous_bytes += number(&status, "RssAnon:").unwrap_or(0) * 1024;
        sum.descriptors += open_descriptors(pid);
    }
    sum
}

/// Returns the first word of a row of a status file (proc_pid_status(5)).
pub(crate) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()
}

/// Returns the number in a row of a status file.
pub(crate) fn number(status: &str, name: &str) -> Option<u64> {
    field(status, name)?.parse().ok()
}

fn open_descriptors(pid: Pid) -> usize {
    let folder = format!("/proc/{pid}/fd");
    // The size of the directory is the number of descriptors since Linux 6.2, and was 0 before.
    match fs::metadata(&folder).map_or(0, |folder| folder.len()) {
        0 => fs::read_dir(folder).map_or(0, Iterator::count),
        count => count as usize,
    }
}

/// Returns whether a file exists at this path for this process or for one of the others. Each of
/// those may have its own root directory and mounts (/proc/PID/root, proc_pid_root(5)).
///
/// # Errors
/// The kernel denies access to the root directory of a process.
pub fn have_file(tree: &[Pid], path: &Path) -> io::Result<bool> {
    if path.exists() {
        return Ok(true);
    }
    let relative = path.strip_prefix("/").unwrap_or(path);
    for pid in tree {
        let root = Path::new("/proc").join(pid.to_string()).join("root");
        match root.join(relative).try_exists() {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            // A process that has exited has no root directory, and that of a zombie cannot be read.
            Err(_) if is_ended(*pid) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn is_ended(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    matches!(field(&status, "State:"), None | Some("Z" | "X"))
}

/// Resets the peak memory of the processes, so that [`peak_bytes`] covers the time from now on.
pub fn reset_peak(tree: &[Pid]) {
    for pid in tree {
        // On failure the peak is that of the whole lifetime, which is never lower.
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// Returns the sum of the processes' peak resident memory (`VmHWM`), in bytes.
pub fn peak_bytes(tree: &[Pid]) -> u64 {
    let peak = |pid: &Pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        number(&status, "VmHWM:")
    };
    tree.iter().filter_map(peak).sum::<u64>() * 1024
}

/// Lowers the descriptor limit of the processes so that opening another one fails with EMFILE.
/// Returns the previous limits for [`restore_descriptors`].
///
/// # Errors
/// The kernel refuses, because the processes belong to another user.
pub fn exhaust_descriptors(tree: &[Pid]) -> io::Result<Vec<(Pid, Rlimit)>> {
    let mut undo = Vec::new();
    for &pid in tree {
        // A process that has exited needs no limit.
        let (Some(lowest), Some(maximum)) = (lowest_free(pid), hard_limit(pid)) else { continue };
        // RLIMIT_NOFILE limits the number of a descriptor, and no number below the lowest free one
        // is free.
        let limits = Rlimit { current: Some(lowest), maximum: Some(maximum) };
        let process = rustix::process::Pid::from_raw(pid);
        undo.push((pid, prlimit(process, Resource::Nofile, limits)?));
    }
    Ok(undo)
}

/// Restores the descriptor limits of the processes.
pub fn restore_descriptors(undo: &[(Pid, Rlimit)]) {
    for (pid, limits) in undo {
        // It fails for a process that has exited, which needs no limit.
        let process = rustix::process::Pid::from_raw(*pid);
        let _ = prlimit(process, Resource::Nofile, *limits);
    }
}

fn hard_limit(pid: Pid) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let row = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    row.split_whitespace().nth(1)?.parse().ok()
}

fn lowest_free(pid: Pid) -> Option<u64> {
    let open: HashSet<u64> = fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    (0..).find(|number| !open.contains(number))
}

/// Returns whether every thread of the processes sleeps or has exited. No thread would run if it
/// were given a CPU. This distinguishes a server that hangs from one that is starved of CPU time.
pub fn is_asleep(tree: &[Pid]) -> bool {
    tree.iter().all(|pid| {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with(['S', 'Z']))
        })
    })
}

/// Returns the CPU time, in user and kernel mode, of the processes and of the children that they
/// have waited for. Its resolution is a kernel tick of 10 ms.
pub fn cpu_time(tree: &[Pid]) -> Duration {
    let ticks: u64 = tree.iter().filter_map(|&pid| cpu_ticks(pid)).flatten().sum();
    Duration::from_millis(ticks * 10)
}

/// Returns the CPU time of a process in user and kernel mode, and that of its waited-for children,
/// in ticks of 10 ms. They are fields 14 to 17 of /proc/PID/stat (proc(5)). Field 2, the name, may
/// contain any character and ends with the last parenthesis. USER_HZ is 100 on every architecture
/// that Rust's std supports.
pub(super) fn cpu_ticks(pid: Pid) -> Option<[u64; 4]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: Vec<u64> = fields.split(' ').skip(11).take(4).flat_map(str::parse).collect();
    ticks.try_into().ok()
}

/// Scheduling statistics of threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduled {
    /// Time on a CPU.
    pub ran: Duration,
    /// Time in which they were runnable and waited for a CPU.
    pub waited: Duration,
}

/// Returns the sum of the scheduling statistics of all current threads of the processes
/// (/proc/PID/task/TID/schedstat), in ns. A thread that has exited is left out.
pub fn scheduled(tree: &[Pid]) -> Scheduled {
    let mut sum = Scheduled::default();
    for pid in tree {
        for thread in threads(&[*pid]) {
            sum += Scheduled::read(&format!("/proc/{pid}/task/{thread}/schedstat"));
        }
    }
    sum
}

/// Returns the scheduling statistics of the calling thread.
pub fn scheduled_thread() -> Scheduled {
    Scheduled::read("/proc/thread-self/schedstat")
}

impl Scheduled {
    fn read(path: &str) -> Scheduled {
        let line = fs::read_to_string(path).unwrap_or_default();
        let mut times = line.split(' ').flat_map(str::parse).map(Duration::from_nanos);
        let mut next = || times.next().unwrap_or_default();
        Scheduled { ran: next(), waited: next() }
    }
}

impl AddAssign for Scheduled {
    fn add_assign(&mut self, other: Scheduled) {
        self.ran += other.ran;
        self.waited += other.waited;
    }
}

impl Sub for Scheduled {
    type Output = Scheduled;

    /// Returns the difference to an earlier reading, at least 0. Threads that have exited since are
    /// missing from the later reading.
    fn sub(self, before: Scheduled) -> Scheduled {
        Scheduled {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

/// Returns the addresses that the processes listen on, by looking up their sockets' inodes.
pub fn listening(tree: &[Pid]) -> Vec<SocketAddr> {
    let inodes: HashSet<u64> = tree.iter().flat_map(|&pid| socket_inodes(pid)).collect();
    if inodes.is_empty() {
        return Vec::new();
    }
    let mut addresses: Vec<SocketAddr> = sockets(&[LISTEN], 0)
        .into_iter()
        .filter(|socket| inodes.contains(&socket.inode))
        .map(|socket| socket.local)
        .collect();
    addresses.dedup();
    addresses
}

/// Returns whether a socket listens on this port, at any address of this thread's network
/// namespace.
pub fn is_listened_on(port: u16) -> bool {
    !sockets(&[LISTEN], port).is_empty()
}

/// Returns whether `address` has connections, in this thread's network namespace.
pub fn has_connections(address: SocketAddr) -> bool {
    let host = address.ip().to_canonical();
    sockets(&[ESTABLISHED, CLOSE_WAIT], address.port())
        .iter()
        .any(|socket| socket.local.ip().to_canonical() == host)
}

/// Returns the number of connections at this port that the client has closed and the server has
/// not.
pub fn in_close_wait(port: u16) -> usize {
    sockets(&[CLOSE_WAIT], port).len()
}

/// Returns the number of connections in the accept queue of the sockets that listen at this
/// address, in this thread's network namespace. The queues of sockets that share a port
/// (SO_REUSEPORT) are added up. `None` if no socket listens there.
pub fn accept_queue(address: SocketAddr) -> Option<u64> {
    let host = address.ip().to_canonical();
    sockets(&[LISTEN], address.port())
        .iter()
        .filter(|socket| {
            let listens = socket.local.ip().to_canonical();
            listens == host || listens.is_unspecified()
        })
        .map(|socket| u64::from(socket.received))
        .reduce(|sum, more| sum + more)
}

/// Returns the inodes of the sockets that listen on a port.
pub(crate) fn listeners(port: u16) -> HashSet<u64> {
    sockets(&[LISTEN], port).into_iter().map(|socket| socket.inode).collect()
}

/// Returns the sockets in one of these states on a port, or on any port if it is 0, in this
/// thread's network namespace.
fn sockets(states: &[u8], port: u16) -> Vec<TcpSocket> {
    diag::sockets(states, port).unwrap_or_else(|_| in_tables(states, port))
}

/// Reads the tables of all sockets, as the fallback of [`sockets`] without sock_diag(7). /proc/net
/// would be the network namespace of the process's first thread.
fn in_tables(states: &[u8], port: u16) -> Vec<TcpSocket> {
    ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
        .iter()
        .flat_map(|table| {
            let table = fs::read_to_string(table).unwrap_or_default();
            table.lines().skip(1).filter_map(parse_row).collect::<Vec<_>>()
        })
        .filter(|(state, _)| states.contains(state))
        .map(|(_, socket)| socket)
        .filter(|socket| port == 0 || socket.local.port() == port)
        .collect()
}

fn socket_inodes(pid: Pid) -> Vec<u64> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

// From the kernel's include/net/tcp_states.h.
const ESTABLISHED: u8 = 0x01;
const CLOSE_WAIT: u8 = 0x08;
const LISTEN: u8 = 0x0A;

fn parse_row(row: &str) -> Option<(u8, TcpSocket)> {
    let fields: Vec<&str> = row.split_whitespace().collect();
    let state = u8::from_str_radix(fields.get(3)?, 16).ok()?;
    let local = parse_address(fields.get(1)?)?;
    let (sent, received) = fields.get(4)?.split_once(':')?;
    let [sent, received] = [sent, received].map(|bytes| u32::from_str_radix(bytes, 16).ok());
    let (sent, received) = (sent?, received?);
    Some((state, TcpSocket { local, received, sent, inode: fields.get(9)?.parse().ok()? }))
}

/// Parses an address: `0100007F:1F90` is 127.0.0.1:8080, in 32-bit words of host byte order.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Vec<[u8; 4]> = (0..host.len() / 8)
        .map(|word| u32::from_str_radix(host.get(word * 8..word * 8 + 8)?, 16).ok())
        .map(|word| word.map(u32::to_ne_bytes))
        .collect::<Option<_>>()?;
    let host = match words.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(host, port))
}

/// Helpers for the tests of several modules.
#[cfg(test)]
pub(crate) mod testing {
    use std::time::{Duration, Instant};

    /// Waits until a condition holds; panics after 60 s.
    pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < deadline, "it does not come about that {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::testing::wait_until;
    use super::*;

    #[test]
    fn a_listening_socket_is_found_without_connecting_to_it() {
        for host in ["127.0.0.1", "::1"] {
            let socket = TcpListener::bind((host, 0)).expect("a free port");
            let address = socket.local_addr().expect("its address");
            let pid = std::process::id() as Pid;
            assert!(listening(&[pid]).contains(&address), "{address}");
            let told = sockets(&[LISTEN], address.port());
            assert_eq!(told, in_tables(&[LISTEN], address.port()), "either way");
            drop(socket);
            assert!(!listening(&[pid]).contains(&address), "{address} is closed");
        }
    }

    #[test]
    fn connections_that_nobody_has_accepted_are_counted_either_way() {
        for host in ["127.0.0.1", "::1", "0.0.0.0"] {
            let listener = TcpListener::bind((host, 0)).expect("a free port");
            let port = listener.local_addr().expect("its address").port();
            let host = if host == "::1" { host } else { "127.0.0.1" };
            let address: SocketAddr = (host.parse::<IpAddr>().expect("an address"), port).into();
            assert_eq!(accept_queue(address), Some(0));
            let clients = [(); 3].map(|()| std::net::TcpStream::connect(address).expect("a place"));
            wait_until("three wait", || accept_queue(address) == Some(3));
            assert_eq!(sockets(&[LISTEN], port), in_tables(&[LISTEN], port));
            listener.accept().expect("one of them");
            assert_eq!(accept_queue(address), Some(2));
            drop((listener, clients));
            assert_eq!(accept_queue(address), None);
        }
    }

    #[test]
    fn a_connection_that_only_the_client_has_ended_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let client = std::net::TcpStream::connect(address).expect("a connection");
        let (server, _) = listener.accept().expect("a client");
        assert!(has_connections(address));
        assert_eq!(in_close_wait(address.port()), 0);
        drop(client);
        assert_eq!(in_close_wait(address.port()), 1);
        drop(server);
        assert_eq!(in_close_wait(address.port()), 0);
    }

    #[test]
    fn this_process_holds_itself() {
        let held = holdings(&[std::process::id() as Pid]);
        assert_eq!((held.processes, held.zombies), (1, 0));
        assert!(held.threads >= 1 && held.descriptors >= 3 && held.anonymous_bytes > 0, "{held:?}");
    }

    #[test]
    fn the_time_that_threads_ran_is_known() {
        assert!(scheduled(&[std::process::id() as Pid]).ran > Duration::ZERO);
    }

    #[test]
    fn a_process_that_is_gone_holds_nothing() {
        // Process ids on Linux are below 2^22.
        assert_eq!(holdings(&[1 << 30]), ResourceUsage::default());
        assert_eq!(scheduled(&[1 << 30]), Scheduled::default());
        assert_eq!(tree(1 << 30), [1 << 30]);
    }
}
