//! Sets up a ring.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::IoUring;

use super::buffers::{Buffers, MAX_BUFFERS};

/// What can be done before it has to be looked at, at most. The kernel keeps what is beyond, and ends
/// multishot operations then, which are begun again.
const MAX_COMPLETIONS: usize = 16 * 1024;

/// Operations of one client that may be done at the same time, beside receiving, which is bounded by
/// the buffers.
const OPERATIONS: usize = 8;

/// A pause when the kernel has no memory for what it is to do.
pub(super) const BACK_OFF: Duration = Duration::from_millis(10);

/// How long the kernel may have no memory for a ring.
const SET_UP_DEADLINE: Duration = Duration::from_secs(2);

/// A ring for this thread alone, and what it receives into. The kernel wants its memory in large
/// pieces, of which it may have none for a moment while files fill the others; and it frees that of
/// rings that are gone a little later.
pub(super) fn set_up(queue: u32, completions: u32) -> io::Result<(IoUring, Buffers)> {
    let deadline = Instant::now() + SET_UP_DEADLINE;
    loop {
        match try_to_set_up(queue, completions) {
            Err(error)
                if error.kind() == io::ErrorKind::OutOfMemory && Instant::now() < deadline =>
            {
                thread::sleep(BACK_OFF);
            }
            done => return done,
        }
    }
}

/// Room for what so many clients may have done at once, and no more: without CAP_IPC_LOCK a user's
/// rings have 8 MiB together, by default (RLIMIT_MEMLOCK; 16 bytes each here).
pub(super) fn completions(clients: usize) -> u32 {
    let at_once = usize::from(MAX_BUFFERS).saturating_add(OPERATIONS.saturating_mul(clients));
    at_once.min(MAX_COMPLETIONS).next_power_of_two() as u32
}

/// The kernel does its part when the thread asks for it, and never interrupts it.
fn try_to_set_up(queue: u32, completions: u32) -> io::Result<(IoUring, Buffers)> {
    let uring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(completions)
        .build(queue)?;
    let buffers = Buffers::new(&uring)?;
    Ok((uring, buffers))
}
