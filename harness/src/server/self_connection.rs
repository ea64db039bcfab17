//! Detection of connections of a socket to itself.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::SockRef;

/// Returns whether a TCP socket is connected to itself.
///
/// A client whose destination is a port of this machine in the range of ephemeral ports, without a
/// listener, may get this port as its local port. Then the kernel connects the socket to itself
/// (a simultaneous open, RFC 9293, 3.5), and each sent byte comes back like a reply of an echo
/// server. The kernel chooses no port with a listener, so such a connection means that no process
/// listens.
pub fn is_self_connection(stream: &impl AsFd) -> bool {
    let socket = SockRef::from(stream);
    match (socket.local_addr(), socket.peer_addr()) {
        (Ok(local), Ok(peer)) => local.as_socket() == peer.as_socket(),
        _ => false,
    }
}

/// Returns whether a process accepts a connection to the address. The connection is closed at once.
pub fn accepts(address: SocketAddr, timeout: Duration) -> bool {
    TcpStream::connect_timeout(&address, timeout).is_ok_and(|stream| !is_self_connection(&stream))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn a_connection_of_a_socket_to_itself_is_detected() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
        let own = socket.local_addr().expect("an address");
        socket.connect(&own).expect("a connection to itself");
        assert!(is_self_connection(&socket));
    }

    #[test]
    fn a_connection_to_a_listener_is_no_self_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        assert!(!is_self_connection(&TcpStream::connect(address).expect("a connection")));
    }
}
