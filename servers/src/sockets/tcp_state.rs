//! The kernel's state of a connection, as far as std does not expose it.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Interval between checks during a drain.
pub(crate) const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Returns how many sent bytes the client's kernel has not acknowledged (SIOCOUTQ, tcp(7)). If the
/// socket is closed with unread input, a reset discards these bytes.
#[allow(unsafe_code, reason = "ioctl(2) has no safe wrapper for this request")]
pub(crate) fn unacknowledged(client: &impl AsFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, an alias of TIOCOUTQ on Linux, writes one int to the pointer, which is to
    // an int in this frame. The descriptor is borrowed.
    let done = unsafe { libc::ioctl(client.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    // After a reset the kernel's count stays above 0, but nothing will be acknowledged.
    let is_pending = done == 0 && bytes > 0 && state(client) != Some(CLOSE);
    if is_pending { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Returns how many received bytes were not read (SIOCINQ, tcp(7)).
#[allow(unsafe_code, reason = "ioctl(2) has no safe wrapper for this request")]
pub(crate) fn unread(client: &impl AsFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCINQ, an alias of FIONREAD on Linux, writes one int to the pointer, which is to an
    // int in this frame. The descriptor is borrowed.
    let done = unsafe { libc::ioctl(client.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if done == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Returns whether the client has sent a FIN and all its input was read. If this side was shut down
/// for reading, a read that returns 0 does not show that.
pub(crate) fn is_at_end_of_input(client: &impl AsFd) -> bool {
    state(client) == Some(CLOSE_WAIT) && unread(client) == 0
}

/// TCP_CLOSE in the kernel's include/net/tcp_states.h.
const CLOSE: u8 = 7;
/// TCP_CLOSE_WAIT in the same file.
const CLOSE_WAIT: u8 = 8;

/// Returns the TCP state of a connection.
#[allow(unsafe_code, reason = "getsockopt(2) has no safe wrapper for this option")]
fn state(client: &impl AsFd) -> Option<u8> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `info`, which has that size and lives in
    // this frame. The descriptor is borrowed.
    let done = unsafe {
        libc::getsockopt(
            client.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    // SAFETY: zeros are a valid tcp_info, and the kernel has overwritten a part of it.
    (done == 0).then(|| unsafe { info.assume_init() }.tcpi_state)
}

/// Helpers for the tests of several modules.
#[cfg(test)]
pub(super) mod testing {
    use std::net::{TcpListener, TcpStream};

    /// Returns a client and the server's end of its connection.
    pub(in crate::sockets) fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("an address"));
        (client.expect("a connection"), listener.accept().expect("the client").0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net;

    use super::testing::pair;
    use super::*;

    #[test]
    fn a_fin_from_the_client_is_distinguished_from_a_local_shutdown() {
        let (client, mut server) = pair();
        server.shutdown(net::Shutdown::Read).expect("a read shutdown");
        assert_eq!(server.read(&mut [0]).expect("the end of the input"), 0);
        assert!(!is_at_end_of_input(&server));
        client.shutdown(net::Shutdown::Write).expect("a FIN");
        // Loopback delivers the FIN before shutdown(2) returns.
        assert!(is_at_end_of_input(&server));
    }

    #[test]
    fn a_reset_connection_has_no_unacknowledged_output() {
        let (client, mut server) = pair();
        server.set_nonblocking(true).expect("a non-blocking socket");
        while server.write(&[0; 65_536]).is_ok() {}
        socket2::SockRef::from(&client)
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("SO_LINGER");
        // Loopback delivers the reset before close(2) returns.
        drop(client);
        assert_eq!(unacknowledged(&server), 0);
    }

    #[test]
    fn unread_output_is_unacknowledged() {
        let (_client, mut server) = pair();
        assert_eq!(unacknowledged(&server), 0);
        server.set_nonblocking(true).expect("a non-blocking socket");
        while server.write(&[0; 65_536]).is_ok() {}
        assert!(unacknowledged(&server) > 0);
    }
}
