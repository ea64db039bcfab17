//! Opens a connection in one of three modes: kernel defaults, small receive window, or data in the
//! handshake.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Receive buffer of a client with a small window, in bytes. The kernel doubles it, and uses half
/// for its own data.
pub const SMALL_WINDOW: usize = 2048;

/// How a client opens its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectMode {
    /// The kernel's default handshake, and its default receive window of several MB.
    Default,
    /// The kernel's minimum receive window. If the client does not read, the server's sends soon
    /// block.
    SmallWindow,
    /// The first data segment completes the handshake. So the data is in the receive buffer when
    /// the server accepts the connection.
    DataInHandshake,
}

/// Opens a connection in this mode.
pub(super) fn connect(
    address: SocketAddr,
    mode: ConnectMode,
    timeout: Duration,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if mode == ConnectMode::DataInHandshake {
        // The kernel then delays the last segment of the handshake by up to 200 ms
        // (TCP_DELACK_MAX), and sends data with it if the client writes in that time.
        socket.set_tcp_quickack(false)?;
    }
    if mode == ConnectMode::SmallWindow {
        // Before connecting, because the handshake negotiates the window scale (tcp(7)). The kernel
        // doubles the size.
        socket.set_recv_buffer_size(SMALL_WINDOW)?;
        // The initial send buffer of the server holds about 20 segments. With loopback's 64 KiB
        // segments that is over 1 MiB, so lower the segment size.
        socket.set_tcp_mss(536)?;
    }
    socket.connect_timeout(&address.into(), timeout)?;
    Ok(socket.into())
}
