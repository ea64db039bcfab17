//! Awaits the readiness of a descriptor that is not a socket of tokio.

use std::io;
use std::os::fd::BorrowedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers `descriptor` with the runtime.
///
/// # Errors
/// epoll_ctl(2) fails.
#[allow(unsafe_code, reason = "tokio cannot know that the descriptor stays open")]
pub(crate) fn watch(descriptor: BorrowedFd<'_>) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: the AsyncFd holds the borrow, during which the descriptor stays open, and as_raw_fd
    // always returns the same number.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}
