//! What the patterns over epoll(7) have in common, apart from how they use it.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};

use super::connection::Connection;
use super::key::Key;

/// What the kernel gives back with an event of the source of clients, rather than a client's key.
pub const SOURCE_KEY: u64 = u64::MAX;

/// The same for the request to stop.
pub const SHUTDOWN_KEY: u64 = u64::MAX - 1;

/// Events taken from the kernel at once.
pub const EVENT_BATCH: usize = 256;

/// What to wait for on behalf of a client.
pub fn interest(connection: &Connection) -> EpollFlags {
    let mut flags = EpollFlags::empty();
    flags.set(EpollFlags::EPOLLIN, connection.wants_read());
    flags.set(EpollFlags::EPOLLOUT, connection.wants_write());
    flags
}

/// The event by which a client is waited for once (EPOLLONESHOT).
pub fn armed(key: Key, connection: &Connection) -> EpollEvent {
    EpollEvent::new(interest(connection) | EpollFlags::EPOLLONESHOT, key as u64)
}

/// Waits until something is ready or the time is over, and gives what is ready.
///
/// # Errors
/// What epoll_wait(2) says, other than that a signal came.
pub fn wait<'e>(
    epoll: &Epoll,
    events: &'e mut [EpollEvent],
    timeout: Option<Duration>,
) -> io::Result<&'e [EpollEvent]> {
    let timeout = match timeout {
        None => EpollTimeout::NONE,
        Some(Duration::ZERO) => EpollTimeout::ZERO,
        // A millisecond late rather than early, so as not to go round for nothing.
        Some(time) => {
            EpollTimeout::try_from(time + Duration::from_millis(1)).unwrap_or(EpollTimeout::MAX)
        }
    };
    match epoll.wait(events, timeout) {
        Ok(count) => Ok(&events[..count]),
        Err(Errno::EINTR) => Ok(&[]),
        Err(error) => Err(error.into()),
    }
}
