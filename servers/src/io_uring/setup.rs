//! Sets up rings.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::IoUring;

use super::buffers::{Buffers, MAX_BUFFERS};

/// Maximum size of the completion queue. On overflow the kernel keeps completions and ends
/// multishot operations, which are then restarted.
const MAX_COMPLETIONS: usize = 16 * 1024;

/// Maximum number of pending completions per connection, except receives. The number of buffers
/// limits the completions of receives.
const COMPLETIONS_PER_CONNECTION: usize = 8;

/// Pause when the kernel is out of memory.
pub(super) const BACK_OFF: Duration = Duration::from_millis(10);

/// Deadline for retries while the kernel has no memory for a ring.
const SET_UP_DEADLINE: Duration = Duration::from_secs(2);

/// Sets up a ring for this thread, with its receive buffers. Retries on ENOMEM: the kernel needs
/// contiguous memory, which may be temporarily unavailable, and frees the memory of closed rings
/// with a delay.
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

/// Returns the size of the completion queue for a number of connections. The queue is no larger
/// than needed. Without CAP_IPC_LOCK, all rings of a user share 8 MiB by default (RLIMIT_MEMLOCK),
/// and a completion takes 16 bytes.
pub(super) fn completions(clients: usize) -> u32 {
    let at_once =
        usize::from(MAX_BUFFERS).saturating_add(COMPLETIONS_PER_CONNECTION.saturating_mul(clients));
    at_once.min(MAX_COMPLETIONS).next_power_of_two() as u32
}

/// Sets up a ring. With DEFER_TASKRUN, the kernel runs completion work only in io_uring_enter(2),
/// and does not interrupt the thread.
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
