//! Two questions to the kernel about a connection that std does not ask.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

/// How many bytes were written and not acknowledged by the client's kernel yet (SIOCOUTQ of
/// tcp(7)). While there are any, to close over unread input is to lose them: it sends a reset,
/// and drops what was to be sent.
#[allow(unsafe_code, reason = "ioctl(2) has no safe wrapper for this request")]
pub(crate) fn unacknowledged(client: &impl AsFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which Linux calls TIOCOUTQ, writes one int to the pointer, which is to
    // one that lives in this frame. The descriptor is borrowed.
    let done = unsafe { libc::ioctl(client.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Whether the client has ended its side. A read that returns 0 says the same, unless this side
/// was shut for reading.
#[allow(unsafe_code, reason = "getsockopt(2) has no safe wrapper for this option")]
pub(crate) fn is_ended_by_client(client: &impl AsFd) -> bool {
    /// TCP_CLOSE_WAIT of the kernel's include/net/tcp_states.h.
    const CLOSE_WAIT: u8 = 8;
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the pointer, which is to so many that
    // live in this frame. The descriptor is borrowed.
    let done = unsafe {
        libc::getsockopt(
            client.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    // SAFETY: the value was zeroed, which is a tcp_info, and the kernel wrote over part of it.
    done == 0 && unsafe { info.assume_init() }.tcpi_state == CLOSE_WAIT
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("its address"));
        (client.expect("a connection"), listener.accept().expect("the client").0)
    }

    #[test]
    fn an_end_by_the_client_is_told_from_an_end_of_ones_own() {
        let (client, mut server) = pair();
        server.shutdown(Shutdown::Read).expect("shut");
        assert_eq!(server.read(&mut [0]).expect("an end"), 0);
        assert!(!is_ended_by_client(&server));
        client.shutdown(Shutdown::Write).expect("shut");
        // The loopback delivers a FIN before shutdown returns.
        assert!(is_ended_by_client(&server));
    }

    #[test]
    fn what_a_client_does_not_take_in_is_unacknowledged() {
        let (_client, mut server) = pair();
        assert_eq!(unacknowledged(&server), 0);
        server.set_nonblocking(true).expect("it can be");
        while server.write(&[0; 65_536]).is_ok() {}
        assert!(unacknowledged(&server) > 0);
    }
}
