//! Closes descriptors that a child process inherited.

use std::io;
use std::os::fd::RawFd;

use nix::errno::Errno;

/// Closes all descriptors except the standard ones and `kept`.
pub(super) fn close_all_but(kept: impl Iterator<Item = RawFd>) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.filter_map(|number| u32::try_from(number).ok()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for number in kept {
        if first < number {
            close_range(first, number - 1)?;
        }
        first = first.max(number + 1);
    }
    close_range(first, u32::MAX)
}

#[allow(unsafe_code, reason = "closes descriptors that values of the parent own")]
fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: called in a child, which never returns into its parent's code, so the values that own
    // these descriptors are not used or dropped again. The range excludes the descriptors that the
    // child uses: the callers of `fork` list them.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    Errno::result(done).map(drop).map_err(io::Error::from)
}
