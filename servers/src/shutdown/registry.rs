//! The sockets that a thread may block on, so that the signal handler can shut them.
//!
//! One bit for each descriptor: a signal handler may take no lock, so a locked list is not possible.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use super::signal_safe::shut_for_reading;

/// Descriptors that can be registered: the default of `fs.nr_open`, the limit of a process. Where
/// that was raised, the drain timer ends a thread that blocks on a higher descriptor.
const MAX_DESCRIPTORS: usize = 1 << 20;

static REGISTERED: [AtomicU64; MAX_DESCRIPTORS / 64] =
    [const { AtomicU64::new(0) }; MAX_DESCRIPTORS / 64];
/// Words from this one on have no bit set. A child process that scans fewer words touches, and
/// therefore copies, fewer pages.
static REGISTERED_BELOW: AtomicUsize = AtomicUsize::new(0);

pub(super) fn insert(fd: RawFd) {
    if let Some((word, bit)) = position(fd) {
        REGISTERED_BELOW.fetch_max(word + 1, SeqCst);
        REGISTERED[word].fetch_or(bit, SeqCst);
    }
}

pub(super) fn remove(fd: RawFd) {
    if let Some((word, bit)) = position(fd) {
        REGISTERED[word].fetch_and(!bit, SeqCst);
    }
}

pub(super) fn clear() {
    let words = REGISTERED_BELOW.swap(0, SeqCst);
    REGISTERED[..words].iter().for_each(|word| word.store(0, SeqCst));
}

/// Shuts every registered socket for reading. Async-signal-safe.
pub(super) fn shut_all() {
    let words = REGISTERED_BELOW.load(SeqCst);
    for (index, word) in REGISTERED[..words].iter().enumerate() {
        let mut bits = word.load(SeqCst);
        while bits != 0 {
            // A descriptor that was closed and reused in between is another connection, which must
            // end too, or no socket, on which shutdown fails.
            shut_for_reading((index * 64) as RawFd + bits.trailing_zeros() as RawFd);
            bits &= bits - 1;
        }
    }
}

fn position(fd: RawFd) -> Option<(usize, u64)> {
    let fd = usize::try_from(fd).ok()?;
    (fd < MAX_DESCRIPTORS).then(|| (fd / 64, 1 << (fd % 64)))
}
