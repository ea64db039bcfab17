//! Sets up rings.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::IoUring;

use super::buffers::{Buffers, MAX_BUFFERS};

/// Maximum size of the completion queue. On overflow the kernel keeps completions and ends
/// multishot operations, which are then restarted.
const MAX_COMPLETIONS: usize = 16 * 1024;

/// Operations of one connection that may complete at the same time, besides receives, which the
/// buffers bound.
const OPERATIONS: usize = 8;

/// Pause when the kernel is out of memory.
pub(super) const BACK_OFF: Duration = Duration::from_millis(10);

/// How long to retry when the kernel has no memory for a ring.
const SET_UP_DEADLINE: Duration = Duration::from_secs(2);

/// Sets up a ring for this thread, with its receive buffers. The kernel needs contiguous memory,
/// which may be missing for a moment, and frees the memory of closed rings with a delay; therefore
/// this retries on ENOMEM.
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

/// Returns the size of the completion queue for a number of connections. No larger than needed:
/// without CAP_IPC_LOCK a user's rings share 8 MiB by default (RLIMIT_MEMLOCK), at 16 bytes per
/// completion.
pub(super) fn completions(clients: usize) -> u32 {
    let at_once = usize::from(MAX_BUFFERS).saturating_add(OPERATIONS.saturating_mul(clients));
    at_once.min(MAX_COMPLETIONS).next_power_of_two() as u32
}

/// DEFER_TASKRUN: the kernel does its part when the thread asks for it, and never interrupts it.
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
