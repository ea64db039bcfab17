//! Waiting in an async runtime for a descriptor that somebody else reads from.

use std::io;
use std::os::fd::BorrowedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime tell when `descriptor` can be read.
///
/// # Errors
/// When the kernel cannot wait for it.
#[allow(unsafe_code, reason = "tokio cannot know that what it is given stays open")]
pub(crate) fn watch(descriptor: BorrowedFd<'_>) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: a descriptor that is borrowed stays open for as long as the borrow, which the
    // AsyncFd holds, and as_raw_fd gives the same number each time.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}
