//! What the kernel tells of a running process tree, by way of /proc. Nothing here changes or even
//! touches the server.

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

/// What a process tree holds at one moment, summed over its processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResourceUsage {
    /// Processes, zombies included.
    pub processes: usize,
    /// Processes that have ended and were not waited for.
    pub zombies: usize,
    /// Threads.
    pub threads: usize,
    /// Open descriptors.
    pub descriptors: usize,
    /// Resident anonymous memory in bytes (`RssAnon`): pages of the program's file are shared by
    /// all built-in servers and say nothing about one of them.
    pub anonymous_bytes: u64,
}

/// The most processes of a tree that are looked at: one may grow faster than that is done.
pub const MOST_PROCESSES: usize = 10_000;

/// The process and everything that descends from it. One that ends meanwhile is left out.
pub fn tree(root: Pid) -> Vec<Pid> {
    let mut tree = vec![root];
    let mut next = 0;
    while next < tree.len().min(MOST_PROCESSES) {
        tree.extend(children(tree[next]));
        next += 1;
    }
    tree
}

/// The children of all threads of a process.
pub fn children(parent: Pid) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().flat_map(str::parse).collect::<Vec<Pid>>())
        .collect()
}

/// The threads of the processes, by their ids.
pub fn threads(tree: &[Pid]) -> Vec<Pid> {
    tree.iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok())
        .flat_map(|tasks| tasks.flatten())
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}

/// How many threads all processes of the machine have together.
pub fn tasks_of_all() -> Option<usize> {
    let loads = fs::read_to_string("/proc/loadavg").ok()?;
    loads.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

/// The name that the kernel has for a process. A process may give itself any name.
pub fn name(pid: Pid) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(visible(name.trim_end()).into_owned())
}

/// Adds up what the processes hold.
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

/// The first word of a row of a status file (proc_pid_status(5)).
pub(crate) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()
}

/// As [`field`], a number.
pub(crate) fn number(status: &str, name: &str) -> Option<u64> {
    field(status, name)?.parse().ok()
}

fn open_descriptors(pid: Pid) -> usize {
    let folder = format!("/proc/{pid}/fd");
    // The folder's size is their number since Linux 6.2, and was 0 before.
    match fs::metadata(&folder).map_or(0, |folder| folder.len()) {
        0 => fs::read_dir(folder).map_or(0, Iterator::count),
        count => count as usize,
    }
}

/// Whether a file exists at this path for one of the processes, each of which may have a root and
/// mounts of its own (/proc/PID/root, proc_pid_root(5)), or for this process.
///
/// # Errors
/// The kernel does not let this process look.
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
            // One that has ended has no root. A zombie's is not to be read.
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

/// Forgets how large the processes have been, so that [`peak_bytes`] tells of what follows.
pub fn reset_peak(tree: &[Pid]) {
    for pid in tree {
        // Where it fails the peak is that of the whole life, which can only be larger.
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// The most resident memory (`VmHWM`) that the processes have had, in bytes, added up.
pub fn peak_bytes(tree: &[Pid]) -> u64 {
    let peak = |pid: &Pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        number(&status, "VmHWM:")
    };
    tree.iter().filter_map(peak).sum::<u64>() * 1024
}

/// Lets the processes open no descriptor more, as at their limit (EMFILE). Gives what undoes it.
///
/// # Errors
/// The kernel refuses: the processes are another user's.
pub fn exhaust_descriptors(tree: &[Pid]) -> io::Result<Vec<(Pid, Rlimit)>> {
    let mut undo = Vec::new();
    for &pid in tree {
        // One that has ended needs no limit.
        let (Some(lowest), Some(maximum)) = (lowest_free(pid), hard_limit(pid)) else { continue };
        // The limit is on the number of a descriptor: none below the lowest free one is free.
        let limits = Rlimit { current: Some(lowest), maximum: Some(maximum) };
        let process = rustix::process::Pid::from_raw(pid);
        undo.push((pid, prlimit(process, Resource::Nofile, limits)?));
    }
    Ok(undo)
}

/// Gives processes their limits back.
pub fn restore_descriptors(undo: &[(Pid, Rlimit)]) {
    for (pid, limits) in undo {
        // One that has ended needs them no more.
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

/// Whether every thread of the processes waits for something, or has ended: none runs, and none
/// would run if it were given a processor. So a server that is stuck is told from one that is starved.
pub fn is_asleep(tree: &[Pid]) -> bool {
    tree.iter().all(|pid| {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with(['S', 'Z']))
        })
    })
}

/// Processor time, in user and kernel mode, that the processes and the children they have waited
/// for have used. The kernel gives it in ticks of 10 ms.
pub fn cpu_time(tree: &[Pid]) -> Duration {
    let ticks: u64 = tree.iter().filter_map(|&pid| cpu_ticks(pid)).flatten().sum();
    Duration::from_millis(ticks * 10)
}

/// Processor time of a process in user and in kernel mode, and that of the children it has waited
/// for, in ticks of 10 ms: fields 14 to 17 of /proc/PID/stat (proc(5)); the name, field 2, may hold
/// anything but ends with the last parenthesis. USER_HZ is 100 on every architecture that Rust's
/// std runs on.
pub(super) fn cpu_ticks(pid: Pid) -> Option<[u64; 4]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: Vec<u64> = fields.split(' ').skip(11).take(4).flat_map(str::parse).collect();
    ticks.try_into().ok()
}

/// What became of the time of some threads: they ran, or would have if others had not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduled {
    /// How long they ran.
    pub ran: Duration,
    /// How long they could have run, and waited for a processor.
    pub waited: Duration,
}

/// How the threads of the processes were scheduled so far (/proc/PID/task/TID/schedstat), to the
/// nanosecond. A thread that has ended is left out.
pub fn scheduled(tree: &[Pid]) -> Scheduled {
    let mut sum = Scheduled::default();
    for pid in tree {
        for thread in threads(&[*pid]) {
            sum += Scheduled::read(&format!("/proc/{pid}/task/{thread}/schedstat"));
        }
    }
    sum
}

/// How the calling thread was scheduled so far.
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

    /// What came since then. Of threads that have ended since nothing is known: that is no less
    /// than nothing.
    fn sub(self, before: Scheduled) -> Scheduled {
        Scheduled {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

/// Where the processes listen: their sockets' inodes, looked up among the kernel's.
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

/// Whether anybody listens on this port, at whatever address of this thread's network.
pub fn is_listened_on(port: u16) -> bool {
    !sockets(&[LISTEN], port).is_empty()
}

/// Whether a server on this machine has clients at `address`, seen from this thread's network.
pub fn has_connections(address: SocketAddr) -> bool {
    let host = address.ip().to_canonical();
    sockets(&[ESTABLISHED, CLOSE_WAIT], address.port())
        .iter()
        .any(|socket| socket.local.ip().to_canonical() == host)
}

/// How many connections of the server at this port its clients have ended and it has not.
pub fn in_close_wait(port: u16) -> usize {
    sockets(&[CLOSE_WAIT], port).len()
}

/// How many connections wait to be accepted from the sockets that listen at this address, from this
/// thread's network; those of one port that several sockets share (SO_REUSEPORT) are added up.
/// `None` if nobody listens there.
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

/// The sockets that listen at a port, by their inodes.
pub(crate) fn listeners(port: u16) -> HashSet<u64> {
    sockets(&[LISTEN], port).into_iter().map(|socket| socket.inode).collect()
}

/// The sockets in one of these states at a port, or at any if it is 0, seen from this thread's
/// network.
fn sockets(states: &[u8], port: u16) -> Vec<TcpSocket> {
    diag::sockets(states, port).unwrap_or_else(|_| in_tables(states, port))
}

/// As [`sockets`], where the kernel cannot be asked for some of them only.
/// (/proc/net would be the network of the process's first thread.)
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

// States of the kernel's include/net/tcp_states.h.
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

/// `0100007F:1F90` is 127.0.0.1:8080: words of 32 bits in the order of the machine.
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

/// What tests of several modules need.
#[cfg(test)]
pub(crate) mod testing {
    use std::time::{Duration, Instant};

    /// Waits until something is so.
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
        // Process ids end below 2^22 on Linux.
        assert_eq!(holdings(&[1 << 30]), ResourceUsage::default());
        assert_eq!(scheduled(&[1 << 30]), Scheduled::default());
        assert_eq!(tree(1 << 30), [1 << 30]);
    }
}
