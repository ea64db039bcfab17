//! Sockets of running processes.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::diag::{self, TcpSocket};
use super::tree::Pid;

/// Returns the addresses that the processes listen on.
pub fn listening(tree: &[Pid]) -> Vec<SocketAddr> {
    let inodes = inodes(tree);
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

/// Returns whether a process of the tree is connected to a server outside of the tree, such as a
/// database. Sees TCP connections in this thread's network namespace, but no Unix sockets.
pub fn is_client_of_another(tree: &[Pid]) -> bool {
    let inodes = inodes(tree);
    let is_own = |socket: &TcpSocket| inodes.contains(&socket.inode);
    let connected = sockets(&[ESTABLISHED, SYN_SENT], 0);
    let mut peers = connected.iter().filter(|socket| is_own(socket)).map(|socket| socket.remote);
    let listening = sockets(&[LISTEN], 0);
    let is_listened_on =
        |port| listening.iter().any(|socket| socket.local.port() == port && !is_own(socket));
    peers.any(|peer| !peer.ip().to_canonical().is_loopback() || is_listened_on(peer.port()))
}

/// Returns whether a socket listens on this port, on any address of this thread's network
/// namespace.
pub fn is_listened_on(port: u16) -> bool {
    !sockets(&[LISTEN], port).is_empty()
}

/// Returns whether a server on this address has connections, in this thread's network namespace.
pub fn has_connections(address: SocketAddr) -> bool {
    let host = address.ip().to_canonical();
    sockets(&[ESTABLISHED, CLOSE_WAIT], address.port())
        .iter()
        .any(|socket| socket.local.ip().to_canonical() == host)
}

/// Returns the number of connections on this port that the client has closed and the server has not
/// closed.
pub fn in_close_wait(port: u16) -> usize {
    sockets(&[CLOSE_WAIT], port).len()
}

/// Returns the number of connections in the accept queues of the sockets that listen on this
/// address, in this thread's network namespace. Several sockets may share a port (SO_REUSEPORT).
/// Returns `None` if no socket listens on the address.
pub fn accept_queue(address: SocketAddr) -> Option<u64> {
    let host = address.ip().to_canonical();
    sockets(&[LISTEN], address.port())
        .iter()
        .filter(|socket| {
            let listening_host = socket.local.ip().to_canonical();
            listening_host == host || listening_host.is_unspecified()
        })
        .map(|socket| u64::from(socket.received))
        .reduce(|sum, more| sum + more)
}

/// Returns the addresses and inodes of the sockets that listen on a port. `None` if the kernel does
/// not list the sockets of this thread's network namespace.
pub(in crate::server) fn listening_on(port: u16) -> Option<Vec<(SocketAddr, u64)>> {
    let sockets = match diag::sockets(&[LISTEN], port) {
        Ok(sockets) => sockets,
        Err(_) if fs::read(TABLES[0]).is_ok() => proc_sockets(&[LISTEN], port),
        Err(_) => return None,
    };
    Some(sockets.into_iter().map(|socket| (socket.local, socket.inode)).collect())
}

/// Returns the inodes of all sockets that listen.
pub(super) fn listening_inodes() -> HashSet<u64> {
    sockets(&[LISTEN], 0).into_iter().map(|socket| socket.inode).collect()
}

/// Returns whether a process holds one of these sockets.
pub(super) fn has_socket(pid: Pid, inodes: &HashSet<u64>) -> bool {
    socket_inodes(pid).iter().any(|inode| inodes.contains(inode))
}

/// Returns the inodes of all sockets of the processes.
pub(in crate::server) fn inodes(tree: &[Pid]) -> HashSet<u64> {
    tree.iter().flat_map(|&pid| socket_inodes(pid)).collect()
}

/// Returns the inodes of the sockets that listen on a port.
pub(crate) fn listeners(port: u16) -> HashSet<u64> {
    sockets(&[LISTEN], port).into_iter().map(|socket| socket.inode).collect()
}

/// Returns the sockets in one of these states on a port, in this thread's network namespace. Port 0
/// stands for all ports.
fn sockets(states: &[u8], port: u16) -> Vec<TcpSocket> {
    diag::sockets(states, port).unwrap_or_else(|_| proc_sockets(states, port))
}

/// Tables of all sockets. /proc/net would have the sockets in the network namespace of the
/// process's first thread.
const TABLES: &[&str] = &["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];

/// Fallback of [`sockets`] without sock_diag(7): searches the tables of all sockets.
fn proc_sockets(states: &[u8], port: u16) -> Vec<TcpSocket> {
    TABLES
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
const SYN_SENT: u8 = 0x02;
const CLOSE_WAIT: u8 = 0x08;
const LISTEN: u8 = 0x0A;

fn parse_row(row: &str) -> Option<(u8, TcpSocket)> {
    let fields: Vec<&str> = row.split_whitespace().collect();
    let state = u8::from_str_radix(fields.get(3)?, 16).ok()?;
    let (local, remote) = (parse_address(fields.get(1)?)?, parse_address(fields.get(2)?)?);
    let (sent, received) = fields.get(4)?.split_once(':')?;
    let [sent, received] = [sent, received].map(|bytes| u32::from_str_radix(bytes, 16).ok());
    let (sent, received) = (sent?, received?);
    Some((state, TcpSocket { local, remote, received, sent, inode: fields.get(9)?.parse().ok()? }))
}

/// Parses an address in 32-bit words of host byte order: `0100007F:1F90` is 127.0.0.1:8080.
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::testing::wait_until;
    use super::*;

    #[test]
    fn a_listening_socket_is_found_without_connecting_to_it() {
        for host in ["127.0.0.1", "::1"] {
            let socket = TcpListener::bind((host, 0)).expect("a free port");
            let address = socket.local_addr().expect("the listening address");
            let pid = std::process::id() as Pid;
            assert!(listening(&[pid]).contains(&address), "{address}");
            let by_diag = sockets(&[LISTEN], address.port());
            assert_eq!(by_diag, proc_sockets(&[LISTEN], address.port()));
            drop(socket);
            assert!(!listening(&[pid]).contains(&address), "{address} is closed");
        }
    }

    #[test]
    fn unaccepted_connections_are_counted_by_sock_diag_and_proc_alike() {
        for host in ["127.0.0.1", "::1", "0.0.0.0"] {
            let listener = TcpListener::bind((host, 0)).expect("a free port");
            let port = listener.local_addr().expect("the listening address").port();
            let host = if host == "::1" { host } else { "127.0.0.1" };
            let address: SocketAddr = (host.parse::<IpAddr>().expect("an address"), port).into();
            assert_eq!(accept_queue(address), Some(0));
            let connect = |()| std::net::TcpStream::connect(address).expect("a connection");
            let clients = [(); 3].map(connect);
            wait_until("the accept queue has 3 connections", || accept_queue(address) == Some(3));
            assert_eq!(sockets(&[LISTEN], port), proc_sockets(&[LISTEN], port));
            listener.accept().expect("a client");
            assert_eq!(accept_queue(address), Some(2));
            drop((listener, clients));
            assert_eq!(accept_queue(address), None);
        }
    }

    #[test]
    fn a_connection_closed_only_by_the_client_is_in_close_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the listening address");
        let client = std::net::TcpStream::connect(address).expect("a connection");
        let (server, _) = listener.accept().expect("a client");
        assert!(has_connections(address));
        assert_eq!(in_close_wait(address.port()), 0);
        drop(client);
        assert_eq!(in_close_wait(address.port()), 1);
        drop(server);
        assert_eq!(in_close_wait(address.port()), 0);
    }
}
