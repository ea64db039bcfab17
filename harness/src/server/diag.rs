//! Socket queries with sock_diag(7). Unlike the tables in /proc/net, a query can select sockets.
//! The tables always list all sockets, which is slow if tens of thousands are in TIME_WAIT.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

// Constants of linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const TCP_SYN_RECV: u8 = 3;
const TCP_LISTEN: u8 = 10;
const INET_DIAG_SKV6ONLY: u16 = 11;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct nlmsghdr` and `struct inet_diag_req_v2`.
const REQUEST: usize = HEADER + 56;
// Offsets of the fields of `struct inet_diag_msg` in an answer.
const FAMILY: usize = HEADER;
const STATE: usize = HEADER + 1;
const LOCAL_PORT: usize = HEADER + 4;
const REMOTE_PORT: usize = HEADER + 6;
const LOCAL_HOST: usize = HEADER + 8;
const REMOTE_HOST: usize = HEADER + 24;
const RECEIVED: usize = HEADER + 4 + 48 + 4;
const SENT: usize = RECEIVED + 4;
const INODE: usize = HEADER + 4 + 48 + 16;
/// Length of an answer without attributes.
const ANSWER: usize = INODE + 4;

/// Size of the read buffer, as in iproute2.
const MAX_ANSWER_LENGTH: usize = 32 * 1024;

/// One end of a connection, or a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TcpSocket {
    /// Local address.
    pub(super) local: SocketAddr,
    /// Address of the peer. Unspecified for a listening socket.
    pub(super) remote: SocketAddr,
    /// Bytes received and not yet read. For a listening socket: connections in the accept queue
    /// (`idiag_rqueue`, sock_diag(7)).
    pub(super) received: u32,
    /// Bytes sent and not yet acknowledged (`idiag_wqueue`). 0 for a listening socket, where the
    /// kernel reports the backlog instead.
    pub(super) sent: u32,
    /// Inode. The links in /proc/PID/fd name it. 0 if no process holds the socket.
    pub(super) inode: u64,
}

/// Returns the sockets in one of these states on a port. Port 0 stands for all ports.
///
/// # Errors
/// The kernel does not answer the query.
pub(super) fn sockets(states: &[u8], port: u16) -> io::Result<Vec<TcpSocket>> {
    let mut found = Vec::new();
    for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        dump(states, SocketAddr::new(any, port), |answer| found.extend(parse(answer)))?;
    }
    Ok(found)
}

/// Returns whether the socket that listens on `::` and this port accepts only IPv6 (IPV6_V6ONLY of
/// ipv6(7)). Returns `None` if no such socket exists or the kernel does not report the option.
pub(super) fn is_ipv6_only(port: u16) -> Option<bool> {
    let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let mut found = None;
    dump(&[TCP_LISTEN], SocketAddr::new(any, port), |answer| {
        if parse(answer).is_some_and(|socket| socket.local.ip() == any) {
            found = found.or(attribute(answer, INET_DIAG_SKV6ONLY).map(|value| value != 0));
        }
    })
    .ok()?;
    found
}

/// Calls `handle` with the kernel's answer about each socket in one of these states. `at` selects
/// the address family and the port. Port 0 stands for all ports.
fn dump(states: &[u8], at: SocketAddr, mut handle: impl FnMut(&[u8])) -> io::Result<()> {
    let states = states.iter().fold(0, |set, state| set | 1 << state);
    let any_client = SocketAddr::new(at.ip(), 0);
    let mut socket = send(&request(NLM_F_REQUEST | NLM_F_DUMP, states, at, any_client))?;
    let mut answers = vec![0; MAX_ANSWER_LENGTH];
    loop {
        let length = socket.read(&mut answers)?;
        let mut rest = &answers[..length];
        while let Some((kind, answer, following)) = next(rest) {
            match kind {
                SOCK_DIAG_BY_FAMILY => handle(answer),
                NLMSG_DONE => return Ok(()),
                _ => return Err(io::Error::other("the kernel rejects the sock_diag request")),
            }
            rest = following;
        }
    }
}

/// Returns the first byte of the attribute with this type (`struct rtattr` of rtnetlink(7)).
fn attribute(answer: &[u8], wanted_kind: u16) -> Option<u8> {
    let mut rest = answer.get(ANSWER..)?;
    loop {
        let half_word =
            |at: usize| Some(u16::from_ne_bytes(rest.get(at..at + 2)?.try_into().ok()?));
        let (length, kind) = (usize::from(half_word(0)?), half_word(2)?);
        if kind == wanted_kind {
            return rest.get(4).copied();
        }
        // Attributes are aligned to 4 bytes, and are at least as long as their header.
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// Returns whether a process holds the server's end of a local connection. While the connection is
/// in the accept queue, no process holds it. Returns `false` if the kernel does not answer.
pub fn is_accepted(server: SocketAddr, client: SocketAddr) -> bool {
    server_end(server, client).is_some_and(|end| end.inode.is_some())
}

/// The server's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerEnd {
    /// Inode. The links in /proc/PID/fd name it. `None` while the connection is in the accept
    /// queue.
    pub(crate) inode: Option<u64>,
    /// Whether the handshake is incomplete (SYN-RECEIVED), so that the server cannot accept the
    /// connection yet.
    pub(crate) is_connecting: bool,
    /// Number of sent bytes that are not yet acknowledged.
    pub(crate) unacknowledged: u32,
    /// Number of received bytes that the server has not read.
    pub(crate) unread: u32,
}

/// Returns the server's end of a local connection. Returns `None` if the connection does not exist
/// or the kernel does not answer.
pub(crate) fn server_end(server: SocketAddr, client: SocketAddr) -> Option<ServerEnd> {
    let mut answer = [0; 4096];
    let mut socket = send(&request(NLM_F_REQUEST, u32::MAX, server, client)).ok()?;
    let length = socket.read(&mut answer).ok()?;
    let Some((SOCK_DIAG_BY_FAMILY, answer, _)) = next(&answer[..length]) else { return None };
    let TcpSocket { inode, sent, received, .. } = parse(answer)?;
    // If the connection does not exist, the kernel answers with the listening socket.
    (answer[STATE] != TCP_LISTEN).then_some(ServerEnd {
        inode: (inode != 0).then_some(inode),
        is_connecting: answer[STATE] == TCP_SYN_RECV,
        unacknowledged: sent,
        unread: received,
    })
}

/// Returns whether all bytes that the ends of a local connection have sent are acknowledged.
/// Returns `false` if the kernel does not answer.
pub fn is_delivered(server: SocketAddr, client: SocketAddr) -> bool {
    let is_acknowledged = |end: Option<ServerEnd>| {
        end.is_some_and(|end| !end.is_connecting && end.unacknowledged == 0)
    };
    is_acknowledged(server_end(server, client)) && is_acknowledged(server_end(client, server))
}

/// Splits off the next message. Returns its type, the message, and the rest.
fn next(messages: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(messages.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(messages.get(4..6)?.try_into().ok()?);
    let message = messages.get(..length.max(HEADER))?;
    // Messages are aligned to 4 bytes.
    let following = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, message, following))
}

fn parse(answer: &[u8]) -> Option<TcpSocket> {
    let address = |host: usize, port: usize| {
        let bytes = answer.get(..ANSWER)?.get(host..host + 16)?;
        let host = if answer[FAMILY] == AF_INET {
            IpAddr::from(<[u8; 4]>::try_from(&bytes[..4]).ok()?)
        } else {
            IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)
        };
        Some(SocketAddr::new(host, u16::from_be_bytes([answer[port], answer[port + 1]])))
    };
    let (local, remote) = (address(LOCAL_HOST, LOCAL_PORT)?, address(REMOTE_HOST, REMOTE_PORT)?);
    let word = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    let (received, inode) = (word(RECEIVED)?, word(INODE)?.into());
    let sent = if answer[STATE] == TCP_LISTEN { 0 } else { word(SENT)? };
    Some(TcpSocket { local, remote, received, sent, inode })
}

fn request(flags: u16, states: u32, server: SocketAddr, client: SocketAddr) -> Vec<u8> {
    let mut request = Vec::with_capacity(REQUEST);
    request.extend((REQUEST as u32).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    // Sequence number and port id.
    request.extend([0; 8]);
    let family = if client.is_ipv4() { AF_INET } else { AF_INET6 };
    request.extend([family, IPPROTO_TCP, 0, 0]);
    request.extend(states.to_ne_bytes());
    request.extend(server.port().to_be_bytes());
    request.extend(client.port().to_be_bytes());
    for address in [server.ip(), client.ip()] {
        request.extend(match address {
            IpAddr::V4(address) => [address.octets(), [0; 4], [0; 4], [0; 4]].concat(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
    }
    // Any interface, and no cookie (INET_DIAG_NOCOOKIE).
    request.extend([0; 4]);
    request.extend([u8::MAX; 8]);
    request
}

/// Opens a netlink socket and sends a request.
fn send(request: &[u8]) -> io::Result<Socket> {
    let domain = Domain::from(AF_NETLINK);
    let mut socket = Socket::new(domain, Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.write_all(request)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn an_ipv6_only_socket_is_distinguished_from_a_dual_stack_one() {
        for ipv6_only in [true, false] {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None).expect("a socket");
            socket.set_only_v6(ipv6_only).expect("IPV6_V6ONLY is set");
            let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
            socket.bind(&any.into()).expect("a free port");
            socket.listen(1).expect("a listener");
            let port = socket
                .local_addr()
                .expect("a bound socket")
                .as_socket()
                .expect("an IPv6 address")
                .port();
            assert_eq!(is_ipv6_only(port), Some(ipv6_only));
        }
    }

    #[test]
    fn data_is_delivered_once_the_peer_kernel_has_received_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the listening address");
        let mut client = TcpStream::connect(address).expect("a connection");
        let (server, local) = (address, client.local_addr().expect("the client's address"));
        let (_accepted, _) = listener.accept().expect("the client");
        client.write_all(b"41+1").expect("space in the send buffer");
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !is_delivered(server, local) {
            assert!(
                std::time::Instant::now() < deadline,
                "the data was not acknowledged within 20 s"
            );
        }
        // The server does not read, so bytes beyond its receive window are not acknowledged.
        client.set_nonblocking(true).expect("a nonblocking socket");
        while client.write(&[b'1'; 65_536]).is_ok() {}
        assert!(!is_delivered(server, local));
    }

    #[test]
    fn a_connection_counts_as_accepted_when_a_process_holds_it() {
        for (host, to) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")] {
            let listener = TcpListener::bind((host, 0)).expect("a free port");
            let port = listener.local_addr().expect("the listening address").port();
            let client = TcpStream::connect((to, port)).expect("a connection");
            let server = client.peer_addr().expect("the server's address");
            let client = client.local_addr().expect("the client's address");
            assert!(!is_accepted(server, client), "{client} is in the accept queue of {host}");
            let accepted = listener.accept().expect("the client");
            assert!(is_accepted(server, client), "{host} has accepted {client}");
            drop(accepted);
            assert!(!is_accepted(server, client), "the server has closed {client}");
        }
    }
}
