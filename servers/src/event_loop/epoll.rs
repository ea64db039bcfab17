//! Shared parts of the patterns that use epoll(7).

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};

use super::connection::Connection;
use super::key::Key;

/// Key of the connection source's events.
pub const SOURCE_KEY: u64 = u64::MAX;

/// Key of the shutdown event.
pub const SHUTDOWN_KEY: u64 = u64::MAX - 1;

/// Maximum number of events per wait.
pub const EVENT_BATCH: usize = 256;

/// Returns the events that the loop must wait for on a connection.
pub fn interest(connection: &Connection) -> EpollFlags {
    let mut flags = EpollFlags::empty();
    flags.set(EpollFlags::EPOLLIN, connection.wants_read());
    flags.set(EpollFlags::EPOLLOUT, connection.wants_write());
    flags
}

/// Returns the event that arms a connection once (EPOLLONESHOT).
pub fn oneshot_event(key: Key, connection: &Connection) -> EpollEvent {
    EpollEvent::new(interest(connection) | EpollFlags::EPOLLONESHOT, key as u64)
}

/// Waits for events or the timeout, and returns the events.
///
/// # Errors
/// Those of epoll_wait(2) other than EINTR.
pub fn wait<'e>(
    epoll: &Epoll,
    events: &'e mut [EpollEvent],
    timeout: Option<Duration>,
) -> io::Result<&'e [EpollEvent]> {
    let timeout = match timeout {
        None => EpollTimeout::NONE,
        Some(Duration::ZERO) => EpollTimeout::ZERO,
        // Rounds up by a millisecond, so that the loop does not wake before the deadline.
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
