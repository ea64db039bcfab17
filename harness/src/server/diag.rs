//! What the kernel tells of one connection (sock_diag(7)). The tables in /proc/net tell the same of
//! all connections at once, which takes long where tens of thousands have just ended.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

// Constants of linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const TCP_LISTEN: u8 = 10;

/// Length of `struct nlmsghdr` and `struct inet_diag_req_v2`.
const REQUEST: usize = 16 + 56;
/// Where `idiag_state` and `idiag_inode` are in an answer.
const STATE: usize = 16 + 1;
const INODE: usize = 16 + 4 + 48 + 16;

/// Whether a process holds the server's end of a connection on this machine. One that is still in
/// the accept queue has no inode. Where the kernel does not tell, none is held.
pub fn is_accepted(server: SocketAddr, client: SocketAddr) -> bool {
    let Ok(answer) = ask(&request(server, client)) else { return false };
    let kind = answer.get(4..6).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
    let inode = answer.get(INODE..INODE + 4).is_some_and(|inode| inode != [0; 4]);
    // Where there is no such connection, it tells of the listening socket.
    kind == Some(SOCK_DIAG_BY_FAMILY) && inode && answer[STATE] != TCP_LISTEN
}

fn request(server: SocketAddr, client: SocketAddr) -> Vec<u8> {
    let mut request = Vec::with_capacity(REQUEST);
    request.extend((REQUEST as u32).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and port id.
    request.extend([0; 8]);
    let family = if client.is_ipv4() { AF_INET } else { AF_INET6 };
    request.extend([family, IPPROTO_TCP, 0, 0]);
    // In whatever state.
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(server.port().to_be_bytes());
    request.extend(client.port().to_be_bytes());
    for address in [server.ip(), client.ip()] {
        request.extend(match address {
            IpAddr::V4(address) => [address.octets(), [0; 4], [0; 4], [0; 4]].concat(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
    }
    // On any interface, and no cookie (INET_DIAG_NOCOOKIE).
    request.extend([0; 4]);
    request.extend([u8::MAX; 8]);
    request
}

fn ask(request: &[u8]) -> io::Result<Vec<u8>> {
    let domain = Domain::from(AF_NETLINK);
    let mut socket = Socket::new(domain, Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.write_all(request)?;
    let mut answer = vec![0; 4096];
    let length = socket.read(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_accepted_when_a_process_has_taken_it_from_the_queue() {
        for (host, to) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")] {
            let listener = TcpListener::bind((host, 0)).expect("a free port");
            let port = listener.local_addr().expect("its address").port();
            let client = TcpStream::connect((to, port)).expect("a place in the queue");
            let server = client.peer_addr().expect("its address");
            let client = client.local_addr().expect("its address");
            assert!(!is_accepted(server, client), "{client} is in the queue of {host}");
            let accepted = listener.accept().expect("it");
            assert!(is_accepted(server, client), "{host} has {client}");
            drop(accepted);
            assert!(!is_accepted(server, client), "{client} is gone");
        }
    }
}
